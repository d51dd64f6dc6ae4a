"""A proxy that tunnels: who asks it to CONNECT to a name comes to a server of the test's."""

from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import trio


class Tunnels:
    """The proxy, and what it was asked.

    Attributes:
        port: Where it listens.
        asked: The heads of all requests that it got.
        credentials: What it wants to be shown; "" for nothing.
        status: What it answers those who have shown that; "" where there are tunnels.
    """

    port: int

    def __init__(self, server: str) -> None:
        self.asked: list[str] = []
        self.credentials = self.status = ""
        self._server = urlsplit(server)

    async def answer(self, near: trio.SocketStream) -> None:
        """Take one connection to its end."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := await near.receive_some()):
                return
            head += data
        self.asked.append(head.decode())
        shown = b64encode(self.credentials.encode()).decode()
        if self.credentials and f"Proxy-Authorization: Basic {shown}\r\n" not in head.decode():
            await refuse(near, "407 Proxy Authentication Required")
        elif self.status:
            await refuse(near, self.status)
        else:
            await self._tunnel(near)

    async def _tunnel(self, near: trio.SocketStream) -> None:
        host, port = self._server.hostname, self._server.port
        assert host
        assert port
        async with await trio.open_tcp_stream(host, port) as far, trio.open_nursery() as nursery:
            await near.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            nursery.start_soon(copy, near, far)
            await copy(far, near)
            nursery.cancel_scope.cancel()


async def refuse(near: trio.SocketStream, status: str) -> None:
    """Let nobody through."""
    await near.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())


async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
    """Pass on what comes, until either end is gone."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await target.send_all(data)


@asynccontextmanager
async def open_tunnels(server: str) -> AsyncGenerator[Tunnels]:
    """A proxy for the body, whose tunnels all lead to one server."""
    tunnels = Tunnels(server)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, tunnels.answer, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        tunnels.port = listeners[0].socket.getsockname()[1]
        yield tunnels
        nursery.cancel_scope.cancel()
