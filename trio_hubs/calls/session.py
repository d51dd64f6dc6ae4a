"""One connection's life after its handshake, the same for both sides.

The nesting of nurseries is the order of its end: the reader stops; what waits for the peer fails; calls are
cancelled and awaited; then whoever was told of the connection is told of its end; then the last bytes go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import trio
from msgspec import Raw

from ..connections.duplex import Duplex, Resumed
from ..errors import ConnectionClosed, HubException, ProtocolError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    StreamInvocation,
    StreamItem,
)
from ..protocol.messages import Sequence as SequenceMessage
from ..tasks import bare, open_background, open_tasks
from .answers import Face
from .context import InContext
from .incoming import IncomingStreams
from .options import Role, SessionOptions
from .our_calls import OurCalls
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .replay import Replay
from .send_times import forgive
from .their_calls import LONGEST_TURN, TheirCalls

logger = get_logger(__name__)

_HALF_A_MESSAGE = "Connection terminated while reading a message."

_OPENING_PASSES = 3  # of the scheduler: the task begins, its nursery ends, and one to spare

LAST_BYTES_TIMEOUT = 5.0
"""Seconds that the last messages of a connection have to leave."""


class Life(Protocol):
    """Who is told of a connection's beginning and end."""

    async def opened(self) -> None:
        """The connection is open; calls of the peer wait until this returns. Raising ends it."""
        ...

    async def closed(self, error: Exception | None) -> None:
        """The connection is over, and no call runs any more; comes only after :meth:`opened` has returned.

        It sees what that has set in its context.
        """
        ...

    def broken(self, error: ConnectionClosed) -> Exception:
        """What the peer's streams shall fail with that the end of the connection has cut off."""
        ...

    def silence(self, seconds: float) -> Exception:
        """What a peer's silence of so many seconds means."""
        ...

    def closed_by_peer(self, message: Close) -> Exception | None:
        """What the peer's close message means; ``None`` for an end without an error."""
        ...

    def close_text(self, error: Exception) -> str:
        """What the peer shall be told of an error that ended the connection."""
        ...


