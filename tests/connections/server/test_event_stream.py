"""Server-Sent Events: each send is one event, in lines, on an answer that ends in order or not at all."""

import logging
from typing import cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import narrow_stream_pair
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.pipe import Pipe
from trio_hubs.connections.server.event_stream import EventStreamConnection, encode_event
from trio_hubs.connections.server.exchange import Exchange
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat

from .endpoint_peer import Events, Handler, Reader, echo, open_front
from .http_peer import request

ACCEPT = {"Accept": "text/event-stream"}

# ---- the framing


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"Hello", b"data: Hello\r\n\r\n"),
        (b"Hello\nWorld", b"data: Hello\r\ndata: World\r\n\r\n"),
        (b"Hello\r\nWorld", b"data: Hello\r\ndata: World\r\n\r\n"),
        (b"Hello\n", b"data: Hello\r\ndata: \r\n\r\n"),
        (b"\nHello", b"data: \r\ndata: Hello\r\n\r\n"),
        (b"\n", b"data: \r\ndata: \r\n\r\n"),
        (b"a\n\nb", b"data: a\r\ndata: \r\ndata: b\r\n\r\n"),
        (b"a\r\r\nb", b"data: a\r\ndata: \r\ndata: b\r\n\r\n"),
        (b"a\rb", b"data: a\r\ndata: b\r\n\r\n"),
        (b"a\r\rdata: forged\r\r", b"data: a\r\ndata: \r\ndata: data: forged\r\ndata: \r\ndata: \r\n\r\n"),
        (b"a\n\rb", b"data: a\r\ndata: \r\ndata: b\r\n\r\n"),
        (b'{"type":6}\x1e', b'data: {"type":6}\x1e\r\n\r\n'),
        (": \u00e4".encode(), "data: : \u00e4\r\n\r\n".encode()),
    ],
)
def test_the_framing(data: bytes, event: bytes) -> None:
    assert encode_event(data) == event


class Written:
    """In the place of an exchange: notes what is written."""

    def __init__(self) -> None:
        self.body = b""

    async def write(self, data: bytes) -> None:
        self.body += data


def read_events(body: bytes) -> list[bytes]:
    """What a browser reads of a body (the HTML standard, 9.2.6), each event's data."""
    events: list[bytes] = []
    lines: list[bytes] = []
    for line in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line:
            name, _, text = line.partition(b":")
            lines += [text.removeprefix(b" ")] if name == b"data" else []
        elif lines:
            events.append(b"\n".join(lines))
            lines = []
    assert not lines, "the last event has no end"
    return events


