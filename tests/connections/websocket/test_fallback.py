"""trio-websocket takes over where something is odd: it is shown an opening, and what came of a message.

That nobody can tell when it took over, ``tests/fuzz/test_websocket.py`` tries.
"""

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.connections.websocket.websocket_peer import PARTIAL_TEXT, PING, PONG, TEXT, Side, frame, open_pair
from trio_hubs.connections.websocket.fallback import open_fallback
from trio_hubs.errors import ConnectionClosed

sides = pytest.mark.parametrize("side", ["server", "client"])


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
