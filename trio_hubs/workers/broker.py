"""The supervisor's part of the workers' bus: what one worker publishes goes to every worker that has subscribed.

It waits for no worker. One that lets too much lie, since it hangs or was stopped, is given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from ..errors import BackplaneError, ProtocolError
from ..fleet.bus import Bus
from ..logs import get_logger
from ..tasks import open_background
from .frames import (
    ALIVE_PERIOD,
    LARGEST_FRAME,
    Alive,
    Closing,
    Count,
    Counted,
    CutOff,
    Frame,
    Leaving,
    Publish,
    Ready,
    Sign,
    Subscribe,
    Unsubscribe,
    Up,
    encode,
)
from .pipe import Pipe

logger = get_logger(__name__)

MOST_QUEUED = 64 * 1024 * 1024
"""Bytes that a worker may let lie before it is given up."""

CONFIRM_PAUSE = 0.1
"""Seconds until a subscription that the fleet has not confirmed is waited for again; twice as many each time."""
LONGEST_CONFIRM_PAUSE = 5.0
"""How many these are at most: fewer than a worker waits."""


class _Worker:
    """A worker's end of the bus, and the scope in which it is served.

    Attributes:
        waits: Whether it is not read from, as the fleet takes nothing more at the moment.
    """

    nursery: trio.Nursery

    def __init__(self, stream: trio.abc.Stream, on_sign: Callable[[Sign], None]) -> None:
        self.on_sign = on_sign
        self.pipe = Pipe(stream, lambda: None, LARGEST_FRAME)
        self.scope = trio.CancelScope()
        self.waits = False

    async def vouch(self) -> None:
        """Give signs of life in the worker's place while its own lie behind what waits."""
        while True:
            await trio.sleep(ALIVE_PERIOD)
            if self.waits:
                self.on_sign(Alive())


class Broker:
    """Joins workers, and all of them with the other servers of a fleet, if there is one.

    Args:
        fleet: The way to the other servers. Then what workers publish comes to them from there.

    Attributes:
        lost: How many messages of workers the fleet did not take.
    """

    def __init__(self, fleet: Bus | None = None) -> None:
        self.lost = 0
        self._fleet = fleet
        self._workers: set[_Worker] = set()
        self._subscribers: dict[str, dict[_Worker, None]] = {}

    def tell_all(self, frame: Frame) -> None:
        """Tell every worker something."""
        data = encode(frame)
        for worker in self._workers:
            self._put(worker, data)

    async def serve(self, stream: trio.abc.Stream, on_sign: Callable[[Sign], None]) -> None:
        """Serve one worker, until it has gone or is given up.

        Args:
            stream: Leads to it.
            on_sign: Hears what it says of itself.

        Raises:
            ProtocolError: It sent something else than frames.
        """
        worker = _Worker(stream, on_sign)
        self._workers.add(worker)
        try:
            with worker.scope:
                async with open_background() as worker.nursery:
                    worker.nursery.start_soon(worker.vouch)
                    await worker.pipe.run(partial(self._take, worker))
        finally:
            self._workers.remove(worker)
            for channel in [name for name, workers in self._subscribers.items() if worker in workers]:
                self._forget(channel, worker)

    async def _take(self, worker: _Worker, frames: Sequence[Frame]) -> None:
        for frame in frames:
            match frame:
                case Publish(channel, data, id):
                    await self._publish(worker, channel, data, id)
                case Count(channel, id) if self._fleet is not None:
                    worker.nursery.start_soon(self._count, worker, id, self._fleet.subscribers, channel)
                case Count(channel, id):
                    self._put(worker, encode(Counted(id, len(self._subscribers.get(channel, {})))))
                case Subscribe(channel):
                    self._subscribe(worker, channel)
                case Unsubscribe(channel):
                    self._forget(channel, worker)
                case Ready() | Alive() | Leaving():
                    worker.on_sign(frame)
                case Counted() | Up() | CutOff() | Closing():
                    raise ProtocolError("a worker says what only its supervisor does")

    async def _publish(self, worker: _Worker, channel: str, data: bytes, id: int | None) -> None:
        fleet = self._fleet
        if fleet is None:
            self._pass_on(channel, data)
            if id is not None:
                self._put(worker, encode(Counted(id, len(self._subscribers.get(channel, {})))))
        elif id is not None:
            worker.nursery.start_soon(self._count, worker, id, fleet.publish_counted, channel, data)
        else:
            worker.waits = True
            try:
                # Meanwhile the worker's senders wait, too, once its pipe is full.
                await fleet.wait_room(channel)
                fleet.publish(channel, data)
            except BackplaneError as error:
                self.lost += 1
                logger.error("what a worker publishes is lost: %s", error)
            worker.waits = False

    async def _count(
        self, worker: _Worker, id: int, ask: Callable[..., Awaitable[int]], *arguments: str | bytes
    ) -> None:
        count: int | None = None
        with suppress(BackplaneError):
            count = await ask(*arguments)
        self._put(worker, encode(Counted(id, count)))

    def _pass_on(self, channel: str, data: bytes) -> None:
        workers = self._subscribers.get(channel, {})
        frame = encode(Publish(channel, data, sharing=1 if self._fleet is None else len(workers)))
        for each in workers:
            self._put(each, frame)

    def _subscribe(self, worker: _Worker, channel: str) -> None:
        subscribers = self._subscribers.setdefault(channel, {})
        subscribers[worker] = None
        if self._fleet is None:
            self._put(worker, encode(Subscribe(channel)))
        else:
            self._fleet.subscribe(channel, partial(self._pass_on, channel))
            worker.nursery.start_soon(self._confirm, self._fleet, worker, channel)

    async def _confirm(self, fleet: Bus, worker: _Worker, channel: str) -> None:
        pause = CONFIRM_PAUSE
        while worker in self._subscribers.get(channel, {}):
            try:
                await fleet.wait_subscribed(channel)
                break
            except BackplaneError as error:  # it is subscribed to as soon as the fleet can be reached
                if pause == CONFIRM_PAUSE:
                    logger.error("what a worker wants to hear is not heard yet: %s", error)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_CONFIRM_PAUSE)
        self._put(worker, encode(Subscribe(channel)))

    def _put(self, worker: _Worker, data: bytes) -> None:
        if worker.pipe.queued > MOST_QUEUED:
            if not worker.scope.cancel_called:
                logger.error("a worker does not take what others send, and is given up")
            worker.scope.cancel()
        else:
            worker.pipe.put(data)

    def _forget(self, channel: str, worker: _Worker) -> None:
        with suppress(KeyError):
            workers = self._subscribers[channel]
            del workers[worker]
            if not workers:
                del self._subscribers[channel]
                if self._fleet is not None:
                    self._fleet.unsubscribe(channel)
