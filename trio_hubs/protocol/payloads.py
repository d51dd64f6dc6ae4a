"""Payloads: arguments, items and results, between bytes and annotated Python types.

Everything about a type is decided when the type is given; per value there is only work on the value.
What does not fit is a ``BindingError``, whatever the conversion raised; its note says what was wrong first, and where,
and never what was sent.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from math import isfinite
from types import GenericAlias, NoneType
from typing import Any, TypeAlias, TypeVar

import msgspec
from cattrs import Converter, StructureHandlerNotFoundError
from msgspec import Raw

from ..errors import BindingError
from .converters import converters
from .decoders import Decoders, Load
from .faults import unfit
from .fields import can_hash
from .naming import Format, Naming, NamingWord, naming_of
from .scalars import Reader, Writer
from .writers import WHERE_HOOKS_GO

_FINITE = (str, int, bool, NoneType)
_KNOWN_TYPES = 256  # that loaders are kept for

Dump: TypeAlias = Callable[[object], bytes]


class Payloads:
    """Dumpers and loaders for one wire format and one way of naming.

    Args:
        format: What the bytes are.
        naming: How fields, enums and classes are called.
        converter: Has the user's hooks, which are copied.

    Attributes:
        join: Makes one array of undecoded values.
        split: Takes it apart again.
    """

    def __init__(
        self, format: Format, naming: Naming | NamingWord = "python", converter: Converter | None = None
    ) -> None:
        self.format: Format = format
        self._readers, self._writers = converters(format, naming_of(naming), converter)
        self._decoders = Decoders(format, self._readers.hook)
        self._json = format == "json"
        encoder: Any = msgspec.json.Encoder if self._json else msgspec.msgpack.Encoder
        decoder: Any = msgspec.json.Decoder if self._json else msgspec.msgpack.Decoder
        self._encoder: msgspec.json.Encoder | msgspec.msgpack.Encoder = encoder(
            enc_hook=self._writers.write_odd
        )
        self.join: Callable[[Sequence[Raw]], bytes] = self._encoder.encode
        self.split: Callable[[bytes | Raw], list[Raw]] = decoder(list[Raw]).decode
        self._loaders = lru_cache(_KNOWN_TYPES)(self._new_loader)
        self._many_loaders = lru_cache(_KNOWN_TYPES)(self._new_many_loader)
        self._dump_any = self.dumper(Any)

    def dumper(self, type_: object) -> Dump:
        """A function that writes values of this type, each as what it is."""
        write = self._write(type_)
        encode, json = self._encoder.encode, self._json

        def dump(value: object) -> bytes:
            try:
                plain = value if write is None else write(value)
                data = encode(plain)
                if json and data.find(b"null") >= 0:
                    _refuse_not_finite(plain)
            except Exception as problem:  # users' own classes may raise anything
                if write is None:
                    return self._dump_any(value)  # it is not what it was declared to be
                raise _unwritable(value, problem) from problem
            return data

        return dump

    def lines_dumper(self, type_: object) -> Callable[[Sequence[object]], bytes]:
        """A function that writes many values at once, each followed by a newline; for JSON only."""
        write = self._write(type_)
        dump = self.dumper(type_)
        encode_lines = msgspec.json.Encoder(enc_hook=self._writers.write_odd).encode_lines

        def dump_lines(values: Sequence[object]) -> bytes:
            try:
                plain = values if write is None else list(map(write, values))
                data = encode_lines(plain)
                if data.find(b"null") >= 0:
                    _refuse_not_finite(plain)
            except Exception:  # noqa: BLE001 - users' own classes may raise anything
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
        """A function that reads one value of this type; for types that can be hashed it is made once."""
        return self._loaders(type_) if can_hash(type_) else self._new_loader(type_)

    def _new_loader(self, type_: object) -> Load:
        read = self._read(type_)
        decode = self._decoders.decoder(Any if read else type_, type_)

        def load(raw: Raw | bytes) -> Any:
            try:
                value = decode(raw)
                return value if read is None else read(value, type_)
            except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                fault = _unreadable(type_, problem)
            raise fault

        shape = self._decoders.shape(type_)
        return _either(self._decoders.decoder(shape, type_), load) if read and shape else load

    def many_loader(self, type_: object) -> Callable[[Sequence[Raw] | bytes], list[Any]]:
        """A function that reads many values of this type in one go; one that does not fit fails them all.

        It takes them as they came, or as :attr:`join` has joined them. For types that can be hashed it is made once.
        """
        return self._many_loaders(type_) if can_hash(type_) else self._new_many_loader(type_)

    def _new_many_loader(self, type_: object) -> Callable[[Sequence[Raw] | bytes], list[Any]]:
        read = self._read(type_)
        decode = self._decoders.decoder(GenericAlias(list, (Any if read else type_,)), type_)
        join = self.join

        def load_many(raws: Sequence[Raw] | bytes) -> list[Any]:
            try:
                values: list[Any] = decode(raws if isinstance(raws, bytes) else join(raws))
                return values if read is None else [read(value, type_) for value in values]
            except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                fault = _unreadable(type_, problem)
            raise fault

        return load_many

    def arguments_loader(
        self, types: Sequence[object], required: int | None = None, *, extra: bool = False
    ) -> Callable[[Raw], list[Any]]:
        """A function that reads the array of arguments of a call.

        Args:
            types: Their types.
            required: How many must be there; all unless told otherwise.
            extra: Whether there may be more of them, which are left out.
        """
        fewest = len(types) if required is None else required
        loaders = [self.loader(type_) for type_ in types]
        # What msgspec reads by itself is read at once; the others stay as they are, for their own loaders.
        parts = [self._decoders.shape(type_) or Raw for type_ in types]
        decode = self._decoders.array(parts)
        rest = [(index, loaders[index]) for index, part in enumerate(parts) if part is Raw]

        def load(raw: Raw) -> list[Any]:
            try:
                values = list(decode(raw))
            except (ValueError, RecursionError):
                values = None
            if values is None:  # the fault is told without this one
                return self._load_singly(raw, loaders, fewest, extra=extra)
            for index, load_one in rest:
                values[index] = _load_argument(index, load_one, values[index])
            return values

        return load

    def variadic_loader(self, type_: object) -> Callable[[Raw], list[Any]]:
        """A function that reads the arguments of a call that may be any number of one type."""
        load_all, load_one = self.loader(GenericAlias(list, (type_,))), self.loader(type_)

        def load(raw: Raw) -> list[Any]:
            try:
                values: list[Any] | None = load_all(raw)
            except BindingError:
                values = None
            if values is not None:
                return values
            return [
                _load_argument(index, load_one, argument)
                for index, argument in enumerate(self.split_arguments(raw))
            ]

        return load

    def _load_singly(self, raw: Raw, loaders: Sequence[Load], fewest: int, *, extra: bool) -> list[Any]:
        """Read the arguments one by one: to say which does not fit, or as there are fewer or more than parameters."""
        raws = self.split_arguments(raw)
        fits = fewest <= len(raws) and (extra or len(raws) <= len(loaders))
        expected = fewest if len(raws) < fewest else len(loaders)
        miscount = BindingError(f"Invocation provides {len(raws)} argument(s) but target expects {expected}.")
        if not self._json and not fits:
            raise miscount
        values = [
            _load_argument(index, load, argument)
            for index, (load, argument) in enumerate(zip(loaders, raws, strict=False))
        ]
        if not fits:
            raise miscount
        return values

    def split_arguments(self, raw: Raw) -> list[Raw]:
        """The arguments of a call, undecoded."""
        with suppress(ValueError, RecursionError):
            return self.split(raw)
        raise BindingError(_ARGUMENTS_UNFIT if self._json else "Reading array length for 'arguments' failed.")

    def _write(self, type_: object) -> Writer | None:
        """What turns a value into what msgspec writes; None where it is that already."""
        return _found(self._writers.writer, type_)

    def _read(self, type_: object) -> Reader | None:
        """What turns what msgspec reads into a value; None when msgspec reads the type by itself."""
        return None if self._decoders.is_plain(type_) else _found(self._readers.reader, type_)


_ARGUMENTS_UNFIT = (
    "Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)


def _either(load: Load, load_others: Load) -> Load:
    """A loader that gives the second what the first refuses."""

    def load_either(raw: Raw | bytes) -> Any:
        with suppress(ValueError, RecursionError):
            return load(raw)
        return load_others(raw)

    return load_either


_Found = TypeVar("_Found")


def _found(find: Callable[[Any], _Found], type_: object) -> _Found:
    try:
        return find(type_)
    except StructureHandlerNotFoundError as problem:
        name = getattr(problem.type_, "__qualname__", str(problem.type_))
        raise TypeError(
            f"the type {type_!r} cannot be converted: register a structure hook for {name}, "
            f"converter.register_structure_hook({name}, ...), {WHERE_HOOKS_GO}"
        ) from problem
    except Exception as problem:
        raise TypeError(f"the type {type_!r} cannot be converted: {problem}") from problem


def _load_argument(index: int, load: Load, raw: Raw) -> Any:
    try:
        return load(raw)
    except BindingError as problem:
        error = BindingError(_ARGUMENTS_UNFIT)
        error.add_note(f"argument {index + 1}: {problem.__notes__[0]}")
    raise error


def _refuse_not_finite(value: object) -> None:
    """Raise for a NaN or an infinity anywhere in a value: msgspec would write it as null."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{float(value)} is not a JSON number")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        return
    for item in value:
        if type(item) not in _FINITE:
            _refuse_not_finite(item)


def _unwritable(value: object, problem: Exception) -> BindingError:
    return BindingError(f"A value of type {type(value).__qualname__!r} cannot be written: {problem}")


def _unreadable(type_: object, problem: Exception) -> BindingError:
    name = type_.__qualname__ if isinstance(type_, type) else str(type_)
    error = BindingError(f"A value does not fit the type {name!r}.")
    error.add_note(str(unfit(problem)))
    return error
