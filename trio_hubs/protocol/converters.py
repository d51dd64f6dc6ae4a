"""How annotated Python types look on the wire: the cattrs converters behind the payloads.

Law: what a converter gives, msgspec writes as .NET and JavaScript read it; what .NET and JavaScript write,
it takes, after msgspec has read it; and nothing is guessed: a text is never a number, nor a list.
"""

import base64
import re
from collections import deque
from collections.abc import (
    Callable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

import attrs
from cattrs import Converter, override
from cattrs.cols import is_namedtuple
from cattrs.disambiguators import create_default_dis_func
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, typeddicts
from cattrs.strategies import configure_union_passthrough

Format: TypeAlias = Literal["json", "messagepack"]
Naming: TypeAlias = Literal["python", "dotnet"]
Hook: TypeAlias = Callable[[Any, Any], Any]


@cache
def converter(format: Format, naming: Naming) -> Converter:
    """The converter for one wire format and one way of naming."""
    made = Converter(unstruct_collection_overrides={Sequence: list, AbstractSet: list})
    _add_scalars(made, format)
    _add_containers(made, format, naming)
    _add_enums(made, format, naming)
    _add_classes(made, _RENAMES[format, naming])
    configure_union_passthrough(str | bool | int | float | None, made)
    return made


def _identity(value: Any) -> Any:
    return value


def _kept(value: Any, type_: Any) -> Any:
    if type(value) is not type_:
        raise TypeError(f"{value!r} is not of type {type_.__qualname__}")
    return value


def _to_float(value: Any, _: Any) -> float:
    if type(value) not in (float, int, Decimal):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _to_decimal(value: Any, _: Any) -> Decimal:
    if type(value) not in (float, int, Decimal, str):
        raise TypeError(f"{value!r} is not a number")
    return Decimal(str(value))


def _from_decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError(f"{value} is not a JSON number")
    return value


def _to_plain(value: Any, _: Any) -> Any:
    """What msgspec read, with the exact numbers that are read for the sake of others made floats."""
    match value:
        case Decimal():
            return float(value)
        case list():
            return [_to_plain(item, Any) for item in value]
        case dict():
            return {key: _to_plain(item, Any) for key, item in value.items()}
        case _:
            return value


def _from_text(parse: Callable[[str], Any]) -> Hook:
    return lambda value, _: parse(_kept(value, str))


def _to_bytes(value: Any, type_: Any) -> Any:
    return type_(base64.b64decode(_kept(value, str), validate=True))


_DURATION = re.compile(r"(-?)(?:(\d+)\.)?(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")


def _parse_duration(text: str) -> timedelta:
    """.NET's constant form of a TimeSpan: [-][d.]hh:mm:ss[.fffffff]."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a duration of the form [-][d.]hh:mm:ss[.fffffff]")
    sign, days, hours, minutes, seconds, fraction = found.groups(default="0")
    size = timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=int(fraction.ljust(7, "0")) // 10,
    )
    return -size if sign == "-" else size


def _format_duration(value: timedelta) -> str:
    sign, size = ("-", -value) if value < timedelta() else ("", value)
    days = f"{size.days}." if size.days else ""
    fraction = f".{size.microseconds:06}0" if size.microseconds else ""
    minutes, seconds = divmod(size.seconds, 60)
    return f"{sign}{days}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}"


_MICROSECOND = timedelta(microseconds=1)


def _from_ticks(value: Any, _: Any) -> timedelta:
    return timedelta(microseconds=_kept(value, int) // 10)


def _to_ticks(value: timedelta) -> int:
    return value // _MICROSECOND * 10


def _to_datetime(value: Any, _: Any) -> datetime:
    return value if type(value) is datetime else datetime.fromisoformat(_kept(value, str))


def _add_scalars(made: Converter, format: Format) -> None:
    made.register_structure_hook(Decimal, _to_decimal)
    made.register_structure_hook(UUID, _from_text(UUID))
    made.register_structure_hook(date, _from_text(date.fromisoformat))
    made.register_structure_hook(time, _from_text(time.fromisoformat))
    made.register_structure_hook(datetime, _to_datetime)
    for written in (UUID, date, time):
        made.register_unstructure_hook(written, _identity)
    if format == "json":
        made.register_structure_hook(bytes, _to_bytes)
        made.register_structure_hook(bytearray, _to_bytes)
        made.register_structure_hook(timedelta, _from_text(_parse_duration))
        made.register_unstructure_hook(timedelta, _format_duration)
        made.register_unstructure_hook(Decimal, _from_decimal)
        made.register_unstructure_hook(datetime, _identity)
        made.register_structure_hook_func(_is_any, _to_plain)
    else:
        made.register_structure_hook(bytes, _kept)
        made.register_structure_hook(bytearray, lambda value, _: bytearray(_kept(value, bytes)))
        made.register_structure_hook(timedelta, _from_ticks)
        made.register_unstructure_hook(timedelta, _to_ticks)
        made.register_unstructure_hook(datetime, _as_utc)
        made.register_structure_hook_func(_is_any, lambda value, _: value)


def _as_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _is_any(type_: Any) -> bool:
    return type_ is Any or type_ is object


_ARRAYS = (list, tuple, set, frozenset, deque, Sequence, MutableSequence, AbstractSet, MutableSet)
_MAPPINGS = (dict, Mapping, MutableMapping)


def _add_containers(made: Converter, format: Format, naming: Naming) -> None:
    """Take arrays only for arrays and maps only for maps; cattrs alone would take any iterable."""
    under_way: list[Any] = []

    def is_one_of(classes: tuple[Any, ...]) -> Callable[[Any], bool]:
        return lambda type_: (get_origin(type_) or type_) in classes and type_ not in under_way

    def inner_hook(type_: Any) -> Hook:
        under_way.append(type_)
        try:
            return made.get_structure_hook(type_, cache_result=False)
        finally:
            under_way.remove(type_)

    def array_hook(type_: Any) -> Hook:
        if _origin(type_) is Sequence:
            type_ = GenericAlias(list, get_args(type_))  # as msgspec does
        inner = inner_hook(type_)
        return lambda value, _: inner(_kept(value, list), type_)

    def mapping_hook(type_: Any) -> Hook:
        inner = inner_hook(type_)
        read_key = _json_key_reader((*get_args(type_), Any)[0], naming) if format == "json" else None
        if read_key is None:
            return lambda value, _: inner(_kept(value, dict), type_)
        return lambda value, _: inner(
            {read_key(key): item for key, item in _kept(value, dict).items()}, type_
        )

    made.register_structure_hook_factory(is_one_of(_ARRAYS), array_hook)
    made.register_structure_hook_factory(is_one_of(_MAPPINGS), mapping_hook)
    made.register_structure_hook_factory(is_namedtuple, partial(_named_tuple_reader, made))
    made.register_unstructure_hook_factory(is_namedtuple, partial(_named_tuple_writer, made))

    def write_any(value: Any) -> Any:
        cls = value.__class__
        if cls in _SCALARS:
            return value
        if cls in (list, tuple, set, frozenset):
            return [item if item.__class__ in _SCALARS else write_any(item) for item in value]
        if cls is dict:
            return {write_any(key): write_any(item) for key, item in value.items()}
        return value if cls is object else made.unstructure(value)

    made.register_unstructure_hook_func(_is_any, write_any)


_SCALARS = frozenset({str, int, float, bool, NoneType})


def _json_key_reader(type_: Any, naming: Naming) -> Callable[[str], Any] | None:
    """What reads a JSON key, always a text, as what it stands for; None where that is the text itself."""
    if type_ is int or type_ is float:
        return cast("Callable[[str], Any]", type_)
    if _is_enum(type_) and (naming == "dotnet" or _has_numbers(type_)):
        return lambda key: int(key) if key.removeprefix("-").isdecimal() else key
    return None


def _named_tuple_reader(made: Converter, type_: Any) -> Hook:
    shape: Any = GenericAlias(tuple, tuple(get_type_hints(type_).values()))
    read = made.get_structure_hook(shape)
    return lambda value, _: type_(*read(value, shape))


def _named_tuple_writer(made: Converter, type_: Any) -> Callable[[Any], Any]:
    writers = [made.get_unstructure_hook(hint) for hint in get_type_hints(type_).values()]
    return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]


def _add_enums(made: Converter, format: Format, naming: Naming) -> None:
    @cache
    def enum_reader(type_: type[Enum]) -> Hook:
        if naming == "python":
            return lambda value, _: type_(value)
        members: dict[int | str, Enum] = dict(zip(_numbers(type_), type_, strict=True))
        members.update((_folded(name), member) for name, member in type_.__members__.items())
        return lambda value, _: members[_folded(value) if type(value) is str else _kept(value, int)]

    def enum_writer(type_: type[Enum]) -> Callable[[Any], Any]:
        if naming == "python":
            return lambda member: member.value
        if format == "json":
            numbers = dict(zip(type_, _numbers(type_), strict=True))
            return lambda member: numbers[member]
        names = {member: pascal_case(member.name) for member in type_}
        return lambda member: names[member]

    def literal_reader(type_: Any) -> Hook:
        wire = [(made.unstructure(literal), literal) for literal in get_args(type_)]
        literals = {(type(written), written): literal for written, literal in wire}
        return lambda value, _: literals[type(value), value]

    # cattrs takes enums that are ints, too, for ints, and so on; plain values come first for their speed.
    def read_scalar(value: Any, type_: Any) -> Any:
        if type(value) is type_:
            return value
        return enum_reader(type_)(value, type_) if _is_enum(type_) else _kept(value, type_)

    def read_float(value: Any, type_: Any) -> Any:
        if type(value) is type_:
            return value
        return enum_reader(type_)(value, type_) if _is_enum(type_) else _to_float(value, type_)

    made.register_structure_hook(int, read_scalar)
    made.register_structure_hook(str, read_scalar)
    made.register_structure_hook(float, read_float)
    made.register_structure_hook_factory(_is_enum, enum_reader)
    made.register_unstructure_hook_factory(_is_enum, enum_writer)
    made.register_structure_hook_factory(_is_literal, literal_reader)
    made.register_unstructure_hook_func(_is_literal, made.unstructure)


def _is_enum(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Enum)


def _is_literal(type_: Any) -> bool:
    return get_origin(type_) is Literal


def _numbers(type_: type[Enum]) -> Sequence[int]:
    """The numbers .NET would know the members by: their values, or else their places."""
    return [member.value for member in type_] if _has_numbers(type_) else range(len(type_))


def _has_numbers(type_: type[Enum]) -> bool:
    return all(isinstance(member.value, int) for member in type_)


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def pascal_case(name: str) -> str:
    """A Python name as .NET would write it: `born_at` and `BORN_AT` are BornAt."""
    parts = name.split("_")
    return "".join(part[:1].upper() + (part[1:].lower() if part.isupper() else part[1:]) for part in parts)


def camel_case(name: str) -> str:
    """A Python name as .NET writes it in JSON: `born_at` is bornAt."""
    pascal = pascal_case(name)
    return pascal[:1].lower() + pascal[1:]


_RENAMES: dict[tuple[Format, Naming], Callable[[str], str] | None] = {
    ("json", "python"): None,
    ("json", "dotnet"): camel_case,
    ("messagepack", "python"): None,
    ("messagepack", "dotnet"): pascal_case,
}


def _add_classes(made: Converter, rename: Callable[[str], str] | None) -> None:
    fold = _folded if rename else str

    def renamed(value: Any, known: dict[str, str]) -> dict[str, Any]:
        """The fields under the names they are known by; those that are not known are left out."""
        folded = ((fold(key), item) for key, item in _kept(value, dict).items())
        return {known[key]: item for key, item in folded if key in known}

    def class_reader(type_: Any) -> Hook:
        make: Any = typeddicts.make_dict_structure_fn if _is_typed_dict(type_) else make_dict_structure_fn
        wires = _wire_names(type_, rename)
        read = make(type_, made, **_overrides(wires))
        known = {fold(wire): wire for wire in wires.values()}
        return lambda value, _: read(renamed(value, known), type_)

    def class_writer(type_: Any) -> Callable[[Any], Any]:
        make: Any = typeddicts.make_dict_unstructure_fn if _is_typed_dict(type_) else make_dict_unstructure_fn
        wires = _wire_names(type_, rename)
        write: Callable[[Any], Any] = make(type_, made, **_overrides(wires))
        return write

    def union_reader(type_: Any) -> Hook:
        classes = get_args(type_)
        choose = create_default_dis_func(made, *classes, overrides={})
        known = {fold(wire): name for class_ in classes for name, wire in _wire_names(class_, rename).items()}
        return lambda value, _: made.structure(value, cast("Any", choose(renamed(value, known))))

    made.register_structure_hook_factory(_is_class_with_fields, class_reader)
    made.register_structure_hook_factory(_is_union_of_classes, union_reader)
    made.register_unstructure_hook_factory(_is_class_with_fields, class_writer)


def _overrides(wires: dict[str, str]) -> dict[str, Any]:
    return {name: override(rename=wire) for name, wire in wires.items() if wire != name}


def _origin(type_: Any) -> Any:
    return get_origin(type_) or type_


def _is_typed_dict(type_: Any) -> bool:
    return is_typeddict(_origin(type_))


def _is_class_with_fields(type_: Any) -> bool:
    origin = _origin(type_)
    return isinstance(origin, type) and (attrs.has(origin) or is_dataclass(origin) or is_typeddict(origin))


def _is_union_of_classes(type_: Any) -> bool:
    return _origin(type_) in (Union, UnionType) and all(
        _is_class_with_fields(part) and not _is_typed_dict(part) for part in get_args(type_)
    )


def _wire_names(type_: Any, rename: Callable[[str], str] | None) -> dict[str, str]:
    """What the fields of a class are called on the wire."""
    names = _hints(_origin(type_))
    return {name: rename(name) if rename else name for name in names}


def _hints(origin: Any) -> dict[str, Any]:
    """The names and types of a class's fields, with the texts among the types resolved in the class, too."""
    if attrs.has(origin):
        return {field.name: field.type for field in attrs.fields(attrs.resolve_types(origin))}
    hints = get_type_hints(origin)
    if not is_dataclass(origin):
        return hints
    for field in fields(origin):
        field.type = hints[field.name]
    return {field.name: field.type for field in fields(origin)}


def mentions(type_: Any, wanted: type, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether a value of this type may hold one of the wanted type."""
    if type_ is wanted:
        return True
    if type_ in seen:
        return False
    parts = list(get_args(type_))
    origin = _origin(type_)
    if _is_class_with_fields(origin) or is_namedtuple(origin):
        parts += _hints(origin).values()
    return any(mentions(part, wanted, seen | {type_}) for part in parts)
