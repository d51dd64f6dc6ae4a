"""Cutting bytes that arrive in any pieces into whole framed messages, and holding the size limit.

A whole message within the limit always comes out, however it was cut; one above it never does, and
nothing above the limit is kept. The limit counts the framed message: its 0x1E or its length counts, too.
"""

from typing import Protocol, TypeVar

from ..errors import ProtocolError

RECORD_SEPARATOR = b"\x1e"

T_co = TypeVar("T_co", covariant=True)


class Framing(Protocol[T_co]):
    """Cuts one direction of one connection into messages."""

    def take(self, data: bytes) -> tuple[T_co, ProtocolError | None]:
        """Take what has arrived: what is whole by now, and what is wrong after that, if anything."""
        ...

    @property
    def pending(self) -> bool:
        """Whether the beginning of a message waits for its end."""
        ...


class RecordFraming:
    """Records that each end in 0x1E; whole ones come out together, in one piece."""

    def __init__(self, maximum: int | None) -> None:
        self._maximum = maximum
        self._rest = bytearray()

    @property
    def pending(self) -> bool:
        return bool(self._rest)

    def take(self, data: bytes) -> tuple[bytes, ProtocolError | None]:
        end = data.rfind(RECORD_SEPARATOR) + 1
        whole = data[:end]
        if end and self._rest:
            whole = b"".join((self._rest, whole))
            self._rest.clear()
        if self._maximum is None:
            self._rest += data[end:]
            return whole, None
        if len(whole) > self._maximum:
            good = self._within_limit(whole, self._maximum)
            if good < len(whole):
                return whole[:good], _oversize(self._maximum)
        if end < len(data):
            self._rest += data[end:]
            if len(self._rest) > self._maximum:
                return whole, _oversize(self._maximum)
        return whole, None

    @staticmethod
    def _within_limit(whole: bytes, maximum: int) -> int:
        """How many bytes of whole records come before the first that is too large."""
        good = 0
        while good < len(whole):
            # Going to the last separator within reach takes one step per `maximum` bytes, not one per record.
            end = whole.rfind(RECORD_SEPARATOR, good, good + maximum) + 1
            if not end:
                break
            good = end
        return good


class LengthFraming:
    """Bodies that each follow their length, written as a VarInt of at most five bytes."""

    def __init__(self, maximum: int | None) -> None:
        self._maximum = maximum
        self._rest = bytearray()
        self._needed = 0

    @property
    def pending(self) -> bool:
        return bool(self._rest)

    def take(self, data: bytes) -> tuple[list[bytes], ProtocolError | None]:
        bodies: list[bytes] = []
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return bodies, None
            data = bytes(self._rest)
            self._rest.clear()
        position, size, maximum = 0, len(data), self._maximum
        while position < size:
            start = position + 1
            length = data[position]
            if length >= 0x80:
                length, start = _read_length(data, position)
                if length > _LARGEST_BODY:
                    return bodies, ProtocolError("Messages over 2GB in size are not supported.")
            end = start + length
            if maximum is not None and end - position > maximum:
                return bodies, _oversize(maximum)
            if end > size:
                self._needed = end - position
                self._rest += data[position:]
                break
            bodies.append(data[start:end])
            position = end
        return bodies, None


_LARGEST_BODY = 0x7FFFFFFF


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """The length that stands at ``position``, and where the body begins.

    A length that has not wholly arrived counts as one byte more than there is: its frame is incomplete.
    """
    length = 0
    for index, byte in enumerate(data[position : position + 5]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return length, position + index + 1
    if position + 5 <= len(data):
        return _LARGEST_BODY + 1, position
    return 1, len(data)


def length_prefix(length: int) -> bytes:
    """The VarInt that stands before a body of this length."""
    prefix = bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


def _oversize(maximum: int) -> ProtocolError:
    return ProtocolError(
        f"The maximum message size of {maximum}B was exceeded. It can be set by maximum_message_size."
    )
