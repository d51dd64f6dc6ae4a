"""How values become what msgspec writes: each by what it is, wherever it was declared to be something less.

What msgspec writes of it is JSON, or MessagePack: its numbers are finite, and keys of objects have a text. What
cannot be written so raises.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from math import isfinite
from types import UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import Converter, override
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, make_dict_unstructure_fn_from_attrs

from .enums import Enums, is_enum
from .fields import Field, fields_of, has_fields, is_typed_dict, mentions, origin_of, without_names
from .hooks import Hooks
from .models import is_model
from .naming import Format, Naming, naming_of
from .scalars import Writer, native, scalar_writers
from .structs import is_array, is_struct, struct_writer, tag_of

_ARRAYS = (list, tuple, set, frozenset, deque, Sequence, AbstractSet)
_MAPS = (dict, Mapping)
_TEXTS = frozenset({str})
_WITH_TEXT = frozenset({str, UUID, datetime, date, time, bytes})
"""Keys that msgspec writes as text."""
_CATTRS = Converter()
WHERE_HOOKS_GO = "and give it to HubOptions or open_hub_connection as converter=converter"


class Writers:
    """What writes values in one format, under one way of naming.

    Args:
        format: Of the wire.
        naming: Of fields, enums and classes.
        hooks: The user's.

    Attributes:
        naming: Of fields, enums and classes.
        enums: What writes and reads enums.
    """

    def __init__(self, format: Format, naming: Naming, hooks: Hooks) -> None:
        hooks.writer = self._typed_writer
        self._hook = hooks.write_hook
        self.naming = naming
        self._rename = naming.rename(format)
        self._scalars = scalar_writers(format, naming)
        self._json = format == "json"
        text = self._write_hooked_text if hooks.some else self._write_text
        self.write_key = text if self._json else self._write_packed_key
        self.enums = Enums(format, naming, self.write, self.write_key)
        self._as_is = frozenset(
            class_ for class_ in native(format, naming) if hooks.write_hook(class_) is None
        )
        self._by_class = _WhenNeeded(self._writer_of)
        self._by_type = _WhenNeeded(self._fields_writer)

    def writer(self, type_: Any) -> Writer | None:
        """What writes values that are declared to be of a type; None where msgspec alone does."""
        if self._is_as_is(type_):
            return None
        if mentions(type_, self._says_more):
            return self._typed_writer(type_)
        if has_fields(type_) and not is_typed_dict(type_):
            return self._checked(origin_of(type_))
        return self.write

    def write(self, value: Any) -> Any:
        """Write a value by its own class."""
        class_ = type(value)
        return value if class_ in self._as_is else self._by_class[class_](value)

    def write_odd(self, value: Any) -> Any:
        """Write a value that msgspec has met, unawares, and does not know."""
        plain = self.write(value)
        if plain is value:
            name = type(value).__qualname__
            raise TypeError(
                f"Encoding objects of type {name} is unsupported: register an unstructure hook for it, "
                f"converter.register_unstructure_hook({name}, ...), {WHERE_HOOKS_GO}"
            )
        return plain

    def _checked(self, class_: type) -> Writer:
        """What writes a class with fields, and those made of it."""
        exact = self._by_class[class_]

        def write(value: Any) -> Any:
            if type(value) is class_:
                return exact(value)
            if not isinstance(value, class_):
                raise TypeError(f"it is no {class_.__qualname__}")
            return self.write(value)

        return write

    def _writer_of(self, class_: type) -> Writer:
        """What writes values of a class."""
        hook = self._hook(class_)
        if hook is not None:
            return self._with_tag(class_, self._hooked_writer(class_, hook))
        own = self._own_writer(class_)
        return own if has_fields(class_) else self._with_tag(class_, own)

    def _hooked_writer(self, type_: Any, hook: Writer) -> Writer:
        """What writes by a hook, and then whatever that gives."""
        own = self.write if self._declared(type_) else self._own_writer(type_)

        def write(value: Any) -> Any:
            plain = hook(value)
            return own(plain) if type(plain) is type(value) else self.write(plain)

        return write

    def _with_tag(self, class_: type, write: Writer) -> Writer:
        """What writes a class's tag, if it has one, before its fields."""
        tag = self.tag_of(class_)
        return write if tag is None else lambda value: dict([tag], **write(value))

    def tag_of(self, class_: Any) -> tuple[str, str | int] | None:
        """The field of a class's tag, and the tag, if it has one."""
        if class_ in self.naming.tags:
            return self.naming.tag_field, self.naming.tags[class_]
        return tag_of(class_) if is_struct(class_) else None

    def _own_writer(self, class_: type) -> Writer:
        """What writes values of a class that has no hook."""
        if is_enum(class_):
            return self.enums.writer(class_)
        if is_model(class_) and not has_fields(class_):
            return self._model_writer()
        if has_fields(class_):
            return self._fields_writer(class_)
        for base in class_.__mro__:
            if base in self._scalars:
                return self._scalars[base]
        if issubclass(class_, Mapping):
            return self._write_map
        return self._write_array if issubclass(class_, _ARRAYS) else identity

    def _model_writer(self) -> Writer:
        """What writes models of pydantic: whatever they make of themselves, with enums by value."""
        if self._json:
            return lambda value: value.model_dump(mode="json", by_alias=True, warnings=False)
        write = Writers("messagepack", naming_of("python"), Hooks(None)).write
        return lambda value: write(value.model_dump(by_alias=True, warnings=False))

    def literals(self, type_: Any) -> dict[tuple[type, Any], Any]:
        """The values of a literal, by what is read of them, and its class."""
        wires = [(self.enums.as_read(self.write(literal)), literal) for literal in get_args(type_)]
        return {(type(wire), wire): literal for wire, literal in wires}

    # ---- values with parts

    def _is_as_is(self, type_: Any) -> bool:
        """Whether msgspec alone writes what is meant by a type."""
        if self._says_more(type_):
            return False
        type_ = without_names(type_)
        origin, arguments = get_origin(type_), get_args(type_)
        if origin in _MAPS and without_names(arguments[0]) not in (str, int):
            return False
        if origin in (*_MAPS, *_ARRAYS, Union, UnionType):
            return all(argument is ... or self._is_as_is(argument) for argument in arguments)
        return type_ is None or (isinstance(type_, type) and type_ in self._as_is)

    def _write_array(self, value: Collection[Any]) -> list[Any]:
        kinds = set(map(type, value))
        if kinds <= self._as_is:
            return value if type(value) is list else list(value)
        by_class = self._by_class
        if len(kinds) == 1:
            return list(map(by_class[kinds.pop()], value))
        as_is = self._as_is
        return [item if type(item) in as_is else by_class[type(item)](item) for item in value]

    def _write_map(self, value: Mapping[Any, Any]) -> Any:
        if not _TEXTS.issuperset(map(type, value)):
            return self._write_keys(value, self.write)
        as_is, by_class = self._as_is, self._by_class
        if type(value) is dict and as_is.issuperset(map(type, value.values())):
            return value
        return {
            key: item if type(item) in as_is else by_class[type(item)](item) for key, item in value.items()
        }

    def _write_keys(self, value: Mapping[Any, Any], write: Writer) -> dict[Any, Any]:
        plain = {self.write_key(key): write(item) for key, item in value.items()}
        if len(plain) < len(value):
            raise ValueError("two keys are the same on the wire")
        return plain

    def _write_packed_key(self, key: Any) -> Any:
        """Write a key of MessagePack."""
        plain = self.write(key)
        if type(plain) in (list, dict):
            raise TypeError(f"a key of type {type(key).__qualname__!r} is no key on the wire")
        return plain

    def _write_text(self, key: Any) -> Any:
        """Write the key of a JSON object."""
        plain = self.enums.write_key(key) if is_enum(type(key)) else key
        match plain:
            case bool():
                return "true" if plain else "false"
            case int():
                return int.__repr__(plain)
            case float() | Decimal() if isfinite(plain):
                return str(float(plain) if isinstance(plain, float) else plain)
            case _:
                plain = self.write(plain)
        if type(plain) not in _WITH_TEXT:
            raise TypeError(f"a key of type {type(key).__qualname__!r} has no text")
        return plain

    def _write_hooked_text(self, key: Any) -> Any:
        return self._write_text(key if self._hook(type(key)) is None else self.write(key))

    def _fields_writer(self, type_: Any) -> Writer:
        """What writes a class with fields, or a TypedDict."""
        class_, fields = origin_of(type_), fields_of(type_)
        wires = {field.name: self.wire(field) for field in fields}
        tag = None if is_typed_dict(type_) else self.tag_of(class_)
        names = [*wires.values(), *(tag or ())[:1]]
        if len(set(names)) < len(names):
            raise TypeError(f"two fields of {class_.__qualname__} have one name on the wire")
        writers = {
            field.name: identity if self._is_as_is(field.type) else self._typed_writer(field.type)
            for field in fields
        }
        if is_typed_dict(type_):
            return lambda value: {
                wires.get(key, key): writers.get(key, self.write)(item) for key, item in value.items()
            }
        if is_struct(class_):
            write = struct_writer(class_, wires, writers)
        else:
            write = self._attributes_writer(class_, wires, writers)
        if not is_array(class_):
            write = self._with_tag(class_, write)
        if class_ is type_:
            return write
        return lambda value: write(value) if type(value) is class_ else self.write(value)

    def _attributes_writer(
        self, class_: Any, wires: Mapping[str, str], writers: Mapping[str, Writer]
    ) -> Writer:
        """What writes an attrs class or a dataclass."""
        overrides: Any = {name: override(rename=wires[name], unstruct_hook=writers[name]) for name in wires}
        # Given the fields of an attrs class, cattrs resolves no types in them.
        make: Any = (
            partial(make_dict_unstructure_fn_from_attrs, list(attrs.fields(class_)))
            if attrs.has(class_)
            else make_dict_unstructure_fn
        )
        write: Writer = make(class_, _CATTRS, _cattrs_include_init_false=True, **overrides)
        return write

    def wire(self, field: Field) -> str:
        """What a field is called on the wire."""
        return field.wire or (self._rename(field.name) if self._rename else field.name)

    def _declared(self, type_: Any) -> bool:
        """Whether values do not know themselves that they are of a type."""
        return not isinstance(type_, type) or is_typed_dict(type_)

    def _declared_hook(self, type_: Any) -> Writer | None:
        """The user's hook for such a type."""
        return self._hook(type_) if self._declared(type_) else None

    def _says_more(self, type_: Any) -> bool:
        """Whether a type knows of its values what they do not know themselves: their fields' names, or a hook."""
        return bool(self._rename and is_typed_dict(type_)) or self._declared_hook(type_) is not None

    def _typed_writer(self, type_: Any) -> Writer:
        """What writes a type that may know of its values what they do not know themselves."""
        if (hook := self._declared_hook(type_)) is not None:
            return self._hooked_writer(type_, hook)
        plain = without_names(type_)
        if plain is not type_:
            return self._typed_writer(plain)
        if not mentions(type_, self._says_more):
            return self.write
        if has_fields(type_) and not self._declared(type_):
            return self.write
        if has_fields(type_):
            # Not before it is needed: it may be within itself.
            return lambda value: self._by_type[type_](value)  # noqa: PLW0108
        origin, arguments = origin_of(type_), get_args(type_)
        writers = [self._typed_writer(argument) for argument in arguments if argument is not ...]
        if origin in (Union, UnionType):
            known = [
                (_class(part), write)
                for part, write in zip(arguments, writers, strict=True)
                if mentions(part, self._says_more)
            ]

            others = {_class(part) for part in arguments if not mentions(part, self._says_more)}

            def write_part(value: Any) -> Any:
                if type(value) in others:
                    return self.write(value)
                fitting = (write for class_, write in known if isinstance(value, class_))
                return next(fitting, self.write)(value)

            return write_part
        if origin in _MAPS:
            return lambda value: self._write_keys(value, writers[1])
        if origin is tuple and ... not in arguments:
            return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]
        return lambda value: list(map(writers[0], value))


def _class(type_: Any) -> type:
    """The class that values of a type have."""
    class_: type = dict if is_typed_dict(type_) else origin_of(without_names(type_))
    return class_


class _WhenNeeded(dict[Any, Writer]):
    """What writes the values of each class, as soon as there is one."""

    def __init__(self, make: Callable[[Any], Writer]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, class_: Any) -> Writer:
        writer = self[class_] = self._make(class_)
        return writer
