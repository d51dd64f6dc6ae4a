"""The fields of classes that have some: what they are called, and their types, with those of generics filled in.

A user's class is looked at and never changed.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
import msgspec
from cattrs.cols import is_namedtuple
from msgspec import Meta

from .generics import Arguments, arguments_of, filled
from .structs import is_struct, set_type


@attrs.frozen
class Field:
    """A field of an attrs class, a dataclass, a Struct or a TypedDict.

    Attributes:
        name: What it is called.
        parameter: What the class calls it when it is made; None where it is not given then.
        type: Its type.
        required: Whether it has no default.
        converted: Whether the class makes its own of what it is given.
        wire: What it is called on the wire, where the class says so itself.
    """

    name: str
    parameter: str | None
    type: Any
    required: bool
    converted: bool = False
    wire: str | None = None


def origin_of(type_: Any) -> Any:
    """The class of a generic one, or the type itself."""
    return get_origin(type_) or type_


def without_names(type_: Any) -> Any:
    """The type behind a NewType or an Annotated one."""
    while True:
        if get_origin(type_) is Annotated:
            type_ = type_.__origin__
        elif isinstance(type_, NewType):
            type_ = type_.__supertype__
        else:
            return type_


def is_literal(type_: Any) -> bool:
    """Whether it is one of some values."""
    return get_origin(type_) is Literal


def is_union(type_: Any) -> bool:
    """Whether it is one of some types."""
    return get_origin(type_) in (Union, UnionType)


def limits_of(type_: Any) -> list[Meta]:
    """What msgspec's annotations ask of values of a type."""
    limits: list[Meta] = []
    while get_origin(type_) is Annotated or isinstance(type_, NewType):
        limits += [note for note in getattr(type_, "__metadata__", ()) if isinstance(note, Meta)]
        type_ = type_.__supertype__ if isinstance(type_, NewType) else type_.__origin__
    return limits


def is_typed_dict(type_: Any) -> bool:
    """Whether it is a TypedDict."""
    return is_typeddict(origin_of(type_))


def has_fields(type_: Any) -> bool:
    """Whether it is a class with fields."""
    origin = origin_of(type_)
    return isinstance(origin, type) and (
        attrs.has(origin) or dataclasses.is_dataclass(origin) or is_typeddict(origin) or is_struct(origin)
    )


@cache
def fields_of(type_: Any) -> tuple[Field, ...]:
    """The fields of a class that has some."""
    origin = origin_of(type_)
    if is_typeddict(origin):
        return tuple(
            Field(name, name, *_bare(hint, name in origin.__required_keys__))
            for name, hint in _hints(type_).items()
        )
    hints = _hints(type_)
    if attrs.has(origin):
        return tuple(
            Field(
                field.name,
                field.alias if field.init else None,
                hints.get(field.name, field.type or Any),
                field.default is attrs.NOTHING,
                field.converter is not None,
            )
            for field in attrs.fields(origin)
        )
    if is_struct(origin):
        return tuple(
            Field(
                field.name,
                field.name,
                set_type(hints[field.name]),
                field.required,
                wire=None if field.encode_name == field.name else field.encode_name,
            )
            for field in msgspec.structs.fields(origin)
        )
    return tuple(
        Field(
            field.name,
            field.name if field.init else None,
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(origin)
    )


def _bare(hint: Any, required: bool) -> tuple[Any, bool]:
    """The type of a TypedDict's key, and whether the key must be there."""
    if get_origin(hint) in (Required, NotRequired):
        return get_args(hint)[0], get_origin(hint) is Required
    return hint, required


def _hints(type_: Any) -> dict[str, Any]:
    """The types of a class's fields, with the texts among them resolved where they were written."""
    origin = origin_of(type_)
    arguments = arguments_of(type_)
    everywhere: Arguments = {
        variable: given for own in reversed(arguments.values()) for variable, given in own.items()
    }
    if is_typeddict(origin):  # which does not remember its bases
        given = dict.fromkeys(get_type_hints(origin), everywhere)
    else:
        given = {
            name: arguments[base]
            for base in reversed(origin.__mro__)
            for name in inspect.get_annotations(base)
        }
    bare = get_type_hints(origin)
    hints = {
        name: hint if can_hash(hint) else bare[name]
        for name, hint in get_type_hints(origin, include_extras=True).items()
    }
    return {name: filled(hint, given[name]) for name, hint in hints.items()}


def can_hash(type_: object) -> bool:
    """Whether a type can be looked up; an annotation with a dict in it cannot."""
    try:
        hash(type_)
    except TypeError:
        return False
    return True


def mentions(type_: Any, fits: Callable[[Any], bool], seen: frozenset[Any] = frozenset()) -> bool:
    """Whether a value of this type may hold one of a type that fits."""
    if fits(type_) or fits(type_ := without_names(type_)):
        return True
    if is_literal(type_) or type_ in seen:
        return False
    parts = [part for part in get_args(type_) if part is not ...]
    if has_fields(type_):
        parts += [field.type for field in fields_of(type_)]
    elif is_namedtuple(type_):
        parts += get_type_hints(type_).values()
    return any(mentions(part, fits, seen | {type_}) for part in parts)