class Session:
    """A connection that speaks a hub protocol.

    Attributes:
        connection: What carries it.
        protocol: What it speaks.
        outbox: What waits to be sent.
        our_calls: What we call.
        their_calls: What the peer calls.
        ended: Whether it is over, or about to be.
        parting: Whether the peer has said goodbye, but calls that it cannot wait for may still run.
        too_slow: Whether the connection was ended because the peer took too little.
    """

    def __init__(
        self, connection: Duplex, protocol: HubProtocol, face: Face, life: Life, options: SessionOptions
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self._incoming = IncomingStreams(options, protocol.payloads)
        self._replay = (
            Replay(protocol, options.stateful_reconnect_buffer_size, self._incoming.waiting)
            if connection.resumable
            else None
        )
        self.outbox = Outbox(connection, high_water=options.transport_buffer_size, replay=self._replay)
        if connection.resumable:
            connection.on_resumed = self.outbox.resume
        outgoing = OutgoingStreams(protocol, self.outbox)
        self.our_calls = OurCalls(protocol, self.outbox, self._incoming, outgoing, options.role, face.text)
        self.their_calls = TheirCalls(
            face,
            protocol,
            self.outbox,
            self._incoming,
            outgoing,
            options,
            connection_id=connection.id,
            on_idle=self._on_idle,
        )
        self.too_slow = False
        self._life = life
        self._options = options
        self._opened = False
        self._draining = False
        self._reading = trio.CancelScope()
        self.ended = False
        self.parting = False
        self._grace = trio.CancelScope()  # where calls that nobody can wait for may finish then
        self._error: Exception | None = None
        self._farewell = Close(allow_reconnect=True)  # unless something else ends us, it is a shutdown
        self._is_server = options.role is Role.SERVER
        self._silence_timeout = options.client_timeout if self._is_server else options.server_timeout
        self._peer_may_be_silent = self._is_server
        self._silent_since: float | None = None
        self._clock = trio.lowlevel.current_clock().current_time
        self._last_ping = self._clock()
        self._ping = protocol.encode(Ping())
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            Invocation: self.their_calls.invoke,
            StreamInvocation: self.their_calls.invoke,
            CancelInvocation: self._on_cancel,
            Completion: self._on_completion,
            Ping: self._on_ping,
            Close: self._on_close,
            Ack: self._ignore,
            SequenceMessage: self._ignore,
        }

    # ---- life

    async def run(
        self, data: bytes = b"", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Live until the connection ends, by whichever side; cancellation ends it in order.

        Args:
            data: What has been read behind the handshake.
            task_status: Started when calls can be made.
        """
        async with open_background() as nursery:
            try:
                async with open_tasks() as calls:
                    self.our_calls.start(calls)
                    calls.start_soon(self._open, nursery, calls)
                    task_status.started()
                    try:
                        try:
                            with self._reading:
                                await self._read(data)
                        finally:
                            reason = self.reason
                            self.our_calls.abandon(reason)
                            self._incoming.fail_all(self._life.broken(reason))
                        await self._let_finish()
                    finally:
                        self.their_calls.stop()
                        calls.cancel_scope.cancel()
                        self.outbox.close()
            finally:
                try:
                    if self._opened:
                        await InContext(self._life.closed(self._error), self.their_calls.context)
                finally:
                    try:
                        self.outbox.put(self.protocol.encode(self._farewell), 0)
                    finally:
                        await self.outbox.finish(LAST_BYTES_TIMEOUT)

    def end(self, error: Exception | None = None, *, allow_reconnect: bool = False) -> None:
        """End the connection in order; the first call decides how.

        Args:
            error: What went wrong, if anything did.
            allow_reconnect: Whether the peer may connect again by itself.
        """
        if not self.ended:
            self._end(error, allow_reconnect=allow_reconnect)
            self.their_calls.halt()
        self._grace.cancel()

    def _part(self, error: Exception | None, *, allow_reconnect: bool) -> None:
        """End the connection of a peer that has said goodbye."""
        self._end(error, allow_reconnect=allow_reconnect)
        self.parting = True
        self.their_calls.hush()

    def _end(self, error: Exception | None, *, allow_reconnect: bool) -> None:
        self.ended = True
        self._error = error
        text = self._life.close_text(error) if error is not None else ""
        self._farewell = Close(error=text, allow_reconnect=allow_reconnect)
        self._reading.cancel()

    async def _let_finish(self) -> None:
        """Let calls that nobody can wait for or cancel finish, if the peer has said goodbye."""
        if not self.parting:
            return
        self.their_calls.part()
        if not self.their_calls.idle:
            self._grace.deadline = trio.current_time() + self._options.goodbye_timeout
            with self._grace:
                await trio.sleep_forever()
        if not self.their_calls.idle:
            logger.warning("connection %s is over: calls without an id are cancelled", self.connection.id)
        self.parting = False

    def _on_unsendable(self, error: Exception) -> None:
        """Nothing can be sent any more, which is no news once the connection is ending."""
        if not self.ended:
            self.end(error)

    def _on_idle(self) -> None:
        if self.parting:
            self._grace.cancel()
        self._end_drained()

    def end_slow(self) -> None:
        """End the connection of a peer that does not take what is sent to it, without waiting for it any longer."""
        self.outbox.give_up()
        if not self.ended:
            logger.warning("connection %s is too slow for its messages: disconnected", self.connection.id)
            self.too_slow = True
            self.end(TimeoutError("The peer does not take its messages fast enough."))

    def drain(self) -> None:
        """End the connection, for its peer to reconnect, once it is open and none of the peer's calls waits or runs."""
        self._draining = True
        self._end_drained()

    def _end_drained(self) -> None:
        if self._draining and self._opened and self.their_calls.idle:
            self.end(allow_reconnect=True)

    @property
    def reason(self) -> ConnectionClosed:
        """Why the connection ended: what waits for the peer fails with it."""
        if isinstance(self._error, ConnectionClosed):
            return self._error
        if self._error is not None:
            return ConnectionClosed(f"The connection ended: {self._error}")
        return ConnectionClosed("The connection has been closed.")

    async def _open(self, writers: trio.Nursery, calls: trio.Nursery) -> None:
        # Not before: else what the peer sends in answer could come before a hook that waits for nothing has run.
        self.outbox.start(writers, self._on_unsendable)
        try:
            await self._life.opened()
            self._opened = True
            self.their_calls.start(calls)
            self._end_drained()
        except* Exception as group:
            error = bare(group)
            if self.ended and isinstance(error, ConnectionClosed):
                logger.debug("connection %s ended before it was open: %r", self.connection.id, error)
            elif isinstance(error, HubException):
                logger.warning("connection %s was refused: %r", self.connection.id, error)
            else:
                logger.error("connection %s was refused", self.connection.id, exc_info=error)
            self.end(error)

    def tick(self, now: float, *, late: float = 0.0) -> None:
        """Send a ping when it is time, and end the connection when the peer has been silent or deaf for too long.

        Args:
            now: The time, in trio's clock.
            late: The last seconds for which our own tasks have not kept up, so that they count for nobody.
        """
        if late:
            self.outbox.times.forgive(late, now)
            if self._silent_since is not None:
                self._silent_since = forgive(self._silent_since, late, now)
        options = self._options
        times = self.outbox.times
        last = self._last_ping if self._is_server else max(self._last_ping, times.last_sent)
        if now - last >= options.keep_alive_interval and not self.connection.inherent_keep_alive:
            self._last_ping = now
            if times.sending_since is None:
                self.outbox.put_control(self._ping)
        self.their_calls.drop_overdue(now)
        if self._replay is not None and (ack := self._replay.take_ack()):
            self.outbox.put_control(ack)
        if times.overdue(now, options.send_timeout):
            self.end_slow()
        if (
            not self._peer_may_be_silent
            and self._silent_since is not None
            and now - self._silent_since >= self._silence_timeout
        ):
            self.end(self._life.silence(self._silence_timeout), allow_reconnect=True)

    # ---- reading

    async def _read(self, data: bytes) -> None:
        parser = self.protocol.parser(self._options.maximum_message_size)
        try:
            while not self.ended:
                if data and not self._opened:
                    await self._let_open()
                self.outbox.cork()
                try:
                    for batch in parser.feed(data):
                        messages = iter(batch) if self._replay is None else self._replay.take(batch)
                        while self._dispatch(messages):
                            self.outbox.uncork()
                            await trio.lowlevel.checkpoint()
                            self.outbox.cork()
                finally:
                    self.outbox.uncork()
                if self.ended:
                    return
                await self._incoming.wait_wanted()
                await self.outbox.wait_taken()
                if self.outbox.flooded:
                    self.end_slow()
                    return
                self._silent_since = trio.current_time()
                try:
                    data = await self.connection.receive()
                except Resumed:
                    # Half a message may have been lost.
                    parser = self.protocol.parser(self._options.maximum_message_size)
                    data = b""
                    continue
                finally:
                    self._silent_since = None
                if not data:
                    if parser.pending:
                        raise ProtocolError(_HALF_A_MESSAGE)
                    self._part(None, allow_reconnect=True)
        except ProtocolError as error:
            logger.warning("connection %s: %r", self.connection.id, error)
            self.end(error, allow_reconnect=True)
        except ConnectionClosed as error:
            logger.debug("connection %s: %s", self.connection.id, error)
            self.end(ProtocolError(_HALF_A_MESSAGE) if parser.pending else error)

    async def _let_open(self) -> None:
        """Let what is done at the beginning come first, if it waits for nothing, lest calls be filed and dropped."""
        for _ in range(_OPENING_PASSES):
            if not self._opened:
                await trio.lowlevel.checkpoint()

    def _dispatch(self, messages: Iterator[Message]) -> bool:
        """Act on messages in order; the items of one stream that follow each other are taken together.

        Returns:
            Whether more may be left, but calls have run for so long that other tasks shall have a turn first.
        """
        until = self._clock() + LONGEST_TURN
        stream = ""
        items: list[Raw] = []
        try:
            for message in messages:
                if self.ended:
                    break
                if type(message) is StreamItem:
                    if message.invocation_id != stream and items:
                        self._on_items(stream, items)
                        items = []
                    stream = message.invocation_id
                    items.append(message.item)
                    continue
                if items:
                    self._on_items(stream, items)
                    items = []
                kind = type(message)
                self._handlers[kind](message)
                # A call of a stream does not run here, but it may be refused, which takes its time, too.
                if (kind is Invocation or kind is StreamInvocation) and self._clock() >= until:
                    return True
        finally:
            if items:
                self._on_items(stream, items)
        return False

    def _on_items(self, stream: str, items: Sequence[Raw]) -> None:
        if self._incoming.feed(stream, items):
            self.our_calls.stop_stream(stream)
        elif stream not in self._incoming:
            self.our_calls.reject_item(stream)

    def _on_completion(self, message: Completion) -> None:
        error = HubException(message.error) if message.error else None
        if not self._incoming.complete(message.invocation_id, error) and not self.our_calls.complete(message):
            logger.debug("connection %s: nothing waits for %s", self.connection.id, message.invocation_id)

    def _on_cancel(self, message: CancelInvocation) -> None:
        self.their_calls.cancel(message.invocation_id)

    def _on_ping(self, _: Ping) -> None:
        self._peer_may_be_silent = False

    def _on_close(self, message: Close) -> None:
        self._part(self._life.closed_by_peer(message), allow_reconnect=False)
        self._farewell = Close()  # the peer knows its own error

    def _ignore(self, message: Message) -> None:
        """Stateful reconnect is not negotiated, so its messages mean nothing."""
