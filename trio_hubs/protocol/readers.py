"""How what msgspec has read becomes values of annotated types.

Nothing is guessed: a text is never a number, nor a list. The first fault ends the reading, and says its place: a
bad value takes no longer than a good one.
"""

from collections import deque
from collections.abc import (
    Callable,
    Collection,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import repeat
from types import GenericAlias, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from cattrs import Converter, StructureHandlerNotFoundError
from cattrs.cols import is_namedtuple

from .collisions import refuse_colliding
from .enums import is_enum
from .faults import Unfit, an_object, expected, unfit
from .fields import (
    Field,
    fields_of,
    has_fields,
    is_literal,
    is_typed_dict,
    is_union,
    limits_of,
    origin_of,
    without_names,
)
from .hooks import Hooks
from .models import is_model, model_reader
from .naming import Format, Naming, folded
from .scalars import Reader, scalar_readers, to_float
from .structs import is_struct, struct_reader
from .unions import Unions
from .writers import Writers

_ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    deque: deque,
    Sequence: list,
    MutableSequence: list,
    AbstractSet: set,
    MutableSet: set,
}
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPPINGS = (dict, Mapping, MutableMapping)
_EXACT = (str, int, bool, float, NoneType)
"""Classes of which msgspec reads just what is meant."""


class Readers:
    """What reads values in one format, under one way of naming.

    Args:
        format: Of the wire.
        naming: Of fields.
        writers: What writes such values.
        hooks: The user's.

    Attributes:
        reader: What reads values of a type.
        hook: What reads values of a type by a hook of the user's; None where that is no hook's.
    """

    def __init__(self, format: Format, naming: Naming, writers: Writers, hooks: Hooks) -> None:
        self.reader: Callable[[Any], Reader] = hooks.get_structure_hook
        self.hook = hooks.read_hook
        self._hooked = hooks.some
        self._format: Format = format
        self._json = format == "json"
        self._rename = naming.rename(format)
        self._writers = writers
        self._enums = writers.enums
        self._exact = frozenset(class_ for class_ in _EXACT if hooks.read_hook(class_) is None)
        self._unions = Unions(format, writers, hooks, self._exact)
        self._under_way: dict[Any, list[Reader]] = {}
        made = Converter(detailed_validation=False)
        hooks.reader = made.get_structure_hook
        for class_, read in scalar_readers(format).items():
            made.register_structure_hook(class_, self._scalar_reader(class_, read))
        made.register_structure_hook_func(_is_any, _to_plain if self._json else _same)
        made.register_structure_hook_func(lambda type_: type_ in (None, NoneType), _to_none)
        made.register_structure_hook_factory(lambda type_: origin_of(type_) in _ARRAYS, self._array_reader)
        made.register_structure_hook_factory(lambda type_: origin_of(type_) in _MAPPINGS, self._map_reader)
        made.register_structure_hook_factory(is_namedtuple, self._named_tuple_reader)
        made.register_structure_hook_factory(self._is_class, self._class_reader)
        made.register_structure_hook_factory(is_union, self._unions.reader)
        made.register_structure_hook_factory(is_literal, self._literal_reader)
        made.register_structure_hook_factory(is_enum, self._enums.reader)
        made.register_structure_hook_factory(
            lambda type_: without_names(type_) is not type_, self._named_reader
        )

    def _named_reader(self, type_: Any) -> Reader:
        plain = without_names(type_)
        read = self.reader(plain)
        limits = limits_of(type_)
        if not limits:
            return lambda value, _: read(value, plain)
        limited: Any = Annotated[(plain if is_union(plain) else origin_of(plain), *limits)]
        msgspec.json.Decoder(limited)  # which says now what they cannot be asked of
        return lambda value, _: msgspec.convert(read(value, plain), limited)

    # ---- values without parts

    def _scalar_reader(self, class_: type, read: Reader) -> Reader:
        enum_reader = self._enums.reader
        fits = class_ is not Decimal  # which may be out of range

        def read_scalar(value: Any, type_: Any) -> Any:
            if type(value) is type_ and fits:
                return value
            # Enums that are numbers or texts, too, come here for these.
            return enum_reader(type_)(value, type_) if is_enum(type_) else read(value, type_)

        return read_scalar

    def _literal_reader(self, type_: Any) -> Reader:
        literals = self._writers.literals(type_)

        def read(value: Any, _: Any) -> Any:
            try:
                return literals[type(value), value]
            except (KeyError, TypeError):
                raise Unfit("None of the literals") from None

        return read

    # ---- arrays

    def _array_reader(self, type_: Any) -> Reader:
        origin, arguments = origin_of(type_), get_args(type_)
        if origin is tuple and get_origin(type_) and arguments[1:] != (...,):
            return self._tuple_reader(arguments)
        item = arguments[0] if arguments else Any
        read = self.reader(item)
        exact = self._taken(item)
        build, hashed = _ARRAYS[origin], origin in _SETS

        def read_array(value: Any, _: Any) -> Any:
            items = _items(_array(value), exact, read, item)
            if hashed:
                refuse_colliding(items)
            return items if build is list else build(items)

        return read_array

    def _tuple_reader(self, types: Sequence[Any]) -> Reader:
        readers = [self.reader(type_) for type_ in types]

        def read(value: Any, _: Any) -> tuple[Any, ...]:
            if len(_array(value)) != len(types):
                raise Unfit(f"Expected `array` of length {len(types)}, got {len(value)}")
            items: list[Any] = []
            try:
                items.extend(
                    read(item, type_) for read, item, type_ in zip(readers, value, types, strict=True)
                )
            except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                raise unfit(problem).within(f"[{len(items)}]") from None
            return tuple(items)

        return read

    def _named_tuple_reader(self, type_: Any) -> Reader:
        read = self._tuple_reader(list(get_type_hints(type_).values()))
        return lambda value, _: type_(*read(value, None))

    # ---- objects

    def _map_reader(self, type_: Any) -> Reader:
        key, item = (*get_args(type_), Any, Any)[:2]
        read_keys, read = self._keys_reader(key), self.reader(item)
        exact_key, exact = self._taken(key), self._taken(item)

        def read_map(value: Any, _: Any) -> Any:
            keys: Collection[Any] = an_object(value)
            if read_keys is not None and not (exact_key and exact_key.issuperset(map(type, keys))):
                try:
                    keys = read_keys(list(keys))
                except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                    raise unfit(problem).within("[<key>]") from None
                refuse_colliding(keys)
            return dict(zip(keys, _items(value.values(), exact, read, item, "[...]"), strict=True))

        return read_map

    def _keys_reader(self, type_: Any) -> Callable[[list[Any]], list[Any]] | None:
        """What reads keys, which are always texts in JSON; None where they are what msgspec has read."""
        plain = without_names(type_)
        if self.hook(type_) is not None:
            read_key = self.reader(type_)
            return lambda keys: list(map(read_key, keys, repeat(type_)))
        if _is_any(plain) or (self._json and plain is str):
            return None
        if self._json and plain in (int, float):
            types = GenericAlias(list, (plain,))
            return lambda keys: msgspec.convert(keys, types, strict=False)
        read = self._key_reader(plain) if self._json else self.reader(plain)
        return lambda keys: list(map(read, keys, repeat(plain)))

    def _key_reader(self, type_: Any) -> Reader:
        """What reads a text as a key."""
        if type_ is bool:
            return _to_bool
        if is_enum(type_) and self.hook(type_) is None:
            return self._enums.key_reader(type_)
        if is_literal(type_):
            literals = {self._writers.write_key(literal): literal for literal in get_args(type_)}
            return lambda key, _: literals[key]
        return self.reader(type_)

    def _class_reader(self, type_: Any) -> Reader:
        if (made := self._under_way.get(type_)) is not None:
            return lambda value, of: made[0](value, of)  # noqa: PLW0108 - a class within itself has none yet
        ready = self._under_way[type_] = list[Reader]()
        try:
            ready.append(self._object_reader(type_))
        finally:
            del self._under_way[type_]
        return ready[0]

    def _is_class(self, type_: Any) -> bool:
        return has_fields(type_) or is_model(type_) or bool(self._unions.made_of(type_))

    def _object_reader(self, type_: Any) -> Reader:
        """What reads objects of a class, or of those with tags that are made of it."""
        if has_fields(type_):
            return self._unions.base_reader(type_, self._fields_reader(type_))
        if is_model(type_):
            tag = self._writers.tag_of(type_)
            return self._unions.base_reader(type_, model_reader(type_, self._format, tag[0] if tag else None))
        return self._unions.base_reader(type_, _to_untagged)

    def _fields_reader(self, type_: Any) -> Reader:
        fields = {
            self._writers.wire(field): field for field in fields_of(type_) if field.parameter is not None
        }
        known = {wire: (field.parameter, *self._field_reader(field)) for wire, field in fields.items()}
        by_fold = {folded(wire): field for wire, field in known.items()} if self._rename else {}
        required = [field.parameter for field in fields.values() if field.required]
        make = _maker(origin_of(type_), required)

        def read(value: Any, _: Any) -> Any:
            given: dict[Any, Any] = {}
            parameter: Any = None
            try:
                for wire, item in an_object(value).items():
                    field = known.get(wire) or by_fold.get(folded(str(wire)))
                    if field:
                        parameter, exact, read_item, of = field
                        given[parameter] = item if type(item) is exact else read_item(item, of)
            except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                fault = unfit(problem)
                raise (fault.within(f".{parameter}") if parameter else fault) from None
            return make(given)

        return struct_reader(origin_of(type_), list(fields), read) if is_struct(origin_of(type_)) else read

    def _field_reader(self, field: Field) -> tuple[Any, Reader, Any]:
        """The class of which a field's values can be taken as they are, what reads others, and their type."""
        try:
            read = self.reader(field.type)
        except StructureHandlerNotFoundError:
            if not field.converted:
                raise
            read = _same  # and the class makes of it what it wants
        return next(iter(self._taken(field.type)), None), read, field.type

    def _taken(self, type_: Any) -> frozenset[Any]:
        """The class of which values can be taken as they are, if there is one."""
        plain = without_names(type_)
        bound = plain is not type_ and (self._hooked or limits_of(type_))
        return frozenset() if bound or plain not in self._exact else frozenset({plain})


