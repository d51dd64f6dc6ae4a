"""The front door: HTTP/1.1 on a stream, one request after another, until one becomes a WebSocket.

Whatever comes in gets a well-formed answer. A request that cannot be read gets a 4xx and ends its
connection; a handler that fails gets a 500 and a log line; nobody else notices.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from email.utils import formatdate
from http.client import responses
from typing import Protocol, TypeAlias

import attrs
import h11
import trio

from ...errors import ConnectionClosed
from ...logs import get_logger
from ...tasks import open_background
from ..http import Headers, Request, Response
from ..websocket import CLOSE_TIMEOUT, WebSocketConnection, accept_websocket
from .arrivals import Arrivals
from .http_wire import PART_SIZE, HttpWire

logger = get_logger(__name__)

MAXIMUM_BODY_SIZE = 64 * 1024
"""Bytes of a request's body that is read whole; above it the answer is 413."""
REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send a whole request, or the next part of a body that is read in parts, and to take an
answer; an idle connection is closed after as long.
"""
_CLOSE = {"Connection": "close"}


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
    headers: Headers = attrs.field(factory=dict)


Answer: TypeAlias = Response | Upgrade | Held
Rendered: TypeAlias = tuple[h11.Response, bytes]


class Route(Protocol):
    """What answers the requests for a path."""

    async def __call__(self, request: Request, /) -> Answer: ...


def is_websocket_request(request: Request) -> bool:
    """Whether a request asks for a WebSocket, perhaps among other things."""
    return request.method == "GET" and "websocket" in _options(request, "upgrade")


def _options(request: Request, name: str) -> list[str]:
    """The entries of a header that is a list."""
    return [entry.strip() for entry in request.headers.get(name, "").lower().split(",")]


def _websocket_fault(request: Request, version: bytes | None) -> str:
    """What is wrong with a request for a WebSocket, as far as it can be said simply (RFC 6455, section 4.2.1)."""
    if not is_websocket_request(request):
        return "A WebSocket is asked for by GET, and an Upgrade header that names 'websocket'"
    if version != b"1.1":
        return "A WebSocket takes HTTP/1.1"
    if "upgrade" not in _options(request, "connection"):
        return "The Connection header must name 'Upgrade'"
    if request.headers.get("sec-websocket-version") != "13":
        return "Sec-WebSocket-Version must be 13"
    if not all(request.headers.get(name, "").isascii() for name in ("host", "sec-websocket-protocol")):
        return "Host and Sec-WebSocket-Protocol must be in ASCII"
    try:
        key = binascii.a2b_base64(request.headers.get("sec-websocket-key", ""), strict_mode=True)
    except ValueError:
        key = b""
    return "" if len(key) == 16 else "Sec-WebSocket-Key must be 16 bytes in base64"


def _fault(error: h11.RemoteProtocolError) -> str:
    """What h11 found, without the bytes in which it did, which may be secret."""
    return re.split(r":? ?(?:bytearray\(|b['\"])", str(error))[0]


class HttpServer:
    """Answers HTTP requests by their path.

    Args:
        routes: What answers for each path; looked up at each request.
        posted: The paths whose routes read the body of a POST themselves, by a :class:`Held`.
        express: Whether WebSockets' frames in order are read by us, rather than all by trio-websocket.
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
        self.arrivals = Arrivals()
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

    def __init__(self, wire: HttpWire, headers: Headers, with_body: bool) -> None:
        self._wire = wire
        self._headers = headers
        self._with_body = with_body
        self._read_all = False

    async def read(self) -> bytes:
        """The next part of the request's body; ``b""`` at its end, and from then on.

        Raises:
            h11.RemoteProtocolError: The client left, or broke the protocol.
            ConnectionClosed: The client sent nothing for too long.
        """
        if self._read_all:
            return b""
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                event = await self._wire.next_event()
        except trio.TooSlowError:
            raise ConnectionClosed(
                f"The client sent nothing of its body for {REQUEST_TIMEOUT:g} s."
            ) from None
        self._read_all = not isinstance(event, h11.Data)
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
        self._wire.expect()
        parts: list[list[h11.Event]] = [[head]]
        if self._with_body:
            parts[0].append(h11.Data(data=body[:PART_SIZE]))
            parts.extend(
                [h11.Data(data=body[at : at + PART_SIZE])] for at in range(PART_SIZE, len(body), PART_SIZE)
            )
        parts[-1].append(h11.EndOfMessage())
        for part in parts:
            try:
                with trio.fail_after(timeout):
                    await self._wire.send(*part)
            except trio.TooSlowError:
                raise ConnectionClosed(f"The client took nothing of its answer for {timeout:g} s.") from None

    async def start(self, headers: Mapping[str, str]) -> None:
        """Begin an answer with status 200 whose body follows by :meth:`write`, and ends with the exchange."""
        date = ("Date", formatdate(usegmt=True))
        lines = [date, *headers.items(), *_lines(self._headers)]
        await self._wire.send(h11.Response(status_code=200, headers=lines, reason=b"OK"))

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
        self._wire.expect()
        await self._wire.send(h11.EndOfMessage())


