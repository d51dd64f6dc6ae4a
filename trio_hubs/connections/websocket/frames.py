"""The WebSocket's data frames, as pure bytes (RFC 6455, section 5)."""

from __future__ import annotations

import os

CONTINUATION = 0x00
TEXT = 0x81
BINARY = 0x82
CLOSE = 0x88
PING = 0x89
PONG = 0x8A

_SMALL = 512  # bytes up to which one operation on large integers is faster than four on every fourth byte
_REPEATED = [sum(1 << 32 * word for word in range(words)) for words in range(_SMALL // 4 + 1)]
_XOR = [bytes(a ^ b for a in range(256)) for b in range(256)]


def mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload with a four-byte key; it is the same operation."""
    size = len(payload)
    if size <= _SMALL:
        words = (size + 3) // 4
        keys = int.from_bytes(key, "little") * _REPEATED[words]
        return (int.from_bytes(payload, "little") ^ keys).to_bytes(words * 4, "little")[:size]
    masked = bytearray(payload)
    for i in range(4):
        masked[i::4] = masked[i::4].translate(_XOR[key[i]])
    return bytes(masked)


def encode_frame(first: int, payload: bytes, *, masked: bool) -> bytes:
    """Encode one final frame.

    Args:
        first: The frame's first byte, such as :data:`TEXT`.
        payload: Any number of bytes.
        masked: Mask it with a fresh key, as clients must.
    """
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + mask(payload, key)
