"""One connection's life after its handshake, the same for both sides.

The nesting of nurseries is the order of its end: the reader stops; what waits for the peer fails; calls are
cancelled and awaited, those that hear of their cut uploads after a while; then the side's :class:`Life` is told of the
end; then the last bytes go out.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Protocol

import trio

from ..connections.duplex import Duplex, Resumed
from ..errors import ConnectionClosed, HubException, ProtocolError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import (
    Close,
    Ping,
)
from ..tasks import bare, open_background, open_tasks
from .answers import Face
from .context import InContext
from .credits import GivenCredit
from .dispatcher import Dispatcher
from .incoming import IncomingStreams
from .keep_alive import KeepAlive
from .options import Role, SessionOptions
from .our_calls import OurCalls
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .reading import Reading
from .replay import Replay
from .session_end import Event, SessionEnd, State
from .their_calls import TheirCalls

logger = get_logger(__name__)

_OPENING_PASSES = 3  # of the scheduler: the task begins, its nursery ends, and one to spare

LAST_BYTES_TIMEOUT = 5.0
"""Seconds that the last messages of a connection have to leave."""


class Life(Protocol):
    """Who is told of a connection's beginning and end.

    Attributes:
        waits: Whether :meth:`opened` may wait for the peer, or for long, so that the connection is read meanwhile.
    """

    waits: bool

    async def opened(self) -> None:
        """The connection is open; calls of the peer wait until this returns. Raising ends it."""
        ...

    async def closed(self, error: Exception | None) -> None:
        """The connection is over, and no call runs any more; comes only after :meth:`opened` has returned.

        It sees what that has set in its context.
        """
        ...

    def resumed(self) -> None:
        """The connection was torn, and goes on."""
        return

    def broken(self, error: ConnectionClosed) -> Exception:
        """What the peer's streams shall fail with that the end of the connection has cut off."""
        ...

    def silence(self, seconds: float) -> Exception:
        """The error for a peer that was silent for this many seconds."""
        ...

    def closed_by_peer(self, message: Close) -> Exception | None:
        """What the peer's close message means; ``None`` for an end without an error."""
        ...

    def close_text(self, error: Exception) -> str:
        """What the peer shall be told of an error that ended the connection."""
        ...


