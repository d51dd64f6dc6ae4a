"""A path at which connections are made: negotiation, then a transport. What the bytes mean is not known here.

Statuses and texts are those of ASP.NET Core's HttpConnectionDispatcher. Every request of a connection comes from the
same user; a request that is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from ...errors import ConnectionClosed
from ...logs import get_logger
from ...protocol.hub_protocol import TransferFormat
from ...protocol.negotiate import Transport
from ...tasks import open_tasks
from ..duplex import Duplex
from ..http import Request, Response
from ..timer import sleep_late
from ..users import Authenticate, Policy, User
from .admission import Admission
from .carrier import NOT_DELETED, Carrier, Host
from .event_stream import EventStreamCarrier
from .exchange import Deferred, Route, RouteAnswer, is_websocket_request
from .gate import UNAUTHORIZED, Gate
from .lease import Lease, LeaseEvent, Leases, LeaseState
from .long_polling import NO_CACHE, LongPollingCarrier
from .negotiation import Negotiation
from .options import EndpointOptions
from .origins import Origins
from .posts import Turn
from .refresh import REJECTED, Refresh
from .resumable_carrier import ResumableCarrier
from .websocket_carrier import WebSocketCarrier

logger = get_logger(__name__)

SWEEP_PERIOD = 1.0
"""Seconds between looks at which connections have lost their transport for too long, or their user."""
LAST_POLLS_TIMEOUT = 1.0
"""Seconds that the last polls have to be answered at shutdown."""

_METHODS = "GET, POST, DELETE"
_POST = frozenset(("POST",))
_CARRIERS: Mapping[Transport, type[Carrier[Any]]] = {
    Transport.WEBSOCKETS: WebSocketCarrier,
    Transport.SERVER_SENT_EVENTS: EventStreamCarrier,
    Transport.LONG_POLLING: LongPollingCarrier,
}


class Endpoint:
    """Makes connections for a handler.

    Args:
        handle: Called with each new connection; the connection is closed when it returns.
        options: The path's options.
        admission: The app's count of connections.
        authenticate: Finds out who makes a request.
        policies: What users must meet to come in.
        transfer_formats: What the handler's bytes may be.
        token_prefix: Stands before each connection's token.
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
        token_prefix: str = "",
    ) -> None:
        self._options = options
        self._admission = admission
        self._host = Host(handle, options, admission)
        origins = Origins(
            options.allowed_origins, own_scheme=options.own_scheme, check_gets=options.check_browser_gets
        )
        self._gate = Gate(origins, authenticate, policies, answer_headers=options.answer_headers)
        self._leases = Leases(options, admission, token_prefix)
        self._refresh = Refresh(options, self._leases)
        self._negotiation = Negotiation(
            options,
            transfer_formats,
            leases=self._leases,
            refresh=self._refresh,
            refusal=self._refusal,
        )

    def routes(self, path: str) -> Mapping[str, Route]:
        """What answers for a path and those below it."""
        base = path.rstrip("/")
        routes = {
            path: Route(self.connect, unread=_POST, tokens=True),
            f"{base}/negotiate": Route(self.negotiate),
        }
        if self._refresh.enabled:
            routes[f"{base}/refresh"] = Route(self.refresh, tokens=True)
        return routes

    # ---- its life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold what outlives single requests, until cancelled."""
        try:
            async with open_tasks() as nursery:
                self._host.nursery = nursery
                task_status.started()
                try:
                    while True:
                        self._sweep(await sleep_late(SWEEP_PERIOD))
                finally:
                    self._host.nursery = None
        finally:
            with trio.move_on_after(LAST_POLLS_TIMEOUT, shield=True):
                for lease in self._leases:
                    if lease.carrier is not None and lease.state is LeaseState.TELLING:
                        await lease.carrier.wait_told()
            for lease in self._leases:
                if lease.state in (LeaseState.TELLING, LeaseState.UNTOLD):  # and nobody can be told any more
                    lease.on(LeaseEvent.DISPOSED)

    def _sweep(self, late: float) -> None:
        """End what has lost its transport, or its user, for too long, our own lateness not counted."""
        now = trio.current_time()
        self._leases.judged_until = now + 2 * SWEEP_PERIOD  # as long as the next sweep is not late
        for lease in self._leases:
            lease.expires += late  # for then it is we who were away, not the clients
            if lease.expires <= now:
                self._time_out(lease)
            if (
                self._options.close_on_authentication_expiration
                and lease.carrier is not None
                and lease.owner.take_expiry(now)
            ):
                logger.info("connection %s: its user has expired", lease.id)
                lease.carrier.ask_to_end()

    def _time_out(self, lease: Lease) -> None:
        before, carrier = lease.state, lease.carrier
        lease.on(LeaseEvent.TIMED_OUT)
        if carrier is None:
            return
        if before is LeaseState.AWAY:
            logger.info("connection %s did not come back: it is over", lease.id)
            carrier.dispose(ConnectionClosed("The client did not come back."))
        elif before is LeaseState.ENDING:  # and its handler has had time to see it
            carrier.ask_to_end()

    def ask_all_to_end(self) -> None:
        """Ask all connections to end, so that their clients reconnect elsewhere."""
        for lease in self._leases:
            if lease.carrier is not None:
                lease.carrier.ask_to_end()

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
        if isinstance(lease, Response):
            return lease
        return NOT_DELETED if lease.carrier is None else lease.carrier.delete()

    def _find(self, request: Request, user: User | None) -> Lease | Response:
        """The lease that a request names, if its user may use that."""
        token = request.query.get("id", "")
        if not token:
            return _text("Connection ID required", 400)
        lease = self._leases.get(token)
        if lease is not None and lease.state is LeaseState.ENDING:
            return _text("", 404)
        if lease is None or (lease.carrier is not None and lease.carrier.ended):
            return _text("No Connection with that ID", 404)
        if not lease.owner.admits(user):
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
            lease = self._leases.make(user)
        else:
            lease = self._find(request, user)
        if isinstance(lease, Response):
            return lease
        if not self._negotiation.offers(transport):
            return _text(f"{transport} transport not supported by this end point type", 404)
        carrier = lease.carrier
        if carrier is None:
            if transport is Transport.WEBSOCKETS and lease.is_posted_to:
                return _text("Cannot change transports mid-connection", 400)
            return self._admission.refusal() or lease
        if carrier.transport is not transport:
            return _text("Cannot change transports mid-connection", 400)
        return _text("", 409) if carrier.crowded else lease

    async def _connect_by(self, transport: Transport, request: Request, user: User | None) -> RouteAnswer:
        lease = self._find_for(transport, request, user)
        if isinstance(lease, Response):
            return lease
        if self._refresh.enabled and lease.carrier is not None and lease.owner.is_news(user):
            accepted = await self._refresh.accepts(request, lease, user)
            lease = self._find_for(transport, request, user)  # for that may have taken its time
            if isinstance(lease, Response):
                return lease
            if not accepted and lease.carrier is not None and lease.owner.is_news(user):
                lease.carrier.dispose(ConnectionClosed("The client's new token was rejected."))
                return REJECTED
        carrier = lease.carrier or self._carrier(transport, lease)
        return carrier.answer(request, user)

    def _carrier(self, transport: Transport, lease: Lease) -> Carrier[Any]:
        if transport is Transport.WEBSOCKETS and lease.stateful:
            return ResumableCarrier(lease, self._host)
        return _CARRIERS[transport](lease, self._host)

    def _post(self, turn: Turn | None, request: Request, user: User | None) -> Response | Deferred:
        lease = self._find(request, user)
        if isinstance(lease, Response):
            return lease
        if lease.carrier is not None and lease.carrier.transport is Transport.WEBSOCKETS:
            return _text("POST requests are not allowed for WebSocket connections.", 405)
        lease.owner.claim(user)
        assert turn is not None
        return lease.posts.answer(turn, request)


def _transport_of(request: Request) -> Transport:
    """What a GET asks for."""
    accepted = request.headers.get("accept", "").lower().split(",")
    if any(entry.strip() == "text/event-stream" for entry in accepted):
        return Transport.SERVER_SENT_EVENTS
    return Transport.WEBSOCKETS if is_websocket_request(request) else Transport.LONG_POLLING


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="text/plain")
