"""A streamed answer is made as fast as it is taken, ends when its client leaves, and is never taken for whole."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import PATIENCE, narrow_stream_pair
from trio_hubs.connections.http import Request
from trio_hubs.connections.server.exchange import Answering, Deferred
from trio_hubs.connections.server.streamed import StreamedResponse

from .http_peer import LOGGER, describe, open_server, request, server


class Making:
    """Makes parts, and notes what becomes of that.

    Attributes:
        made: How many parts there have been.
        endings: How it ended, each time.
    """

    def __init__(self, *parts: bytes | str, size: int = 0, wait: bool = False, fail: bool = False) -> None:
        self.made = 0
        self.endings: list[str] = []
        self._parts = parts
        self._size = size
        self._wait = wait
        self._fail = fail

    async def parts(self) -> AsyncGenerator[bytes | str]:
        ending = "closed"
        try:
            for part in self._parts:
                self.made += 1
                yield part
            while self._size:
                self.made += 1
                yield bytes(self._size)
            if self._wait:
                await trio.sleep_forever()
            if self._fail:
                raise ZeroDivisionError("private")
            ending = "done"
        except trio.Cancelled:
            ending = "cancelled"
            raise
        finally:
            self.endings.append(ending)


def streaming(parts: AsyncIterable[bytes | str], **more: object) -> dict[str, Answering]:
    async def route(request: Request) -> Deferred:
        return StreamedResponse(parts, **more).deferred(request)  # type: ignore[arg-type]

    return {"/": route, "/describe": describe}


# ---- what is sent


async def test_parts_are_sent_as_they_come(autojump_clock: MockClock) -> None:
    making = Making("\u00e4", b"", b"\xff" * 200_000, "end")
    async with open_server(streaming(making.parts(), content_type="image/png", headers={"X": "y"})) as client:
        await client.send(request("GET", "/") + request("GET", "/describe"))
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"\xc3\xa4" + b"\xff" * 200_000 + b"end")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x"] == "y"
        assert answer.headers["date"].endswith(" GMT")
        assert (await client.answer()).body == b"GET /describe {} "  # so the connection goes on
    assert making.endings == ["done"]


async def test_the_first_part_is_on_its_way_before_the_next_is_made(autojump_clock: MockClock) -> None:
    making = Making(b"", b"first", wait=True)
    async with open_server(streaming(making.parts(), status=201)) as client:
        await client.send(request("GET", "/"))
        await wait_all_tasks_blocked()
        received = await client.stream.receive_some()
        assert received.startswith(b"HTTP/1.1 201 Created\r\n")
        assert b"5\r\nfirst\r\n" in received


@pytest.mark.parametrize("parts", [(), (b"",)])
async def test_nothing_is_an_answer(parts: tuple[bytes, ...], autojump_clock: MockClock) -> None:
    async with open_server(streaming(Making(*parts).parts())) as client:
        assert (await client.ask("GET", "/")).body == b""
        assert (await client.ask("GET", "/describe")).status == 200


async def test_a_length_that_is_known_is_said(autojump_clock: MockClock) -> None:
    async with open_server(streaming(Making(b"ab", b"c").parts(), headers={"Content-Length": "3"})) as client:
        answer = await client.ask("GET", "/")
        assert (answer.headers["content-length"], answer.body) == ("3", b"abc")
        assert "transfer-encoding" not in answer.headers
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize("length", ["2", "4"])
async def test_a_length_that_is_wrong_is_a_failure_that_is_seen(
    length: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server(streaming(Making(b"abc").parts(), headers={"Content-Length": length})) as client:
        await client.send(request("GET", "/") + request("GET", "/describe"))
        received = await client.rest()
        assert received.count(b"HTTP/1.1") == 1
        assert len(received.partition(b"\r\n\r\n")[2]) != int(length)
    assert [record.levelno for record in caplog.records if record.name == LOGGER] == [logging.ERROR]


async def test_head_makes_no_part(autojump_clock: MockClock) -> None:
    making = Making(b"first", size=10)
    async with open_server(streaming(making.parts())) as client:
        await client.send(request("HEAD", "/") + request("GET", "/describe"))
        answer = await client.answer("HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert (await client.answer()).body == b"GET /describe {} "
    assert making.made == 0


async def test_http_1_0_is_told_the_end_by_closing(autojump_clock: MockClock) -> None:
    async with open_server(streaming(Making(b"a", b"b").parts())) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert body == b"ab"


async def test_anything_that_is_iterated_will_do(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[bytes](2)
    await send.send(b"one")
    await send.send(b"two")
    send.close()
    async with open_server(streaming(receive)) as client:
        assert (await client.ask("GET", "/")).body == b"onetwo"


# ---- backpressure, and clients that leave


async def test_no_more_is_made_than_is_taken(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 300_000
    making = Making(size=50_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(streaming(making.parts())).serve_stream, near)
        await far.send_all(request("GET", "/"))
        await wait_all_tasks_blocked()
        assert making.made == 6
        nursery.cancel_scope.cancel()


async def test_a_client_that_takes_nothing_for_long_is_let_go(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 300_000
    making = Making(size=50_000)
    await far.send_all(request("GET", "/"))
    with trio.fail_after(PATIENCE):
        await server(streaming(making.parts())).serve_stream(near)
    assert autojump_clock.current_time() == 30
    assert making.endings == ["closed"]


@pytest.mark.parametrize("made", [0, 1])
async def test_what_makes_it_is_cancelled_when_the_client_leaves(
    made: int, autojump_clock: MockClock
) -> None:
    making = Making(*[b"part"] * made, wait=True)  # as fastapi's issue 1342 has it
    async with open_server(streaming(making.parts())) as client:
        await client.send(request("GET", "/"))
        await wait_all_tasks_blocked()
        assert making.endings == []
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert making.endings == ["cancelled"]
    assert autojump_clock.current_time() == 0


async def test_and_when_it_leaves_while_a_part_is_sent(autojump_clock: MockClock) -> None:
    making = Making(size=1 << 20)
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(streaming(making.parts())).serve_stream, near)
        await far.send_all(request("GET", "/"))
        await far.receive_some(10)
        await far.aclose()
    assert making.endings in (["closed"], ["cancelled"])


async def test_shutdown_ends_it_in_order(autojump_clock: MockClock) -> None:
    making = Making(b"part", wait=True)
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(streaming(making.parts())).serve_stream, near)
        await far.send_all(request("GET", "/"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert making.endings == ["cancelled"]
    received = await far.receive_some()
    assert not received.endswith(b"0\r\n\r\n")


# ---- failures


async def test_one_that_fails_before_its_first_part_is_a_failed_handler(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server(streaming(Making(fail=True).parts())) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert (await client.ask("GET", "/describe")).status == 200
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_one_that_fails_later_is_cut_off(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server(streaming(Making(b"half", fail=True).parts())) as client:
        await client.send(request("GET", "/") + request("GET", "/describe"))
        received = await client.rest()
        assert received.count(b"HTTP/1.1 ") == 1
        assert received.endswith(b"4\r\nhalf\r\n")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


class Numbers:
    """Parts that are none."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return 5  # type: ignore[return-value]


async def test_a_part_is_text_or_bytes(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    async with open_server(streaming(Numbers())) as client:
        assert (await client.ask("GET", "/")).status == 500
    assert "a part of an answer is text or bytes, and no int" in caplog.text
