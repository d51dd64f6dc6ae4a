"""A WebSocket of an ASGI application behind ours: trio-websocket keeps its messages whole.

The application decides first: nothing is answered before it accepts or refuses. What it leaves open is closed for it.
"""

from __future__ import annotations

from typing import Any

import trio
import trio_websocket

from ..connections.http import Request, Response
from ..connections.server.exchange import FAILED
from ..connections.server.http_exchange import REQUEST_TIMEOUT, render
from ..connections.websocket.fallback import open_fallback
from ..connections.websocket.opening import accept_key, acceptance
from ..connections.websocket.websocket import CLOSE_TIMEOUT, INTERNAL_ERROR, NORMAL_CLOSURE
from ..errors import ConnectionClosed
from ..logs import get_logger
from ..server.app import AsgiApplication
from ..tasks import open_background
from .messages import ClientLeft, Message, is_of_a_client_that_left
from .scopes import scope_of

logger = get_logger(__name__)

REFUSED = Response("The WebSocket was refused.", status=403, headers={"Connection": "close"})


class FallbackWebSocket:
    """One WebSocket of an application.

    Args:
        request: The request for it, which is in order.
        application: The application.
        state: What its lifespan has left for it.
    """

    def __init__(self, request: Request, application: AsgiApplication, state: dict[str, Any]) -> None:
        self._request = request
        self._application = application
        self._state = state
        self._connected = False
        self._acceptance: bytes | None = None
        self._decided = trio.Event()
        self._opened = trio.Event()
        self._over = trio.Event()
        self._failed = False
        self._websocket: trio_websocket.WebSocketConnection | None = None

    async def serve(self, stream: trio.abc.Stream, rest: bytes) -> None:
        """Have the application use a stream on which a WebSocket was asked for.

        Args:
            stream: The socket.
            rest: What was read behind the request.

        Raises:
            ConnectionClosed: The client takes no answer.
        """
        async with open_background() as nursery:
            nursery.start_soon(self._call)
            await self._decided.wait()
            try:
                with trio.fail_after(REQUEST_TIMEOUT):
                    await stream.send_all(self._acceptance or _bytes_of(FAILED if self._failed else REFUSED))
            except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionClosed("The client takes no answer.") from None
            if self._acceptance is None:
                return
            async with open_fallback(stream, rest, stream.send_all, masked=True) as self._websocket:
                self._opened.set()
                try:
                    await self._over.wait()
                finally:
                    with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                        await self._websocket.aclose(INTERNAL_ERROR if self._failed else NORMAL_CLOSURE)

    async def _call(self) -> None:
        scope = {**scope_of(self._request), "type": "websocket", "state": self._state.copy()}
        scope["scheme"] = "wss" if self._request.scheme == "https" else "ws"
        names = self._request.headers.get("sec-websocket-protocol", "").split(",")
        scope["subprotocols"] = [name.strip() for name in names if name.strip()]
        try:
            await self._application(scope, self._receive, self._send)
        except Exception as error:
            self._failed = True
            if not is_of_a_client_that_left(error):
                logger.exception("the fallback application failed at a WebSocket")
        finally:
            self._decided.set()
            self._over.set()

    async def _receive(self) -> Message:
        if not self._connected:
            self._connected = True
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.connect"}
        await self._opened.wait()
        assert self._websocket is not None
        try:
            message = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            code = 1006 if closed.reason is None else closed.reason.code
            reason = "" if closed.reason is None else closed.reason.reason
            return {"type": "websocket.disconnect", "code": code, "reason": reason or ""}
        field = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", field: message}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept" and not self._decided.is_set():
            self._acceptance = acceptance(
                accept_key(self._request.headers["sec-websocket-key"]),
                message.get("subprotocol"),
                message.get("headers", ()),
            )
            self._decided.set()
            await self._opened.wait()
        elif kind == "websocket.close" and not self._decided.is_set():
            self._decided.set()
        elif kind in ("websocket.send", "websocket.close") and self._websocket is not None:
            await self._send_open(self._websocket, message)
        else:
            raise RuntimeError(f"the fallback application sent '{kind}' out of place")

    async def _send_open(self, websocket: trio_websocket.WebSocketConnection, message: Message) -> None:
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                if message["type"] == "websocket.close":
                    await websocket.aclose(message.get("code", NORMAL_CLOSURE), message.get("reason") or None)
                else:
                    text = message.get("text")
                    await websocket.send_message(message.get("bytes") or b"" if text is None else text)
        except trio.TooSlowError:
            self._over.set()
            raise ClientLeft(f"The client took nothing for {REQUEST_TIMEOUT:g} s.") from None
        except trio_websocket.ConnectionClosed:
            raise ClientLeft("The client left.") from None


def _bytes_of(response: Response) -> bytes:
    head, body = render(response, {})
    lines = b"".join(b"%b: %b\r\n" % line for line in head.headers)
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (head.status_code, head.reason, lines, body)
