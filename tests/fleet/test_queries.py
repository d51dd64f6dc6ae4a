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


class Unsayable:
    """It has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


UNSAYABLE = {"no text": "\ud800", "too large": 2**64, "too deep": nested(50_000), "broken": Unsayable()}


@pytest.mark.parametrize("claim", UNSAYABLE.values(), ids=UNSAYABLE)
async def test_a_user_whose_claims_cannot_be_said_is_told_of_without_them(
    claim: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here, there = [await open_roster(stack, broker.open()) for _ in range(2)]
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        for id, claims in ("ann", {"odd": claim}), ("bob", {"role": "admin"}):
            user = User(id, claims=claims)
            client = await stack.enter_async_context(open_client(hub, "json", id=id, user=user))
            await client.take(1)
        assert await there.users() == {"ann", "bob"}
        assert caplog.text.count("claims of 1 users are not told") == 1
        found = {each.id: each.user for each in await there.find(Address.all())}
        assert found == {"ann": User("ann"), "bob": User("bob", claims={"role": "admin"})}


async def test_claims_that_cannot_be_read_are_left_out(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        here, there = [await open_roster(stack, broker.open()) for _ in range(2)]
        hub = ServedHub(Member, Member, HubOptions(), roster=here)
        user = User("ann", claims={1: 2})  # type: ignore[dict-item]
        client = await stack.enter_async_context(open_client(hub, "json", id="a", user=user))
        await client.take(1)
        (found,) = await there.find(Address.all())
        assert found.user == User("ann")
