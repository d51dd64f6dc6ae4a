"""A stream that goes on over one link after another.

Its reader gets all items that came, in order; the stream is called again only when these have been read, from the last
of them on. It ends as the server ends it, or with the connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs
import trio

from ..calls.channels import ChannelEnd, ChannelReader, reader_closed
from ..calls.our_calls import OurCalls
from ..calls.unread import Unread
from ..errors import ConnectionClosed

Resume: TypeAlias = Callable[[Any], Sequence[Any]]


@attrs.frozen
class StreamGap:
    """Stands in a stream where it was interrupted, and was called again.

    Attributes:
        reason: Why the connection was lost.
    """

    reason: ConnectionClosed


class ResumedStream:
    """The source of the reader of such a stream.

    Args:
        ready: Gives what makes calls, once that is possible.
        begin: Calls for the stream with these arguments.
        args: The arguments of the first call, and of those before the reader has taken anything.
        resume: Makes the arguments of a further call from the last item that the reader has taken.
        gaps: Whether the reader shall get a :class:`StreamGap` in between.

    Attributes:
        reader: What user code reads it with.
    """

    _calls: OurCalls | None  # where the stream is called, until nobody wants it any more
    _stream: Unread[Any]

    def __init__(
        self,
        ready: Callable[[], Awaitable[OurCalls]],
        begin: Callable[[OurCalls, Sequence[Any]], Awaitable[Unread[Any]]],
        args: Sequence[Any],
        resume: Resume,
        *,
        gaps: bool,
    ) -> None:
        self._ready = ready
        self._begin = begin
        self._next_args: Callable[[], Sequence[Any]] = lambda: args
        self._resume = resume
        self._gaps = gaps
        self._lost: ConnectionClosed | None = None  # why there is no stream now
        self._dropped = 0  # of the streams before
        self._calling = trio.Lock()
        self._end = ChannelEnd()
        self.reader: ChannelReader[Any] = ChannelReader(self, self._end)

    async def begin(self, calls: OurCalls) -> None:
        """Call for it for the first time."""
        self._calls, self._stream = calls, await self._begin(calls, self._next_args())

    def close(self) -> None:
        """Nobody wants it any more."""
        if self._calls is not None:
            if not self._end.done:
                self._end.complete(reader_closed())
            self._calls.end_stream(self._stream)
            self._calls = None

    # ---- the reader's side

    def receive_nowait(self) -> Any:
        if self._end.done:
            raise trio.EndOfChannel
        if self._lost is not None:
            raise trio.WouldBlock
        try:
            return self._take(self._stream.reader.read_nowait())
        except trio.WouldBlock:
            raise
        except Exception as error:  # noqa: BLE001 - what the stream ended with
            self._note_end(error)
            if self._lost is not None:
                raise trio.WouldBlock from None
            raise trio.EndOfChannel from None

    async def receive(self) -> Any:
        while True:
            if self._end.done:
                raise trio.EndOfChannel
            if self._lost is not None:
                gap = StreamGap(self._lost)
                if await self._call_again() and self._gaps:
                    return gap
                continue
            try:
                return self._take(await self._stream.reader.read())
            except Exception as error:  # noqa: BLE001 - what the stream ended with
                self._note_end(error)

    def _take(self, item: Any) -> Any:
        self._next_args = partial(self._resume, item)
        self._end.dropped = self._dropped + self._stream.reader.dropped
        return item

    def _note_end(self, error: Exception) -> None:
        if isinstance(error, ConnectionClosed):
            self._lost = error
        else:
            self._end.complete(None if isinstance(error, trio.EndOfChannel) else error)

    async def _call_again(self) -> bool:
        """Call for the stream on another link; whether this task has done so."""
        async with self._calling:
            if self._lost is None or self._end.done:
                return False
            try:
                calls, stream = await self._called()
            except Exception as error:  # noqa: BLE001 - the connection's end, or the user's in ``resume``
                self._end.complete(error)
                return False
            if self._calls is None:
                calls.end_stream(stream)
                return False
            self._calls.end_stream(self._stream)
            self._dropped += self._stream.reader.dropped
            self._calls, self._stream, self._lost = calls, stream, None
            return True

    async def _called(self) -> tuple[OurCalls, Unread[Any]]:
        while True:
            calls = await self._ready()
            args = self._next_args()
            try:
                return calls, await self._begin(calls, args)
            except ConnectionClosed:  # again, before it was sent
                await trio.lowlevel.checkpoint()
