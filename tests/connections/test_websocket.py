"""A WebSocket is a duplex of bytes with WebSocket's manners, on either side, with the express lane and without."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from wsproto import ConnectionType
from wsproto.connection import Connection as Wire
from wsproto.events import BytesMessage, Event, Ping, TextMessage

from trio_hubs.connections.http import Request
from trio_hubs.connections.websocket import WebSocketConnection, accept_websocket, open_websocket
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat

from .websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUE,
    LAST,
    PARTIAL_BINARY,
    PARTIAL_TEXT,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Peer,
    Side,
    acceptance,
    close_payload,
    connected_to,
    frame,
    narrow_stream_pair,
    open_pair,
)

sides = pytest.mark.parametrize("side", ["server", "client"])
lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])
NORMAL: tuple[int, bytes] = (CLOSE, close_payload(1000))


@pytest.fixture(autouse=True)
def virtual_time(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def receive(connection: WebSocketConnection, size: int) -> bytes:
    """So many bytes, and not one more."""
    received = b""
    while len(received) < size:
        data = await connection.receive()
        assert data, "the connection ended"
        received += data
    assert len(received) == size
    return received


# ---- data


@sides
@lanes
async def test_data_frames_arrive_whole(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        for payload in (b"a", b"bc" * 60, b"d" * 200, b"e" * 70_000):
            await peer.send(peer.frame(BINARY, payload))
            assert await receive(connection, len(payload)) == payload
        await peer.send_close()


@sides
@lanes
async def test_many_frames_in_one_read_arrive_in_order(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        payloads = [b"%d;" % i * (i % 50) for i in range(200)]
        await peer.send(*(peer.frame(TEXT if i % 2 else BINARY, data) for i, data in enumerate(payloads)))
        whole = b"".join(payloads)
        assert await receive(connection, len(whole)) == whole
        await peer.send_close()


@sides
@lanes
async def test_frames_arrive_byte_by_byte(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        data = (
            peer.frame(TEXT, b"hello")
            + peer.frame(PING, b"?")
            + peer.frame(BINARY, b"x" * 300)
            + peer.frame(PARTIAL_TEXT, b"in ")
            + peer.frame(LAST, b"parts")
        )
        for i in range(len(data)):
            await peer.send(data[i : i + 1])
            if i % 50 == 0:
                with trio.move_on_after(1):
                    await trio.sleep(0)
        assert await receive(connection, 313) == b"hello" + b"x" * 300 + b"in parts"
        assert await peer.next_frame() == (PONG, b"?")
        await peer.send_close()


@sides
@lanes
async def test_an_empty_message_is_no_end(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT), peer.frame(BINARY), peer.frame(PARTIAL_TEXT), peer.frame(LAST))
        await peer.send(peer.frame(TEXT, b"data"))
        assert await connection.receive() == b"data"
        await peer.send_close()


@sides
async def test_a_huge_frame_arrives_in_parts(side: Side) -> None:
    async with open_pair(side) as (connection, peer):
        payload = bytes(i % 251 for i in range(1 << 21))
        data = peer.frame(BINARY, payload)
        for start in range(0, len(data), 65_535):
            await peer.send(data[start : start + 65_535])
            part = await connection.receive()
            assert part == payload[: len(part)]
            payload = payload[len(part) :]
        assert not payload
        await peer.send_close()


@sides
@lanes
async def test_fragments_are_put_together(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(
            peer.frame(BINARY, b"before "),
            peer.frame(PARTIAL_BINARY, b"one "),
            peer.frame(CONTINUE, b"message "),
            peer.frame(PING, b"between"),
            peer.frame(LAST, b"in parts "),
            peer.frame(TEXT, b"behind"),
        )
        assert await receive(connection, 37) == b"before one message in parts behind"[:37] + b""
        assert await peer.next_frame() == (PONG, b"between")
        await peer.send_close()


@sides
@lanes
async def test_a_character_may_be_cut_by_fragments(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        text = "ä€😀".encode()
        middle = (peer.frame(CONTINUE, text[i : i + 1]) for i in range(1, len(text)))
        await peer.send(peer.frame(PARTIAL_TEXT, text[:1]), *middle, peer.frame(LAST))
        assert await receive(connection, len(text)) == text
        await peer.send_close()


@sides
@lanes
async def test_a_message_in_fragments_has_a_limit(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PARTIAL_BINARY, bytes(1 << 19)))
        await peer.send(peer.frame(CONTINUE, bytes(1 << 19)), peer.frame(LAST, b"!"))
        with pytest.raises(ConnectionClosed, match="1009"):
            await connection.receive()
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(1009))


@sides
@lanes
async def test_a_cancelled_receive_loses_nothing(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        data = peer.frame(BINARY, b"one") + peer.frame(BINARY, b"two")
        received = b""
        for i in range(len(data)):
            await peer.send(data[i : i + 1])
            with trio.move_on_after(1):
                received += await connection.receive()
            with trio.CancelScope() as scope:
                scope.cancel()
                received += await connection.receive()
        assert received == b"onetwo"
        await peer.send_close()


@sides
@lanes
async def test_what_is_sent_arrives_in_one_frame(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await connection.send(b"text")
        connection.transfer_format = TransferFormat.BINARY
        await connection.send(b"binary")
        await connection.send(b"x" * 70_000)
        assert await peer.next_frame() == (TEXT, b"text")
        assert await peer.next_frame() == (BINARY, b"binary")
        assert await peer.next_frame() == (BINARY, b"x" * 70_000)
        await peer.send_close()


@sides
@lanes
async def test_sending_no_bytes_sends_nothing(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await connection.send(b"")
        await peer.send_close()
    assert await peer.rest() == [NORMAL]


# ---- the same bytes with the lane and without

TEXTS = st.text(max_size=300).map(lambda text: TextMessage(data=text))
BLOBS = st.binary(max_size=300).map(lambda data: BytesMessage(data=data))
PINGS = st.binary(max_size=125).map(lambda data: Ping(payload=data))
LARGE = st.integers(65_000, 70_000).map(lambda size: BytesMessage(data=bytes(size)))
CUT_TEXT = st.lists(st.text(max_size=30), min_size=2, max_size=4).map(
    lambda parts: [TextMessage(data=part, message_finished=i == len(parts) - 1) for i, part in enumerate(parts)]
)


def flat(parts: Iterable[Event | list[TextMessage]]) -> list[Event]:
    events: list[Event] = []
    for part in parts:
        if isinstance(part, list):
            events += part
        else:
            events.append(part)
    return events


SEQUENCES = st.lists(st.one_of(TEXTS, BLOBS, PINGS, LARGE, CUT_TEXT), max_size=12).map(flat)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@sides
@lanes
@given(events=SEQUENCES, places=st.lists(st.integers(0, 100_000), max_size=8))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_the_same_bytes_arrive_whatever_the_frames(
    side: Side, express: bool, events: list[Event], places: list[int]
) -> None:
    wire = Wire(ConnectionType.CLIENT if side == "server" else ConnectionType.SERVER)
    data = b"".join(wire.send(event) for event in events)
    expected = b"".join(
        event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        for event in events
        if isinstance(event, TextMessage | BytesMessage)
    )
    pongs = [(PONG, bytes(event.payload)) for event in events if isinstance(event, Ping)]

    async def check() -> None:
        async with open_pair(side, express=express) as (connection, peer):
            received: list[bytes] = []

            async def read() -> None:
                while more := await connection.receive():
                    received.append(more)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for piece in cut(data, places):
                    await peer.send(piece)
                    await wait_all_tasks_blocked()
                assert [await peer.next_frame() for _ in pongs] == pongs
                await peer.send_close()
            assert b"".join(received) == expected

    trio.run(check, clock=MockClock(autojump_threshold=0))


# ---- control frames


@sides
@lanes
async def test_a_ping_is_answered_between_data(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"a"), peer.frame(PING, b"payload"), peer.frame(TEXT, b"b"))
        assert await receive(connection, 2) == b"ab"
        assert await peer.next_frame() == (PONG, b"payload")
        await connection.send(b"still here")
        assert await peer.next_frame() == (TEXT, b"still here")
        await peer.send_close()


@sides
@lanes
async def test_the_longest_ping_is_answered(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PING, bytes(range(125))), peer.frame(PING), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        assert await peer.next_frame() == (PONG, bytes(range(125)))
        assert await peer.next_frame() == (PONG, b"")
        await peer.send_close()


@sides
@lanes
async def test_a_pong_is_ignored(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PONG, b"unasked"), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        await peer.send_close()
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_flood_of_pings_whose_answers_are_not_read_is_not_taken_in(side: Side, express: bool) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        near.send_stream.room = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.receive)
            ping = peer.frame(PING, bytes(125))
            taken = 0
            for _ in range(40):
                await peer.send(ping * 500)
                await wait_all_tasks_blocked()
            with trio.move_on_after(0):
                while True:
                    taken += len(await near.receive_some(65_536))
            nursery.cancel_scope.cancel()
        assert taken > 1_000_000


# ---- what is not in order

BAD_FRAMES: dict[str, Callable[[Peer], bytes]] = {
    "a reserved bit": lambda peer: peer.frame(TEXT | 0x40, b"x"),
    "a reserved bit of a ping": lambda peer: peer.frame(PING | 0x10, b"x"),
    "an unknown data opcode": lambda peer: peer.frame(0x83, b"x"),
    "an unknown control opcode": lambda peer: peer.frame(0x8B, b"x"),
    "the wrong masking": lambda peer: frame(TEXT, b"x", masked=not peer.client),
    "the wrong masking of a ping": lambda peer: frame(PING, b"x", masked=not peer.client),
    "a long length for a short one": lambda peer: lengthened(peer, TEXT, b"\x7e\x00\x7d"),
    "the longest length for a long one": lambda peer: lengthened(peer, BINARY, b"\x7f" + (65535).to_bytes(8, "big")),
    "a negative length": lambda peer: lengthened(peer, BINARY, b"\x7f\x80" + bytes(7)),
    "a long ping": lambda peer: peer.frame(PING, bytes(126)),
    "a long close": lambda peer: peer.frame(CLOSE, bytes(126)),
    "a ping in fragments": lambda peer: peer.frame(0x09, b"x"),
    "a fragment of nothing": lambda peer: peer.frame(CONTINUE, b"x"),
    "an end of nothing": lambda peer: peer.frame(LAST, b"x"),
    "a message inside another": lambda peer: peer.frame(PARTIAL_TEXT, b"x") + peer.frame(TEXT, b"y"),
    "a close of one byte": lambda peer: peer.frame(CLOSE, b"\x03"),
    "a close with a code that is never sent": lambda peer: peer.frame(CLOSE, close_payload(1005)),
    "a close with a code that is none": lambda peer: peer.frame(CLOSE, close_payload(999)),
}


def lengthened(peer: Peer, first: int, length: bytes) -> bytes:
    """A frame with the length as it is given."""
    mask = 0x80 if peer.client else 0
    return bytes((first, length[0] | mask)) + length[1:] + (b"\0\0\0\0" if peer.client else b"") + bytes(100)


async def is_over(connection: WebSocketConnection, peer: Peer, code: int) -> None:
    """Nothing comes any more, the reason is told, and the peer's good frames are not heard."""
    await peer.send(peer.frame(TEXT, b"too late"))
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match=f"closed with code {code}"):
            await connection.receive()


