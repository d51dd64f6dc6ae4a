"""Payloads: arguments, items and results, between bytes and annotated Python types.

Law: everything about a type is decided when the type is given; per value there is only work on the value.
What does not fit is a `BindingError`, whatever the conversion raised, with Python's detail in its notes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import GenericAlias, NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import cattrs
import msgspec
from msgspec import Raw

from ..errors import BindingError
from .converters import Format, Naming, converter, mentions

__all__ = ["Format", "Naming", "Payloads"]

Dump: TypeAlias = Callable[[object], bytes]
Load: TypeAlias = Callable[[Raw | bytes], Any]


class Payloads:
    """Dumpers and loaders for one wire format and one way of naming.

    Args:
        format: What the bytes are.
        naming: "python" keeps names and writes enums by value; "dotnet" follows .NET's defaults: camelCase
            and numbers in JSON, PascalCase and names in MessagePack. Keys of dicts are never renamed.

    Attributes:
        join: Makes one array of undecoded values.
        split: Takes it apart again.
    """

    def __init__(self, format: Format, naming: Naming = "python") -> None:
        if naming not in get_args(Naming):
            raise ValueError(f"payloads must be one of {', '.join(get_args(Naming))}, not {naming!r}")
        self.format: Format = format
        self.naming: Naming = naming
        self._converter = converter(format, naming)
        self._json = format == "json"
        self._decoder: Any = msgspec.json.Decoder if self._json else msgspec.msgpack.Decoder
        self._encoder: msgspec.json.Encoder | msgspec.msgpack.Encoder = (
            msgspec.json.Encoder(decimal_format="number") if self._json else msgspec.msgpack.Encoder()
        )
        self.join: Callable[[Sequence[Raw]], bytes] = self._encoder.encode
        self.split: Callable[[bytes], list[Raw]] = self._decoder(list[Raw]).decode
        self._dump_any = self.dumper(Any)

    def dumper(self, type_: object) -> Dump:
        """A function that writes values of this type; `Any` goes by each value's own class."""
        prepare = self._preparation(type_)
        encode, json = self._encoder.encode, self._json

        def dump(value: object) -> bytes:
            try:
                plain = value if prepare is None else prepare(value)
                data = encode(plain)
                if json and b"null" in data:
                    _refuse_not_finite(plain)
            except Exception as problem:  # users' own conversions may raise anything
                raise _unwritable(value, problem) from problem
            return data

        return dump

    def lines_dumper(self, type_: object) -> Callable[[Sequence[object]], bytes]:
        """A function that writes many values at once, each followed by a newline; for JSON only."""
        prepare = self._preparation(type_)
        dump = self.dumper(type_)
        encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines

        def dump_lines(values: Sequence[object]) -> bytes:
            try:
                plain = values if prepare is None else [prepare(value) for value in values]
                data = encode_lines(plain)
                if b"null" in data:
                    _refuse_not_finite(plain)
            except Exception:  # noqa: BLE001 - users' own conversions may raise anything
                # The one that cannot be written says so itself.
                return b"".join([dump(value) + b"\n" for value in values])
            return data

        return dump_lines

    def dump_arguments(self, args: Sequence[object]) -> bytes:
        """The array of arguments of a call, each written by its own class."""
        try:
            return self._dump_any(list(args))
        except BindingError:
            for argument in args:  # the one that cannot be written says so itself
                self._dump_any(argument)
            raise

    def loader(self, type_: object) -> Load:
        """A function that reads one value of this type."""
        structure = self._structure(type_)
        decode = self._decode(Any if structure else type_, type_)

        def load(raw: Raw | bytes) -> Any:
            try:
                value = decode(raw)
                return value if structure is None else structure(value, type_)
            except Exception as problem:  # users' own classes may raise anything
                raise _unreadable(type_, problem) from problem

        return load

    def many_loader(self, type_: object) -> Callable[[Sequence[Raw] | bytes], list[Any]]:
        """A function that reads many values of this type in one go; one that does not fit fails them all.

        It takes them as they came, or as :attr:`join` has joined them.
        """
        structure = self._structure(type_)
        decode = self._decode(GenericAlias(list, (Any if structure else type_,)), type_)
        join = self.join

        def load_many(raws: Sequence[Raw] | bytes) -> list[Any]:
            try:
                values: list[Any] = decode(raws if isinstance(raws, bytes) else join(raws))
                return values if structure is None else [structure(value, type_) for value in values]
            except Exception as problem:  # users' own classes may raise anything
                raise _unreadable(type_, problem) from problem

        return load_many

    def arguments_loader(self, types: Sequence[object]) -> Callable[[Raw], list[Any]]:
        """A function that reads the array of arguments of a call."""
        loaders = [self.loader(type_) for type_ in types]
        # What msgspec reads by itself is read at once; the others stay as they are, for their own loaders.
        plain = [self._structure(type_) is None for type_ in types]
        parts = tuple(type_ if fits else Raw for type_, fits in zip(types, plain, strict=True))
        decode: Load = self._decoder(GenericAlias(tuple, parts)).decode
        rest = [(index, loaders[index]) for index, fits in enumerate(plain) if not fits]

        def load(raw: Raw) -> list[Any]:
            try:
                values = list(decode(raw))
                for index, load_one in rest:
                    values[index] = load_one(values[index])
            except (ValueError, RecursionError, BindingError):
                return self._load_singly(raw, loaders)
            return values

        return load

    def _load_singly(self, raw: Raw, loaders: Sequence[Load]) -> list[Any]:
        """Read the arguments one by one, to say which of them does not fit."""
        try:
            raws: list[Raw] = self._decoder(list[Raw]).decode(raw)
        except (ValueError, RecursionError) as problem:
            text = _ARGUMENTS_UNFIT if self._json else "Reading array length for 'arguments' failed."
            raise BindingError(text) from problem
        miscount = BindingError(
            f"Invocation provides {len(raws)} argument(s) but target expects {len(loaders)}."
        )
        if not self._json and len(raws) != len(loaders):
            raise miscount
        values: list[Any] = []
        for index, (load, argument) in enumerate(zip(loaders, raws, strict=False)):
            try:
                values.append(load(argument))
            except BindingError as problem:
                error = BindingError(_ARGUMENTS_UNFIT)
                for note in (str(problem), *getattr(problem, "__notes__", ())):
                    error.add_note(f"argument {index}: {note}")
                raise error from problem
        if len(raws) != len(loaders):
            raise miscount
        return values

    def _preparation(self, type_: object) -> Callable[[Any], Any] | None:
        """What turns a value into what msgspec writes; None when values can be written as they are."""
        if is_plain(type_, _PLAIN_TO_WRITE):
            return None
        return self._hook(self._converter.get_unstructure_hook, type_)

    def _structure(self, type_: object) -> Callable[[Any, Any], Any] | None:
        """What turns what msgspec reads into a value; None when msgspec reads the type by itself."""
        if is_plain(type_, _PLAIN_TO_READ):
            return None
        return self._hook(self._converter.get_structure_hook, type_)

    def _hook(self, get: Callable[[Any], Callable[..., Any]], type_: object) -> Callable[..., Any]:
        try:
            return get(type_)
        except Exception as problem:
            raise TypeError(f"the type {type_!r} cannot be converted: {problem}") from problem

    def _decode(self, shape: object, type_: object) -> Load:
        """A decoder to this shape, on the way to this type."""
        if self._json:
            # Going by way of a float would change the digits of a decimal.
            exact = Decimal if mentions(type_, Decimal) else None
            return msgspec.json.Decoder[Any](shape, float_hook=exact).decode
        decode = msgspec.msgpack.Decoder[Any](shape).decode

        def decode_clamped(raw: Raw | bytes) -> Any:
            try:
                return decode(raw)
            except msgspec.MsgspecError:
                raise
            except ValueError:
                # .NET's last DateTime has 100 ns more than fit into Python's.
                return decode(bytes(raw).replace(_DOTNET_LAST_DATETIME, _LAST_DATETIME))

        return decode_clamped


