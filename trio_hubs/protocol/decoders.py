"""Decoders: of which types msgspec alone reads just what is meant, and how it reads the others' parts.

No number of a decimal goes by way of a float, and nothing is read by which a peer could make dicts and sets slow.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import GenericAlias, NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Raw

from . import untyped_maps
from .collisions import Small, with_small_keys
from .fields import mentions
from .naming import Format
from .scalars import Reader

_PLAIN = (None, NoneType, bool, int, Small, float, str, Any, object, list, dict, Raw)
_CONTAINERS = (list, dict, tuple, set, frozenset, Sequence, Mapping, Union, UnionType)
_HASHING = (dict, set, frozenset, Mapping)

Load: TypeAlias = Callable[[Raw | bytes], Any]


class Decoders:
    """Makes decoders of one format.

    Args:
        format: The format.
        hook: What reads a type by a hook of the user's, so that msgspec does not.
    """

    def __init__(self, format: Format, hook: Callable[[Any], Reader | None]) -> None:
        self._json = format == "json"
        self._hook = hook
        self._plain_to_hash = (str, float, Small) if self._json else (str, float, int, bool, None, NoneType)

    def shape(self, type_: object) -> Any:
        """The shape by which msgspec alone reads all or most values of a type; None where there is no such shape."""
        narrow = with_small_keys(type_)
        return next((shape for shape in (type_, narrow) if self.is_plain(shape)), None)

    def is_plain(self, type_: object, plain: tuple[object, ...] = _PLAIN) -> bool:
        """Whether a type is made of nothing but these, so that msgspec alone reads what is meant."""
        if self._hook(type_) is not None:
            return False
        if any(type_ is known for known in plain):
            return True
        origin = get_origin(type_)
        arguments = [argument for argument in get_args(type_) if argument is not ...]
        if origin in _HASHING:
            # Numbers of any size, as they come in JSON, may collide on purpose; and keys there are texts.
            keys = arguments if origin in (set, frozenset) else arguments[:1]
            if not all(self.is_plain(key, self._plain_to_hash) for key in keys):
                return False
        return origin in _CONTAINERS and all(self.is_plain(argument, plain) for argument in arguments)

    def array(self, parts: Sequence[object]) -> Load:
        """A decoder of an array of just these parts, which are plain or undecoded."""
        shape = GenericAlias(tuple, tuple(parts))
        return msgspec.json.Decoder[Any](shape).decode if self._json else untyped_maps.decoder(shape)

    def decoder(self, shape: object, type_: object) -> Load:
        """A decoder to a shape, on the way to a type."""
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


_LAST_DATETIME = msgspec.msgpack.encode(datetime.max.replace(tzinfo=UTC))
_DOTNET_LAST_DATETIME = _LAST_DATETIME.replace(
    (999_999_000).to_bytes(4, "big"), (999_999_900).to_bytes(4, "big")
)
