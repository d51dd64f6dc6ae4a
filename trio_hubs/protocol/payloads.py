"""Payloads: arguments, items and results, between bytes and annotated Python types.

Everything about a type is decided when the type is given; per value there is only work on the value.
What does not fit is a ``BindingError``, whatever the conversion raised; its note says what was wrong first, and where,
and never what was sent.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from types import GenericAlias, NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Raw

from ..errors import BindingError
from . import untyped_maps
from .collisions import Small, with_small_keys
from .converters import converters
from .faults import unfit
from .fields import mentions
from .naming import Format, Naming, NamingWord, naming_of
from .scalars import Reader, Writer

_PLAIN = (None, NoneType, bool, int, Small, float, str, Any, object, list, dict, Raw)
_CONTAINERS = (list, dict, tuple, set, frozenset, Sequence, Mapping, Union, UnionType)
_FINITE = (str, int, bool, NoneType)
_HASHING = (dict, set, frozenset, Mapping)
_KNOWN_TYPES = 256  # that loaders are kept for

Dump: TypeAlias = Callable[[object], bytes]
Load: TypeAlias = Callable[[Raw | bytes], Any]


class Payloads:
    """Dumpers and loaders for one wire format and one way of naming.

    Args:
        format: What the bytes are.
        naming: How fields, enums and classes are called.

    Attributes:
        join: Makes one array of undecoded values.
        split: Takes it apart again.
    """

    def __init__(self, format: Format, naming: Naming | NamingWord = "python") -> None:
        self.format: Format = format
        self.naming = naming_of(naming)
        self._readers, self._writers = converters(format, self.naming)
        self._json = format == "json"
        self._decoder: Any = msgspec.json.Decoder if self._json else msgspec.msgpack.Decoder
        encoder: Any = msgspec.json.Encoder if self._json else msgspec.msgpack.Encoder
        self._encoder: msgspec.json.Encoder | msgspec.msgpack.Encoder = encoder(
            enc_hook=self._writers.write_odd
        )
        self.join: Callable[[Sequence[Raw]], bytes] = self._encoder.encode
        self.split: Callable[[bytes], list[Raw]] = self._decoder(list[Raw]).decode
        self._loaders = lru_cache(_KNOWN_TYPES)(self._new_loader)
        self._many_loaders = lru_cache(_KNOWN_TYPES)(self._new_many_loader)
        self._dump_any = self.dumper(Any)
        self._plain_to_hash = (str, float, Small) if self._json else (str, float, int, bool, None, NoneType)

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
        return self._loaders(type_) if _can_hash(type_) else self._new_loader(type_)

    def _new_loader(self, type_: object) -> Load:
        read = self._read(type_)
        decode = self._decode(Any if read else type_, type_)

        def load(raw: Raw | bytes) -> Any:
            try:
                value = decode(raw)
                return value if read is None else read(value, type_)
            except Exception as problem:  # noqa: BLE001 - users' own classes may raise anything
                fault = _unreadable(type_, problem)
            raise fault

        shape = self._shape(type_)
        return _either(self._decode(shape, type_), load) if read and shape else load

    def many_loader(self, type_: object) -> Callable[[Sequence[Raw] | bytes], list[Any]]:
        """A function that reads many values of this type in one go; one that does not fit fails them all.

        It takes them as they came, or as :attr:`join` has joined them. For types that can be hashed it is made once.
        """
        return self._many_loaders(type_) if _can_hash(type_) else self._new_many_loader(type_)

    def _new_many_loader(self, type_: object) -> Callable[[Sequence[Raw] | bytes], list[Any]]:
        read = self._read(type_)
        decode = self._decode(GenericAlias(list, (Any if read else type_,)), type_)
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
        parts = tuple(self._shape(type_) or Raw for type_ in types)
        shape = GenericAlias(tuple, parts)
        decode: Load = self._decoder(shape).decode if self._json else untyped_maps.decoder(shape)
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
            arguments: list[Raw] = self._decoder(list[Raw]).decode(raw)
            return arguments
        raise BindingError(_ARGUMENTS_UNFIT if self._json else "Reading array length for 'arguments' failed.")

    def _write(self, type_: object) -> Writer | None:
        """What turns a value into what msgspec writes; None where it is that already."""
        return _found(self._writers.writer, type_)

    def _read(self, type_: object) -> Reader | None:
        """What turns what msgspec reads into a value; None when msgspec reads the type by itself."""
        return None if self._is_plain(type_) else _found(self._readers.reader, type_)

    def _shape(self, type_: object) -> Any:
        """The shape by which msgspec alone reads all or most values of a type; None where there is no such shape."""
        narrow = with_small_keys(type_)
        return next((shape for shape in (type_, narrow) if self._is_plain(shape)), None)

    def _is_plain(self, type_: object, plain: tuple[object, ...] = _PLAIN) -> bool:
        """Whether a type is made of nothing but these, so that msgspec alone reads what is meant."""
        if any(type_ is known for known in plain):
            return True
        origin = get_origin(type_)
        arguments = [argument for argument in get_args(type_) if argument is not ...]
        if origin in _HASHING:
            # Numbers of any size, as they come in JSON, may collide on purpose; and keys there are texts.
            keys = arguments if origin in (set, frozenset) else arguments[:1]
            if not all(self._is_plain(key, self._plain_to_hash) for key in keys):
                return False
        return origin in _CONTAINERS and all(self._is_plain(argument, plain) for argument in arguments)

    def _decode(self, shape: object, type_: object) -> Load:
        """A decoder to this shape, on the way to this type."""
        if self._json:
            # Going by way of a float would change the digits of a decimal.
            exact = Decimal if mentions(type_, lambda part: part is Decimal) else None
            return msgspec.json.Decoder[Any](shape, float_hook=exact).decode
        decode = untyped_maps.decoder(shape)

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


def _can_hash(type_: object) -> bool:
    try:
        hash(type_)
    except TypeError:  # as of an annotation with a dict in it
        return False
    return True


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
