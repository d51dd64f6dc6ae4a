"""MessagePack's maps where no type says what their keys are: arrays among these may be of one hash on purpose.

No map is built of which too many keys share a hash. Values of plain parts cost only their decoding.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import Raw

from .collisions import MOST, refuse_colliding
from .faults import Unfit

_LEAST = 2000
"""Bytes below which keys of one hash do no harm."""
_DEEPEST = 32
"""Levels of which each may cost a look at all that is in it."""
_LARGE_MAP = re.compile(rb"\xde(?:\0[\x65-\xff]|[^\0].)|\xdf", re.DOTALL)
"""How a map of more than 100 entries begins. Other values may hold these bytes, too."""
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))


_SCALARS: Any = str | int | float | bool | None
_view: Callable[[Any], memoryview] = memoryview
_decode = msgspec.msgpack.decode
_parts: Callable[[Any], list[Raw]] = msgspec.msgpack.Decoder(list[Raw]).decode


def decoder(shape: Any) -> Callable[[Raw | bytes], Any]:
    """What decodes values of this shape, and builds no map whose keys collide."""
    decode = msgspec.msgpack.Decoder[Any](shape).decode
    if _narrowed(shape, str) == shape:
        return decode
    # Plain values are held to their keys by being decoded; all others have to be looked at before.
    narrow = [msgspec.msgpack.Decoder[Any](_narrowed(shape, keys)).decode for keys in (str, _SCALARS)]

    def decode_untyped(data: Raw | bytes) -> Any:
        view = memoryview(data)
        if len(view) >= _LEAST:
            for decode_plain in narrow:
                with suppress(ValueError):
                    return decode_plain(view)
            refuse_colliding_maps(view)
        return decode(view)

    return decode_untyped


def refuse_colliding_maps(data: memoryview | bytes) -> None:
    """Raise for an encoded value that has too many keys of one hash in a map."""
    with suppress(msgspec.MsgspecError, TypeError):  # what is no MessagePack, or no key, its decoder refuses
        _look(memoryview(data), _DEEPEST)


def _look(data: memoryview, levels: int) -> None:
    if len(data) < _LEAST:
        return
    entries, start = _map_head(data)
    if not (start or data[0] in _ARRAYS) or not _LARGE_MAP.search(data):
        return
    if not levels:
        raise Unfit("Nested too deep")
    # Behind the head of an array, the same bytes are keys and values in turn.
    parts = _parts(b"\xdd" + (2 * entries).to_bytes(4, "big") + data[start:] if start else data)
    for part in map(_view, parts):
        if len(part) >= _LEAST:
            _look(part, levels - 1)
    if entries > MOST:
        arrays = [key for key in map(_view, parts[::2]) if key[0] in _ARRAYS]
        if len(arrays) > MOST:
            refuse_colliding([next(iter(_decode(b"\x81" + key + b"\xc0"))) for key in arrays])


def _map_head(data: memoryview) -> tuple[int, int]:
    """How many entries a map has, and where they begin; zeros for what is no map."""
    if 0x80 <= data[0] < 0x90:
        return data[0] & 0x0F, 1
    if data[0] not in (0xDE, 0xDF):
        return 0, 0
    start = 3 if data[0] == 0xDE else 5
    # There cannot be more than bytes.
    return min(int.from_bytes(data[1:start], "big"), len(data)), start


def _narrowed(type_: Any, keys: Any) -> Any:
    """The same type, but with plain values and these keys in the place of what is untyped in it."""
    if type_ is Any or type_ is object:
        return _plain(keys)
    if type_ is list:
        return GenericAlias(list, (_plain(keys),))
    if type_ is dict:
        return GenericAlias(dict, (keys, _plain(keys)))
    origin = get_origin(type_)
    arguments = tuple(_narrowed(argument, keys) for argument in get_args(type_))
    if origin not in (Union, UnionType):
        return GenericAlias(origin, arguments) if arguments else type_
    return _plain(keys) if _plain(keys) in arguments else reduce(or_, arguments)


@cache
def _plain(keys: Any) -> Any:
    """What most untyped values are, as deep as most are, with such keys in its maps."""
    value = _SCALARS
    for _ in range(6):
        value = _SCALARS | GenericAlias(list, (value,)) | GenericAlias(dict, (keys, value))
    return value
