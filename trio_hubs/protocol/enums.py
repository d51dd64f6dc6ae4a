"""Enums on the wire: by value, or by name; with .NET's naming by number in JSON and by name in MessagePack.

What is written is read back; by name, so is every form that .NET has for it. Of what is no member the class decides.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum, Flag
from functools import cache
from typing import Any

import msgspec

from .faults import Unfit, expected
from .naming import Format, Naming, folded
from .scalars import Reader, Writer

_MOST = 10_000
"""Combinations of one class of flags that are taken: Python keeps each for ever."""

_NUMBER = re.compile(r"-?\d{1,20}", re.ASCII)


def is_enum(type_: Any) -> bool:
    """Whether it is a class of members."""
    return isinstance(type_, type) and issubclass(type_, Enum)


class Enums:
    """Enums in one format, under one way of naming.

    Args:
        format: Of the wire.
        naming: Of the members.
        write: Writes their values.
        write_key: Writes their values as keys.
    """

    def __init__(
        self, format: Format, naming: Naming, write: Callable[[Any], Any], write_key: Callable[[Any], Any]
    ) -> None:
        self._write = write
        self._write_key = write_key
        self._rename = naming.rename_member(format)
        self._numbers = naming.numbers(format)
        codec: Any = msgspec.json if format == "json" else msgspec.msgpack
        self._encode, self._decode = codec.encode, codec.decode
        self.reader = cache(self._reader)
        self._names = cache(self._names_of)

    def writer(self, type_: type[Enum]) -> Writer:
        """What writes the members of an enum, and their combinations."""
        wires = {member.name: self._wire(member) for member in type_.__members__.values()}

        def write(member: Enum) -> Any:
            name = member._name_  # quicker than `name`
            return wires[name] if name in wires else self._wire(member)

        return write

    def _wire(self, member: Enum) -> Any:
        if self._numbers:
            return _number(member)
        return self._name(member) if self._rename else self._write(member.value)

    def write_key(self, member: Any) -> Any:
        """What stands for a member as a key: a name, too, where .NET has numbers elsewhere."""
        return self._name(member) if self._rename else self._write_key(member.value)

    def key_reader(self, type_: type[Enum]) -> Reader:
        """What reads the keys of JSON objects as members."""
        read = self.reader(type_)
        keys = {member: self.as_read({self.write_key(member): None}) for member in type_}
        texts = {text: member for member, (text,) in keys.items()}
        counts = self._rename or _has_numbers(type_)

        def read_key(key: str, _: Any) -> Any:
            if (found := texts.get(key)) is not None:
                return found
            return read(int(key) if counts and _NUMBER.fullmatch(key) else key, type_)

        return read_key

    def _reader(self, type_: type[Enum]) -> Reader:
        members = type_.__members__
        wires = self._names(type_) if self._rename else {}
        known: dict[tuple[type, Any], Enum] = {(str, name): member for member, name in wires.items()}
        names = {folded(name): member for name, member in members.items()} if wires else {}
        names |= {folded(name): member for member, name in wires.items()}
        for member in members.values():
            wire = _number(member) if wires else self.as_read(self._write(member.value))
            known[type(wire), wire] = member
            if type(wire) is float and wire.is_integer():  # which others write without a point
                known[int, int(wire)] = member

        def combined(number: int) -> Enum:
            if (found := known.get((int, number))) is None:
                if len(known) >= _MOST or not -(2**63) <= number < 2**64:
                    raise Unfit(f"No member of `{type_.__name__}`")
                found = known[int, number] = type_(number)
            return found

        def unknown(value: Any) -> Any:
            if type(value) is str and names:
                if (member := names.get(folded(value))) is not None:
                    return member
                if issubclass(type_, Flag) and (number := _sum(value, names)) is not None:
                    return combined(number)
            if type(value) is int and issubclass(type_, Flag):
                return combined(value)
            found = None if type(value) is bool else type_._missing_(value)  # to Python true is 1
            if not isinstance(found, type_):
                raise Unfit(f"No member of `{type_.__name__}`")
            return found

        def read(value: Any, _: Any) -> Any:
            if type(value) is Decimal:  # read for the sake of others
                value = float(value)
            wire = tuple(value) if type(value) is list else value
            try:
                found = known.get((type(wire), wire))
            except TypeError:
                raise expected(type_.__name__, value) from None
            return unknown(value) if found is None else found

        return read

    def _name(self, member: Any) -> str:
        """The name of a member; of combined flags those of its parts."""
        named = self._names(member.__class__)
        if member in named:
            return named[member]
        rest, parts = member.value, list[str]()
        for part in sorted(named, key=lambda part: part.value, reverse=True):
            if part.value and rest & part.value == part.value:
                rest -= part.value
                parts.insert(0, named[part])
        return ", ".join(parts) if parts and not rest else str(member.value)

    def _names_of(self, type_: type[Enum]) -> dict[Any, str]:
        assert self._rename
        names = {member: self._rename(member.name) for member in type_.__members__.values()}
        if len(set(names.values())) < len(names):
            raise TypeError(f"two members of {type_.__qualname__} have one name on the wire")
        return names

    def as_read(self, wire: Any) -> Any:
        """What the other side reads of what is written here."""
        read = self._decode(self._encode(wire))
        return tuple(read) if isinstance(read, list) else read  # hashable


def _sum(text: str, names: Mapping[str, Enum]) -> int | None:
    """The number of the flags that a text names, several as .NET writes them: ``Read, Write``; None for any other."""
    number = 0
    for part in text.split(","):
        name = folded(part.strip())
        if name not in names and not _NUMBER.fullmatch(name):
            return None
        number |= names[name].value if name in names else int(name)
    return number


@cache
def _has_numbers(type_: type[Enum]) -> bool:
    return all(isinstance(member.value, int) for member in type_)


@cache
def _places(type_: type[Enum]) -> dict[Enum, int]:
    """The numbers .NET would know the members by where they have none."""
    return {member: place for place, member in enumerate(type_)}


def _number(member: Enum) -> int:
    """The number .NET would know a member by: its value, or else its place."""
    if _has_numbers(member.__class__):
        return int(member.value)
    return _places(member.__class__)[member]
