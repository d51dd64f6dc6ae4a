"""A worker's part of the workers' bus: its way to the others, through its supervisor."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

import trio

from ..errors import BackplaneError
from ..fleet.backplane import FleetBackplane
from ..fleet.bus import Bus, Gap, Hear, hear_safely
from .frames import (
    LARGEST_FRAME,
    Closing,
    Count,
    Counted,
    CutOff,
    Frame,
    Leaving,
    Publish,
    Subscribe,
    Unsubscribe,
    Up,
    encode,
)
from .pipe import Pipe

PUBLISH_BUFFER_SIZE = 1024 * 1024
"""Bytes that may wait to be published before senders have to wait."""
BUS_TIMEOUT = 10.0
"""Seconds that anything may wait for the supervisor, and for the fleet behind it."""


class WorkerBus(Bus):
    """One worker's way to the others. Without its supervisor there is none: then every wait fails.

    Args:
        stream: Leads to the supervisor.

    Attributes:
        up: The numbers of the workers that serve.
        backplanes: Who hears that the machine was cut off from the other servers.
        on_closing: Called when all workers are to run empty before long.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.server = uuid.uuid4().hex
        self.up: tuple[int, ...] = ()
        self.backplanes: list[FleetBackplane] = []
        self.on_closing: Callable[[], None] = lambda: None
        self._changed = trio.lowlevel.ParkingLot()
        self._pipe = Pipe(stream, self._changed.unpark_all)
        self._heard: dict[str, Hear] = {}
        self._unconfirmed: Counter[str] = Counter()
        self._ids = count()
        self._counts: dict[int, int | None] = {}
        self._gone = False

    async def run(self) -> None:
        """Keep the bus going, until the supervisor has gone."""
        try:
            await self._pipe.run(self._take)
        finally:
            self._gone = True
            self._changed.unpark_all()

    async def _take(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            match frame:
                case Publish(channel, data, sharing=sharing):
                    if (hear := self._heard.get(channel)) is not None:
                        self.sharing = sharing
                        hear_safely(hear, data)
                case Subscribe(channel):
                    self._unconfirmed[channel] -= 1
                    if not self._unconfirmed[channel]:
                        del self._unconfirmed[channel]
                case Counted(id, number) if id in self._counts:  # else whoever asked was cancelled
                    self._counts[id] = -1 if number is None else number
                case Up(workers):
                    self.up = workers
                case Closing():
                    self.on_closing()
                case CutOff(seconds, unsent):
                    self.gaps += 1
                    for backplane in self.backplanes:
                        backplane.note_gap(Gap(seconds, unsent))
                case _:
                    pass  # a count that came too late
        self._changed.unpark_all()

    def tell(self, frame: Frame) -> None:
        """Queue something for the supervisor.

        Raises:
            BackplaneError: It is too large.
        """
        data = encode(frame)
        if len(data) > LARGEST_FRAME:
            raise BackplaneError(f"{len(data)} bytes are more than other workers can be sent.")
        self._pipe.put(data)

    async def leave(self, number: int) -> None:
        """Tell that this worker runs empty, and wait until it knows who takes what is new. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self.tell(Leaving())
        with suppress(BackplaneError):  # without a supervisor there is nobody
            await self._wait_until(lambda: number not in self.up)

    # ---- what servers do

    async def wait_room(self, *channels: str) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._wait_until(lambda: self._pipe.queued < PUBLISH_BUFFER_SIZE)

    def publish(self, channel: str, data: bytes) -> None:
        self.tell(Publish(channel, data))

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._wait_until(lambda: not self._pipe.queued)

    async def publish_counted(self, channel: str, data: bytes) -> int:
        await self.wait_room(channel)
        id = next(self._ids)
        return await self._ask(Publish(channel, data, id), id)

    async def subscribers(self, channel: str) -> int:
        id = next(self._ids)
        return await self._ask(Count(channel, id), id)

    def subscribe(self, channel: str, hear: Hear) -> None:
        if channel not in self._heard:
            self.tell(Subscribe(channel))
            self._heard[channel] = hear
            self._unconfirmed[channel] += 1

    async def wait_subscribed(self, channel: str) -> None:
        await trio.lowlevel.checkpoint()
        await self._wait_until(lambda: channel not in self._unconfirmed)

    def unsubscribe(self, channel: str) -> None:
        if self._heard.pop(channel, None) is not None:
            self.tell(Unsubscribe(channel))

    async def _ask(self, question: Publish | Count, id: int) -> int:
        self.tell(question)
        self._counts[id] = None
        try:
            await self._wait_until(lambda: self._counts[id] is not None)
            number = self._counts[id]
        finally:
            del self._counts[id]
        if number is None or number < 0:
            raise BackplaneError("The other servers cannot be reached.")
        return number

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until something is as it should be. Gives way only to wait.

        Raises:
            BackplaneError: It takes too long, or will never be.
        """
        if ready():
            return
        with trio.move_on_after(BUS_TIMEOUT):
            while not self._gone:
                await self._changed.park()
                if ready():
                    return
        raise BackplaneError("The supervisor of this worker has gone, or is cut off from the other servers.")