# ---- pieces


def _same(value: Any, _: Any) -> Any:
    return value


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise expected("array", value)
    return value


def _items(
    values: Collection[Any], exact: frozenset[Any], read: Reader, type_: Any, place: str = ""
) -> list[Any]:
    """Values, each read."""
    if exact and exact.issuperset(map(type, values)):
        return list(values)
    items: list[Any] = []
    try:
        items.extend(map(read, values, repeat(type_)))  # as far as it comes
    except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
        raise unfit(problem).within(place or f"[{len(items)}]") from None
    return items


def _maker(class_: Any, required: Collection[Any]) -> Callable[[dict[Any, Any]], Any]:
    """What makes an instance of the fields that are given, or says which of them is missing."""

    def missing(given: dict[Any, Any]) -> Unfit | None:
        absent = [parameter for parameter in required if parameter not in given]
        return Unfit("required field missing").within(f".{absent[0]}") if absent else None

    def keep(given: dict[Any, Any]) -> Any:
        if (fault := missing(given)) is not None:
            raise fault
        return given

    def make(given: dict[Any, Any]) -> Any:
        try:
            return class_(**given)
        except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
            raise (missing(given) or unfit(problem)) from None

    return keep if is_typed_dict(class_) else make


def _to_untagged(_: Any, __: Any) -> None:
    raise Unfit("required tag missing")


def _to_none(value: Any, _: Any) -> None:
    if value is not None:
        raise expected("null", value)


def _to_bool(key: str, _: Any) -> bool:
    if key.lower() not in ("true", "false"):
        raise Unfit("Invalid bool")
    return key.lower() == "true"


def _to_plain(value: Any, _: Any) -> Any:
    """What msgspec read, with the exact numbers that are read for the sake of others made floats."""
    match value:
        case Decimal():
            return to_float(value, float)
        case list():
            return [_to_plain(item, Any) for item in value]
        case dict():
            return {key: _to_plain(item, Any) for key, item in value.items()}
        case _:
            return value


def _is_any(type_: Any) -> bool:
    return type_ is Any or type_ is object
