"""An app of ours as an ASGI 3 application: each scope is a door to the same routes, over every transport.

A request is answered in the task that the server gives it, in the app's time: the app must run already, and when it
ends, its requests have ended before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from ..connections.http import Request, Response
from ..connections.server.exchange import (
    FAILED,
    Deferred,
    Route,
    RouteAnswer,
    Takeover,
    Upgrade,
    nothing_at,
    too_large,
)
from ..connections.server.http_exchange import render
from ..connections.server.http_server import in_order
from ..connections.users import resolve
from ..errors import ConnectionClosed
from ..logs import get_logger
from ..server.app import HubApp
from ..server.app_life import NO_TRIO
from ..tasks import open_background
from .exchange import AsgiExchange, start_of
from .messages import Outlet, Receive, Scope, Send, open_outlet
from .scopes import request_of
from .users import HostUser, host_user
from .websocket import AsgiWebSocket

logger = get_logger(__name__)

NOT_RUNNING = (
    "the HubApp does not run: no lifespan reached it, as none does where it is mounted; write "
    "'async with hub_app.running():' in the lifespan of the application around it"
)


NO_WEBSOCKET = Response("A WebSocket takes a good request for one.", status=400)


class AsgiApp:
    """An ASGI 3 application; made by :meth:`HubApp.asgi`.

    Args:
        app: What it serves.
        user: Finds out who makes a request.
    """

    def __init__(self, app: HubApp[Any], user: HostUser | None) -> None:
        self._app = app
        self._user = user or host_user

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError(NO_TRIO)
        if scope["type"] not in ("http", "websocket"):
            raise ValueError(f"there is no ASGI scope of type {scope['type']!r} here")
        try:
            async with open_outlet(send) as outlet, self._in_its_time():
                if scope["type"] == "http":
                    await self._answer_http(scope, AsgiExchange(receive, outlet))
                else:
                    await self._answer_websocket(scope, receive, outlet)
        except ConnectionClosed as error:
            logger.debug("a client left: %s", error)

    @asynccontextmanager
    async def _in_its_time(self) -> AsyncGenerator[None]:
        """Have the body end before the app does: it is cancelled with what serves the app's other requests.

        Raises:
            RuntimeError: The app does not run.
        """
        doors = self._app.life.doors
        if doors is None:
            raise RuntimeError(NOT_RUNNING)
        over = trio.Event()
        with trio.CancelScope() as scope:
            doors.start_soon(_end_with_doors, scope, over)
            try:
                yield
            finally:
                over.set()

    # ---- what it answers

    async def _answer_http(self, scope: Scope, exchange: AsgiExchange) -> None:
        request, route = await self._find(scope)
        if route is not None and request.method not in route.unread:
            body = await exchange.read_whole(route.maximum_body_size)
            if body is None:
                await exchange.respond(too_large(route.maximum_body_size))
                return
            request = attrs.evolve(request, body=body)
        answer = await self._answer(route, request)
        if isinstance(answer, Upgrade | Takeover):
            answer = NO_WEBSOCKET
        try:
            if isinstance(answer, Deferred):
                exchange.headers = answer.headers
                async with open_background() as nursery:
                    if exchange.read_all:
                        nursery.start_soon(exchange.watch, answer.left)
                    await answer.serve(exchange)
            else:
                await exchange.respond(answer)
        except ConnectionClosed:
            raise
        except Exception:
            logger.exception("an answer failed")
            if not exchange.started:
                exchange.headers = {}
                await exchange.respond(FAILED)

    async def _answer_websocket(self, scope: Scope, receive: Receive, outlet: Outlet) -> None:
        await receive()  # that it connects
        request, route = await self._find(scope)
        answer = await self._answer(route, request)
        if isinstance(answer, Upgrade):
            headers = in_order(answer.headers)
            await outlet.send("websocket.accept", subprotocol=answer.subprotocol, headers=headers)
            websocket = AsgiWebSocket(answer.id, request, receive, outlet, close_timeout=answer.close_timeout)
            try:
                async with websocket.opened():
                    await answer.serve(websocket)
            except ConnectionClosed:
                raise
            except Exception:
                logger.exception("a connection failed")
            return
        refusal = answer if isinstance(answer, Response) else NO_WEBSOCKET
        if "websocket.http.response" not in scope.get("extensions", {}):
            await outlet.send("websocket.close", code=1008, reason="")
            return
        head, body = render(refusal, {})
        await outlet.send("websocket.http.response.start", **start_of(head))
        await outlet.send("websocket.http.response.body", body=body)

    async def _find(self, scope: Scope) -> tuple[Request, Route | None]:
        request = request_of(scope)
        user = await resolve(self._user(scope))
        return self._app.site.router.find(attrs.evolve(request, user=user))

    async def _answer(self, route: Route | None, request: Request) -> RouteAnswer | Takeover:
        if route is None:
            return nothing_at(request)
        try:
            answer = await route.answer(request)
            if isinstance(answer, Upgrade):
                in_order(answer.headers)
            return answer
        except Exception:
            logger.exception("the handler of %s %s failed", request.method, request.path)
            return FAILED

    # ---- its life

    async def _live(self, receive: Receive, send: Send) -> None:
        """Run the app from the server's start to its end."""
        await receive()
        if not trio.lowlevel.in_trio_task():
            await send({"type": "lifespan.startup.failed", "message": NO_TRIO})
            return
        step = "startup"
        try:
            async with self._app.running():
                await send({"type": "lifespan.startup.complete"})
                step = ""
                await receive()
                step = "shutdown"
        except Exception as error:
            if not step:  # and the server expects no message
                raise
            logger.exception("the app's %s failed", step)
            message = f"{type(error).__qualname__}: {error}"
            await send({"type": f"lifespan.{step}.failed", "message": message})
            return
        await send({"type": "lifespan.shutdown.complete"})


async def _end_with_doors(scope: trio.CancelScope, over: trio.Event) -> None:
    """Stand among the tasks of doors for one in another nursery."""
    try:
        await over.wait()
    finally:
        scope.cancel()
        with trio.CancelScope(shield=True):
            await over.wait()
