"""Long polling as a connection: its client asks again and again for what there is, and posts what it has.

One poll waits at a time; a newer one sends it home. What a poll takes and cannot deliver breaks the
connection, for it would be missing (TransportProtocols.md, Long Polling).
"""

from __future__ import annotations

from functools import partial

import trio

from ...errors import ConnectionClosed
from ...protocol.negotiate import Transport
from ..duplex import Duplex
from ..http import Request, Response
from ..pipe import Pipe
from ..users import User
from .carrier import Carrier
from .exchange import Deferred, Exchange
from .lease import LeaseEvent

NO_CACHE = {
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
}
"""Headers of each answer to a poll."""

FIRST_POLL = Response(content_type="application/octet-stream", headers=NO_CACHE)
"""The answer of the poll that makes the connection."""


class Poll:
    """One request for what there is."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.superseded = False
        self.client_left = False
        self.done = trio.Event()

    def supersede(self) -> None:
        """A newer poll has come."""
        self.superseded = True
        self.scope.cancel()

    def leave(self) -> None:
        """The client has left."""
        self.client_left = True
        self.scope.cancel()


class LongPollingConnection(Duplex):
    """A connection over long polling."""

    inherent_keep_alive = True

    def __init__(self, id: str, request: Request, incoming: Pipe, outgoing: Pipe) -> None:
        super().__init__(id, request)
        self._incoming = incoming
        self._outgoing = outgoing
        self._current: Poll | None = None
        self._next: Poll | None = None

    async def receive(self) -> bytes:
        return await self._incoming.take()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        await self._outgoing.put(data)

    def close(self, error: ConnectionClosed | None = None) -> None:
        """Nothing more comes or goes; what has been sent is still there for a poll, unless there was an error."""
        self._incoming.close(error)
        self._outgoing.close()
        if error is not None:
            self._outgoing.discard()

    @property
    def polled(self) -> bool:
        """Whether a poll waits."""
        return self._current is not None or self._next is not None

    @property
    def crowded(self) -> bool:
        """Whether one poll waits for another to be sent home, so that there is no room for a third."""
        return self._next is not None

    async def wait_answered(self) -> None:
        """Wait until no poll waits. A checkpoint only when it has to wait."""
        while (poll := self._current or self._next) is not None:
            await poll.done.wait()

    def poll(self) -> Poll | None:
        """Make a new poll, which sends the one that waits home; ``None`` while it is :attr:`crowded`."""
        if self.crowded:
            return None
        poll = Poll()
        if self._current is None:
            self._current = poll
        else:
            self._next = poll
            self._current.supersede()
        return poll

    async def answer(
        self, poll: Poll, exchange: Exchange, *, poll_timeout: float, send_timeout: float
    ) -> bool:
        """Answer a poll with what there is, when there is something.

        Returns:
            Whether the client now knows that the connection is over.

        Raises:
            ConnectionClosed: The client did not take what there was: the connection is broken.
        """
        response = None
        try:
            response = await self._response(poll, poll_timeout)
            if response is None:
                return False
            await exchange.respond(response, timeout=send_timeout)
            return response.status == 204 and not poll.superseded
        except ConnectionClosed:
            if response is None or not response.body:
                return False
            self.close(ConnectionClosed("The client did not take the answer of its poll."))
            raise
        finally:
            if self._current is poll:
                self._current = None
            if self._next is poll:
                self._next = None
            poll.done.set()

    async def _response(self, poll: Poll, timeout: float) -> Response | None:
        data = None
        with poll.scope:
            if self._next is poll:
                if self._current is not None:
                    await self._current.done.wait()
                self._current, self._next = poll, None
            poll.scope.deadline = trio.current_time() + timeout
            data = await self._outgoing.take()
        if poll.client_left:
            self._outgoing.put_back(data or b"")
            return None
        if data:
            return Response(data, content_type="application/octet-stream", headers=NO_CACHE)
        if data is not None or poll.superseded:
            return Response(status=204, content_type="text/plain", headers=NO_CACHE)
        return Response(content_type="text/plain", headers=NO_CACHE)


class LongPollingCarrier(Carrier[LongPollingConnection]):
    """Carries a connection over one poll after another."""

    transport = Transport.LONG_POLLING

    def answer(self, request: Request, user: User | None) -> Response | Deferred:
        if self._lease.carrier is None:
            return self._begin(request, user)
        poll = self.connection.poll()
        assert poll is not None  # as it was not crowded
        self._see(user)
        self._lease.on(LeaseEvent.CAME)
        return Deferred(serve=partial(self._serve, poll), left=poll.leave)

    def _begin(self, request: Request, user: User | None) -> Response:
        nursery = self._host.nursery
        if nursery is None:
            return self._host.admission.refuse("The server is shutting down.")
        outgoing = Pipe(self._host.options.transport_buffer_size)
        lease = self._lease
        self._open(LongPollingConnection(lease.id, request, lease.posts.incoming, outgoing), user)
        lease.on(LeaseEvent.WENT)
        nursery.start_soon(self._handle_detached, self.connection.close)  # which its client has yet to fetch
        return FIRST_POLL

    async def _serve(self, poll: Poll, exchange: Exchange) -> None:
        options = self._host.options
        try:
            if await self.connection.answer(
                poll, exchange, poll_timeout=options.poll_timeout, send_timeout=options.send_timeout
            ):
                self._lease.on(LeaseEvent.DISPOSED)
        except ConnectionClosed:
            self._lease.on(LeaseEvent.DISPOSED)
            raise
        finally:
            if not self.connection.polled:
                self._lease.on(LeaseEvent.WENT)

    @property
    def crowded(self) -> bool:
        return self.connection.crowded

    def delete(self) -> Response:
        self.dispose()  # what was posted before is still read
        return Response(status=202, content_type="text/plain")

    def dispose(self, error: ConnectionClosed | None = None) -> None:
        super().dispose()
        self.connection.close(error)

    async def wait_told(self) -> None:
        await self.connection.wait_answered()
