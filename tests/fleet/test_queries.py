"""What servers tell each other of their clients, beyond what every roster does: silence and hostile bytes."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_client
from tests.server.roster_contract import Member
from trio_hubs import BackplaneError, HubOptions, User
from trio_hubs.fleet.queries import ANSWER_TIMEOUT
from trio_hubs.server.address import Address
from trio_hubs.server.served_hub import ServedHub

from .memory_bus import MemoryBroker
from .test_roster import open_roster


async def test_a_server_that_does_not_answer(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        roster = await open_roster(stack, broker.open())
        broker.open().subscribe("Hub:internal:queries", lambda _: None)
        start = trio.current_time()
        with pytest.raises(BackplaneError, match=r"^1 servers did not say who is there\.$"):
            await roster.users()
        assert trio.current_time() - start == ANSWER_TIMEOUT
        assert not roster._queries._asked


async def test_what_is_known_of_a_user_comes_along(autojump_clock: MockClock) -> None:
    class Secret:
        def __str__(self) -> str:
            return "as text"

    user = User("ann", claims={"role": ["admin"], "odd": Secret()}, expires_at=4e9)
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here, there = [await open_roster(stack, broker.open()) for _ in range(2)]
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        client = await stack.enter_async_context(open_client(hub, "json", id="a", user=user))
        await client.take(1)
        await there.join("a", "room")
        (found,) = await there.find(Address.groups("room"))
        assert found.user == User("ann", claims={"role": ["admin"], "odd": "as text"}, expires_at=4e9)
        assert (found.id, found.groups) == ("a", frozenset({"room"}))
        assert await there.groups() == {"room"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91\x01",
        b"\x95\x01\xa1s\xa1?\x90\xc0",
        b"\x95\x01\xa1\xff\x01\x90\x90",
        b"\x93\x00\x90\x00",
        b"\x91" * 5000,
    ],
)
async def test_hostile_bytes(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, data: Any) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        bus = broker.open()
        roster = await open_roster(stack, bus)
        broker.put("Hub:internal:queries", data)
        broker.put(f"Hub:internal:answers:{bus.server}", data)
        assert await roster.users() == set()
        assert caplog.text.count("cannot be read") == 2


@pytest.mark.parametrize("claim", ["\ud800", 2**64], ids=["no text", "too large"])
async def test_a_claim_that_cannot_be_said_ends_no_server(
    claim: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here, there = [await open_roster(stack, broker.open()) for _ in range(2)]
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        user = User("ann", claims={"odd": claim})
        await stack.enter_async_context(open_client(hub, "json", id="a", user=user))
        with pytest.raises(BackplaneError):
            await there.users()
        assert "another server is not told who is here" in caplog.text
