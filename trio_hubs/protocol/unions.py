"""Unions: of which of some types a value is, by what it is, by its tag, or by the fields it has.

It is decided when the type is given; classes that no object tells apart are refused there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Literal, TypeAlias, get_args

from .faults import Unfit, an_object, expected
from .fields import (
    Field,
    fields_of,
    has_fields,
    is_literal,
    is_typed_dict,
    limits_of,
    origin_of,
    without_names,
)
from .hooks import Hooks
from .models import is_model, model_reader
from .naming import Format, folded
from .scalars import Reader, to_float
from .structs import is_array
from .writers import Writers

Chooser: TypeAlias = Callable[[Mapping[str, Any]], Any]
Literals: TypeAlias = Callable[[Any], Mapping[tuple[type, Any], Any]]


class Unions:
    """What reads values of unions, and of classes that others with tags are made of.

    Args:
        format: Of the wire.
        writers: What writes such values.
        hooks: What reads parts of them.
        exact: Classes of which msgspec reads just what is meant.
    """

    def __init__(self, format: Format, writers: Writers, hooks: Hooks, exact: frozenset[Any]) -> None:
        self._format: Format = format
        self._writers = writers
        self._hooks = hooks
        self._exact = exact
        self._fold: Callable[[str], str] = folded if writers.naming.rename(format) else str

    def reader(self, type_: Any) -> Reader:
        """What reads values of a union."""
        parts = get_args(type_)
        plain = {without_names(part) for part in parts}
        free = {
            without_names(part)
            for part in parts
            if not limits_of(part) and self._hooks.read_hook(part) is None
        }
        exact = free & self._exact
        numbers = frozenset({int, Decimal} - plain if float in exact else ())  # what a float may come as
        chosen = set(filter(is_literal, free))
        literals = {key: found for part in chosen for key, found in self._writers.literals(part).items()}
        kinds = frozenset(kind for kind, _ in literals)
        rest = [part for part in parts if without_names(part) not in exact | chosen]
        rest_type = rest[0] if len(rest) == 1 else type_
        read_rest = self._rest_reader(rest)

        def read(value: Any, _: Any) -> Any:
            if type(value) in exact:
                return value
            if type(value) in kinds and (type(value), value) in literals:
                return literals[type(value), value]
            if type(value) in numbers:
                return to_float(value, float)
            return read_rest(value, rest_type)

        return read

    def _rest_reader(self, types: Sequence[Any]) -> Reader:
        """What reads values of one of several types that only look at them can tell."""
        if len(types) == 1:
            return self._hooks.get_structure_hook(types[0])
        return self._classes_reader(types) if types else _to_none_of_these

    def _classes_reader(self, classes: Sequence[Any]) -> Reader:
        """What reads objects of one of several classes."""
        if all(map(is_model, classes)) and not all(map(self._writers.tag_of, classes)):
            return model_reader(reduce(or_, classes), self._format)
        fold = self._fold
        choose = chooser({class_: self._marks(class_) for class_ in classes}, self._writers.literals)
        readers = {class_: self._hooks.get_structure_hook(class_) for class_ in classes}

        def read(value: Any, _: Any) -> Any:
            class_ = choose({fold(str(wire)): item for wire, item in an_object(value).items()})
            return readers[class_](value, class_)

        return read

    def _marks(self, class_: Any) -> dict[str, Field]:
        """What tells objects of a class from others."""
        tag = self._writers.tag_of(class_)
        marks = {self._fold(tag[0]): Field(tag[0], None, Literal[tag[1]], required=True)} if tag else {}
        if has_fields(class_) and not is_typed_dict(class_) and not is_array(class_):
            return marks | {self._fold(self._writers.wire(field)): field for field in fields_of(class_)}
        if not marks or is_array(class_):
            raise indistinct([class_])
        return marks

    def made_of(self, type_: Any) -> list[type]:
        """The classes with tags that are made of a class, itself included; none where it is alone."""
        origin = origin_of(type_)
        if not isinstance(origin, type) or is_typed_dict(origin) or origin.__module__ == "builtins":
            return []
        found = [class_ for class_ in self._writers.naming.tags if issubclass(class_, origin)]
        return [] if found == [origin] else found

    def base_reader(self, type_: Any, read: Reader) -> Reader:
        """What reads objects of the classes with tags that are made of a class; those without one it is given."""
        classes = self.made_of(type_)
        if not classes:
            return read
        field, tags = self._writers.naming.tag_field, self._writers.naming.tags
        choose = _by_value(field, {(type(tags[class_]), tags[class_]): class_ for class_ in classes})
        readers = {
            class_: read if class_ is origin_of(type_) else self._hooks.get_structure_hook(class_)
            for class_ in classes
        }

        def read_tagged(value: Any, of: Any) -> Any:
            if field not in an_object(value):
                return read(value, of)
            class_ = choose(value)
            return readers[class_](value, class_)

        return read_tagged


def _to_none_of_these(value: Any, type_: Any) -> None:
    raise expected(" | ".join(getattr(part, "__name__", str(part)) for part in get_args(type_)), value)


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
        if not all(is_literal(without_names(type_)) for type_ in types):
            continue
        values = [literals(without_names(type_)) for type_ in types]
        found = {value: class_ for class_, own in zip(classes, values, strict=True) for value in own}
        if len(found) == sum(map(len, values)):
            return _by_value(name, found)
    return None


def _by_value(name: str, classes: Mapping[tuple[type, Any], Any]) -> Chooser:
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
