"""A WebSocket is a duplex of bytes with WebSocket's manners, on either side, with the express lane and without."""

import sys
from collections.abc import Iterable
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from wsproto import ConnectionType
from wsproto.connection import Connection as Wire
from wsproto.events import BytesMessage, Event, Ping, TextMessage

from tests.connections.websocket.websocket_peer import (
    BAD_FRAMES,
    BINARY,
    CLOSE,
    CONTINUE,
    LAST,
    PARTIAL_BINARY,
    PARTIAL_TEXT,
    PING,
    PONG,
    TEXT,
    BreakingStream,
    Side,
    close_payload,
    direct_stream_pair,
    narrow_stream_pair,
    open_pair,
    receive_all,
)
from trio_hubs.connections.websocket import WebSocketConnection
from trio_hubs.connections.websocket.websocket import READ_SIZE
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat

sides = pytest.mark.parametrize("side", ["server", "client"])
lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])
NORMAL: tuple[int, bytes] = (CLOSE, close_payload(1000))


# ---- data


@sides
@lanes
async def test_data_frames_arrive_whole(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        for payload in (b"a", b"bc" * 60, b"d" * 200, b"e" * 70_000):
            await peer.send(peer.frame(BINARY, payload))
            assert await receive_all(connection, len(payload)) == payload
        await peer.send_close()


@sides
@lanes
async def test_many_frames_in_one_read_arrive_in_order(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        payloads = [b"%d;" % i * (i % 50) for i in range(200)]
        await peer.send(*(peer.frame(TEXT if i % 2 else BINARY, data) for i, data in enumerate(payloads)))
        whole = b"".join(payloads)
        assert await receive_all(connection, len(whole)) == whole
        await peer.send_close()


@sides
@lanes
async def test_frames_arrive_byte_by_byte(side: Side, express: bool, autojump_clock: MockClock) -> None:
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
        assert await receive_all(connection, 313) == b"hello" + b"x" * 300 + b"in parts"
        assert await peer.next_frame() == (PONG, b"?")
        await peer.send_close()


@sides
@lanes
async def test_an_empty_message_is_no_end(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT), peer.frame(BINARY), peer.frame(PARTIAL_TEXT), peer.frame(LAST))
        await peer.send(peer.frame(TEXT, b"data"))
        assert await connection.receive() == b"data"
        await peer.send_close()


@sides
async def test_a_huge_frame_arrives_in_parts(side: Side, autojump_clock: MockClock) -> None:
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
async def test_fragments_are_put_together(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(
            peer.frame(BINARY, b"before "),
            peer.frame(PARTIAL_BINARY, b"one "),
            peer.frame(CONTINUE, b"message "),
            peer.frame(PING, b"between"),
            peer.frame(LAST, b"in parts "),
            peer.frame(TEXT, b"behind"),
        )
        whole = b"before one message in parts behind"
        assert await receive_all(connection, len(whole)) == whole
        assert await peer.next_frame() == (PONG, b"between")
        await peer.send_close()


@sides
@lanes
async def test_a_character_may_be_cut_by_fragments(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        text = "ä€😀".encode()
        middle = (peer.frame(CONTINUE, text[i : i + 1]) for i in range(1, len(text)))
        await peer.send(peer.frame(PARTIAL_TEXT, text[:1]), *middle, peer.frame(LAST))
        assert await receive_all(connection, len(text)) == text
        await peer.send_close()


@sides
async def test_a_message_in_fragments_has_a_limit_without_the_lane(
    side: Side, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=False) as (connection, peer):
        await peer.send(peer.frame(PARTIAL_BINARY, bytes(1 << 19)))
        await peer.send(peer.frame(CONTINUE, bytes(1 << 19)), peer.frame(LAST, b"!"))
        with pytest.raises(ConnectionClosed, match="1009"):
            await connection.receive()
    ((first, payload),) = await peer.rest()
    assert (first, payload[:2]) == (CLOSE, close_payload(1009))


@sides
@lanes
async def test_a_cancelled_receive_loses_nothing(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
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
async def test_what_is_sent_arrives_in_one_frame(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
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
@pytest.mark.parametrize("room", [0, 1, 3, 1000])
async def test_what_is_sent_without_waiting_arrives_in_order(
    side: Side, express: bool, room: int, autojump_clock: MockClock
) -> None:
    near, far = direct_stream_pair(room)
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        assert connection.send_nowait(b"one") is (room > 0)
        assert connection.unsent is (0 < room < 5)
        await connection.send(b"" if room else b"one")
        assert not connection.unsent
        await connection.send(b"two")
        assert [await peer.next_frame(), await peer.next_frame()] == [(TEXT, b"one"), (TEXT, b"two")]
        await peer.send_close()


@sides
async def test_a_small_frame_goes_to_the_socket_at_once_and_a_large_one_in_parts_that_wait(
    side: Side, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So others have a turn, however fast the peer takes it."""
    near, far = direct_stream_pair(sys.maxsize)
    waited: list[int] = []
    send_all = near.send_all

    async def note(data: bytes | bytearray | memoryview) -> None:
        waited.append(len(data))
        await send_all(data)

    monkeypatch.setattr(near, "send_all", note)
    async with open_pair(side, near=near, far=far) as (connection, peer):
        await connection.send(b"small")
        assert waited == []
        await connection.send(b"x" * 5 * READ_SIZE)
        assert waited == [READ_SIZE] * 5
        assert await peer.next_frame() == (TEXT, b"small")
        assert await peer.next_frame() == (TEXT, b"x" * 5 * READ_SIZE)
        await peer.send_close()


@pytest.mark.parametrize("sides", [("server", "client"), ("client", "server"), ("server", "server")])
async def test_what_many_send_is_framed_for_each(sides: tuple[Side, Side], autojump_clock: MockClock) -> None:
    """What is kept of a frame for the next that sends the same is for those alone whose frame it is, too."""
    data = b"the same"
    for side, format, first in zip(sides, TransferFormat, (TEXT, BINARY), strict=True):
        near, far = direct_stream_pair(1000)
        async with open_pair(side, near=near, far=far) as (connection, peer):
            connection.transfer_format = format
            for _ in range(2):
                assert connection.send_nowait(data)
                assert await peer.next_frame() == (first, data)
            connection.transfer_format = TransferFormat.TEXT
            assert connection.send_nowait(data)
            assert await peer.next_frame() == (TEXT, data)
            await peer.send_close()


@sides
@lanes
async def test_sending_no_bytes_sends_nothing(side: Side, express: bool, autojump_clock: MockClock) -> None:
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
    lambda parts: [
        TextMessage(data=part, message_finished=i == len(parts) - 1) for i, part in enumerate(parts)
    ]
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
@settings(max_examples=40)
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
async def test_a_ping_is_answered_between_data(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"a"), peer.frame(PING, b"payload"), peer.frame(TEXT, b"b"))
        assert await receive_all(connection, 2) == b"ab"
        assert await peer.next_frame() == (PONG, b"payload")
        await connection.send(b"still here")
        assert await peer.next_frame() == (TEXT, b"still here")
        await peer.send_close()


@sides
@lanes
async def test_the_longest_ping_is_answered(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PING, bytes(range(125))), peer.frame(PING), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        assert await peer.next_frame() == (PONG, bytes(range(125)))
        assert await peer.next_frame() == (PONG, b"")
        await peer.send_close()


@sides
@lanes
async def test_a_pong_is_ignored(side: Side, express: bool, autojump_clock: MockClock) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        await peer.send(peer.frame(PONG, b"unasked"), peer.frame(TEXT, b"a"))
        assert await connection.receive() == b"a"
        await peer.send_close()
    assert await peer.rest() == [NORMAL]


@sides
@lanes
async def test_a_flood_of_pings_whose_answers_are_not_read_is_not_taken_in(
    side: Side, express: bool, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        near.send_stream.room = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.receive)
            ping = peer.frame(PING, bytes(125))
            left = 0
            for _ in range(40):
                await peer.send(ping * 500)
                await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                while True:
                    left += len(await near.receive_some(65_536))
            nursery.cancel_scope.cancel()
        assert left > 2_000_000


# ---- what is not in order


async def is_over(connection: WebSocketConnection, code: int) -> None:
    """Nothing comes any more, and the reason is told each time."""
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
        await peer.send(
            peer.frame(TEXT, b"good"), BAD_FRAMES[kind](peer.client), peer.frame(TEXT, b"too late")
        )
        assert await connection.receive() == b"good"
        await is_over(connection, 1002)
    assert all(first == CLOSE for first, _ in await peer.rest())
    assert autojump_clock.current_time() < 10


@sides
@lanes
@pytest.mark.parametrize("kind", BAD_FRAMES)
async def test_a_bad_frame_byte_by_byte(
    side: Side, express: bool, kind: str, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=express) as (connection, peer):
        received: list[bytes] = []

        async def read() -> None:
            with pytest.raises(ConnectionClosed, match="1002"):
                while True:
                    received.append(await connection.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for byte in peer.frame(TEXT, b"good") + BAD_FRAMES[kind](peer.client):
                try:
                    await peer.send(bytes((byte,)))
                except trio.BrokenResourceError:
                    break
                await wait_all_tasks_blocked()
        assert b"".join(received).startswith(b"good")


@sides
async def test_text_that_is_no_utf_8_ends_the_connection_without_the_lane(
    side: Side, autojump_clock: MockClock
) -> None:
    async with open_pair(side, express=False) as (connection, peer):
        await peer.send(peer.frame(PARTIAL_TEXT, b"x"), peer.frame(LAST, b"\xff"))
        await is_over(connection, 1007)


@sides
@lanes
@pytest.mark.parametrize(
    "data", [b"", b"\x81", b"\x81\x7e\x01", "cut"], ids=["between", "head", "length", "payload"]
)
async def test_an_end_without_a_close_frame_is_a_break(
    side: Side, express: bool, data: bytes | str, autojump_clock: MockClock
) -> None:
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


@sides
@lanes
async def test_a_reset_is_a_break(side: Side, express: bool, autojump_clock: MockClock) -> None:
    inner, far = memory_stream_pair()
    near = BreakingStream(inner)
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"whole"))
        assert await connection.receive() == b"whole"
        near.broken.set()
        with pytest.raises(ConnectionClosed, match="1006"):
            await connection.receive()
        with pytest.raises(ConnectionClosed):
            await connection.send(b"x")
