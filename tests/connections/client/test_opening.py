"""How a client comes to a raw connection, beside a raw handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from trio_hubs import Connection, ConnectionClosed, HubApp, NegotiationError, open_connection


async def echo(connection: Connection) -> None:
    """Send back what comes."""
    while data := await connection.receive():
        await connection.send(data)


@asynccontextmanager
async def serving(app: HubApp) -> AsyncGenerator[str]:
    """The address of an app that serves for the body."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(app.serve, "127.0.0.1", 0)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def address() -> AsyncGenerator[str]:
    """The address of an app that has a raw handler."""
    app = HubApp()
    app.add_connection_handler("/echo", echo)
    async with serving(app) as address:
        yield address


@pytest.mark.parametrize("skip", [False, True])
async def test_a_raw_client_beside_a_raw_handler(address: str, skip: bool) -> None:
    async with open_connection(f"{address}/echo", skip_negotiation=skip) as connection:
        assert (connection.id is None) is skip
        for piece in (b"hello", b"\x00\xff" * 100_000):
            await connection.send(piece)
            got = b""
            while len(got) < len(piece):
                got += await connection.receive()
            assert got == piece


async def test_a_handler_that_returns_ends_the_connection_in_order() -> None:
    async def greet(connection: Connection) -> None:
        await connection.send(b"hello")

    app = HubApp()
    app.add_connection_handler("/greet", greet)
    async with serving(app) as address, open_connection(f"{address}/greet") as connection:
        assert await connection.receive() == b"hello"
        assert await connection.receive() == b""


async def test_where_there_is_no_handler_there_is_no_connection(address: str) -> None:
    with pytest.raises(NegotiationError, match="404"):
        async with open_connection(f"{address}/nowhere"):
            raise AssertionError
    with pytest.raises(ConnectionClosed, match="404"):
        async with open_connection(f"{address}/nowhere", skip_negotiation=True):
            raise AssertionError


@pytest.mark.parametrize("url", ["", "server/hub", "ftp://server/hub", "http://server:0/hub", "http://["])
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL"):
        async with open_connection(url):
            raise AssertionError


async def test_what_is_no_header_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is no HTTP header"):
        async with open_connection("http://127.0.0.1:1", headers={"X Y": "z"}):
            raise AssertionError
