"""The front door: HTTP/1.1 on a stream, one request after another, until one becomes a WebSocket.

Each request gets a well-formed answer. A request that cannot be read gets a 4xx and ends its
connection; a handler that fails gets a 500 and a log line; nobody else notices.
"""

from __future__ import annotations

import binascii
import logging
import re
from contextlib import suppress

import attrs
import h11
import trio

from ...errors import ConnectionClosed
from ...logs import access_logger, get_logger
from ...tasks import open_background
from ..direct_socket import DirectSocketStream, close_at_once
from ..http import Headers, Request, Response
from ..websocket import accept_websocket
from .arrivals import Arrivals
from .elsewhere import Elsewhere
from .exchange import (
    FAILED,
    MAXIMUM_BODY_SIZE,
    Deferred,
    Route,
    Takeover,
    Upgrade,
    is_websocket_request,
    list_header,
    nothing_at,
    too_large,
)
from .http_exchange import REQUEST_TIMEOUT, HttpExchange, Rendered, header_lines, render
from .http_wire import HttpWire
from .listeners import client_of
from .router import Router

logger = get_logger(__name__)

_CLOSE = {"Connection": "close"}


def _websocket_fault(request: Request, version: bytes | None) -> str:
    """What is wrong with a request for a WebSocket, as far as it can be said simply (RFC 6455, section 4.2.1)."""
    if not is_websocket_request(request):
        return "A WebSocket is asked for by GET, and an Upgrade header that names 'websocket'"
    if version != b"1.1":
        return "A WebSocket takes HTTP/1.1"
    if "upgrade" not in list_header(request, "connection"):
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


