"""Unions of classes: which of them an object is of, by the fields it has.

It is decided when the type is given; classes that no object tells apart are refused there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_origin

from .faults import Unfit
from .fields import Field, without_names

Chooser: TypeAlias = Callable[[Mapping[str, Any]], Any]
Literals: TypeAlias = Callable[[Any], Mapping[tuple[type, Any], Any]]


def chooser(classes: Mapping[Any, Mapping[str, Field]], literals: Literals) -> Chooser:
    """What finds the class of an object among some: by a tag or another literal, or else by its fields.

    Args:
        classes: Each with its fields, by their names on the wire.
        literals: Gives the values of a literal type, as they are on the wire.

    Raises:
        TypeError: Two of them cannot be told apart.
    """
    return _by_literal(classes, literals) or _by_field(classes)


def _by_literal(classes: Mapping[Any, Mapping[str, Field]], literals: Literals) -> Chooser | None:
    """By a field that is a literal in each class, and in each another."""
    first, *others = classes.values()
    for name in first:
        types = [fields[name].type if name in fields else None for fields in (first, *others)]
        if not all(get_origin(without_names(type_)) is Literal for type_ in types):
            continue
        values = [literals(without_names(type_)) for type_ in types]
        found = {value: class_ for class_, own in zip(classes, values, strict=True) for value in own}
        if len(found) == sum(map(len, values)):
            return by_value(name, found)
    return None


def by_value(name: str, classes: Mapping[tuple[type, Any], Any]) -> Chooser:
    """What finds the class of an object by the value of one field."""

    def choose(fields: Mapping[str, Any]) -> Any:
        value = fields.get(name)
        try:
            return classes[type(value), value]
        except (KeyError, TypeError):
            raise Unfit("Of none of the classes").within(f".{name}") from None

    return choose


def _by_field(classes: Mapping[Any, Mapping[str, Field]]) -> Chooser:
    """By a field that each must have and no other has; one of them may have none such."""
    marks: dict[str, Any] = {}
    left = dict(classes)
    while found := _next_mark(left):
        name, class_ = found
        marks[name] = class_
        del left[class_]
    if len(left) > 1:
        raise indistinct(left)

    def choose(fields: Mapping[str, Any]) -> Any:
        for name, class_ in marks.items():
            if name in fields:
                return class_
        for class_ in left:
            return class_
        raise Unfit("Of none of the classes")

    return choose


def _next_mark(classes: Mapping[Any, Mapping[str, Field]]) -> tuple[str, Any] | None:
    for class_, fields in classes.items():
        others = {name for other in classes if other is not class_ for name in classes[other]}
        for name, field in fields.items():
            if field.required and name not in others:
                return name, class_
    return None


def indistinct(types: Iterable[Any]) -> TypeError:
    """What is told of types that nothing tells apart."""
    names = " | ".join(type_.__qualname__ if isinstance(type_, type) else str(type_) for type_ in types)
    return TypeError(
        f"{names} cannot be told apart: give them tags, Naming(tags=...), or register a structure hook for their union"
    )
