"""The front door: HTTP/1.1 on a stream, one request after another, until one becomes a WebSocket.

Whatever comes in gets a well-formed answer. A request that cannot be read gets a 4xx and ends its
connection; a handler that fails gets a 500 and a log line; nobody else notices.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http.client import responses
from typing import Protocol

import attrs
import h11
import trio

from ..errors import ConnectionClosed
from .http import Request, Response
from .websocket import NoWebSocketError, WebSocketConnection, accept_websocket

logger = logging.getLogger(__name__)

MAXIMUM_HEAD_SIZE = 16 * 1024
"""Bytes of a request's line and headers; above it the answer is 431 or 400."""
MAXIMUM_BODY_SIZE = 64 * 1024
"""Bytes of a request's body; above it the answer is 413."""
REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send a whole request; an idle connection is closed after as long."""


@attrs.frozen
class Upgrade:
    """An answer that turns the request into a WebSocket.

    Attributes:
        id: The connection's public id.
        serve: What to do with the open WebSocket, which is closed when it returns.
    """

    id: str
    serve: Callable[[WebSocketConnection], Awaitable[None]]


class Route(Protocol):
    """What answers the requests for a path."""

    async def __call__(self, request: Request, /) -> Response | Upgrade: ...


def is_websocket_request(request: Request) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.method == "GET" and "websocket" in request.headers.get("upgrade", "").lower()


def _websocket_fault(request: Request, version: bytes | None) -> str:
    """What is wrong with a request for a WebSocket, as far as it can be said simply (RFC 6455, section 4.2.1)."""
    if version != b"1.1":
        return "A WebSocket takes HTTP/1.1"
    if "upgrade" not in request.headers.get("connection", "").lower():
        return "The Connection header must name 'Upgrade'"
    if request.headers.get("sec-websocket-version") != "13":
        return "Sec-WebSocket-Version must be 13"
    if len(request.headers.get("sec-websocket-key", "")) != 24:
        return "Sec-WebSocket-Key must be 16 bytes in base64"
    return ""


class HttpServer:
    """Answers HTTP requests by their path.

    Args:
        routes: What answers for each path; looked up at each request.
        express: Whether WebSockets use the express lane.
    """

    def __init__(self, routes: Mapping[str, Route], *, express: bool = True) -> None:
        self._routes = routes
        self._express = express

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one client's connection until it ends; the stream is closed then.

        Never raises for anything that the client does. Cancellation ends it in order.
        """
        try:
            await _HttpConnection(stream, self._routes, self._express).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed) as error:
            logger.debug("a client left: %s", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            await trio.aclose_forcefully(stream)


class _HttpConnection:
    """One client's stream of requests."""

    def __init__(self, stream: trio.abc.Stream, routes: Mapping[str, Route], express: bool) -> None:
        self._stream = stream
        self._routes = routes
        self._express = express
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAXIMUM_HEAD_SIZE)

        self._head = b""  # of the last request, as trio-websocket shall read it
        self._with_body = True

    async def serve(self) -> None:
        while True:
            try:
                with trio.fail_after(REQUEST_TIMEOUT):
                    request = await self._read_request()
            except trio.TooSlowError:
                logger.debug("no whole request came within %g s: the connection is closed", REQUEST_TIMEOUT)
                return
            if request is None:
                return
            answer = await self._answer(request) if isinstance(request, Request) else _render(request)
            if isinstance(answer, Upgrade):
                assert isinstance(request, Request)
                rest, _ = self._http.trailing_data
                try:
                    async with accept_websocket(
                        self._stream, answer.id, request, head=self._head, rest=rest, express=self._express
                    ) as connection:
                        await answer.serve(connection)
                    return
                except NoWebSocketError as error:
                    answer = _render(Response(str(error), status=400))
            try:
                with trio.fail_after(REQUEST_TIMEOUT):
                    await self._send(*answer)
            except trio.TooSlowError:
                logger.info("a client did not take its answer within %g s", REQUEST_TIMEOUT)
                return
            if {self._http.our_state, self._http.their_state} != {h11.DONE}:
                return
            self._http.start_next_cycle()

    async def _read_request(self) -> Request | Response | None:
        """Read a whole request; an error's answer instead of a bad one, ``None`` when no more come."""
        body = b""
        self._with_body = True
        try:
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            self._with_body = head.method != b"HEAD"
            lines = [b"%b %b HTTP/%b" % (head.method, head.target, head.http_version)]
            lines += [b"%b: %b" % (name, value) for name, value in head.headers]
            self._head = b"\r\n".join((*lines, b"", b""))
            while isinstance(part := await self._next_event(), h11.Data):
                body += part.data
                if len(body) > MAXIMUM_BODY_SIZE:
                    return Response(f"The body is above {MAXIMUM_BODY_SIZE} bytes.", status=413)
            return Request.parse(head.method, head.target, head.headers, body)
        except h11.RemoteProtocolError as error:
            logger.info("bad HTTP request: %s", error)
            return Response(str(error), status=error.error_status_hint)
        except ValueError as error:
            logger.info("bad HTTP request: %s", error)
            return Response("The request's target is no URL.", status=400, headers={"Connection": "close"})

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # the stub does not narrow sentinels
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(4096)))

    async def _answer(self, request: Request) -> tuple[h11.Response, bytes] | Upgrade:
        route = self._routes.get(request.path)
        if request.method == "CONNECT":
            return _render(Response("This is no proxy.", status=405))
        if route is None:
            return _render(Response(f"Nothing is served at {request.path}", status=404))
        try:
            answer = await route(request)
            if isinstance(answer, Upgrade):
                fault = _websocket_fault(request, self._http.their_http_version)
                return _render(Response(fault, status=400)) if fault else answer
            return _render(answer)
        except Exception:
            logger.exception("the handler of %s %s failed", request.method, request.path)
            return _render(Response("The handler failed.", status=500))

    async def _send(self, head: h11.Response, body: bytes) -> None:
        await self._write(head)
        if self._with_body:
            await self._write(h11.Data(data=body))
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)


def _render(response: Response) -> tuple[h11.Response, bytes]:
    """The head and the body of an answer; raises when it could not be sent so."""
    headers = [("Date", formatdate(usegmt=True)), ("Content-Type", response.content_type)]
    if response.status not in (204, 304):
        headers.append(("Content-Length", str(len(response.body))))
    elif response.body:
        raise ValueError(f"an answer with status {response.status} has no body")
    headers += response.headers.items()
    reason = responses.get(response.status, "")
    return h11.Response(status_code=response.status, headers=headers, reason=reason.encode()), response.body