def in_order(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an acceptance; raises when they could not be sent so."""
    return (
        list(h11.InformationalResponse(status_code=101, headers=header_lines(headers)).headers)
        if headers
        else []
    )


def _fault(error: h11.RemoteProtocolError) -> str:
    """What h11 found, without the bytes in which it did, which may be secret."""
    return re.split(r":? ?(?:bytearray\(|b['\"])", str(error))[0]


class HttpServer:
    """Answers HTTP requests by their path.

    Args:
        router: What answers them.
        express: Whether WebSockets' frames in order are read by us, rather than all by trio-websocket.
        elsewhere: The other processes on the same port.
    """

    def __init__(self, router: Router, *, express: bool = True, elsewhere: Elsewhere | None = None) -> None:
        self.router = router
        self.express = express
        self.elsewhere = elsewhere
        self.arrivals = Arrivals()
        self._under_way: set[object] = set()
        self._answered = trio.lowlevel.ParkingLot()

    def begin(self) -> object:
        """A request has come; gives what stands for it."""
        request = object()
        self._under_way.add(request)
        return request

    def end(self, request: object) -> None:
        """It has been answered, or will not be."""
        self._under_way.discard(request)
        self._answered.unpark_all()

    async def wait_answered(self) -> None:
        """Wait until the requests that are under way now have been answered. A checkpoint."""
        await trio.lowlevel.checkpoint()
        waiting = set(self._under_way)
        while waiting & self._under_way:
            await self._answered.park()

    async def serve_stream(
        self, stream: trio.abc.Stream, data: bytes = b"", scheme: str = "", client: str | None = None
    ) -> None:
        """Serve one client's connection until it ends; the stream is closed then.

        Never raises for anything that the client does. Cancellation ends it in order.

        Args:
            stream: The socket, or TLS on it.
            data: What another process has read of it.
            scheme: The scheme, where the stream does not tell it.
            client: The client's address, where the stream does not tell it.
        """
        if isinstance(stream, trio.SocketStream):
            stream = DirectSocketStream(stream)
        try:
            await _HttpConnection(stream, self, data, scheme, client).serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed) as error:
            logger.debug("a client left: %s", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            await close_at_once(stream)


class _HttpConnection:
    """One client's stream of requests."""

    def __init__(
        self, stream: trio.abc.Stream, server: HttpServer, data: bytes, scheme: str, client: str | None
    ) -> None:
        self._stream = stream
        self._scheme = scheme or ("https" if isinstance(stream, trio.SSLStream) else "http")
        self._server = server
        self._wire = HttpWire(stream, server.arrivals, data)
        self._client = client or client_of(stream)
        self._request: object = None  # stands for the request under way
        self._route: Route | None = None  # of that
        self._owner: int | None = None  # of that, where another process has its connection
        self._with_body = True

    async def serve(self) -> None:
        try:
            while await self._serve_request():
                self._server.end(self._request)
        finally:
            self._server.end(self._request)
            self._wire.end()

    async def _serve_request(self) -> bool:
        """Read and answer one request; whether another may follow."""
        began = trio.current_time()
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                request = await self._read_request()
        except trio.TooSlowError:
            logger.debug("no whole request came within %g s: the connection is closed", REQUEST_TIMEOUT)
            return False
        if request is None:
            return False
        if self._owner is not None:
            return await self._hand_over(self._owner)
        try:
            return await self._serve_answer(request)
        finally:
            if access_logger.isEnabledFor(logging.INFO):
                self._log_access(request, trio.current_time() - began)

    def _log_access(self, request: Request | Response, seconds: float) -> None:
        """Tell of a request that has been answered, or was too bad to be read; its query has secrets."""
        known = request if isinstance(request, Request) else None
        fields = {
            "client": (known.client if known else self._client) or "-",
            "http_method": known.method if known else "-",
            "path": known.path if known else "-",
            "status": self._wire.status,
            "seconds": round(seconds, 3),
        }
        access_logger.info("%s %s %s %d %.3f s", *fields.values(), extra=fields)

    async def _serve_answer(self, request: Request | Response) -> bool:
        answer = await self._answer(request) if isinstance(request, Request) else render(request, {})
        if isinstance(answer, Upgrade):
            assert isinstance(request, Request)
            async with accept_websocket(
                self._stream,
                answer.id,
                request,
                rest=self._wire.take_rest(),
                subprotocol=answer.subprotocol,
                headers=in_order(answer.headers),
                close_timeout=answer.close_timeout,
                express=self._server.express,
            ) as connection:
                self._wire.status = 101
                await answer.serve(connection)
            return False
        if isinstance(answer, Takeover):
            await answer.serve(self._stream, self._wire.take_rest())
            return False
        if isinstance(answer, Deferred):
            await self._hold(answer)
        else:
            await HttpExchange(self._wire, {}, with_body=self._with_body).send(*answer)
        if isinstance(request, Request):
            await self._skip_body()
        http = self._wire.http
        return not self._wire.cut and {http.our_state, http.their_state} == {h11.DONE}

    async def _read_request(self) -> Request | Response | None:
        """Read a request, with its body; an error's answer instead of a bad one, ``None`` when no more come."""
        self._with_body = True
        try:
            head = await self._wire.next_request()
            if head is None:
                await self._hand_over_idle()
            if not isinstance(head, h11.Request):
                return None
            self._request = self._server.begin()
            self._with_body = head.method != b"HEAD"
            names = [name for name, _ in head.headers]
            # Both are a way to smuggle requests past proxies.
            if b"content-length" in names and b"transfer-encoding" in names:
                return Response("A body has one length.", status=400, headers=_CLOSE)
            try:
                request = Request.parse(
                    head.method,
                    head.target,
                    head.headers,
                    scheme=self._scheme,
                    client=self._client,
                    app=self._server.router.app,
                )
            except ValueError:
                logger.info("bad HTTP request: its target is no URL")
                return Response("The request's target is no URL.", status=400, headers=_CLOSE)
            request, self._route = self._server.router.find(request)
            if self._server.elsewhere is not None:
                self._owner = self._find_owner(request, self._server.elsewhere)
                if self._owner is not None:
                    return request
            self._wire.drop_head()
            if self._route is not None and request.method in self._route.unread:
                return request
            body = await self._read_body(
                MAXIMUM_BODY_SIZE if self._route is None else self._route.maximum_body_size
            )
            return (
                body if isinstance(body, Response) else attrs.evolve(request, body=body) if body else request
            )
        except h11.RemoteProtocolError as error:
            return _refusal(error)

    def _find_owner(self, request: Request, elsewhere: Elsewhere) -> int | None:
        if self._route is not None and self._route.tokens and (token := request.query.get("id")):
            return elsewhere.owner(token)
        # What came over TLS would still go through this process, which is about to end.
        return elsewhere.heir if isinstance(self._stream, DirectSocketStream) else None

    async def _hand_over_idle(self) -> None:
        """Have another process wait for the next request, if there is one; else there will be no answer to it."""
        elsewhere = self._server.elsewhere
        if elsewhere is not None and (heir := elsewhere.heir) is not None:
            await elsewhere.hand_over(heir, self._stream, b"", self._scheme, self._client)

    async def _hand_over(self, owner: int) -> bool:
        assert self._server.elsewhere is not None
        if not await self._server.elsewhere.hand_over(
            owner, self._stream, self._wire.take_back(), self._scheme, self._client
        ):
            answer = render(Response("The connection's process is away.", status=503, headers=_CLOSE), {})
            await HttpExchange(self._wire, {}, with_body=self._with_body).send(*answer)
        return False

    async def _read_body(self, maximum: int) -> bytes | Response:
        body = bytearray()
        while isinstance(part := await self._wire.next_event(), h11.Data):
            body += part.data
            if len(body) > maximum:
                return too_large(maximum)
        return bytes(body)

    async def _skip_body(self) -> None:
        """Read what is left of a body that nobody wants, unless it is too much; so the connection can go on."""
        with trio.move_on_after(REQUEST_TIMEOUT), suppress(h11.RemoteProtocolError):
            if self._wire.http.their_state is h11.SEND_BODY:
                await self._read_body(MAXIMUM_BODY_SIZE)

    async def _answer(self, request: Request) -> Rendered | Upgrade | Deferred | Takeover:
        route = self._route
        if request.method == "CONNECT":
            return render(Response("This is no proxy.", status=405), {})
        if route is None:
            return render(nothing_at(request), {})
        try:
            answer = await route.answer(request)
            if isinstance(answer, Upgrade | Takeover):
                if isinstance(answer, Upgrade):
                    in_order(answer.headers)
                fault = _websocket_fault(request, self._wire.http.their_http_version)
                return render(Response(fault, status=400), {}) if fault else answer
            return answer if isinstance(answer, Deferred) else render(answer, {})
        except Exception:
            logger.exception("the handler of %s %s failed", request.method, request.path)
            return render(FAILED, {})

    async def _hold(self, deferred: Deferred) -> None:
        exchange = HttpExchange(self._wire, deferred.headers, with_body=self._with_body)
        try:
            async with open_background() as nursery:
                if self._wire.http.their_state is not h11.SEND_BODY:
                    nursery.start_soon(self._wire.watch, deferred.left)
                await deferred.serve(exchange)
        except ConnectionClosed:
            raise
        except h11.RemoteProtocolError as error:
            await exchange.respond(_refusal(error))
        except Exception:
            logger.exception("an answer failed")
            if self._wire.http.our_state is h11.SEND_RESPONSE:
                await exchange.respond(FAILED)


def _refusal(error: h11.RemoteProtocolError) -> Response:
    """The answer to a malformed request."""
    fault = _fault(error)
    logger.info("bad HTTP request: %s", fault)
    return Response(fault, status=error.error_status_hint, headers=_CLOSE)
