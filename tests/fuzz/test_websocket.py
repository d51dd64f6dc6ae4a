"""The express lane and trio-websocket alone are twins: of the same frames, hub and peer see the same of both.

But for one thing: the lane hands over the beginning of a message that is never finished.
"""

from contextlib import suppress

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import (
    BAD_FRAMES,
    BINARY,
    CLOSE,
    CONTINUE,
    PING,
    PONG,
    TEXT,
    Frame,
    Side,
    close_payload,
    frame,
    open_pair,
)
from trio_hubs.errors import ConnectionClosed

from .pieces import PLACES, cut

FIN = 0x80
IN_ORDER_INSIDE_A_MESSAGE = ("a fragment of nothing", "an end of nothing")


@attrs.frozen
class Talk:
    """What a peer sends.

    Attributes:
        frames: First bytes and payloads.
        end: The name of a bad frame, or a close frame's payload; ``None`` when the socket just ends.
        behind: What comes after that.
    """

    frames: list[Frame]
    end: str | bytes | None
    behind: bytes

    def data(self, masked: bool) -> bytes:
        good = b"".join(frame(first, payload, masked=masked) for first, payload in self.frames)
        match self.end:
            case None:
                return good + self.behind[:1]
            case str(name):
                return good + BAD_FRAMES[name](masked) + self.behind
            case payload:
                return good + frame(CLOSE, payload, masked=masked) + self.behind

    @property
    def messages(self) -> tuple[bytes, bytes]:
        """The bytes of all whole messages, and those of one that is not finished."""
        whole = begun = b""
        for first, payload in self.frames:
            if first not in (PING, PONG):
                begun += payload
                if first & FIN:
                    whole, begun = whole + begun, b""
        return whole, begun


def message(first: int, payload: bytes, places: list[int], between: list[Frame]) -> list[Frame]:
    """A message in fragments, with control frames between them."""
    parts = cut(payload, places) or [b""]
    firsts = [first & ~FIN, *[CONTINUE] * (len(parts) - 1)]
    firsts[-1] |= FIN
    frames: list[Frame] = []
    for at, fragment in enumerate(zip(firsts, parts, strict=True)):
        frames += [fragment, *between[at : at + 1]]
    return frames


def talk(messages: list[list[Frame]], whole: bool, end: str | bytes | None, behind: bytes) -> Talk:
    frames = [one for frames in messages for one in frames]
    if not whole and frames:
        frames.pop()
    data = [first for first, _ in frames if first not in (PING, PONG)]
    if data and not data[-1] & FIN and end in IN_ORDER_INSIDE_A_MESSAGE:
        end = None
    return Talk(frames, end, behind)


SIZES = st.sampled_from([0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 1000, 65_535, 65_536, 70_000])
BLOBS = st.one_of(st.binary(max_size=9), st.builds(lambda size: (bytes(range(256)) * 300)[:size], SIZES))
TEXTS = st.one_of(st.text(max_size=9), st.builds(lambda size, one: one * size, SIZES, st.characters()))
CONTROL = st.tuples(st.sampled_from([PING, PONG]), st.one_of(st.binary(max_size=4), st.just(bytes(125))))
ENDS = st.one_of(
    st.none(),
    st.sampled_from(list(BAD_FRAMES)),
    st.builds(
        close_payload,
        st.sampled_from([999, 1000, 1001, 1002, 1005, 1011, 1012, 3000, 4999, 5000]),
        st.text(max_size=9),
    ),
    st.sampled_from([b"", b"\x03", close_payload(1000) + b"\xff"]),
)
TALKS = st.builds(
    talk,
    st.lists(
        st.one_of(
            st.builds(message, st.just(BINARY), BLOBS, PLACES, st.lists(CONTROL)),
            st.builds(message, st.just(TEXT), TEXTS.map(str.encode), PLACES, st.lists(CONTROL)),
            CONTROL.map(lambda one: [one]),
        ),
        max_size=5,
    ),
    st.booleans(),
    ENDS,
    st.binary(max_size=20),
)


async def exchange(side: Side, express: bool, pieces: list[bytes]) -> tuple[bytes, str, list[Frame]]:
    """What the hub received, how that ended, and what the peer received."""
    received, end = b"", ""
    async with open_pair(side, express=express) as (connection, peer):

        async def receive() -> None:
            nonlocal received, end
            try:
                while data := await connection.receive():
                    received += data
                end = "in order"
            except ConnectionClosed as error:
                end = str(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for at, piece in enumerate(pieces):
                with suppress(trio.BrokenResourceError):
                    await peer.send(piece)
                await wait_all_tasks_blocked()
                with suppress(ConnectionClosed):
                    await connection.send(b"%d" % at)
            with suppress(trio.BrokenResourceError):
                await peer.stream.send_eof()  # type: ignore[attr-defined]  # the one in memory can
    return received, end, await peer.rest()


@pytest.mark.parametrize("side", ["server", "client"])
@given(talk=TALKS, places=PLACES)
def test_the_same_with_the_lane_and_without(side: Side, talk: Talk, places: list[int]) -> None:
    pieces = cut(talk.data(masked=side == "server"), places)
    whole, begun = talk.messages

    async def check() -> None:
        received, *rest = await exchange(side, False, pieces)
        assert received == whole
        assert await exchange(side, True, pieces) == (whole + begun, *rest)

    trio.run(check, clock=MockClock(autojump_threshold=0))
