"""The WebSocket by ASGI's messages: bytes both ways, its ends, and who takes nothing."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import ConnectionClosed, Request, TransferFormat
from trio_hubs.asgi.messages import open_outlet
from trio_hubs.asgi.websocket import AsgiWebSocket

from .server_in_memory import Server


@asynccontextmanager
async def open_websocket() -> AsyncGenerator[tuple[AsgiWebSocket, Server]]:
    server = Server()
    async with open_outlet(server.send) as outlet:
        websocket = AsgiWebSocket("id", Request(), server.receive, outlet, close_timeout=5)
        yield websocket, server


async def test_what_comes_is_bytes(autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        server.tell("websocket.receive", text="ü", bytes=None)
        server.tell("websocket.receive", bytes=b"\xff")
        server.tell("websocket.receive", text="")
        server.tell("websocket.receive", bytes=b"")
        server.tell("websocket.receive", text="more")
        assert [await websocket.receive() for _ in range(3)] == ["ü".encode(), b"\xff", b"more"]
        with trio.move_on_after(1):
            await websocket.receive()
        server.tell("websocket.receive", text="later")  # nothing is lost
        assert await websocket.receive() == b"later"


async def test_what_goes_is_marked_as_its_format_is(autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        before = websocket.last_progress
        await websocket.send("ü".encode())
        await websocket.send(b"")
        await websocket.send(b"\xff")  # is no text, whatever is said of it
        websocket.transfer_format = TransferFormat.BINARY
        await websocket.send(b"abc")
        assert [{**message, "type": ""} for message in server.sent] == [
            {"type": "", "text": "ü"},
            {"type": "", "bytes": b"\xff"},
            {"type": "", "bytes": b"abc"},
        ]
        assert before < websocket.last_progress == trio.current_time()


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_an_end_in_good_order(code: int, autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        async with websocket.opened():
            server.tell("websocket.disconnect", code=code, reason=None)
            assert [await websocket.receive() for _ in range(2)] == [b"", b""]
        assert not server.sent  # for there is nobody to close it


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (1011, "sorry")])
async def test_an_end_in_no_good_order(code: int, reason: str, autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        server.tell("websocket.disconnect", code=code, reason=reason)
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match=f"closed with code {code}") as caught:
                await websocket.receive()
            assert (caught.value.close_code, caught.value.server_text) == (code, reason)


@pytest.mark.parametrize("fails", [True, False])
async def test_it_closes_when_it_is_left_and_hears_the_client_out(
    fails: bool, autojump_clock: MockClock
) -> None:
    async with open_websocket() as (websocket, server):
        server.tell("websocket.receive", text="not read")
        server.tell("websocket.disconnect", code=1000)
        try:
            async with websocket.opened():
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fails
        assert server.sent == [{"type": "websocket.close", "code": 1011 if fails else 1000}]
        assert await websocket.receive() == b""


@pytest.mark.parametrize("cancelled", [True, False])
async def test_it_closes_in_bounded_time(cancelled: bool, autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        with trio.CancelScope() as scope:
            async with websocket.opened():
                if cancelled:  # as when the server shuts down, and reads no more
                    scope.cancel()
        assert server.sent == [{"type": "websocket.close", "code": 1000}]
        assert trio.current_time() == (0 if cancelled else 5)


async def test_a_client_that_takes_nothing_is_given_up_at_once(autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        server.room = 0
        async with websocket.opened():
            with trio.move_on_after(10):
                await websocket.send(b"abc")
            websocket.give_up()
        with pytest.raises(ConnectionClosed):
            await websocket.send(b"abc")
        assert trio.current_time() == 10
        server.make_room()  # as when its socket breaks; until then the host holds our task


async def test_what_was_cut_is_followed_by_no_close(autojump_clock: MockClock) -> None:
    async with open_websocket() as (websocket, server):
        server.room = 0
        async with websocket.opened():
            with trio.move_on_after(10):
                await websocket.send(b"abc")
        server.make_room()
        assert trio.current_time() == 10