@sides
@lanes
@pytest.mark.parametrize("kind", BAD_FRAMES)
async def test_a_bad_frame_ends_the_connection_behind_what_came_before(
    side: Side, express: bool, kind: str, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"good"), BAD_FRAMES[kind](peer))
        assert await connection.receive() == b"good"
        await is_over(connection, peer, 1002)
    assert all(first == CLOSE for first, _ in await peer.rest())
    assert autojump_clock.current_time() < 10


@sides
@lanes
@pytest.mark.parametrize("kind", BAD_FRAMES)
async def test_a_bad_frame_byte_by_byte(side: Side, express: bool, kind: str) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        received: list[bytes] = []

        async def read() -> None:
            with pytest.raises(ConnectionClosed, match="1002"):
                while True:
                    received.append(await connection.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for byte in peer.frame(TEXT, b"good") + BAD_FRAMES[kind](peer):
                with trio.CancelScope():
                    try:
                        await peer.send(bytes((byte,)))
                    except trio.BrokenResourceError:
                        break
                await wait_all_tasks_blocked()
        assert b"".join(received).startswith(b"good")


@sides
@lanes
async def test_text_in_fragments_that_is_no_utf_8_ends_the_connection(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PARTIAL_TEXT, b"x"), peer.frame(LAST, b"\xff"))
        await is_over(connection, peer, 1007)


