"""The wait for the peer's handshake: in pieces, cut off, or too large."""

import pytest
from trio.testing import MockClock

from trio_hubs import HandshakeError
from trio_hubs.calls.handshake import receive_handshake
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.protocol.handshake import HandshakeRequest, HandshakeResponse, take_request, take_response

REQUEST = b'{"protocol":"json","version":1}\x1e'


async def peer_that_sends(*pieces: bytes) -> tuple[MemoryConnection, MemoryConnection]:
    ours, theirs = memory_connection_pair()
    for piece in pieces:
        await theirs.send(piece)
    return ours, theirs


async def test_it_may_come_in_pieces_and_what_is_behind_it_is_left(autojump_clock: MockClock) -> None:
    ours, _ = await peer_that_sends(REQUEST[:5], REQUEST[5:] + b"behind")
    assert await receive_handshake(ours, take_request, 1000) == (HandshakeRequest("json", 1), b"behind")


async def test_it_is_an_answer_for_a_client(autojump_clock: MockClock) -> None:
    ours, _ = await peer_that_sends(b"{}\x1e")
    assert await receive_handshake(ours, take_response, 1000) == (HandshakeResponse(), b"")


async def test_a_peer_that_ends_before_its_handshake_has_sent_none(autojump_clock: MockClock) -> None:
    ours, theirs = await peer_that_sends(REQUEST[:5])
    theirs.close()
    assert await receive_handshake(ours, take_request, 1000) is None


async def test_one_that_is_too_large_is_refused_before_it_is_whole(autojump_clock: MockClock) -> None:
    ours, _ = await peer_that_sends(REQUEST[:5], REQUEST[5:10])
    with pytest.raises(HandshakeError):
        await receive_handshake(ours, take_request, 9)
