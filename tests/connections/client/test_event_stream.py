"""Server-Sent Events as a client's transport."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.fuzz.pieces import PLACES, cut
from trio_hubs import ConnectionClosed, ProtocolError
from trio_hubs.connections.client.event_stream import EventParser, start_event_stream
from trio_hubs.connections.client.posts import BUFFER_SIZE
from trio_hubs.connections.server.event_stream import encode_event

from .http_answers import TARGET, Body, open_requests

# ---- the parser


@pytest.mark.parametrize(
    ("events", "sent"),
    [
        (b"data: hello\r\n\r\n", b"hello"),
        (b"data: hello\n\n", b"hello"),
        (b":\r\ndata: a\r\n\r\n: comment\r\n\r\ndata: b\r\n\r\n", b"ab"),
        (b"data: a\r\ndata: b\r\n\r\ndata: c\n\n", b"a\nbc"),
        (b"data: \r\n\r\n", b""),
        (b"data: \r\ndata: \r\n\r\n", b"\n"),
        (b"data: a\rb\r\n\r\n", b"a\rb"),
        (b"data: data: :\r\n\r\n", b"data: :"),
        (b"\r\n\r\n", b""),
    ],
)
def test_the_bytes_of_events_whole_and_byte_by_byte(events: bytes, sent: bytes) -> None:
    parser = EventParser()
    assert parser.feed(events) == sent
    assert not parser.inside
    parser = EventParser()
    assert b"".join(parser.feed(bytes([byte])) for byte in events) == sent
    assert not parser.inside


@pytest.mark.parametrize("events", [b"data: a", b"data: a\r", b"data: a\r\n", b"data: a\r\ndata: "])
def test_an_event_that_has_not_ended(events: bytes) -> None:
    parser = EventParser()
    parser.feed(events)
    assert parser.inside


@pytest.mark.parametrize("events", [b"event: x\n", b"data:a", b"\rdata", b"x", b"data: a\nid: 1\n\n"])
def test_a_line_that_no_server_sends(events: bytes) -> None:
    for whole in (True, False):
        parser = EventParser()
        with pytest.raises(ProtocolError, match="Expected the message prefix 'data: '"):
            for piece in [events] if whole else [bytes([byte]) for byte in events]:
                parser.feed(piece)


@given(st.lists(st.binary(max_size=50), max_size=8), PLACES)
def test_what_our_server_sends_arrives_in_any_pieces(sent: list[bytes], places: list[int]) -> None:
    sent = [each.replace(b"\r", b"") for each in sent]
    parser = EventParser()
    events = b"".join(map(encode_event, sent))
    assert b"".join(map(parser.feed, cut(events, places))) == b"".join(sent)
    assert not parser.inside


# ---- the connection


async def test_it_is_asked_for_and_read(autojump_clock: MockClock) -> None:
    body = Body([b":\r\n", b"data: he", b"llo\r\n\r\n"], endless=True)
    async with open_requests(lambda _: httpx2.Response(200, stream=body)) as (requests, made):
        async with await start_event_stream(requests, TARGET) as connection:
            got = b""
            while len(got) < 5:
                got += await connection.receive()
            assert got == b"hello"
            with trio.move_on_after(5) as scope:
                await connection.receive()
            assert scope.cancelled_caught
            assert connection.id == "id"
        assert [(request.method, request.headers["Accept"]) for request in made] == [
            ("GET", "text/event-stream")
        ]
    assert body.closed


@pytest.mark.parametrize(
    ("pieces_", "text"),
    [
        ([b"data: a\r\n\r\n"], None),
        ([b"data: a\r\n"], "Incomplete message."),
        ([b"data: a\r\n\r\n", httpx2.ReadError("torn")], "The server's stream of events broke: torn."),
        ([b"data: a\r\n\r\nwhat?"], "Expected the message prefix 'data: '"),
    ],
)
async def test_how_it_ends(
    autojump_clock: MockClock, pieces_: list[bytes | Exception], text: str | None
) -> None:
    async with (
        open_requests(lambda _: httpx2.Response(200, stream=Body(pieces_))) as (requests, _),
        await start_event_stream(requests, TARGET) as connection,
    ):
        if text is None or "what" not in str(pieces_):
            assert await connection.receive() == b"a"
        if text is None:
            assert await connection.receive() == b""
        else:
            with pytest.raises(ConnectionClosed) as caught:
                await connection.receive()
            assert str(caught.value) == text


async def test_what_is_not_received_is_not_read(autojump_clock: MockClock) -> None:
    read = 0

    class Counted(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 1
                yield b"data: " + b"x" * 1000 + b"\r\n\r\n"

    async with (
        open_requests(lambda _: httpx2.Response(200, stream=Counted([]))) as (requests, _),
        await start_event_stream(requests, TARGET),
    ):
        await trio.testing.wait_all_tasks_blocked()
        assert read * 1000 <= BUFFER_SIZE + 2000


async def test_a_server_that_refuses_says_why() -> None:
    async with open_requests(lambda _: httpx2.Response(404, text="No Connection with that ID")) as (
        requests,
        _,
    ):
        with pytest.raises(
            ConnectionClosed, match="no events from http://server/hub: it answered 404"
        ) as caught:
            await start_event_stream(requests, TARGET)
    assert caught.value.server_text == "No Connection with that ID"


async def test_what_is_sent_is_posted() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(202)
        return httpx2.Response(200, stream=Body([], endless=True))

    async with open_requests(answer) as (requests, made):
        async with await start_event_stream(requests, TARGET) as connection:
            await connection.send(b"")
            await connection.send(b"hello")
        assert [request.content for request in made if request.method == "POST"] == [b"hello"]


async def test_a_goodbye_is_posted_before_the_stream_of_events_is_closed(autojump_clock: MockClock) -> None:
    events = Body([], endless=True)

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(404 if events.closed else 200)
        return httpx2.Response(200, stream=events)

    async with open_requests(answer) as (requests, _):
        with trio.CancelScope() as scope:
            async with await start_event_stream(requests, TARGET) as connection:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    await connection.send(b"goodbye")
        assert events.closed
