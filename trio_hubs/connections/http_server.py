"""The front door: HTTP/1.1 on a stream, one request after another, until one becomes a WebSocket.

Whatever comes in gets a well-formed answer. A request that cannot be read gets a 4xx and ends its
connection; a handler that fails gets a 500 and a log line; nobody else notices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from email.utils import formatdate
from http.client import responses
from typing import Protocol, TypeAlias

import attrs
import h11
import trio

from ..errors import ConnectionClosed
from ..logs import get_logger
from ..tasks import open_background
from .http import Request, Response
from .websocket import CLOSE_TIMEOUT, NoWebSocketError, WebSocketConnection, accept_websocket

logger = get_logger(__name__)

MAXIMUM_HEAD_SIZE = 16 * 1024
"""Bytes of a request's line and headers; above it the answer is 431 or 400."""
MAXIMUM_BODY_SIZE = 64 * 1024
"""Bytes of a request's body that is read whole; above it the answer is 413."""
REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send a whole request, or the next part of a body that is read in parts, and to take an
answer; an idle connection is closed after as long.
"""
PART_SIZE = 64 * 1024
"""The most bytes that are read, or sent, at once."""
_GIVE_WAY = 64


@attrs.frozen(kw_only=True)
class Upgrade:
    """An answer that turns the request into a WebSocket.

    Attributes:
        id: The connection's public id.
        serve: What to do with the open WebSocket, which is closed when it returns.
        subprotocol: What to name as the chosen subprotocol, if anything.
        close_timeout: Seconds that the client has to answer our close frame.
    """

    id: str
    serve: Callable[[WebSocketConnection], Awaitable[None]]
    subprotocol: str | None = None
    close_timeout: float = CLOSE_TIMEOUT


@attrs.frozen(kw_only=True)
class Held:
    """An answer that takes its time, or whose request's body does.

    Attributes:
        serve: Answers by the exchange.
        left: Called when the client leaves meanwhile.
        headers: Further headers of whatever the answer is.
    """

    serve: Callable[[Exchange], Awaitable[None]]
    left: Callable[[], None]
    headers: Mapping[str, str] = attrs.field(factory=dict)


Answer: TypeAlias = Response | Upgrade | Held
Rendered: TypeAlias = tuple[h11.Response, bytes]


class Route(Protocol):
    """What answers the requests for a path."""

    async def __call__(self, request: Request, /) -> Answer: ...


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
        posted: The paths whose routes read the body of a POST themselves, by a :class:`Held`.
        express: Whether WebSockets use the express lane.
        scheme: ``https`` when the streams are TLS, else ``http``.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        posted: Collection[str] = (),
        express: bool = True,
        scheme: str = "http",
    ) -> None:
        self.routes = routes
        self.posted = posted
        self.express = express
        self.scheme = scheme

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one client's connection until it ends; the stream is closed then.

        Never raises for anything that the client does. Cancellation ends it in order.
        """
        try:
            await _HttpConnection(stream, self).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed) as error:
            logger.debug("a client left: %s", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            await trio.aclose_forcefully(stream)


class Exchange:
    """One request's body and its answer, for as long as they take."""

    def __init__(self, wire: _Wire, headers: Mapping[str, str], with_body: bool) -> None:
        self._wire = wire
        self._headers = headers
        self._with_body = with_body

    async def read(self) -> bytes:
        """The next part of the request's body; ``b""`` at its end.

        Raises:
            h11.RemoteProtocolError: The client left, or broke the protocol.
            ConnectionClosed: The client sent nothing for too long.
        """
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                event = await self._wire.next_event()
        except trio.TooSlowError:
            raise ConnectionClosed(
                f"The client sent nothing of its body for {REQUEST_TIMEOUT:g} s."
            ) from None
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def respond(self, response: Response, *, timeout: float = REQUEST_TIMEOUT) -> None:
        """Send a whole answer.

        Args:
            response: The answer.
            timeout: Seconds in which the client has to take each part of it, of 64 KiB.

        Raises:
            ConnectionClosed: The client did not take it in time, or left.
        """
        await self.send(*_render(response, self._headers), timeout=timeout)

    async def send(self, head: h11.Response, body: bytes, *, timeout: float = REQUEST_TIMEOUT) -> None:
        """Send an answer that is rendered; as :meth:`respond`."""
        events: list[h11.Event] = [head]
        if self._with_body:
            events += [h11.Data(data=body[at : at + PART_SIZE]) for at in range(0, len(body), PART_SIZE)]
        for event in (*events, h11.EndOfMessage()):
            try:
                with trio.fail_after(timeout):
                    await self._wire.send(event)
            except trio.TooSlowError:
                raise ConnectionClosed(f"The client took nothing of its answer for {timeout:g} s.") from None

    async def start(self, headers: Mapping[str, str]) -> None:
        """Begin an answer with status 200 whose body follows by :meth:`write`, and ends with the exchange."""
        date = ("Date", formatdate(usegmt=True))
        await self._wire.send(
            h11.Response(
                status_code=200, headers=[date, *headers.items(), *self._headers.items()], reason=b"OK"
            )
        )

    async def write(self, data: bytes) -> None:
        """Send a part of the body.

        Raises:
            ConnectionClosed: The client left.
        """
        await self._wire.send(h11.Data(data=data))

    async def finish(self) -> None:
        """End a body that :meth:`start` began.

        Raises:
            ConnectionClosed: The client left, or a part of the body was cut off.
        """
        if self._wire.cut:
            raise ConnectionClosed("The client did not take a part of its answer.")
        await self._wire.send(h11.EndOfMessage())


class _Wire:
    """HTTP events on a stream.

    Attributes:
        cut: Whether an event is being sent, or was and was cut, after which nothing more can be sent.
    """

    def __init__(self, http: h11.Connection, stream: trio.abc.Stream) -> None:
        self._http = http
        self._stream = stream
        self._events = 0
        self.cut = False

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        self._events += 1
        if self._events % _GIVE_WAY == 0:  # one read may hold thousands of tiny chunks
            await trio.lowlevel.checkpoint()
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # the stub does not narrow sentinels
            if self._http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                data = await self._stream.receive_some(PART_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self._http.receive_data(bytes(data))

    async def send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self.cut = True
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionClosed("The client left.") from None
            self.cut = False

    async def watch(self, left: Callable[[], None]) -> None:
        """Notice that the client leaves, while nothing is expected of it, or sends far too much for that."""
        size = 0
        while size < PART_SIZE:
            try:
                data = await self._stream.receive_some(PART_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                break
            size += len(data)
            self._http.receive_data(bytes(data))
        left()


class _HttpConnection:
    """One client's stream of requests."""

    def __init__(self, stream: trio.abc.Stream, server: HttpServer) -> None:
        self._stream = stream
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAXIMUM_HEAD_SIZE)
        self._wire = _Wire(self._http, stream)
        self._head = b""  # of the last request, as trio-websocket shall read it
        self._with_body = True

    async def serve(self) -> None:
        while await self._serve_request():
            self._http.start_next_cycle()

    async def _serve_request(self) -> bool:
        """Answer one request; whether another may follow."""
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                request = await self._read_request()
        except trio.TooSlowError:
            logger.debug("no whole request came within %g s: the connection is closed", REQUEST_TIMEOUT)
            return False
        if request is None:
            return False
        answer = await self._answer(request) if isinstance(request, Request) else _render(request, {})
        if isinstance(answer, Upgrade):
            assert isinstance(request, Request)
            rest, _ = self._http.trailing_data
            try:
                async with accept_websocket(
                    self._stream,
                    answer.id,
                    request,
                    head=self._head,
                    rest=rest,
                    subprotocol=answer.subprotocol,
                    close_timeout=answer.close_timeout,
                    express=self._server.express,
                ) as connection:
                    await answer.serve(connection)
                return False
            except NoWebSocketError as error:
                answer = _render(Response(str(error), status=400), {})
        if isinstance(answer, Held):
            await self._hold(answer)
        else:
            await Exchange(self._wire, {}, self._with_body).send(*answer)
        if isinstance(request, Request):
            await self._skip_body()
        return not self._wire.cut and {self._http.our_state, self._http.their_state} == {h11.DONE}

    async def _read_request(self) -> Request | Response | None:
        """Read a request, with its body; an error's answer instead of a bad one, ``None`` when no more come."""
        self._with_body = True
        try:
            head = await self._wire.next_event()
            if not isinstance(head, h11.Request):
                return None
            self._with_body = head.method != b"HEAD"
            lines = [b"%b %b HTTP/%b" % (head.method, head.target, head.http_version)]
            lines += [b"%b: %b" % (name, value) for name, value in head.headers]
            self._head = b"\r\n".join((*lines, b"", b""))
            names = [name for name, _ in head.headers]
            # Both are a way to smuggle requests past proxies.
            if b"content-length" in names and b"transfer-encoding" in names:
                return Response("A body has one length.", status=400, headers={"Connection": "close"})
            request = Request.parse(head.method, head.target, head.headers, scheme=self._server.scheme)
            if request.method == "POST" and request.path in self._server.posted:
                return request
            body = await self._read_body()
            return body if isinstance(body, Response) else attrs.evolve(request, body=body)
        except h11.RemoteProtocolError as error:
            logger.info("bad HTTP request: %r", error)
            return Response(str(error), status=error.error_status_hint)
        except ValueError as error:
            logger.info("bad HTTP request: %r", error)
            return Response("The request's target is no URL.", status=400, headers={"Connection": "close"})

    async def _read_body(self) -> bytes | Response:
        body = b""
        while isinstance(part := await self._wire.next_event(), h11.Data):
            body += part.data
            if len(body) > MAXIMUM_BODY_SIZE:
                return Response(f"The body is above {MAXIMUM_BODY_SIZE} bytes.", status=413)
        return body

    async def _skip_body(self) -> None:
        """Read what is left of a body that nobody wants, unless it is too much; so the connection can go on."""
        with trio.move_on_after(REQUEST_TIMEOUT), suppress(h11.RemoteProtocolError):
            if self._http.their_state is h11.SEND_BODY:
                await self._read_body()

    async def _answer(self, request: Request) -> Rendered | Upgrade | Held:
        route = self._server.routes.get(request.path)
        if request.method == "CONNECT":
            return _render(Response("This is no proxy.", status=405), {})
        if route is None:
            return _render(Response(f"Nothing is served at {request.path}", status=404), {})
        try:
            answer = await route(request)
            if isinstance(answer, Upgrade):
                fault = _websocket_fault(request, self._http.their_http_version)
                return _render(Response(fault, status=400), {}) if fault else answer
            return answer if isinstance(answer, Held) else _render(answer, {})
        except Exception:
            logger.exception("the handler of %s %s failed", request.method, request.path)
            return _render(Response("The handler failed.", status=500), {})

    async def _hold(self, held: Held) -> None:
        exchange = Exchange(self._wire, held.headers, self._with_body)
        try:
            async with open_background() as nursery:
                if self._http.their_state is not h11.SEND_BODY:
                    nursery.start_soon(self._wire.watch, held.left)
                await held.serve(exchange)
        except ConnectionClosed:
            raise
        except h11.RemoteProtocolError as error:
            logger.info("bad HTTP request: %r", error)
            await exchange.respond(Response(str(error), status=error.error_status_hint))
        except Exception:
            logger.exception("an answer failed")
            if self._http.our_state is h11.SEND_RESPONSE:
                await exchange.respond(Response("The handler failed.", status=500))


def _render(response: Response, more: Mapping[str, str]) -> Rendered:
    """The head and the body of an answer; raises when it could not be sent so."""
    headers = [("Date", formatdate(usegmt=True)), ("Content-Type", response.content_type)]
    if response.status not in (204, 304):
        headers.append(("Content-Length", str(len(response.body))))
    elif response.body:
        raise ValueError(f"an answer with status {response.status} has no body")
    headers += [*response.headers.items(), *more.items()]
    reason = responses.get(response.status, "")
    return h11.Response(status_code=response.status, headers=headers, reason=reason.encode()), response.body
