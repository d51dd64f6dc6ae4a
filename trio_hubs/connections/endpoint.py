"""A path at which connections are made: negotiate, then a transport, whatever the bytes mean.

Statuses and texts are those of ASP.NET Core's HttpConnectionDispatcher. A negotiated connection waits for
its transport for a bounded time, and only so many may wait.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable

import trio

from ..protocol.negotiate import NegotiateResponse, encode_error, encode_response, negotiated_version
from .connection import Connection
from .http import Request, Response
from .http_server import Upgrade, is_websocket_request
from .websocket import WebSocketConnection

logger = logging.getLogger(__name__)


def _new_id() -> str:
    return secrets.token_urlsafe(16)


class Endpoint:
    """Makes connections for a handler.

    Args:
        handle: Called with each new connection; the connection is closed when it returns.
        maximum_unused: How many negotiated connections may wait for their transport; above it negotiate answers 503.
        unused_timeout: Seconds that they wait (ASP.NET Core's ``ConnectionOptions.DisconnectTimeout``).
    """

    def __init__(
        self,
        handle: Callable[[Connection], Awaitable[None]],
        *,
        maximum_unused: int = 100_000,
        unused_timeout: float = 15.0,
    ) -> None:
        self._handle = handle
        self._maximum_unused = maximum_unused
        self._unused_timeout = unused_timeout
        # By token: the ids of negotiated connections and when they expire, oldest first; and the tokens in use.
        self._waiting: dict[str, tuple[str, float]] = {}
        self._active: set[str] = set()

    async def negotiate(self, request: Request) -> Response:
        """Answer ``POST {path}/negotiate``."""
        if request.method != "POST":
            return _text("", 405)
        version = negotiated_version(request.query.get("negotiateVersion"))
        if isinstance(version, str):
            return Response(encode_error(version), content_type="application/json")
        self._drop_unused()
        if len(self._waiting) >= self._maximum_unused:
            logger.warning(
                "%s negotiated connections wait at %s: refusing more", self._maximum_unused, request.path
            )
            return Response("Too many connections wait for their transport.", status=503)
        id = _new_id()
        token = _new_id() if version else id
        self._waiting[token] = (id, trio.current_time() + self._unused_timeout)
        document = NegotiateResponse(version=version, connection_id=id, connection_token=token)
        return Response(encode_response(document), content_type="application/json")

    async def connect(self, request: Request) -> Response | Upgrade:
        """Answer a request for the path itself."""
        if request.method not in ("GET", "POST", "DELETE"):
            return _text("", 405)
        self._drop_unused()
        token = request.query.get("id", "")
        known = token in self._waiting or token in self._active
        if token and not known:
            return _text("No Connection with that ID", 404)
        if not is_websocket_request(request):
            if not token:
                return _text("Connection ID required", 400)
            if request.method == "POST":
                return _text("POST requests are not allowed for WebSocket connections.", 405)
            if request.method == "DELETE":
                return _text("Cannot terminate this connection using the DELETE endpoint.", 400)
            sse = "text/event-stream" in request.headers.get("accept", "").lower()
            transport = "ServerSentEvents" if sse else "LongPolling"
            return _text(f"{transport} transport not supported by this end point type", 404)
        if token in self._active:
            return _text("", 409)
        token = token or _new_id()
        id = self._waiting[token][0] if known else token

        async def serve(connection: WebSocketConnection) -> None:
            if token in self._active:
                return  # two requests with one token raced, and the other was faster
            self._waiting.pop(token, None)
            self._active.add(token)
            try:
                await self._handle(connection)
            finally:
                self._active.remove(token)

        return Upgrade(id, serve)

    def _drop_unused(self) -> None:
        now = trio.current_time()
        while self._waiting and (oldest := next(iter(self._waiting.items())))[1][1] <= now:
            del self._waiting[oldest[0]]


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="text/plain")
