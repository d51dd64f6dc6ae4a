"""A WebSocket is opened for good, or refused at once with the reason; nothing of it stays open then."""

import base64

import attrs
import pytest
from trio.testing import MockClock, memory_stream_pair

from tests.connections.websocket.websocket_peer import BINARY, OPENING, TEXT, Peer, receive_all
from trio_hubs.connections.http import CaseInsensitive
from trio_hubs.connections.websocket import accept_websocket
from trio_hubs.connections.websocket.opening import new_key, opens, request_headers

# ---- a server's opening


async def test_what_came_behind_the_request_is_not_lost(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=True)
    early = peer.frame(TEXT, b"early ") + peer.frame(BINARY, b"bird")
    async with accept_websocket(near, "id", OPENING, rest=early[:-3]) as connection:
        await far.send_all(early[-3:])
        assert await receive_all(connection, 10) == b"early bird"
        await peer.send_close()


async def test_a_connection_has_its_id_and_its_request(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    request = attrs.evolve(OPENING, path="/chat")
    async with accept_websocket(near, "public", request, rest=b"") as connection:
        assert connection.id == "public"
        assert connection.request is request
        await Peer(far, client=True).send_close()


# ---- a client's opening

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_client_asks_with_a_key_of_its_own() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key)) for key in keys} == {16}
    assert request_headers(KEY) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }


GOOD = {"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Accept": ACCEPT}


@pytest.mark.parametrize(
    ("headers", "opened"),
    [
        (GOOD, True),
        ({}, False),
        ({**GOOD, "Upgrade": "h2c"}, False),
        ({**GOOD, "Connection": "upgrades"}, False),
        ({**GOOD, "Sec-WebSocket-Accept": ACCEPT.swapcase()}, False),
        ({**GOOD, "Sec-WebSocket-Accept": "\xe4"}, False),
        ({**GOOD, "Sec-WebSocket-Protocol": "chat"}, False),
        ({**GOOD, "Sec-WebSocket-Extensions": "deflate"}, False),
    ],
)
def test_what_opens_a_websocket(headers: dict[str, str], opened: bool) -> None:
    assert opens(CaseInsensitive(headers.items()), KEY) is opened
