"""A hub at a path: it knows the sessions that came by this path while they are open."""

from trio.testing import MockClock

from tests.hub_peer import open_client, served_hub
from trio_hubs import Hub
from trio_hubs.server.options import HubOptions
from trio_hubs.server.served_hub import ServedHub


class Plain(Hub):
    """Does nothing."""


async def test_each_path_knows_its_own_sessions(autojump_clock: MockClock) -> None:
    first = served_hub(Plain)
    second = ServedHub(Plain, Plain, HubOptions(), roster=first.roster)
    async with open_client(first, id="a"), open_client(second, id="b") as client:
        assert [session.connection.id for session in first.sessions] == ["a"]
        assert [session.connection.id for session in second.sessions] == ["b"]
        client.leave()
        await client.served()
        assert not second.sessions
    assert not first.sessions


async def test_a_handshake_that_fails_makes_no_session(autojump_clock: MockClock) -> None:
    served = served_hub(Plain)
    async with open_client(served, handshake=False) as client:
        await client.send_bytes(b"{}\x1e")
        await client.served()
        assert not served.sessions
