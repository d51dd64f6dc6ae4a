"""A path at which connections are made: negotiate, then a transport, whatever the bytes mean.

Statuses and texts are those of ASP.NET Core's HttpConnectionDispatcher. Every request of a connection comes from the
same user; a request that is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import inf

import attrs
import trio

from ...errors import ConnectionClosed
from ...logs import get_logger
from ...protocol.hub_protocol import TransferFormat
from ...protocol.negotiate import Transport
from ...tasks import open_tasks
from ..duplex import Duplex
from ..http import Request, Response
from ..pipe import Pipe
from ..timer import sleep_late
from ..users import Authenticate, Policy, User
from .admission import Admission
from .event_stream import EventStreamConnection
from .exchange import PART_SIZE, Deferred, Exchange, Route, RouteAnswer, Upgrade, is_websocket_request
from .gate import UNAUTHORIZED, Gate
from .lease import Lease, Leases
from .long_polling import FIRST_POLL, NO_CACHE, LongPollingConnection, Poll
from .negotiation import Negotiation
from .options import EndpointOptions
from .origins import Origins
from .posts import Turn, body_size
from .refresh import REJECTED, Refresh
from .resumable import ResumableConnection

logger = get_logger(__name__)

SWEEP_PERIOD = 1.0
"""Seconds between looks at which connections have lost their transport for too long, or their user."""
LAST_POLLS_TIMEOUT = 1.0
"""Seconds that the last polls have to be answered at shutdown."""

_METHODS = "GET, POST, DELETE"


class Endpoint:
    """Makes connections for a handler.

    Args:
        handle: Called with each new connection; the connection is closed when it returns.
        options: The path's options.
        admission: The app's count of connections.
        authenticate: Finds out who makes a request.
        policies: What users must meet to come in.
        transfer_formats: What the handler's bytes may be.
    """

    def __init__(
        self,
        handle: Callable[[Duplex], Awaitable[None]],
        options: EndpointOptions,
        *,
        admission: Admission,
        authenticate: Authenticate | None = None,
        policies: Sequence[Policy] = (),
        transfer_formats: frozenset[TransferFormat] = frozenset(TransferFormat),
    ) -> None:
        self._handle = handle
        self._options = options
        self._admission = admission
        origins = Origins(
            options.allowed_origins, own_scheme=options.own_scheme, check_gets=options.check_browser_gets
        )
        self._gate = Gate(origins, authenticate, policies)
        self._leases = Leases(options.disconnect_timeout, options.early_posts_buffer_size)
        self._refresh = Refresh(options, self._leases)
        self._negotiation = Negotiation(
            options,
            transfer_formats,
            leases=self._leases,
            refresh=self._refresh,
            refusal=self._refusal,
        )
        self._nursery: trio.Nursery | None = None  # for handlers that outlive single requests, while it runs

    def routes(self, path: str) -> Mapping[str, Route]:
        """What answers for a path and those below it."""
        base = path.rstrip("/")
        routes: dict[str, Route] = {path: self.connect, f"{base}/negotiate": self.negotiate}
        if self._refresh.enabled:
            routes[f"{base}/refresh"] = self.refresh
        return routes

    # ---- its life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold what outlives single requests, until cancelled."""
        try:
            async with open_tasks() as nursery:
                self._nursery = nursery
                task_status.started()
                try:
                    while True:
                        self._sweep(await sleep_late(SWEEP_PERIOD))
                finally:
                    self._nursery = None
        finally:
            with trio.move_on_after(LAST_POLLS_TIMEOUT, shield=True):
                for lease in self._leases:
                    if isinstance(lease.connection, LongPollingConnection):
                        await lease.connection.wait_answered()
            for lease in self._leases:
                if lease.over:  # and nobody can fetch the end any more
                    self._remove(lease)

    def _sweep(self, late: float) -> None:
        """End what has lost its transport, or its user, for too long, our own lateness not counted."""
        now = trio.current_time()
        for lease in self._leases:
            connection = lease.connection
            lease.expires += late  # for then it is we who were away, not the clients
            if lease.expires <= now:
                if connection is None or lease.over:
                    self._remove(lease)
                elif lease.disposed:  # and its handler has had time to see it
                    lease.expires = inf
                    lease.ask_to_end()
                else:
                    logger.info("connection %s did not come back: it is over", lease.id)
                    self._leases.expire(lease)
                    self._dispose(lease, ConnectionClosed("The client did not come back."))
            if (
                connection is not None
                and self._options.close_on_authentication_expiration
                and lease.take_expiry(now)
            ):
                logger.info("connection %s: its user has expired", lease.id)
                lease.ask_to_end()

    def ask_all_to_end(self) -> None:
        """Ask all connections to end, so that their clients reconnect elsewhere."""
        for lease in self._leases:
            if lease.connection is not None:
                lease.ask_to_end()

    # ---- what it answers

    async def negotiate(self, request: Request) -> RouteAnswer:
        """Answer ``POST {path}/negotiate``."""
        return await self._gate.answer(request, "POST", self._negotiation.answer)

    async def connect(self, request: Request) -> RouteAnswer:
        """Answer a request for the path itself."""
        if request.method != "POST":
            return await self._gate.answer(request, _METHODS, self._connect)
        # A post has the place of its beginning, however long it takes to find out who asks.
        lease = self._leases.get(request.query.get("id", ""))
        turn = None if lease is None else lease.posts.begin()
        answer: RouteAnswer | None = None
        try:
            answer = await self._gate.answer(request, _METHODS, partial(self._post, turn))
            return answer
        finally:
            if turn is not None and not isinstance(answer, Deferred):
                turn.leave()

    async def refresh(self, request: Request) -> RouteAnswer:
        """Answer ``POST {path}/refresh``, which renews the user of a connection (ASP.NET Core 11)."""
        return await self._gate.answer(request, "POST", self._refresh.answer)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a negotiation for which there is no room."""
        if refusal := self._admission.refusal():
            return refusal
        if self._leases.unused >= self._options.maximum_negotiated:
            logger.warning("%d negotiated connections wait at %s", self._leases.unused, request.path)
            return self._admission.refuse("Too many connections wait for their transport.")
        return None

    # ---- transports

    async def _connect(self, request: Request, user: User | None) -> RouteAnswer:
        if request.method == "GET":
            transport = _transport_of(request)
            answer = await self._connect_by(transport, request, user)
            if transport is Transport.LONG_POLLING and isinstance(answer, Response):
                return attrs.evolve(answer, headers={**answer.headers, **NO_CACHE})
            return answer
        if request.method != "DELETE":
            return _text("", 405)
        lease = self._find(request, user)
        return lease if isinstance(lease, Response) else self._delete(lease)

    def _find(self, request: Request, user: User | None) -> Lease | Response:
        """The lease that a request names, if its user may use that."""
        token = request.query.get("id", "")
        if not token:
            return _text("Connection ID required", 400)
        lease = self._leases.get(token)
        if lease is None or (isinstance(lease.connection, ResumableConnection) and lease.connection.ended):
            return _text("No Connection with that ID", 404)
        if lease.disposed:
            return _text("", 404)
        if not lease.admits(user):
            if user is None:
                logger.info("connection %s: a request without its user was refused", lease.id)
                return UNAUTHORIZED
            logger.warning("connection %s: a request of another user was refused", lease.id)
            return _text("The user associated with this connection changed.", 403)
        return lease

    def _find_for(self, transport: Transport, request: Request, user: User | None) -> Lease | Response:
        """The lease that a transport is asked for, if it can have that now."""
        lease: Lease | Response
        if transport is Transport.WEBSOCKETS and not request.query.get("id"):
            lease = self._negotiation.lease(user)
        else:
            lease = self._find(request, user)
        if isinstance(lease, Response):
            return lease
        connection = lease.connection
        if not self._negotiation.offers(transport):
            return _text(f"{transport} transport not supported by this end point type", 404)
        if lease.transport not in (None, transport) or (
            transport is Transport.WEBSOCKETS and connection is None and lease.incoming
        ):
            return _text("Cannot change transports mid-connection", 400)
        if connection is None:
            return self._admission.refusal() or lease
        taken = (
            connection.crowded if isinstance(connection, LongPollingConnection) else not connection.resumable
        )
        return _text("", 409) if taken else lease

    async def _connect_by(self, transport: Transport, request: Request, user: User | None) -> RouteAnswer:
        lease = self._find_for(transport, request, user)
        if isinstance(lease, Response):
            return lease
        if self._refresh.enabled and lease.connection is not None and lease.is_news(user):
            accepted = await self._refresh.accepts(request, lease, user)
            lease = self._find_for(transport, request, user)  # for that may have taken its time
            if isinstance(lease, Response):
                return lease
            if not accepted and lease.is_news(user):
                self._dispose(lease, ConnectionClosed("The client's new token was rejected."))
                return REJECTED
        if transport is Transport.LONG_POLLING:
            return self._poll(lease, request, user)
        if transport is Transport.WEBSOCKETS:
            return self._upgrade(lease, request, user)
        return Deferred(
            serve=partial(self._serve_events, lease, request, user),
            left=lease.incoming.close,  # for its client has no other goodbye
        )

    def _upgrade(self, lease: Lease, request: Request, user: User | None) -> Upgrade:
        select = self._options.websocket_subprotocol
        names = request.headers.get("sec-websocket-protocol", "").split(",")
        offered = [name.strip() for name in names if name.strip()]
        chosen = select(offered) if select and offered else None
        if chosen is not None and chosen not in offered:
            raise ValueError(f"the subprotocol '{chosen}' was chosen, and the client offers {offered}")
        return Upgrade(
            id=lease.id,
            serve=partial(self._serve_resumable if lease.stateful else self._serve_websocket, lease, user),
            subprotocol=chosen,
            close_timeout=self._options.close_timeout,
        )

    async def _serve_websocket(self, lease: Lease, user: User | None, websocket: Duplex) -> None:
        if self._may_open(lease, user):
            self._open(lease, Transport.WEBSOCKETS, websocket, user)
            with self._in_use(lease):
                await self._serve(websocket)

    async def _serve_resumable(self, lease: Lease, user: User | None, websocket: Duplex) -> None:
        connection = lease.connection
        if connection is None:
            if self._nursery is None or not self._may_open(lease, user):
                return
            connection = ResumableConnection(lease.id, websocket.request)
            self._open(lease, Transport.WEBSOCKETS, connection, user)
            self._nursery.start_soon(self._run_detached, lease, connection)
        elif isinstance(connection, ResumableConnection) and connection.resumable and lease.admits(user):
            self._see(lease, user)
        else:
            return  # two requests with one token raced, and the other was faster
        lease.expires = inf
        try:
            await connection.carry(websocket)
        finally:
            if connection.lost:
                self._leases.expire(lease)

    def _may_open(self, lease: Lease, user: User | None) -> bool:
        """Whether a WebSocket still gets its connection.

        Else two requests with one token raced, or two for the last place, and the other was faster.
        """
        free = lease.connection is None and not lease.incoming and lease.admits(user)
        return free and not self._admission.refusal()

    async def _serve_events(
        self, lease: Lease, request: Request, user: User | None, exchange: Exchange
    ) -> None:
        connection = EventStreamConnection(lease.id, request, lease.incoming, exchange)
        self._open(lease, Transport.SERVER_SENT_EVENTS, connection, user)
        try:
            with self._in_use(lease):
                with trio.move_on_after(self._options.send_timeout) as opening:
                    await connection.open()
                if not opening.cancelled_caught:
                    await self._serve(connection)
        finally:
            with trio.move_on_after(self._options.close_timeout, shield=True), suppress(ConnectionClosed):
                await connection.close()

    def _poll(self, lease: Lease, request: Request, user: User | None) -> Response | Deferred:
        connection = lease.connection
        if connection is None:
            if self._nursery is None:
                return self._admission.refuse("The server is shutting down.")
            outgoing = Pipe(self._options.transport_buffer_size)
            connection = LongPollingConnection(lease.id, request, lease.incoming, outgoing)
            self._open(lease, Transport.LONG_POLLING, connection, user)
            self._leases.expire(lease)
            self._nursery.start_soon(self._run_detached, lease, connection)
            return FIRST_POLL
        assert isinstance(connection, LongPollingConnection)
        poll = connection.poll()
        assert poll is not None  # as it was not crowded
        self._see(lease, user)
        lease.expires = inf
        return Deferred(serve=partial(self._serve_poll, lease, connection, poll), left=poll.leave)

    async def _serve_poll(
        self, lease: Lease, connection: LongPollingConnection, poll: Poll, exchange: Exchange
    ) -> None:
        options = self._options
        try:
            if await connection.answer(
                poll, exchange, poll_timeout=options.poll_timeout, send_timeout=options.send_timeout
            ):
                lease.disposed = True
        except ConnectionClosed:
            lease.disposed = True
            raise
        finally:
            if lease.disposed and lease.over:
                self._remove(lease)
            elif lease.disposed or not connection.polled:
                self._leases.expire(lease)

    def _post(self, turn: Turn | None, request: Request, user: User | None) -> Response | Deferred:
        lease = self._find(request, user)
        if isinstance(lease, Response):
            return lease
        if lease.transport is Transport.WEBSOCKETS:
            return _text("POST requests are not allowed for WebSocket connections.", 405)
        if lease.user is None:
            lease.user = user
        lease.posted = True  # from now on it can only be opened by the same user
        assert turn is not None
        return Deferred(serve=partial(self._serve_post, lease, turn, body_size(request)), left=lambda: None)

    async def _serve_post(self, lease: Lease, turn: Turn, size: int | None, exchange: Exchange) -> None:
        most = self._options.application_buffer_size + PART_SIZE  # from then on it waits for room
        with turn:
            await self._leases.reserve(lease, most if size is None else min(size, most))
            taken = await turn.take(size, exchange.read)
        await exchange.respond(_text("", 200 if taken else 404))

    def _delete(self, lease: Lease) -> Response:
        if lease.transport is not Transport.LONG_POLLING:
            return _text("Cannot terminate this connection using the DELETE endpoint.", 400)
        self._leases.expire(lease)  # what was posted before is still read
        self._dispose(lease)
        return _text("", 202)

    # ---- handlers

    def _open(self, lease: Lease, transport: Transport, connection: Duplex, user: User | None) -> None:
        lease.transport = transport
        self._leases.use(lease, connection)
        lease.renew(user)
        self._admission.enter()

    def _see(self, lease: Lease, user: User | None) -> None:
        """A further request of an open connection has shown its user."""
        if not self._refresh.enabled:
            lease.renew(user)
        elif lease.is_news(user):
            lease.refresh(user)

    @contextmanager
    def _in_use(self, lease: Lease) -> Iterator[None]:
        try:
            with lease.scope:
                yield
        finally:
            lease.over = True
            self._remove(lease)

    async def _run_detached(
        self, lease: Lease, connection: ResumableConnection | LongPollingConnection
    ) -> None:
        try:
            with lease.scope:
                await self._serve(connection)
        except ConnectionClosed as error:
            logger.debug("connection %s broke: %s", lease.id, error)
        except Exception:
            logger.exception("connection %s failed", lease.id)
        finally:
            lease.over = True
            connection.close()
            if isinstance(connection, LongPollingConnection) and not lease.disposed:
                if not connection.polled:  # its client has yet to fetch the end
                    self._leases.expire(lease)
            else:
                self._remove(lease)

    async def _serve(self, connection: Duplex) -> None:
        """Have a connection handled; that its client has left is one bare exception, whatever nurseries made of it."""
        try:
            await self._handle(connection)
        except ExceptionGroup as group:
            left, others = group.split(ConnectionClosed)
            if left is None or others is not None:
                raise
            raise ConnectionClosed("The client left.") from group

    def _dispose(self, lease: Lease, error: ConnectionClosed | None = None) -> None:
        """A lease's client has ended its connection, or is not coming back."""
        lease.disposed = True
        if isinstance(lease.connection, ResumableConnection):
            lease.connection.close()
        elif isinstance(lease.connection, LongPollingConnection):
            lease.connection.close(error)
        if lease.over:
            self._remove(lease)

    def _remove(self, lease: Lease) -> None:
        if self._leases.remove(lease) and lease.connection is not None:
            self._admission.leave()


def _transport_of(request: Request) -> Transport:
    """What a GET asks for."""
    accepted = request.headers.get("accept", "").lower().split(",")
    if any(entry.strip() == "text/event-stream" for entry in accepted):
        return Transport.SERVER_SENT_EVENTS
    return Transport.WEBSOCKETS if is_websocket_request(request) else Transport.LONG_POLLING


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="text/plain")
