"""Cutting bytes that arrive in any pieces into whole framed messages, and holding the size limit.

Law: a whole message within the limit always comes out, however it was cut; one above it never does, and nothing
above the limit is ever kept. The limit counts the framed message: the body and the 0x1E or the length before it.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from ..errors import ProtocolError

RECORD_SEPARATOR = b"\x1e"

T_co = TypeVar("T_co", covariant=True)


class Framing(Protocol[T_co]):
    """Cuts one direction of one connection into messages."""

    def feed(self, data: bytes) -> Iterator[T_co]:
        """Take what has arrived and yield what is whole by now; then raise, if what follows is no frame."""
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

    def feed(self, data: bytes) -> Iterator[bytes]:
        end = data.rfind(RECORD_SEPARATOR) + 1
        if end:
            whole = data[:end]
            if self._rest:
                whole = b"".join((self._rest, whole))
                self._rest.clear()
            good = self._within_limit(whole)
            if good:
                yield whole[:good]
            if good < len(whole):
                raise oversize(self._maximum)
        self._rest += data[end:]
        if self._maximum is not None and len(self._rest) > self._maximum:
            raise oversize(self._maximum)

    def _within_limit(self, whole: bytes) -> int:
        """How many bytes of whole records come before the first that is too large."""
        if self._maximum is None or len(whole) <= self._maximum:
            return len(whole)
        # Stepping to the last separator within reach needs one step per `maximum` bytes, not one per record.
        good = 0
        while good < len(whole):
            end = whole.rfind(RECORD_SEPARATOR, good, good + self._maximum) + 1
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

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        bodies: list[bytes] = []
        error = None
        position, size = 0, len(data)
        limit = self._maximum if self._maximum is not None else size + _LARGEST_FRAME
        while position < size:
            start = position + 1
            length = data[position]
            if length >= 0x80:
                try:
                    length, start = _read_length(data, position)
                except ProtocolError as problem:
                    error = problem
                    break
            end = start + length
            if end - position > limit:
                error = oversize(self._maximum)
                break
            if end > size:
                self._needed = end - position
                self._rest += data[position:]
                break
            bodies.append(data[start:end])
            position = end
        if bodies:
            yield bodies
        if error is not None:
            raise error


_LARGEST_FRAME = 0x7FFFFFFF + 5


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """The length that stands at `position`, and where the body begins.

    A length that has not wholly arrived counts as one byte more than there is: its frame is incomplete.
    """
    length = 0
    for index, byte in enumerate(data[position : position + 5]):
        length |= (byte & 0x7F) << (7 * index)
        if length > 0x7FFFFFFF or (index == 4 and byte >= 0x80):
            raise ProtocolError("Messages over 2GB in size are not supported.")
        if byte < 0x80:
            return length, position + index + 1
    return 1, len(data)


def length_prefix(length: int) -> bytes:
    """The VarInt that stands before a body of this length."""
    if length < 0x80:
        return _SHORT_PREFIXES[length]
    prefix = bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


_SHORT_PREFIXES = tuple(bytes((length,)) for length in range(0x80))


def oversize(maximum: int | None) -> ProtocolError:
    """The error for a message above the limit."""
    return ProtocolError(
        f"The maximum message size of {maximum}B was exceeded. "
        "The message size can be configured in AddHubOptions."
    )
