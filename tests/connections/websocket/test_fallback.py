"""trio-websocket takes over where something is odd, and nobody can tell when: from the first byte on it is the same."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

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
    Frame,
    Side,
    close_payload,
    frame,
    open_pair,
)
from trio_hubs.connections.websocket.fallback import open_fallback
from trio_hubs.errors import ConnectionClosed

sides = pytest.mark.parametrize("side", ["server", "client"])

ORDINARY = st.one_of(
    st.tuples(
        st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125).map(bytes.hex).map(str.encode)
    ).map(lambda pair: [(pair[0], pair[1][:125])]),
    st.integers(126, 300).map(lambda size: [(BINARY, b"x" * size)]),
    st.tuples(st.sampled_from([PARTIAL_TEXT, PARTIAL_BINARY]), st.integers(0, 3)).map(
        lambda pair: [
            (pair[0], b"begins "),
            *[(CONTINUE, b"goes on "), (PING, b"between")] * pair[1],
            (LAST, b"ends"),
        ]
    ),
)
CLOSES = st.sampled_from(
    [
        b"",
        *(close_payload(code, "why") for code in (1000, 1001, 1002, 1011, 1012, 3000, 4999, 999, 1005, 5000)),
        b"\3",
    ]
)
ENDS = st.one_of(
    CLOSES.map(lambda payload: ("close", payload)),
    st.sampled_from(sorted(BAD_FRAMES)).map(lambda kind: (kind, b"")),
    st.just(("a cut", b"")),
)


async def outcome(side: Side, express: bool, pieces: Sequence[bytes]) -> tuple[bytes, str, list[Frame]]:
    """What comes in of what a peer sends before it hangs up, how that ends, and what the peer gets."""
    received, end = b"", "in good order"
    near, far = memory_stream_pair()
    async with open_pair(side, express=express, near=near, far=far) as (connection, peer):

        async def read() -> None:
            nonlocal received, end
            try:
                while more := await connection.receive():
                    received += more
            except ConnectionClosed as error:
                end = str(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with suppress(trio.BrokenResourceError):
                for piece in pieces:
                    await peer.send(piece)
                    await wait_all_tasks_blocked()
            await far.send_stream.aclose()
    return received, end, await peer.rest()


@sides
@given(
    messages=st.lists(ORDINARY, max_size=6),
    end=ENDS,
    behind=st.lists(ORDINARY, max_size=2),
    places=st.lists(st.integers(0, 100_000), max_size=8),
)
@settings(max_examples=80, derandomize=True, deadline=None)
def test_nobody_can_tell_when_it_took_over(
    side: Side,
    messages: list[list[Frame]],
    end: tuple[str, bytes],
    behind: list[list[Frame]],
    places: list[int],
) -> None:
    masked = side == "server"
    sent = [frame(first, payload, masked=masked) for message in messages for first, payload in message]
    kind, payload = end
    if kind == "a cut":
        sent = [b"".join(sent)[:-1]]
    else:
        sent.append(frame(CLOSE, payload, masked=masked) if kind == "close" else BAD_FRAMES[kind](masked))
        sent += [frame(first, payload, masked=masked) for message in behind for first, payload in message]
    data = b"".join(sent)
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    pieces = [data[start:stop] for start, stop in pairwise(edges)]

    async def check() -> None:
        ours, our_end, our_frames = await outcome(side, True, pieces)
        theirs, their_end, their_frames = await outcome(side, False, pieces)
        assert (our_end, our_frames) == (their_end, their_frames)
        # trio-websocket hands on whole messages only, and of the last one there may be a part.
        assert ours.startswith(theirs)
        assert (
            len(ours) - len(theirs)
            <= max((len(payload) for first, payload in chain.from_iterable(messages)), default=0) * 8
        )

    trio.run(check, clock=MockClock(autojump_threshold=0))


@sides
async def test_nobody_sees_the_opening_that_it_is_shown(side: Side, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    said: list[bytes] = []

    async def say(data: bytes) -> None:
        said.append(data)

    masked = side == "server"
    early = frame(TEXT, b"early", masked=masked)
    async with open_fallback(near, early, say, masked=masked) as websocket:
        assert await websocket.get_message() == "early"
        assert said == []
        await far.send_all(frame(PING, b"?", masked=masked) + frame(TEXT, b"later", masked=masked))
        assert await websocket.get_message() == "later"
        assert [data[0] for data in said] == [PONG]
    await trio.aclose_forcefully(near)
    assert await far.receive_some() == b""


@sides
async def test_it_is_told_of_a_message_under_way(side: Side, autojump_clock: MockClock) -> None:
    """Else it could not know that a message must not begin within another."""
    async with open_pair(side) as (connection, peer):
        await peer.send(peer.frame(PARTIAL_TEXT, b"half"), peer.frame(TEXT, b"another"))
        assert await connection.receive() == b"half"
        with pytest.raises(ConnectionClosed, match="1002"):
            await connection.receive()