class _HttpConnection:
    """One client's stream of requests."""

    def __init__(self, stream: trio.abc.Stream, server: HttpServer) -> None:
        self._stream = stream
        self._server = server
        self._wire = HttpWire(stream, server.arrivals)
        self._with_body = True

    async def serve(self) -> None:
        try:
            while await self._serve_request():
                pass
        finally:
            self._wire.end()

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
            async with accept_websocket(
                self._stream,
                answer.id,
                request,
                rest=self._wire.take_rest(),
                subprotocol=answer.subprotocol,
                close_timeout=answer.close_timeout,
                express=self._server.express,
            ) as connection:
                await answer.serve(connection)
            return False
        if isinstance(answer, Held):
            await self._hold(answer)
        else:
            await Exchange(self._wire, {}, self._with_body).send(*answer)
        if isinstance(request, Request):
            await self._skip_body()
        http = self._wire.http
        return not self._wire.cut and {http.our_state, http.their_state} == {h11.DONE}

    async def _read_request(self) -> Request | Response | None:
        """Read a request, with its body; an error's answer instead of a bad one, ``None`` when no more come."""
        self._with_body = True
        try:
            head = await self._wire.next_request()
            if not isinstance(head, h11.Request):
                return None
            self._with_body = head.method != b"HEAD"
            names = [name for name, _ in head.headers]
            # Both are a way to smuggle requests past proxies.
            if b"content-length" in names and b"transfer-encoding" in names:
                return Response("A body has one length.", status=400, headers=_CLOSE)
            try:
                request = Request.parse(head.method, head.target, head.headers, scheme=self._server.scheme)
            except ValueError:
                logger.info("bad HTTP request: its target is no URL")
                return Response("The request's target is no URL.", status=400, headers=_CLOSE)
            if request.method == "POST" and request.path in self._server.posted:
                return request
            body = await self._read_body()
            return body if isinstance(body, Response) else attrs.evolve(request, body=body)
        except h11.RemoteProtocolError as error:
            return _refusal(error)

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
            if self._wire.http.their_state is h11.SEND_BODY:
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
                fault = _websocket_fault(request, self._wire.http.their_http_version)
                return _render(Response(fault, status=400), {}) if fault else answer
            return answer if isinstance(answer, Held) else _render(answer, {})
        except Exception:
            logger.exception("the handler of %s %s failed", request.method, request.path)
            return _render(Response("The handler failed.", status=500), {})

    async def _hold(self, held: Held) -> None:
        exchange = Exchange(self._wire, held.headers, self._with_body)
        try:
            async with open_background() as nursery:
                if self._wire.http.their_state is not h11.SEND_BODY:
                    nursery.start_soon(self._wire.watch, held.left)
                await held.serve(exchange)
        except ConnectionClosed:
            raise
        except h11.RemoteProtocolError as error:
            await exchange.respond(_refusal(error))
        except Exception:
            logger.exception("an answer failed")
            if self._wire.http.our_state is h11.SEND_RESPONSE:
                await exchange.respond(Response("The handler failed.", status=500))


def _refusal(error: h11.RemoteProtocolError) -> Response:
    """The answer to what is no request."""
    fault = _fault(error)
    logger.info("bad HTTP request: %s", fault)
    return Response(fault, status=error.error_status_hint, headers=_CLOSE)


def _lines(headers: Headers) -> list[tuple[str, str]]:
    return [
        (name, text)
        for name, texts in headers.items()
        for text in ([texts] if isinstance(texts, str) else texts)
    ]


def _render(response: Response, more: Headers) -> Rendered:
    """The head and the body of an answer; raises when it could not be sent so."""
    headers = _lines(response.headers)
    given = {name.lower() for name, _ in headers}
    usual = {"Date": formatdate(usegmt=True), "Content-Type": response.content_type}
    headers[:0] = [(name, text) for name, text in usual.items() if name.lower() not in given]
    if response.status not in (204, 304):
        headers.append(("Content-Length", str(len(response.body))))
    elif response.body:
        raise ValueError(f"an answer with status {response.status} has no body")
    headers += _lines(more)
    reason = responses.get(response.status, "")
    return h11.Response(status_code=response.status, headers=headers, reason=reason.encode()), response.body
