"""What joins the servers of a fleet: channels by name, and whoever has subscribed to one hears what is published there.

A server's bus keeps the order in which it publishes, and hears what others publish in theirs, but may lose what was
published while it was away: that is a gap, and it is told.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import attrs
import trio

from ..errors import BackplaneError
from ..logs import get_logger

logger = get_logger(__name__)

LOOK_AFTER = 5.0
"""Seconds without an answer after which it is looked whether there is anybody left who could answer."""

Hear: TypeAlias = Callable[[bytes], None]
"""Takes what was published on a channel; must not block, nor raise."""


def hear_safely(hear: Hear, data: bytes) -> None:
    """Have something heard, as every bus does it: whoever fails at it ends neither the bus nor the server."""
    try:
        hear(data)
    except Exception:
        logger.exception("what came from another server could not be heard")


@attrs.frozen
class Gap:
    """A time in which a server was cut off from the others.

    Attributes:
        seconds: How long it was.
        unsent: How many of its own messages went nowhere. How many of others it has missed, nobody knows.
    """

    seconds: float
    unsent: int


class Bus(abc.ABC):
    """One server's way to all the others.

    A channel has one subscriber in each server.

    Attributes:
        server: This server's name, which no other has.
        gaps: How often it was cut off from the others.
        sharing: How many servers hear what is being heard at this moment, and were counted as one.
    """

    server: str
    gaps: int = 0
    sharing: int = 1

    @abc.abstractmethod
    async def wait_room(self, *channels: str) -> None:
        """Wait while too much is queued. Always a cancellation point; gives way only to wait.

        Args:
            channels: Those on which something will be published.

        Raises:
            BackplaneError: The bus is away, and has been for longer than messages may wait.
        """

    @abc.abstractmethod
    def publish(self, channel: str, data: bytes) -> None:
        """Queue something for every subscriber of a channel, this server's own included; after :meth:`wait_room`.

        Raises:
            BackplaneError: It is larger than the bus can carry; or the bus is away, and too much waits for it already.
        """

    @abc.abstractmethod
    async def flush(self) -> None:
        """Wait until what is queued has left. A checkpoint.

        Raises:
            BackplaneError: The bus is away, and has been for longer than messages may wait.
        """

    @abc.abstractmethod
    async def publish_counted(self, channel: str, data: bytes) -> int:
        """Publish, and wait until it is known how many servers have been sent it. A checkpoint.

        Raises:
            BackplaneError: The bus is away.
        """

    @abc.abstractmethod
    async def subscribers(self, channel: str) -> int:
        """How many servers would hear what is published on a channel. A checkpoint.

        Raises:
            BackplaneError: The bus is away.
        """

    @abc.abstractmethod
    def subscribe(self, channel: str, hear: Hear) -> None:
        """Hear a channel as soon as the bus is there; nothing changes when it is heard already."""

    @abc.abstractmethod
    async def wait_subscribed(self, channel: str) -> None:
        """Wait until what is published on a channel from now on, by anyone, is heard. A checkpoint.

        Raises:
            BackplaneError: The bus is away, and has been for longer than this may wait.
        """

    @abc.abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Hear a channel no more; nothing happens when it is not heard."""

    @contextmanager
    def hearing(self, heard: Mapping[str, Hear]) -> Generator[None]:
        """Hear channels for the body."""
        for channel, hear in heard.items():
            self.subscribe(channel, hear)
        try:
            yield
        finally:
            for channel in heard:
                self.unsubscribe(channel)

    async def wait_answer(self, answered: trio.Event, channel: str) -> bool:
        """Wait for the answer of whoever hears a channel; gives whether it came before nobody was left. A checkpoint.

        Raises:
            BackplaneError: The bus is away, or was meanwhile, so that the answer may be lost.
        """
        gaps = self.gaps
        while True:
            with trio.move_on_after(LOOK_AFTER):
                await answered.wait()
                return True
            if not await self.subscribers(channel):
                return answered.is_set()
            if self.gaps != gaps and not answered.is_set():
                raise BackplaneError(
                    "The other servers could not be reached meanwhile: their answer may be lost."
                )
