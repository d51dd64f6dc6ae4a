"""The lane takes data frames, in any pieces, and leaves all the rest to trio-websocket, unchanged and in order."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_hubs.connections.express import READ_SIZE, ExpressStream
from trio_hubs.errors import ConnectionClosed

from .websocket_peer import (
    BAD_FRAMES,
    BINARY,
    CLOSE,
    CONTINUE,
    LAST,
    PARTIAL_TEXT,
    PING,
    PONG,
    TEXT,
    BreakingStream,
    close_payload,
    direct_stream_pair,
    frame,
    narrow_stream_pair,
)

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
ACCEPTANCE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"

clients = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


async def open_lane(client: bool) -> tuple[ExpressStream, trio.abc.Stream]:
    """A lane that is on, and the other end of its stream."""
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=client, head=b"" if client else REQUEST)
    if client:
        await far.send_all(ACCEPTANCE)
    assert await lane.receive_some() == (ACCEPTANCE if client else REQUEST)
    if not client:
        await lane.send_all(ACCEPTANCE)
        assert await far.receive_some() == ACCEPTANCE
    return lane, far


async def upward(lane: ExpressStream) -> bytes:
    """What trio-websocket has to read now."""
    received = b""
    while True:
        with trio.move_on_after(1):
            data = await lane.receive_some(5)
            received += data
            if data:
                continue
        return received


async def payloads(lane: ExpressStream) -> bytes:
    """What there is to receive now."""
    received = b""
    while True:
        with trio.move_on_after(1):
            data = await lane.receive_payload()
            if data is not None:
                assert data
                received += data
                continue
        return received


# ---- payloads


@clients
@pytest.mark.parametrize("size", [1, 2, 3, 4, 125, 126, 127, 65_535, 65_536, 200_001])
async def test_a_frame_of_any_size_byte_by_byte_or_whole(
    client: bool, size: int, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    payload = bytes(i % 251 for i in range(size))
    data = frame(BINARY, payload, masked=not client)
    await far.send_all(data)
    assert await payloads(lane) == payload
    received = b""
    pieces = [data[i : i + 1] for i in range(300)] + [
        data[i : i + 9_999] for i in range(300, len(data), 9_999)
    ]
    for piece in filter(None, pieces):
        await far.send_all(piece)
        with trio.move_on_after(0.1):
            received += await lane.receive_payload() or b""
    assert received == payload


@clients
async def test_all_frames_of_one_read_come_in_one_piece(client: bool, autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client)
    frames = [frame(TEXT, b"%d;" % i, masked=not client) for i in range(100)]
    await far.send_all(b"".join(frames) + frame(TEXT, b"trailing", masked=not client)[:-3])
    assert await lane.receive_payload() == b"".join(b"%d;" % i for i in range(100)) + b"trail"
    await far.send_all(frame(TEXT, b"trailing", masked=not client)[-3:])
    assert await lane.receive_payload() == b"ing"


async def test_each_frame_has_its_own_mask(autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client=False)
    keys = (b"\x00\x00\x00\x00", b"\x01\x02\x03\x04", b"\xff\xfe\xfd\xfc")
    await far.send_all(b"".join(frame(TEXT, b"hello", masked=True, key=key) for key in keys))
    assert await payloads(lane) == b"hello" * 3


@given(
    sizes=st.lists(st.integers(0, 700), max_size=10),
    places=st.lists(st.integers(0, 8_000), max_size=20),
    client=st.booleans(),
)
def test_the_mask_turns_however_the_frames_are_cut(sizes: list[int], places: list[int], client: bool) -> None:
    expected = [bytes((i + j) % 256 for j in range(size)) for i, size in enumerate(sizes)]
    data = b"".join(frame(BINARY, payload, masked=not client) for payload in expected)

    async def check() -> None:
        lane, far = await open_lane(client)
        received = b""
        for piece in cut(data, places):
            await far.send_all(piece)
            received += await payloads(lane)
        assert received == b"".join(expected)

    trio.run(check, clock=MockClock(autojump_threshold=0))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


async def test_what_was_read_behind_the_request_comes_first(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    early = frame(TEXT, b"early", masked=True)
    lane = ExpressStream(near, client=False, head=REQUEST, rest=early[:4])
    await far.send_all(early[4:])
    assert await payloads(lane) == b"early"
    assert await upward(lane) == REQUEST


async def test_what_was_read_behind_the_answer_comes_first(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=True)
    early = frame(TEXT, b"early", masked=False)
    await far.send_all(ACCEPTANCE + early[:4])
    assert await lane.receive_some() == ACCEPTANCE
    await far.send_all(early[4:])
    assert await payloads(lane) == b"early"


# ---- what trio-websocket has


@clients
async def test_control_frames_are_passed_up_and_the_lane_stays_on(
    client: bool, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    control = [frame(first, b"x" * size, masked=not client) for first in (PING, PONG) for size in (0, 1, 125)]
    for byte in b"".join(one + frame(TEXT, b"data", masked=not client) for one in control):
        await far.send_all(bytes((byte,)))
    assert await payloads(lane) == b"data" * 6
    assert await upward(lane) == b"".join(control)


ODD_FRAMES: dict[str, Callable[[bool], bytes]] = {
    **{kind: make for kind, make in BAD_FRAMES.items() if kind != "a message inside another"},
    "a close": lambda masked: frame(CLOSE, close_payload(1000), masked=masked),
}


@clients
@pytest.mark.parametrize("kind", ODD_FRAMES)
async def test_what_is_not_plain_turns_the_lane_off_for_good(
    client: bool, kind: str, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    rest = ODD_FRAMES[kind](not client) + frame(TEXT, b"behind", masked=not client)
    await far.send_all(frame(TEXT, b"before", masked=not client) + rest)
    assert await lane.receive_payload() == b"before"
    assert await lane.receive_payload() is None
    assert await upward(lane) == rest
    await far.send_all(frame(TEXT, b"later", masked=not client))
    assert await lane.receive_payload() is None
    assert await upward(lane) == frame(TEXT, b"later", masked=not client)


@clients
@pytest.mark.parametrize("kind", ODD_FRAMES)
async def test_what_is_not_plain_is_passed_up_whole_when_it_comes_byte_by_byte(
    client: bool, kind: str, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    rest = ODD_FRAMES[kind](not client)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            assert await lane.receive_payload() is None

        for byte in rest:
            await far.send_all(bytes((byte,)))
            await wait_all_tasks_blocked()
    assert await upward(lane) == rest


@clients
async def test_fragments_are_as_good_as_whole_messages(client: bool, autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client)
    ping = frame(PING, b"?", masked=not client)
    for byte in b"".join(
        (
            frame(PARTIAL_TEXT, b"one ", masked=not client),
            ping,
            frame(CONTINUE, b"message ", masked=not client),
            frame(LAST, b"and ", masked=not client),
            frame(TEXT, b"another", masked=not client),
        )
    ):
        await far.send_all(bytes((byte,)))
    assert await payloads(lane) == b"one message and another"
    assert await upward(lane) == ping


@clients
@pytest.mark.parametrize("first", [TEXT, PARTIAL_TEXT, CLOSE])
async def test_trio_websocket_is_told_of_a_message_under_way(
    client: bool, first: int, autojump_clock: MockClock
) -> None:
    """Else it could not know that a message must not begin within another."""
    lane, far = await open_lane(client)
    rest = frame(first, b"xx", masked=not client)
    await far.send_all(frame(PARTIAL_TEXT, b"half", masked=not client) + rest)
    assert await lane.receive_payload() == b"half"
    assert await lane.receive_payload() is None
    shown = await upward(lane)
    assert shown[:2] == bytes((BINARY & 0x0F, 0 if client else 0x80))
    assert shown[2 if client else 6 :] == rest


@clients
@pytest.mark.parametrize("first", [PING, PONG, TEXT | 0x40, CONTINUE])
@pytest.mark.parametrize("size", [126, 127])
async def test_a_long_frame_that_is_not_plain_turns_the_lane_off_before_its_length_has_come(
    client: bool, first: int, size: int, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    beginning = bytes((first, size | (0 if client else 0x80)))
    await far.send_all(beginning)
    with trio.fail_after(1):
        assert await lane.receive_payload() is None
    assert await upward(lane) == beginning


@clients
async def test_what_waits_for_the_lane_is_woken_by_what_comes(
    client: bool, autojump_clock: MockClock
) -> None:
    lane, far = await open_lane(client)
    ping, close = frame(PING, b"?", masked=not client), frame(CLOSE, masked=not client)
    read: list[bytes] = []

    async def read_upward() -> None:
        while data := await lane.receive_some():
            read.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_upward)
        nursery.start_soon(lane.receive_payload)
        for data in (ping, close):
            await far.send_all(data)
            await wait_all_tasks_blocked()
        assert read == [ping, close]
        await far.aclose()


@clients
async def test_the_end_is_left_to_trio_websocket(client: bool, autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client)
    cut_off = frame(PING, b"cut off", masked=not client)[:-1]
    await far.send_all(frame(TEXT, b"data", masked=not client) + cut_off)
    await far.aclose()
    assert await lane.receive_payload() == b"data"
    assert await lane.receive_payload() is None
    assert await lane.receive_some() == cut_off
    assert await lane.receive_some() == b""


@clients
async def test_a_break_is_left_to_trio_websocket(client: bool, autojump_clock: MockClock) -> None:
    inner, far = memory_stream_pair()
    near = BreakingStream(inner)
    lane = ExpressStream(near, client=client, head=b"" if client else REQUEST)
    if client:
        await far.send_all(ACCEPTANCE)
    await lane.receive_some()
    near.broken.set()
    assert await lane.receive_payload() is None
    with pytest.raises(trio.BrokenResourceError):
        await upward(lane)


@clients
async def test_without_the_lane_everything_is_passed_up(client: bool, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    early, later = frame(TEXT, b"early", masked=not client), frame(TEXT, b"later", masked=not client)
    head, rest = (b"", b"") if client else (REQUEST, early)
    lane = ExpressStream(near, client=client, head=head, rest=rest, express=False)
    if client:
        await far.send_all(ACCEPTANCE + early)
    await far.send_all(later)
    assert await lane.receive_payload() is None
    assert await upward(lane) == (ACCEPTANCE if client else REQUEST) + early + later


async def test_pings_are_taken_in_only_as_they_are_read(autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client=False)
    ping = frame(PING, bytes(125), masked=True)
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.receive_payload)
            for _i in range(40):
                await far.send_all(ping * 500)
                await wait_all_tasks_blocked()
    data = frame(TEXT, b"behind", masked=True)
    await far.send_all(data)
    with trio.move_on_after(1):
        raise AssertionError(f"{await lane.receive_payload()!r} was read behind 2.6 MB that nobody reads")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            assert await lane.receive_payload() == b"behind"

        left = len(ping) * 20_000
        while left:
            left -= len(await lane.receive_some(4096))


# ---- sending


async def read_all(far: trio.abc.Stream) -> bytes:
    received = b""
    with trio.move_on_after(1):
        while data := await far.receive_some():
            received += data
    return received


async def test_frames_and_control_frames_are_sent_whole_one_after_another(
    autojump_clock: MockClock,
) -> None:
    near, far = narrow_stream_pair()
    lane = ExpressStream(near, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.send_frame, b"frame")
        nursery.start_soon(lane.send_all, b"\x8apong")
        nursery.start_soon(lane.send_frame, b"other")
    received = await read_all(far)
    assert sorted(received) == sorted(b"frame\x8apongother")
    assert all(piece in received for piece in (b"frame", b"\x8apong", b"other"))


async def test_nothing_is_sent_behind_a_close_frame(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=True)
    close = bytes((CLOSE, 0))
    await lane.send_all(close)
    await lane.send_all(close)
    await lane.send_all(bytes((PONG, 0)))
    with pytest.raises(ConnectionClosed, match="closing"):
        await lane.send_frame(b"frame")
    assert not lane.send_frame_nowait(b"frame")
    assert await read_all(far) == close


@pytest.mark.parametrize("name", ["send_frame", "send_all"])
async def test_nothing_is_sent_behind_what_cancellation_has_cut(name: str, autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    lane = ExpressStream(near, client=True)
    near.send_stream.room = 3
    with trio.move_on_after(1) as scope:
        await getattr(lane, name)(bytes((PONG, 4)) + b"long")
    assert scope.cancelled_caught
    near.send_stream.room = 1000
    await lane.send_all(bytes((CLOSE, 0)))
    with pytest.raises(ConnectionClosed):
        await lane.send_frame(b"frame")
    assert await read_all(far) == bytes((PONG, 4)) + b"l"


async def test_who_is_cancelled_while_waiting_to_send_cuts_nothing(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    lane = ExpressStream(near, client=True)
    near.send_stream.room = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.send_frame, b"first")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await lane.send_frame(b"second")
        nursery.cancel_scope.cancel()
    assert await read_all(far) == b""


async def test_what_breaks_on_the_way_out_is_told_to_the_sender_of_data_alone(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_stream_pair()
    await far.aclose()
    lane = ExpressStream(near, client=True)
    await lane.send_all(bytes((PONG, 0)))
    with pytest.raises(ConnectionClosed):
        await lane.send_frame(b"frame")


async def test_a_frame_may_be_sent_at_once(autojump_clock: MockClock) -> None:
    near, far = direct_stream_pair(room=100)
    lane = ExpressStream(near, client=True)
    assert lane.send_frame_nowait(b"frame")
    assert not lane.unsent
    assert await read_all(far) == b"frame"


@pytest.mark.parametrize("name", ["send_frame", "send_all"])
async def test_what_was_not_sent_at_once_comes_before_the_next(name: str, autojump_clock: MockClock) -> None:
    near, far = direct_stream_pair(room=3)
    lane = ExpressStream(near, client=True)
    assert lane.send_frame_nowait(b"frame")
    assert lane.unsent
    assert not lane.send_frame_nowait(b"other")
    await getattr(lane, name)(bytes((CLOSE, 0)))
    assert not lane.unsent
    assert await read_all(far) == b"frame" + bytes((CLOSE, 0))


async def test_no_frame_is_sent_at_once_where_it_cannot_be() -> None:
    plain, _ = memory_stream_pair()
    assert not ExpressStream(plain, client=True).send_frame_nowait(b"frame")
    full, _ = direct_stream_pair(room=0)
    lane = ExpressStream(full, client=True)
    assert not lane.send_frame_nowait(b"frame")
    assert not lane.unsent


async def test_no_frame_overtakes_one_that_is_being_sent(autojump_clock: MockClock) -> None:
    near, far = direct_stream_pair(room=100)
    near.ready = trio.Event()
    lane = ExpressStream(near, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.send_frame, b"first")
        await wait_all_tasks_blocked()
        assert not lane.send_frame_nowait(b"second")
        near.ready.set()
    assert await read_all(far) == b"first"


# ---- the end


@clients
async def test_closing_wakes_who_waits_and_closes_the_stream(client: bool, autojump_clock: MockClock) -> None:
    lane, far = await open_lane(client)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await lane.receive_some()

        await wait_all_tasks_blocked()
        await lane.aclose()
    assert await far.receive_some() == b""
    assert await lane.receive_payload() is None


async def test_closing_ends_the_opening(autojump_clock: MockClock) -> None:
    near, _ = memory_stream_pair()
    lane = ExpressStream(near, client=True)
    async with trio.open_nursery() as nursery:
        with lane.opening:
            nursery.start_soon(lane.aclose)
            await trio.sleep_forever()
    assert lane.opening.cancelled_caught


async def test_a_refusal_ends_the_opening_and_is_quoted(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=True)
    await far.send_all(b"HTTP/1.1 403 For")
    async with trio.open_nursery() as nursery:
        with lane.opening:

            @nursery.start_soon
            async def _() -> None:
                assert await lane.receive_some() == b""

            await wait_all_tasks_blocked()
            await far.send_all(b"bidden\r\n\r\n")
            await trio.sleep_forever()
    assert lane.opening.cancelled_caught
    assert lane.refusal == "it answered 'HTTP/1.1 403 Forbidden'"


async def test_it_is_a_whole_stream() -> None:
    near, _ = memory_stream_pair()
    calls: list[str] = []

    async def hook() -> None:
        calls.append("wait")

    near.send_stream.wait_send_all_might_not_block_hook = hook
    await ExpressStream(near, client=True).wait_send_all_might_not_block()
    assert calls == ["wait"]


async def test_a_server_sends_its_acceptance_and_what_follows(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=False, head=REQUEST)
    with lane.opening:
        await lane.send_all(ACCEPTANCE)
        await lane.send_all(b"pong")
    assert not lane.opening.cancelled_caught
    assert await read_all(far) == ACCEPTANCE + b"pong"
    await lane.aclose()
    assert await far.receive_some() == b""


async def test_a_servers_refusal_is_left_to_the_caller(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    lane = ExpressStream(near, client=False, head=REQUEST)
    with lane.opening:
        await lane.send_all(b"HTTP/1.1 400 \r\n\r\n")
        await lane.aclose()
        await trio.sleep_forever()
    assert lane.opening.cancelled_caught
    await near.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert await read_all(far) == b"HTTP/1.1 400 Bad Request\r\n\r\n"


@clients
async def test_each_part_of_a_frame_that_is_taken_is_progress(
    client: bool, autojump_clock: MockClock
) -> None:
    near, far = memory_stream_pair()
    pieces: list[tuple[float, float]] = []
    lane = ExpressStream(near, client=client)
    size = 5 * READ_SIZE + 1

    pump = near.send_stream.send_all_hook
    assert pump is not None

    async def take_a_second() -> None:
        pieces.append((trio.current_time(), lane.last_progress))
        await trio.sleep(1)
        await pump()

    near.send_stream.send_all_hook = take_a_second
    await lane.send_frame(bytes(size))
    assert pieces == [(0, -inf), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert lane.last_progress == 6
    assert not lane.cut
    assert len(await far.receive_some()) == size
