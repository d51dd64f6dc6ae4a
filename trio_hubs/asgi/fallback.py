"""The other way round: an ASGI 3 application of somebody else, behind the paths of an app of ours.

It gets whole HTTP: bodies come to it and leave it part by part, and it is told when its client leaves. So do its own
WebSockets: see :mod:`.fallback_websocket`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from ..connections.http import Request
from ..connections.server.exchange import Deferred, Exchange, Route, Takeover, is_websocket_request
from ..connections.server.http_exchange import REQUEST_TIMEOUT
from ..errors import ConnectionClosed
from ..logs import get_logger
from ..server.app import AsgiApplication
from ..tasks import open_background
from .fallback_websocket import FallbackWebSocket
from .messages import ClientLeft, Message, is_of_a_client_that_left
from .scopes import ASGI, scope_of

logger = get_logger(__name__)

S = TypeVar("S")

_WITH_BODY = frozenset(("POST", "PUT", "PATCH", "DELETE"))


class Fallback:
    """An application that answers where nothing of ours does.

    Args:
        application: The application.
    """

    def __init__(self, application: AsgiApplication) -> None:
        self._application = application
        self._state: dict[str, Any] = {}

    @property
    def route(self) -> Route:
        """What answers requests by it."""
        return Route(self._answer, unread=_WITH_BODY)

    async def _answer(self, request: Request) -> Deferred | Takeover:
        if is_websocket_request(request):
            return Takeover(serve=FallbackWebSocket(request, self._application, self._state).serve)
        answer = _Answer(request)
        return Deferred(serve=partial(answer.serve, self._application, self._state), left=answer.leave)

    # ---- its life

    @asynccontextmanager
    async def within(self, lifespan: AbstractAsyncContextManager[S]) -> AsyncGenerator[S]:
        """Hold the application's lifespan around the body, if it has one, and another around that.

        Raises:
            RuntimeError: Its startup or shutdown failed.
        """
        async with lifespan as state, open_background() as nursery:
            behind = _Lifespan()
            self._state = behind.state
            nursery.start_soon(behind.run, self._application)
            await behind.step("startup")
            try:
                yield state
            finally:
                await behind.step("shutdown")


class _Lifespan:
    """The lifespan scope of an application.

    Attributes:
        state: What its requests find in their scopes.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self._begun = False
        self._over = False
        self._give, self._take = trio.open_memory_channel[Message](2)
        self._answers, self._answered = trio.open_memory_channel[Message](2)

    async def run(self, application: AsgiApplication) -> None:
        scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        try:
            await application(scope, self._take.receive, self._send)
        except Exception as error:
            if self._begun:
                logger.exception("the fallback application's lifespan failed")
            else:  # as the specification has it, it knows none
                logger.info("the fallback application has no lifespan: %s", error)
        finally:
            self._over = True
            self._answers.close()

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):  # of an application that looks at no scope
            raise RuntimeError(f"the fallback application sent '{message['type']}' to its lifespan")
        await self._answers.send(message)

    async def step(self, name: str) -> None:
        """Have it do a step, unless it has no lifespan.

        Raises:
            RuntimeError: That failed.
        """
        if self._over:
            return
        await self._give.send({"type": f"lifespan.{name}"})
        try:
            answer = await self._answered.receive()
        except trio.EndOfChannel:
            return
        if answer["type"] != f"lifespan.{name}.complete":
            raise RuntimeError(f"the fallback application's {name} failed: {answer.get('message', '')}")
        self._begun = True


class _Answer:
    """One request's answer by an application."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._read_all = False
        self._left = trio.Event()
        self._start: Message | None = None
        self._begun = False
        self._finished = False

    def leave(self) -> None:
        """The client has left."""
        self._left.set()

    async def serve(self, application: AsgiApplication, state: dict[str, Any], exchange: Exchange) -> None:
        """Have the application answer.

        Raises:
            ConnectionClosed: The client left.
            RuntimeError: It has not answered.
            Exception: The application's.
        """
        scope = {**scope_of(self._request), "state": state.copy()}
        try:
            await application(scope, partial(self._receive, exchange), partial(self._send, exchange))
        except Exception as error:
            if is_of_a_client_that_left(error):
                raise ConnectionClosed("The client left.") from error
            raise
        finally:
            left = self._left.is_set()
            self._left.set()
        if not self._finished and not left:
            raise RuntimeError("the fallback application gave no whole answer")

    async def _receive(self, exchange: Exchange) -> Message:
        if self._read_all:
            await self._left.wait()
        if self._left.is_set():
            await trio.lowlevel.checkpoint()
            return {"type": "http.disconnect"}
        if self._request.method not in _WITH_BODY:
            await trio.lowlevel.checkpoint()
            part = self._request.body
            self._read_all = True
        else:
            try:
                part = await exchange.read()
            except ConnectionClosed:
                self.leave()
                return {"type": "http.disconnect"}
            self._read_all = not part
        return {"type": "http.request", "body": part, "more_body": not self._read_all}

    async def _send(self, exchange: Exchange, message: Message) -> None:
        if self._finished or self._left.is_set():
            raise ClientLeft("The client left.")
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                await self._pass_on(exchange, message)
        except trio.TooSlowError:
            self.leave()
            raise ClientLeft(f"The client took nothing of its answer for {REQUEST_TIMEOUT:g} s.") from None
        except ConnectionClosed as error:
            self.leave()
            raise ClientLeft(str(error)) from None

    async def _pass_on(self, exchange: Exchange, message: Message) -> None:
        if message["type"] == "http.response.start" and self._start is None:
            self._start = message  # and nothing leaves before its body does, so that it may still fail
            return
        if message["type"] != "http.response.body" or self._start is None:
            raise RuntimeError(f"the fallback application sent '{message['type']}' out of place")
        if not self._begun:
            self._begun = True
            await exchange.start(_headers_of(self._start), status=self._start["status"])
        body = message.get("body", b"")
        if body and self._request.method != "HEAD":
            await exchange.write(bytes(body))
        if not message.get("more_body", False):
            self._finished = True
            await exchange.finish()


def _headers_of(start: Message) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, text in start.get("headers", ()):
        if name.lower() != b"date":  # which is the door's to tell
            headers.setdefault(bytes(name).decode("latin-1"), []).append(bytes(text).decode("latin-1"))
    return headers