@sides
@lanes
@pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\x7e\x01", "cut"], ids=["between", "head", "length", "payload"])
async def test_an_end_without_a_close_frame_is_a_break(side: Side, express: bool, data: bytes | str) -> None:
    near, far = memory_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        if isinstance(data, str):
            data = peer.frame(BINARY, b"half")[:-2]
        elif peer.client and len(data) > 1:
            data = bytes((data[0], data[1] | 0x80)) + data[2:]
        await peer.send(peer.frame(TEXT, b"whole"), data)
        await far.aclose()
        received = b""
        with pytest.raises(ConnectionClosed, match="1006"):
            while True:
                received += await connection.receive()
        assert received.startswith(b"whole")
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")


class Breaking(trio.abc.Stream):
    """A stream that breaks when it is told to, as a socket does on a reset."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.broken = trio.Event()

    async def _until_broken(self, call: Awaitable[bytes | bytearray]) -> bytes:
        data = b""
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                nonlocal data
                data = bytes(await call)
                nursery.cancel_scope.cancel()

            await self.broken.wait()
            nursery.cancel_scope.cancel()
        if not data:
            raise trio.BrokenResourceError
        return data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._until_broken(self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken.is_set():
            raise trio.BrokenResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@sides
@lanes
async def test_a_reset_is_a_break(side: Side, express: bool) -> None:
    inner, far = memory_stream_pair()
    near = Breaking(inner)
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"whole"))
        assert await connection.receive() == b"whole"
        near.broken.set()
        with pytest.raises(ConnectionClosed, match="1006"):
            await connection.receive()
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")


# ---- closing


class Trouble(Exception):
    pass


async def answer_close(peer: Peer) -> None:
    """Answer the other side's close frame."""
    while (await peer.next_frame())[0] != CLOSE:
        pass
    await peer.send_close()


