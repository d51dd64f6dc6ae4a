"""Structs of msgspec, which are classes with fields like others, and say more of how they look on the wire.

Names, tags, arrays and defaults that are left out are as the class has them; its parts are read and written as
everywhere, by their types.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, UnsetType

from .faults import Unfit, expected
from .scalars import Reader, Writer


def is_struct(type_: Any) -> bool:
    """Whether it is a class of Structs."""
    return isinstance(type_, type) and issubclass(type_, Struct)


def is_array(type_: Any) -> bool:
    """Whether it is a class of Structs that are arrays on the wire."""
    return is_struct(type_) and bool(type_.__struct_config__.array_like)


def tag_of(type_: Any) -> tuple[str, str | int] | None:
    """The field of a Struct's tag, and the tag, if it has one."""
    config = type_.__struct_config__
    return (config.tag_field, config.tag) if config.tag is not None else None


def set_type(type_: Any) -> Any:
    """The type of a field's values where there are some."""
    if get_origin(type_) not in (Union, UnionType) or UnsetType not in get_args(type_):
        return type_
    return reduce(or_, [part for part in get_args(type_) if part is not UnsetType])


def struct_writer(class_: Any, wires: Mapping[str, str], writers: Mapping[str, Writer]) -> Writer:
    """What writes a Struct.

    Args:
        class_: Its class.
        wires: The names of its fields on the wire.
        writers: What writes them.
    """
    config = class_.__struct_config__
    parts = [
        (
            field.name,
            wires[field.name],
            writers[field.name],
            _default(field) if config.omit_defaults else None,
        )
        for field in msgspec.structs.fields(class_)
    ]

    def write(value: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, wire, write_part, default in parts:
            part = getattr(value, name)
            if part is not UNSET and not (default is not None and part == default()):
                plain[wire] = write_part(part)
        return plain

    def write_array(value: Any) -> list[Any]:
        items = [write_part(getattr(value, name)) for name, _, write_part, _ in parts]
        return items if config.tag is None else [config.tag, *items]

    return write_array if config.array_like else write


def _default(field: msgspec.structs.FieldInfo) -> Callable[[], Any] | None:
    if field.default is not NODEFAULT:
        return lambda: field.default
    return None if field.default_factory is NODEFAULT else field.default_factory


def struct_reader(class_: Any, wires: list[str], read: Reader) -> Reader:
    """What reads a Struct, given what reads an object with its fields.

    Args:
        class_: Its class.
        wires: The names of its fields on the wire, in their order.
        read: Reads the object.
    """
    config, tag = class_.__struct_config__, tag_of(class_)
    known = {*wires, tag[0]} if tag else set(wires)

    def read_checked(value: Any, type_: Any) -> Any:
        if config.array_like:
            if type(value) is not list:
                raise expected("array", value)
            value = dict(zip([tag[0], *wires] if tag else wires, value, strict=False))
        if type(value) is dict:
            if tag and value.get(tag[0], tag[1]) != tag[1]:
                raise Unfit("Invalid value").within(f".{tag[0]}")
            if config.forbid_unknown_fields and not known.issuperset(value):
                raise Unfit("Object contains unknown fields")
        return read(value, type_)

    return read_checked if config.array_like or tag or config.forbid_unknown_fields else read
