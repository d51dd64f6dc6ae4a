"""The exchange by ASGI's messages: bodies in parts, answers in time, and an end that is one."""

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import ConnectionClosed, Response
from trio_hubs.asgi.exchange import AsgiExchange
from trio_hubs.asgi.messages import open_outlet

from .server_in_memory import Server


async def test_a_body_is_read_in_parts_to_its_end(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_outlet(server.send) as outlet:
        exchange = AsgiExchange(server.receive, outlet)
        server.tell("http.request", body=b"x" * 100_000, more_body=True)
        server.tell("http.request", body=b"", more_body=True)
        server.tell("http.request", more_body=True)
        server.tell("http.request", body=b"end")
        sizes = []
        while part := await exchange.read():
            assert exchange.read_all is (part == b"end")
            sizes.append(len(part))
        assert sizes == [65_536, 34_464, 3]
        assert await exchange.read() == b""


@pytest.mark.parametrize(("maximum", "whole"), [(6, b"abcdef"), (5, None)])
async def test_a_whole_body_has_its_limit(
    maximum: int, whole: bytes | None, autojump_clock: MockClock
) -> None:
    server = Server()
    server.tell("http.request", body=b"abc", more_body=True)
    server.tell("http.request", body=b"def")
    async with open_outlet(server.send) as outlet:
        assert await AsgiExchange(server.receive, outlet).read_whole(maximum) == whole


async def test_silence_and_leaving_end_a_body(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_outlet(server.send) as outlet:
        exchange = AsgiExchange(server.receive, outlet)
        with pytest.raises(ConnectionClosed, match="The client sent nothing of its body for 30 s"):
            await exchange.read()
        server.tell("http.disconnect")
        with pytest.raises(ConnectionClosed, match="The client left"):
            await exchange.read()
        with pytest.raises(ConnectionClosed, match="The client left"):
            await exchange.respond(Response("late"))
        assert not server.body


async def test_an_answer_has_further_headers_and_no_date(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_outlet(server.send) as outlet:
        exchange = AsgiExchange(server.receive, outlet)
        exchange.headers = {"X-More": ["1", "2"]}
        await exchange.start({"X-A": "b", "Date": "never"}, status=201)
        await exchange.write(b"abc")
        await exchange.finish()
        for late in (exchange.write(b"late"), exchange.finish()):
            with pytest.raises(ConnectionClosed, match="The answer has ended"):
                await late
    assert server.sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"x-a", b"b"), (b"x-more", b"1"), (b"x-more", b"2")],
        },
        {"type": "http.response.body", "body": b"abc", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 30), (3.0, 3)])
@pytest.mark.parametrize("room", [0, 1, 2])
async def test_an_answer_that_is_not_taken_is_given_up(
    room: int, timeout: float | None, seconds: float, autojump_clock: MockClock
) -> None:
    server = Server()
    server.room = room
    async with open_outlet(server.send) as outlet:
        exchange = AsgiExchange(server.receive, outlet)
        with pytest.raises(ConnectionClosed, match=f"took nothing of its answer for {seconds} s"):
            await exchange.respond(Response(b"x" * 100_000), timeout=timeout)
        assert trio.current_time() == seconds
        assert len(server.sent) == room
        server.make_room()