@sides
@lanes
async def test_the_end_of_the_body_closes_with_1000(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (connection, peer):
            await connection.send(b"last")
            assert await peer.next_frame() == (TEXT, b"last")
            closes: list[tuple[int, bytes]] = []

            @nursery.start_soon
            async def _() -> None:
                closes.append(await peer.next_frame())
                await peer.send(peer.frame(TEXT, b"sent before"))
                await peer.send_close()

        assert closes == [NORMAL]
        assert await peer.rest() == []
        assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_a_failed_body_closes_with_1011_and_its_exception_comes_out_bare(side: Side, express: bool) -> None:
    trouble = Trouble()
    with pytest.raises(Trouble) as caught:
        async with open_pair(side, express=express) as (_, peer):
            raise trouble
    assert caught.value is trouble
    assert await peer.rest() == [(CLOSE, close_payload(1011))]


@sides
@lanes
async def test_cancellation_closes_with_1000(side: Side, express: bool) -> None:
    with trio.CancelScope() as scope:
        async with open_pair(side, express=express) as (_, peer):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_does_not_answer_the_close_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (_, peer):
        pass
    assert autojump_clock.current_time() == 5
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_never_stops_sending_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (_, peer):

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await peer.send(peer.frame(TEXT, b"more"), peer.frame(PING))
                        await trio.sleep(0.3)

        assert 4.9 < autojump_clock.current_time() < 5.1
        assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_peer_that_reads_nothing_has_five_seconds(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
            near.send_stream.room = 3
            nursery.start_soon(connection.send, b"more than that")
            await wait_all_tasks_blocked()
        assert autojump_clock.current_time() == 5
        nursery.cancel_scope.cancel()
    assert len(bytes(await far.receive_some())) == 3


@sides
@lanes
@pytest.mark.parametrize("code", [1000, 1001])
async def test_the_peers_close_is_answered_and_is_an_end_in_good_order(
    side: Side, express: bool, code: int, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"last"))
        await peer.send_close(code, "bye")
        assert [await connection.receive() for _ in range(3)] == [b"last", b"", b""]
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(code))
    assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_a_close_without_a_code_is_an_end_in_good_order(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(CLOSE))
        assert await connection.receive() == b""
    assert await peer.rest() == [(CLOSE, b"")]