class Session:
    """A connection that speaks a hub protocol.

    Args:
        connection: What carries it.
        protocol: What it speaks.
        face: What the peer may call.
        life: Who is told of its beginning and end.
        options: Its limits and times.
        peer_credits: Items of each upload that the peer takes before it gives more; 0 without an agreement on credits.

    Attributes:
        connection: What carries it.
        protocol: What it speaks.
        outbox: What waits to be sent.
        our_calls: What we call.
        their_calls: What the peer calls.
        keep_alive: The pings, and the peer's silence.
        reading: When the connection is read.
        received_bytes: Bytes that have come.
    """

    def __init__(
        self,
        connection: Duplex,
        protocol: HubProtocol,
        face: Face,
        life: Life,
        options: SessionOptions,
        peer_credits: int = 0,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.received_bytes = 0
        self.reading = reading = Reading(options)
        replay = None
        if connection.resumable:
            replay = Replay(protocol, options.stateful_reconnect_buffer_size, reading.waiting)
        self.outbox = Outbox(connection, transport_buffer_size=options.transport_buffer_size, replay=replay)
        if connection.resumable:
            connection.on_resumed = self.outbox.resume
        given = (
            partial(GivenCredit, protocol, self.outbox, options.stream_buffer_size) if peer_credits else None
        )
        incoming = IncomingStreams(reading, protocol.payloads, given)
        outgoing = OutgoingStreams(protocol, self.outbox, peer_credits or inf)
        self.our_calls = OurCalls(protocol, self.outbox, incoming, outgoing, options.role, face.text)
        self.their_calls = TheirCalls(
            face,
            protocol,
            self.outbox,
            incoming,
            outgoing,
            options,
            connection_id=connection.id,
            on_idle=self._on_idle,
        )
        self.keep_alive = KeepAlive(options, trio.current_time(), inherent=connection.inherent_keep_alive)
        self._dispatcher = Dispatcher(
            protocol,
            options.maximum_message_size,
            our_calls=self.our_calls,
            their_calls=self.their_calls,
            incoming=incoming,
            keep_alive=self.keep_alive,
            replay=replay,
        )
        self._life = life
        self._options = options
        self._end = SessionEnd()
        self._scope = trio.CancelScope()  # of the reading, then of the calls that may finish behind it

    @property
    def ended(self) -> bool:
        """Whether it is over, or about to be."""
        return not self._end.state.reads

    @property
    def parting(self) -> bool:
        """Whether the peer has left, but calls that it cannot wait for may still run."""
        return self._end.state.parting

    @property
    def too_slow(self) -> bool:
        """Whether the connection was ended because the peer took too little."""
        return self._end.too_slow

    @property
    def unheard(self) -> bool:
        """Whether the peer takes or sends nothing any more, so that it is not told of the end, nor waited for."""
        return self._end.unheard

    @property
    def reason(self) -> ConnectionClosed:
        """Why the connection ended: what waits for the peer fails with it."""
        return self._end.reason

    # ---- life

    async def run(self, data: bytes = b"") -> None:
        """Live until the connection ends, by whichever side; cancellation ends it in order.

        Args:
            data: What has been read behind the handshake.
        """
        async with open_background() as writers:
            try:
                async with open_tasks() as calls:
                    try:
                        await self._open_and_read(writers, calls, data)
                        await self._let_finish()
                    finally:
                        self.their_calls.stop()
                        self.their_calls.cancel_all(calls.cancel_scope, self._options.goodbye_timeout)
                        self.outbox.close()
            finally:
                try:
                    if self._end.state.opened:
                        await InContext(self._life.closed(self._end.error), self.their_calls.context)
                finally:
                    try:
                        self.outbox.cork()  # for its end sends all at once
                        self.outbox.put(self.protocol.encode(self._end.farewell), 0)
                    finally:
                        await self.outbox.finish(LAST_BYTES_TIMEOUT)

    async def _open_and_read(self, writers: trio.Nursery, calls: trio.Nursery, data: bytes) -> None:
        """Open, and read until the end; then what waits for the peer fails."""
        try:
            self.our_calls.start(calls)
            if self._life.waits:
                calls.start_soon(self._open, writers, calls)
                for _ in range(
                    _OPENING_PASSES
                ):  # a hook that does not wait runs before calls are filed, and dropped
                    await trio.lowlevel.checkpoint()
            else:
                await self._open(writers, calls)
            with self._scope:
                await self._read(data)
        finally:
            self.our_calls.abandon(self.reason)
            self.their_calls.note_cut_off()
            self._dispatcher.fail_streams(self._life.broken(self.reason))

    async def _open(self, writers: trio.Nursery, calls: trio.Nursery) -> None:
        # Not before: else what the peer sends in answer could come before a hook that waits for nothing has run.
        self.outbox.start(writers, self._on_unsendable)
        try:
            await self._life.opened()
            self._end.apply(Event.OPENED)
            self.their_calls.start(calls)
            if self.their_calls.idle:
                self._on_idle()
        except* Exception as group:
            error = bare(group)
            if self.ended and isinstance(error, ConnectionClosed):
                logger.debug("connection %s ended before it was open: %r", self.connection.id, error)
            elif isinstance(error, HubException):
                logger.info("connection %s was refused: %r", self.connection.id, error)
            else:
                logger.error("connection %s was refused", self.connection.id, exc_info=error)
            self.end(error)

    async def _read(self, data: bytes) -> None:
        try:
            while True:
                self.received_bytes += len(data)
                await self._dispatcher.feed(data, self.outbox)
                if self._dispatcher.close is not None:
                    self._take_close(self._dispatcher.close)
                if self.ended:
                    return
                if not await self._dispatcher.reading.wait(self.outbox):
                    self.end_slow()
                    return
                self.keep_alive.waiting_since = trio.current_time()
                try:
                    data = await self.connection.receive()
                except Resumed:
                    self._dispatcher.resume()
                    self._life.resumed()
                    data = b""
                    continue
                finally:
                    self.keep_alive.waiting_since = None
                if not data:
                    self._dispatcher.check_whole()
                    self._leave(None, allow_reconnect=True)
                    return
        except ProtocolError as error:
            logger.warning("connection %s: %r", self.connection.id, error)
            self.end(error, allow_reconnect=True)
        except ConnectionClosed as error:
            logger.debug("connection %s: %s", self.connection.id, error)
            self._lose(error)

    # ---- the end

    def end(self, error: Exception | None = None, *, allow_reconnect: bool = False) -> None:
        """End the connection in order; the first call decides how.

        Args:
            error: What went wrong, if anything did.
            allow_reconnect: Whether the peer may connect again by itself.
        """
        if not self.ended:
            self._note_end(Event.END, error, allow_reconnect=allow_reconnect)
            self.their_calls.halt()
        elif self.parting:
            self._stop_waiting(Event.END)

    def _leave(self, error: Exception | None, *, allow_reconnect: bool) -> None:
        """End the connection of a peer that has left; what it called before that begins, and may finish."""
        self._note_end(Event.LEFT, error, allow_reconnect=allow_reconnect)
        self.their_calls.hush()

    def _lose(self, error: Exception) -> None:
        """End the connection of a peer that is lost; what it called before that begins, unless it has been refused."""
        try:
            self._dispatcher.check_whole()
        except ProtocolError as half:
            error = half
        if self._end.state.opened or self.their_calls.idle:
            self.end(error, allow_reconnect=True)
        else:
            self._leave(error, allow_reconnect=True)
            self.their_calls.part(lost=True)

    def _note_end(self, event: Event, error: Exception | None, *, allow_reconnect: bool) -> None:
        end = self._end
        end.apply(event)
        end.error = error
        text = self._life.close_text(error) if error is not None else ""
        end.farewell = Close(error=text, allow_reconnect=allow_reconnect)
        self._dispatcher.stopped = True
        self._scope.cancel()

    def _take_close(self, message: Close) -> None:
        self._leave(self._life.closed_by_peer(message), allow_reconnect=False)
        self._end.farewell = Close()  # the peer knows its own error

    async def _let_finish(self) -> None:
        """Let what a peer that has left cannot wait for finish, and what it called before begin."""
        if not self.parting:
            return
        self.their_calls.part()
        if not self.their_calls.idle:
            self._scope = trio.CancelScope(deadline=trio.current_time() + self._options.goodbye_timeout)
            with self._scope:
                await trio.sleep_forever()
        if not self.their_calls.idle:
            logger.warning("connection %s is over: calls without an id are cancelled", self.connection.id)
        self.their_calls.forget_cut_off()
        self._end.apply(Event.END)

    def _on_idle(self) -> None:
        """No call of the peer's waits or runs."""
        if self._end.state is State.OPEN:
            return
        if self.parting:
            self._stop_waiting(Event.IDLE)
        elif self._end.state is State.DRAINING:
            self._note_end(Event.IDLE, None, allow_reconnect=True)

    def _stop_waiting(self, event: Event) -> None:
        """Wait for calls of a peer that has left no longer."""
        self._end.apply(event)
        self._scope.cancel()

    def _on_unsendable(self, error: Exception) -> None:
        """Nothing can be sent any more: the end of the connection, unless that has begun already."""
        if not self.ended:
            self.end(error)

    def end_slow(self) -> None:
        """End the connection of a peer that does not take what is sent to it, without waiting for it any longer."""
        self._give_up()
        if not self.ended:
            logger.warning("connection %s is too slow for its messages: disconnected", self.connection.id)
            self._end.too_slow = True
            self.end(TimeoutError("The peer does not take its messages fast enough."))

    def _give_up(self) -> None:
        """Send nothing more."""
        self._end.unheard = True
        self.outbox.give_up()

    def _end_unacknowledged(self) -> None:
        """End the connection of a peer that takes what is sent to it, but does not acknowledge it."""
        if not self.ended:
            logger.warning(
                "connection %s does not acknowledge its messages: disconnected", self.connection.id
            )
            self._end.too_slow = True
            self.end(TimeoutError("The peer does not acknowledge its messages."), allow_reconnect=True)

    def drain(self) -> None:
        """End the connection, for its peer to reconnect, once it is open and none of the peer's calls waits or runs."""
        self._end.apply(Event.DRAIN)
        if self.their_calls.idle:
            self._on_idle()

    def tick(self, now: float, *, late: float = 0.0) -> None:
        """Send a ping when it is time, and end the connection when the peer has been silent or deaf for too long.

        Args:
            now: The time, in trio's clock.
            late: The last seconds for which our own tasks have not kept up, so that they count for nobody.
        """
        times, keep_alive = self.outbox.times, self.keep_alive
        if late:
            times.forgive(late, now)
            keep_alive.forgive(late, now)
        if (
            not self.connection.inherent_keep_alive
            and keep_alive.ping_due(now, times.last_sent)
            and times.sending_since is None
        ):
            self.outbox.put_control(self.protocol.encode(Ping()))
        self.their_calls.drop_overdue(now)
        if ack := self._dispatcher.take_ack():
            self.outbox.put_control(ack)
        if times.overdue(now, self._options.send_timeout):
            self.end_slow()
        if times.unacknowledged(now, self._options.acknowledgement_timeout):
            self._end_unacknowledged()
        if keep_alive.silent(now):
            if self._options.role is Role.CLIENT:  # as the official clients do
                self._give_up()
            self.end(self._life.silence(keep_alive.timeout), allow_reconnect=True)
