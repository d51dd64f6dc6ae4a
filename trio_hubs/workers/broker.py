"""The supervisor's part of the workers' bus: what one worker publishes goes to every worker that has subscribed.

It waits for no worker. One that lets too much lie, since it hangs or was stopped, is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from ..errors import ProtocolError
from ..logs import get_logger
from .frames import Alive, Count, Counted, Frame, Publish, Ready, Subscribe, Unsubscribe, Up, encode
from .pipe import Pipe

logger = get_logger(__name__)

MOST_QUEUED = 64 * 1024 * 1024
"""Bytes that a worker may let lie before it is given up."""


class _Worker:
    """A worker's end of the bus, and the scope in which it is served."""

    def __init__(self, stream: trio.abc.Stream, on_sign: Callable[[Ready | Alive], None]) -> None:
        self.on_sign = on_sign
        self.pipe = Pipe(stream, lambda: None)
        self.scope = trio.CancelScope()


class Broker:
    """Joins workers."""

    def __init__(self) -> None:
        self._workers: set[_Worker] = set()
        self._subscribers: dict[str, dict[_Worker, None]] = {}

    def tell_all(self, frame: Frame) -> None:
        """Tell every worker something."""
        data = encode(frame)
        for worker in self._workers:
            self._put(worker, data)

    async def serve(self, stream: trio.abc.Stream, on_sign: Callable[[Ready | Alive], None]) -> None:
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
                await worker.pipe.run(partial(self._take, worker))
        finally:
            self._workers.remove(worker)
            for channel in [name for name, workers in self._subscribers.items() if worker in workers]:
                self._forget(channel, worker)

    def _take(self, worker: _Worker, frames: Sequence[Frame]) -> None:
        for frame in frames:
            match frame:
                case Publish(channel, data, id):
                    hearing = self._subscribers.get(channel, {})
                    passed_on = encode(Publish(channel, data))
                    for each in hearing:
                        self._put(each, passed_on)
                    if id is not None:
                        self._put(worker, encode(Counted(id, len(hearing))))
                case Count(channel, id):
                    self._put(worker, encode(Counted(id, len(self._subscribers.get(channel, {})))))
                case Subscribe(channel):
                    self._subscribers.setdefault(channel, {})[worker] = None
                    self._put(worker, encode(frame))
                case Unsubscribe(channel):
                    self._forget(channel, worker)
                case Ready() | Alive():
                    worker.on_sign(frame)
                case Counted() | Up():
                    raise ProtocolError("a worker says what only its supervisor does")

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