@sides
@lanes
async def test_a_close_with_another_code_is_a_break_that_tells_it(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send_close(1011, "out of order")
        with pytest.raises(ConnectionClosed, match=r"^The WebSocket closed with code 1011 \(out of order\)\.$"):
            await connection.receive()
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(1011))


@sides
@lanes
async def test_when_both_close_at_once_each_sends_one_close_frame(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (_, peer):
        await peer.send_close()
    assert await peer.rest() == [NORMAL]
    assert autojump_clock.current_time() == 0


@sides
@lanes
async def test_nothing_is_sent_behind_the_answer_to_a_close(side: Side, express: bool) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(CLOSE, close_payload(1000)), peer.frame(PING, b"?"))
        assert await connection.receive() == b""
        with pytest.raises(ConnectionClosed):
            await connection.send(b"too late")
        assert not connection.send_nowait(b"too late")
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_nothing_is_sent_behind_our_close(side: Side, express: bool) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pair(side, express=express) as (connection, peer):

            @nursery.start_soon
            async def _() -> None:
                assert await peer.next_frame() == NORMAL
                await peer.send(peer.frame(PING, b"?"), peer.frame(TEXT, b"x"))
                await wait_all_tasks_blocked()
                with pytest.raises(ConnectionClosed):
                    await connection.send(b"too late")
                await peer.send_close()

        assert await peer.rest() == []
        with pytest.raises(ConnectionClosed):
            await connection.send(b"much too late")


@sides
@lanes
async def test_a_cancelled_send_makes_the_rest_silent(side: Side, express: bool) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        near.send_stream.room = 3
        with trio.move_on_after(1) as scope:
            await connection.send(b"cut in the middle")
        assert scope.cancelled_caught
        near.send_stream.room = 1000
        with pytest.raises(ConnectionClosed):
            await connection.send(b"next")
        await peer.send(peer.frame(PING, b"?"), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        await peer.send_close()
    received = b""
    while more := bytes(await far.receive_some()):
        received += more
    assert len(received) == 3


@sides
@lanes
async def test_a_pong_that_cancellation_cuts_makes_the_rest_silent(side: Side, express: bool) -> None:
    near, far = narrow_stream_pair()
    with trio.CancelScope() as scope:
        async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
            near.send_stream.room = 3
            await peer.send(peer.frame(PING, b"question"), peer.frame(TEXT, b"a"))
            assert await connection.receive() == b"a"
            await wait_all_tasks_blocked()

            def widen() -> None:
                near.send_stream.room = 1000

            scope.cancel()
            widen()
            await trio.sleep_forever()
    received = b""
    while more := bytes(await far.receive_some()):
        received += more
    assert len(received) == 3


# ---- a server's opening


async def test_what_came_behind_the_request_is_not_lost() -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=True)
    early = peer.frame(TEXT, b"early ") + peer.frame(BINARY, b"bird")
    async with accept_websocket(near, "id", Request(), head=UPGRADE, rest=early[:-3]) as connection:
        await far.send_all(early[-3:])
        assert await receive(connection, 10) == b"early bird"
        await peer.send_close()


async def test_a_connection_has_its_id_and_its_request() -> None:
    near, far = memory_stream_pair()
    request = Request(path="/chat")
    async with accept_websocket(near, "public", request, head=UPGRADE, rest=b"") as connection:
        assert connection.id == "public"
        assert connection.request is request
        await Peer(far, client=True).send_close()


async def test_a_request_that_is_no_handshake_is_answered() -> None:
    near, far = memory_stream_pair()
    with pytest.raises(ConnectionClosed, match="handshake failed"):
        async with accept_websocket(near, "id", Request(), head=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", rest=b""):
            raise AssertionError
    assert (await Peer(far, client=True).head()).startswith(b"HTTP/1.1 400 ")


# ---- a client's opening

Answer = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def open_against(
    answer: Answer, *, express: bool = True, url: str = "http://example/chat", timeout: float = 30.0
) -> AsyncGenerator[tuple[WebSocketConnection, Peer]]:
    """Open a client's WebSocket against a server that answers in its own way."""
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near):
            async with open_websocket(url, None, express=express, timeout=timeout) as connection:
                yield connection, peer


