"""A raw handler that sends back what comes, and a raw client beside it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext
from typing import Any

import trio

from trio_hubs import Connection, ConnectionOptions, HubApp, Transport, open_connection


async def echo(connection: Connection) -> None:
    """Send back what comes."""
    while data := await connection.receive():
        await connection.send(data)


def echo_app() -> HubApp:
    """An app that has such a handler."""
    app = HubApp()
    app.add_connection_handler("/echo", echo)
    return app


@asynccontextmanager
async def serving(app: HubApp, ssl_context: SSLContext | None = None) -> AsyncGenerator[str]:
    """The address of an app that serves for the body."""
    async with trio.open_nursery() as nursery:
        serve = partial(app.serve, ssl_context=ssl_context)
        yield await nursery.start(serve, "127.0.0.1", 0)
        nursery.cancel_scope.cancel()


async def echoes(url: str, transport: Transport, **arguments: Any) -> None:
    """Assert that a raw connection can be opened and works."""
    proxy = arguments.pop("proxy", None)
    options = ConnectionOptions(transports=[transport], proxy=proxy)
    async with open_connection(url, options=options, **arguments) as connection:
        await connection.send(b"hello")
        assert await connection.receive() == b"hello"
