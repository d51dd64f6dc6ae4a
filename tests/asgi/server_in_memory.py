"""An ASGI server in memory: a test says what the application receives, and sees what it sends."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.server.app import AsgiApplication


class Server:
    """The server's end of one scope.

    Attributes:
        sent: What the application has sent.
        room: How many messages it may still send; then a send waits, shielded from cancellation as Hypercorn's is.
        gone: Whether sends fail, since the client has left.
        over: Set when the application has returned.
    """

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.room = inf
        self.gone = False
        self.over = trio.Event()
        self._waiting = trio.lowlevel.ParkingLot()
        self._give, self._take = trio.open_memory_channel[dict[str, Any]](inf)

    def tell(self, type: str, **fields: Any) -> None:
        """The application receives this."""
        self._give.send_nowait({"type": type, **fields})

    async def receive(self) -> dict[str, Any]:
        return await self._take.receive()

    async def send(self, message: dict[str, Any]) -> None:
        with trio.CancelScope(shield=True):
            while self.room < 1:
                await self._waiting.park()
        await trio.lowlevel.checkpoint()
        if self.gone:
            raise OSError("the client has left")
        self.room -= 1
        self.sent.append(message)

    def make_room(self) -> None:
        """The client takes whatever there is."""
        self.room = inf
        self._waiting.unpark_all()

    async def serve(self, application: AsgiApplication, scope: dict[str, Any]) -> None:
        """Call an application."""
        try:
            await application(scope, self.receive, self.send)
        finally:
            self.over.set()

    @property
    def status(self) -> int:
        """That of the answer."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Those of the answer."""
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """What has come of the answer's body."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def http(method: str = "GET", path: str = "/", **fields: Any) -> dict[str, Any]:
    """An ``http`` scope."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "headers": [(b"host", b"here")],
        "query_string": b"",
        **fields,
    }


def websocket(path: str = "/", **fields: Any) -> dict[str, Any]:
    """A ``websocket`` scope."""
    return {**http(path=path), "type": "websocket", "scheme": "ws", **fields}


async def ask(application: AsgiApplication, method: str, path: str, *parts: bytes, **fields: Any) -> Server:
    """Have an HTTP request answered."""
    server = Server()
    for part in parts:
        server.tell("http.request", body=part, more_body=True)
    server.tell("http.request", body=b"", more_body=False)
    await server.serve(application, http(method, path, **fields))
    return server


@asynccontextmanager
async def open_scope(application: AsgiApplication, scope: dict[str, Any]) -> AsyncGenerator[Server]:
    """A scope that is served meanwhile, and must have ended by itself when its client has left."""
    server = Server()
    server.tell("websocket.connect" if scope["type"] == "websocket" else "http.request")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, application, scope)
        await wait_all_tasks_blocked()
        yield server
        server.tell(f"{scope['type']}.disconnect", code=1006)
        with trio.fail_after(60):
            await server.over.wait()