async def refusal(answer: Answer, *, express: bool = True) -> str:
    """What a client says of a server that does not open the WebSocket; its stream is closed then."""
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near), trio.fail_after(100), pytest.raises(ConnectionClosed) as caught:
            async with open_websocket("http://example/chat", None, express=express):
                raise AssertionError
        nursery.cancel_scope.cancel()
    assert await is_closed(far)
    return str(caught.value)


async def is_closed(far: trio.abc.Stream) -> bool:
    """Whether the other end has closed the stream; reads what it has sent."""
    with trio.move_on_after(0.001):
        while await far.receive_some():
            pass
        return True
    return False


def says(data: bytes) -> Answer:
    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(data)

    return answer


@lanes
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n", "HTTP/1.1 401 Unauthorized"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", "HTTP/1.0 101 Switching Protocols"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "SSH-2.0-OpenSSH_9.6"),
        (b"\xff\x00 garbage\r\n\r\n", "\xff\x00 garbage"),
        (b"x" * 70_000, "x" * 80),
    ],
    ids=["404", "200", "401", "old", "ssh", "garbage", "endless"],
)
async def test_a_server_that_answers_otherwise_is_quoted(
    express: bool, data: bytes, line: str, autojump_clock: MockClock
) -> None:
    said = await refusal(says(data), express=express)
    assert said == f"The server did not open a WebSocket at http://example/chat: it answered '{line}'."
    assert autojump_clock.current_time() < 1


@lanes
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2Ugc29tZXRo\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno header\r\n\r\n",
        b"HTTP/1.1 1010\r\n\r\n",
        b"HTTP/1.1 101" + b"x" * 70_000,
    ],
    ids=["bare", "no accept", "wrong accept", "bad header", "bad status", "endless"],
)
async def test_an_acceptance_that_is_none_fails_at_once(
    express: bool, data: bytes, autojump_clock: MockClock
) -> None:
    said = await refusal(says(data), express=express)
    assert said.startswith("The server did not open a WebSocket at http://example/chat: it answered 'HTTP/1.1 101")
    assert autojump_clock.current_time() < 1