@given(st.lists(st.text("a\r\n:\ufeff", max_size=6).map(str.encode)))
@settings(derandomize=True, deadline=None)
def test_what_is_sent_arrives_with_its_line_ends_as_lf(pieces: list[bytes]) -> None:
    async def check() -> None:
        written = Written()
        connection = EventStreamConnection("id", Request(), Pipe(1), cast("Exchange", written))
        for piece in pieces:
            await connection.send(piece)
        whole = b"".join(piece for piece in pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert b"".join(read_events(written.body)) == whole

    trio.run(check)


# ---- on the wire


async def test_the_head_and_the_first_comment_come_at_once(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        document = await front.negotiate()
        events = await front.events(document["connectionToken"])
        assert events.head is not None
        assert events.head.status_code == 200
        headers = {name: text for name, text in events.head.headers if name != b"date"}
        assert headers == {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-cache,no-store",
            b"pragma": b"no-cache",
            b"content-encoding": b"identity",
            b"x-accel-buffering": b"no",
            b"transfer-encoding": b"chunked",
        }
        await wait_all_tasks_blocked()
        assert handler.only.id == document["connectionId"]
        assert handler.only.transfer_formats == {TransferFormat.TEXT}
        assert not handler.only.inherent_keep_alive
        assert autojump_clock.current_time() == 0


async def test_each_send_is_an_event(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
        for data in (b"one", b"two\nthree", b"", b"four"):
            await handler.only.send(data)
        assert await events.event() == b"data: one"
        assert await events.event() == b"data: two\r\ndata: three"
        assert await events.event() == b"data: four"


async def test_a_line_end_may_be_cut_in_two(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
        for data in (b"one\r", b"\n", b"two\r", b"\nthree\r", b"four", b"\nfive"):
            await handler.only.send(data)
        assert await events.event() == b"data: one\r\ndata: "
        assert await events.event() == b"data: two\r\ndata: "
        assert await events.event() == b"data: three\r\ndata: "
        assert await events.event() == b"data: four"
        assert await events.event() == b"data: \r\ndata: five"


async def test_a_large_event_is_one_event_in_parts(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
        assert handler.only.last_progress < 0
        await handler.only.send(b"x" * 300_000)
        assert await events.event() == b"data: " + b"x" * 300_000
        await trio.sleep(3)
        await handler.only.send(b"y")
        assert handler.only.last_progress == 3


async def test_both_directions(autojump_clock: MockClock) -> None:
    async with open_front(echo) as front:
        token = await front.token()
        events = await front.events(token)
        for i in range(3):
            await front.ask("POST", token, b"%d" % i)
            assert await events.event() == b"data: %d" % i


async def test_a_quiet_stream_lives_for_ever(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
        await trio.sleep(900)
        await handler.only.send(b"still here")
        assert await events.event() == b"data: still here"


async def test_a_second_stream_of_one_token_is_a_conflict(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        events = await front.events(token)
        answer = await front.ask("GET", token, **ACCEPT)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (409, b"", "text/plain")
        await handler.only.send(b"data")
        assert await events.event() == b"data: data"


async def test_streams_that_race_for_a_token(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        clients = [await front.send("GET", token, **ACCEPT) for _ in range(5)]
        await wait_all_tasks_blocked()
        assert len(handler.connections) == front.admission.active == 1
        for client in clients:
            events = Events(client)
            with trio.move_on_after(1):
                await events.next()
            assert events.head is not None
            assert events.head.status_code in (200, 409)
            await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert not front.admission.active or not handler.release.is_set()
        handler.release.set()


async def test_delete_is_not_for_events(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        token = await front.token()
        await front.events(token)
        answer = await front.ask("DELETE", token)
        assert answer.status == 400
        assert answer.body == b"Cannot terminate this connection using the DELETE endpoint."


# ---- ends


async def test_the_end_of_the_handler_ends_the_answer_and_the_stream_goes_on(
    autojump_clock: MockClock,
) -> None:
    async def speak(connection: Duplex) -> None:
        await connection.send(b"last")

    async with open_front(speak) as front:
        token = await front.token()
        client = await front.send("GET", token, **ACCEPT)
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b":\r\ndata: last\r\n\r\n")
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
        assert (await client.ask("GET", f"/chat?id={token}", **ACCEPT)).status == 404
        assert (await client.ask("POST", f"/chat?id={token}", b"x")).status == 404


async def test_a_request_behind_an_endless_one_waits_for_its_end(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.token()
        client = front.client()
        await client.send(
            request("GET", f"/chat?id={token}", Accept="text/event-stream") + request("GET", "/chat")
        )
        await wait_all_tasks_blocked()
        await handler.only.send(b"data")
        handler.release.set()
        assert (await client.answer()).body == b":\r\ndata: data\r\n\r\n"
        assert (await client.answer()).status == 400


async def test_http_1_0_has_events_until_the_stream_ends(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        client = front.client()
        await client.send(
            f"GET /chat?id={await front.token()} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        await wait_all_tasks_blocked()
        await handler.only.send(b"data")
        handler.release.set()
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert b"connection: close" in head.lower()
        assert body == b":\r\ndata: data\r\n\r\n"


async def test_a_client_that_leaves_ends_the_connection_at_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.token()
        events = await front.events(token)
        await events.stream.aclose()
        await wait_all_tasks_blocked()
        assert (reader.ends, reader.errors) == (1, [])
        assert front.admission.active == 0
        assert (await front.ask("POST", token, b"x")).status == 404
        assert autojump_clock.current_time() == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_sending_to_a_client_that_has_left_fails(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
        await events.stream.aclose()
        with pytest.raises(ConnectionClosed, match="The client left"):
            await handler.only.send(b"data")
        handler.release.set()
        await wait_all_tasks_blocked()
        assert front.admission.active == 0


async def test_a_handler_that_fails_ends_the_answer_and_is_logged(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def fail(connection: Duplex) -> None:
        await connection.send(b"before")
        raise ZeroDivisionError("private")

    async with open_front(fail) as front:
        answer = await front.ask("GET", await front.token(), **ACCEPT)
        assert answer.body == b":\r\ndata: before\r\n\r\n"
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None


async def test_an_event_that_was_cut_is_never_followed_by_an_end_in_order(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()

    async def cut(connection: Duplex) -> None:
        near.send_stream.room = 1000
        with trio.move_on_after(3):
            await connection.send(b"x" * 5000)

    async with open_front(cut) as front:
        client = front.client(near, far)
        token = await front.token()
        await client.send(request("GET", f"/chat?id={token}", Accept="text/event-stream"))
        received = await client.rest()
        assert autojump_clock.current_time() == 3
        assert not received.endswith(b"0\r\n\r\n")
        assert received.count(b"x") < 5000
        assert front.admission.active == 0


async def test_a_client_that_does_not_take_the_end_has_a_bounded_time(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()

    async def handle(connection: Duplex) -> None:
        near.send_stream.room = 0

    async with open_front(handle, close_timeout=4) as front:
        client = front.client(near, far)
        token = await front.token()
        await client.send(request("GET", f"/chat?id={token}", Accept="text/event-stream"))
        await client.rest()
        assert autojump_clock.current_time() == 4
        assert front.admission.active == 0


async def test_a_head_that_cannot_be_sent_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    handler = Handler()
    near, far = memory_stream_pair()
    async with open_front(handler) as front:
        token = await front.token()
        await far.send_all(request("GET", f"/chat?id={token}", Accept="text/event-stream"))
        await far.aclose()
        front.client(near, far)
        await wait_all_tasks_blocked()
        assert not handler.connections
        assert front.admission.active == 0
        assert (await front.ask("POST", token, b"x")).status == 404
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_takes_nothing_of_the_head_is_let_go(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 10
    handler = Handler()
    async with open_front(handler) as front:
        client = front.client(near, far)
        token = await front.token()
        await client.send(request("GET", f"/chat?id={token}", Accept="text/event-stream"))
        await trio.sleep(60)
        assert not handler.connections
        assert front.admission.active == 0


async def test_the_server_ends_the_answers_in_order(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        events = await front.events()
    assert await events.rest() == b""
    assert events.over
    assert handler.ended == 1


async def test_a_request_with_both_accept_and_upgrade_is_seen_leaving(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        events = await front.events(Upgrade="websocket", Connection="Upgrade")
        await events.stream.aclose()
        await wait_all_tasks_blocked()
        assert (reader.ends, reader.errors) == (1, [])
