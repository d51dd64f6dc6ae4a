"""What a worker and its supervisor tell each other, each frame a MessagePack array behind its length."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from ..errors import ProtocolError
from ..protocol.framing import LengthFraming, length_prefix

LARGEST_FRAME = 64 * 1024 * 1024
"""Bytes that a worker's frame may have."""
ALIVE_PERIOD = 5.0
"""Seconds between a worker's signs of life."""


class Subscribe(Struct, array_like=True, tag=1, gc=False):
    """A worker wants to hear a channel; and the answer, that from now on it does."""

    channel: str


class Unsubscribe(Struct, array_like=True, tag=2, gc=False):
    """A worker wants to hear a channel no more."""

    channel: str


class Publish(Struct, array_like=True, tag=3, gc=False):
    """Something for every worker that hears a channel; and what comes to these.

    Attributes:
        channel: The channel.
        data: What is published.
        id: Where the worker wants to know how many others hear it.
        sharing: How many workers it comes to that a fleet counts as one.
    """

    channel: str
    data: bytes
    id: int | None = None
    sharing: int = 1


class Count(Struct, array_like=True, tag=4, gc=False):
    """A worker wants to know how many hear a channel."""

    channel: str
    id: int


class Counted(Struct, array_like=True, tag=5, gc=False):
    """How many do; ``None`` where that cannot be found out."""

    id: int
    count: int | None


class Ready(Struct, array_like=True, tag=6, gc=False):
    """A worker serves."""


class Alive(Struct, array_like=True, tag=7, gc=False):
    """A worker has not stopped."""


class Leaving(Struct, array_like=True, tag=10, gc=False):
    """A worker runs empty: new clients are for the others."""


class Up(Struct, array_like=True, tag=8, gc=False):
    """The numbers of the workers that serve, and do not run empty."""

    workers: tuple[int, ...]


class Closing(Struct, array_like=True, tag=11, gc=False):
    """All workers run empty before long."""


class CutOff(Struct, array_like=True, tag=9, gc=False):
    """The machine was cut off from the others of the fleet, and is joined with them again."""

    seconds: float
    unsent: int


Frame: TypeAlias = (
    Subscribe | Unsubscribe | Publish | Count | Counted | Ready | Alive | Leaving | Up | Closing | CutOff
)

Sign: TypeAlias = Ready | Alive | Leaving
"""What a worker says of itself."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """A whole frame."""
    body = _encoder.encode(frame)
    return length_prefix(len(body)) + body


class FrameParser:
    """Reads the frames of one direction of one pipe, from bytes in any pieces.

    Args:
        largest: Bytes that a frame may have; ``None`` for any.
    """

    def __init__(self, largest: int | None) -> None:
        self._framing = LengthFraming(largest)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole by now.

        Raises:
            ProtocolError: There is something else.
        """
        bodies, error = self._framing.take(data)
        try:
            if error is not None:
                raise error
            return [_decoder.decode(body) for body in bodies]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ProtocolError) as malformed:
            raise ProtocolError(f"no frame of a worker's pipe: {malformed}") from malformed