@lanes
@pytest.mark.parametrize("header", [b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: deflate"])
async def test_what_was_not_asked_for_is_not_accepted(
    express: bool, header: bytes, autojump_clock: MockClock
) -> None:
    async def answer(peer: Peer) -> None:
        await peer.send(acceptance(await peer.head()).replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n"))

    await refusal(answer, express=express)
    assert autojump_clock.current_time() < 1


@lanes
@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Switch"], ids=["before", "within"])
async def test_a_server_that_hangs_up_fails_at_once(
    express: bool, data: bytes, autojump_clock: MockClock
) -> None:
    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(data)
        await peer.stream.aclose()

    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near), pytest.raises(ConnectionClosed, match="did not answer"):
            async with open_websocket("http://example/chat", None, express=express):
                raise AssertionError
    assert autojump_clock.current_time() < 1


@lanes
async def test_a_server_that_resets_fails_at_once(express: bool, autojump_clock: MockClock) -> None:
    inner, _far = memory_stream_pair()
    near = Breaking(inner)
    near.broken.set()
    with connected_to(near), pytest.raises(ConnectionClosed, match="http://example/chat"):
        async with open_websocket("http://example/chat", None, express=express):
            raise AssertionError
    assert autojump_clock.current_time() < 1


@lanes
@pytest.mark.parametrize("pause", [1000, 1], ids=["nothing", "byte by byte"])
async def test_a_silent_or_slow_server_has_until_the_timeout(
    express: bool, pause: float, autojump_clock: MockClock
) -> None:
    async def answer(peer: Peer) -> None:
        for byte in acceptance(await peer.head()):
            await trio.sleep(pause)
            await peer.send(bytes((byte,)))

    assert "it did not answer" in await refusal(answer, express=express)
    assert 30 <= autojump_clock.current_time() < 31


@lanes
async def test_an_answer_in_pieces_opens_the_websocket(express: bool) -> None:
    async def answer(peer: Peer) -> None:
        data = acceptance(await peer.head()) + peer.frame(TEXT, b"early") + peer.frame(TEXT, b"bird")[:3]
        for start in range(0, len(data), 11):
            await peer.send(data[start : start + 11])
            await trio.sleep(0.1)
        await peer.send(peer.frame(TEXT, b"bird")[3:])
        await peer.send_close()

    async with open_against(answer, express=express) as (connection, _):
        assert await receive(connection, 9) == b"earlybird"
        assert await connection.receive() == b""


async def test_the_request_names_what_the_url_and_the_headers_say() -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    heads: list[bytes] = []

    async def answer() -> None:
        heads.append(await peer.head())
        await peer.send(acceptance(heads[0]))
        await peer.send_close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with connected_to(near) as places:
            url = "http://example:8000/chat/room?id=a%20b&x=1"
            async with open_websocket(url, "7", headers={"X-Test": "yes"}) as connection:
                assert connection.id == "7"
                assert connection.request.path == "/chat/room"
    assert places == [("example", 8000)]
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /chat/room?id=a%20b&x=1 HTTP/1.1"
    assert b"Host: example:8000" in lines
    assert b"X-Test: yes" in lines
    assert b"Sec-WebSocket-Version: 13" in lines


@pytest.mark.parametrize(
    ("url", "place", "line", "host"),
    [
        ("http://example", ("example", 80), b"GET / HTTP/1.1", b"Host: example"),
        ("ws://example:80/a", ("example", 80), b"GET /a HTTP/1.1", b"Host: example"),
        ("http://[::1]:8000/a", ("::1", 8000), b"GET /a HTTP/1.1", b"Host: [::1]:8000"),
        ("http://[::1]/a", ("::1", 80), b"GET /a HTTP/1.1", b"Host: [::1]"),
        ("http://example/ch\u00e4t", ("example", 80), b"GET /ch%C3%A4t HTTP/1.1", b"Host: example"),
    ],
)
async def test_where_a_url_leads(url: str, place: tuple[str, int], line: bytes, host: bytes) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)

    async def answer() -> None:
        head = await peer.head()
        assert head.split(b"\r\n")[0] == line
        assert host in head.split(b"\r\n")
        await peer.send(acceptance(head))
        await peer.send_close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with connected_to(near) as places:
            async with open_websocket(url, None):
                assert places == [place]


async def test_a_server_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        raise OSError("nobody home")

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(ConnectionClosed, match=r"^Cannot connect to example:80: nobody home$"):
        async with open_websocket("http://example/chat", None):
            raise AssertionError


async def test_connecting_has_until_the_timeout(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(ConnectionClosed, match=r"^Cannot connect to example:80 within 7 s\.$"):
        async with open_websocket("http://example/chat", None, timeout=7):
            raise AssertionError
    assert autojump_clock.current_time() == 7


@lanes
async def test_a_cancelled_opening_closes_the_stream(express: bool) -> None:
    near, far = memory_stream_pair()
    with connected_to(near), trio.move_on_after(1) as scope:
        async with open_websocket("http://example/chat", None, express=express):
            raise AssertionError
    assert scope.cancelled_caught
    assert await is_closed(far)


# ---- TLS


@asynccontextmanager
async def serve_tls(name: str) -> AsyncGenerator[tuple[trio.abc.Stream, ssl.SSLContext]]:
    """A server in memory that echoes one piece; gives the client's stream and a context that trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    near, far = memory_stream_pair()

    async def serve() -> None:
        stream = trio.SSLStream(far, server, server_side=True, https_compatible=True)
        peer = Peer(stream, client=False)
        try:
            await peer.send(acceptance(await peer.head()))
            await peer.send(peer.frame(*await peer.next_frame()))
            await answer_close(peer)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with connected_to(near) as places:
            yield near, client
        assert places == [("example", 443)]


async def test_data_goes_through_tls() -> None:
    async with serve_tls("example") as (_, context), open_websocket("https://example/", None, ssl_context=context) as c:
        await c.send(b"hello")
        assert await c.receive() == b"hello"


@pytest.mark.parametrize("name", ["example", "another"])
async def test_a_certificate_that_is_not_trusted_fails_at_once(name: str, autojump_clock: MockClock) -> None:
    async with serve_tls(name) as (_, trusting):
        context = ssl.create_default_context() if name == "example" else trusting
        with pytest.raises(ConnectionClosed, match="example"):
            async with open_websocket("wss://example/", None, ssl_context=context):
                raise AssertionError
    assert autojump_clock.current_time() < 1