_ARGUMENTS_UNFIT = (
    "Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)
_LAST_DATETIME = msgspec.msgpack.encode(datetime.max.replace(tzinfo=UTC))
_DOTNET_LAST_DATETIME = _LAST_DATETIME.replace(
    (999_999_000).to_bytes(4, "big"), (999_999_900).to_bytes(4, "big")
)

_SCALARS = (None, NoneType, bool, int, float, str)
_PLAIN_TO_WRITE = _SCALARS
_PLAIN_TO_READ = (*_SCALARS, Any, object, list, dict, Raw)
_CONTAINERS = (list, dict, tuple, set, frozenset, Sequence, Mapping, Union, UnionType)


def is_plain(type_: object, plain: tuple[object, ...]) -> bool:
    """Whether a type is made of nothing but these, so that msgspec alone does what is meant."""
    if any(type_ is known for known in plain):
        return True
    args = [argument for argument in get_args(type_) if argument is not ...]
    return get_origin(type_) in _CONTAINERS and all(is_plain(argument, plain) for argument in args)


def _refuse_not_finite(value: object) -> None:
    """Raise for a NaN or an infinity anywhere in a value: msgspec would write it as null."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        return
    for item in value:
        _refuse_not_finite(item)


def _unwritable(value: object, problem: Exception) -> BindingError:
    return BindingError(f"A value of type {type(value).__qualname__!r} cannot be written: {problem}")


def _unreadable(type_: object, problem: Exception) -> BindingError:
    name = type_.__qualname__ if isinstance(type_, type) else str(type_)
    error = BindingError(f"A value does not fit the type {name!r}.")
    for note in cattrs.transform_error(problem):
        error.add_note(note)
    return error
