"""One slow client never delays another: whoever stops reading costs bounded memory, and nobody else notices."""

import gc
import tracemalloc
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import RawClient, members_of, open_client
from tests.messages import call, result
from tests.server.app_peer import PAIRS, ServedApp, open_app, visit
from trio_hubs import Conflate, Disconnect, DropOldest, Hub, HubApp, HubOptions
from trio_hubs.server.slow_clients import SlowClientPolicy

OTHERS = 200
MESSAGES = 150
KILOBYTE = "x" * 1000
LIMIT = 100_000
"""Bytes that may wait for one client."""

POLICIES: dict[str, SlowClientPolicy] = {
    "disconnect": Disconnect(),
    "drop the oldest": DropOldest(),
    "conflate": Conflate(),
}
every_policy = pytest.mark.parametrize("policy", POLICIES)


class Radio(Hub):
    """Broadcasts."""

    def __init__(self, ends: list[str]) -> None:
        self.ends = ends

    async def tell(self, text: str) -> None:
        await self.clients.all.send("Told", text)

    def same(self, value: int) -> int:
        return value

    async def on_disconnected(self, error: Exception | None) -> None:
        self.ends.append(type(error).__name__)


def radio_app(ends: list[str], policy: str) -> HubApp:
    app = HubApp()
    options = HubOptions(
        slow_clients=POLICIES[policy], broadcast_buffer_limit=LIMIT, transport_buffer_size=LIMIT // 2
    )
    app.add_hub("/hub", Radio, factory=lambda: Radio(ends), options=options)
    return app


async def others(stack: AsyncExitStack, served: ServedApp, count: int = OTHERS) -> list[RawClient]:
    """Clients that read."""
    behind = served.app.site.hubs[0][1]
    return [
        await stack.enter_async_context(open_client(behind, ("json", "messagepack")[n % 2], id=f"other {n}"))
        for n in range(count)
    ]


async def take_nothing(served: ServedApp, transport: str, protocol: str) -> None:
    """A client that comes, and then takes nothing of what is sent to it."""
    await visit(served, "/hub", transport, protocol)
    await wait_all_tasks_blocked()
    for narrow in served.narrows:
        narrow.room = 0


@pytest.mark.parametrize(
    ("transport", "protocol", "policy"),
    [*((*pair, "disconnect") for pair in PAIRS), *((*PAIRS[0], policy) for policy in list(POLICIES)[1:])],
)
async def test_all_others_get_everything_and_at_once(
    autojump_clock: MockClock, transport: str, protocol: str, policy: str
) -> None:
    ends: list[str] = []
    async with open_app(radio_app(ends, policy)) as served, AsyncExitStack() as stack:
        friends = await others(stack, served)
        await take_nothing(served, transport, protocol)
        there = members_of(served.app.site.hubs[0][1]).by_id
        (slow,) = (member.session for id, member in there.items() if not id.startswith("other"))
        began = trio.current_time()
        for number in range(MESSAGES):
            await served.app.hub(Radio).clients.all.send("Told", number, KILOBYTE)
            if number % 10 == 9 or policy == "conflate":  # which else keeps the last of each pass only
                await wait_all_tasks_blocked()
            assert slow.outbox.size <= LIMIT + 2000
            assert len(slow.outbox._pieces) < 1000
        await wait_all_tasks_blocked()
        assert trio.current_time() == began  # nobody has waited for anything
        for friend in friends:
            got = await friend.take(MESSAGES)
            assert [message["arguments"][0] for message in got] == list(range(MESSAGES))
        assert trio.current_time() == began
        await friends[0].send(call("Same", 1, id="1"))
        assert await friends[0].receive() == result("1", 1)
        await trio.sleep(40)
        assert "TimeoutError" in ends or (transport == "LongPolling" and len(ends) == 1)
        assert len(there) == OTHERS
        assert served.app.statistics().connections == 0


@every_policy
async def test_memory_stays_flat(autojump_clock: MockClock, policy: str) -> None:
    """Ten clients that take nothing, and forty megabytes that are sent to them."""
    ends: list[str] = []
    async with open_app(radio_app(ends, policy)) as served, AsyncExitStack() as stack:
        (member,) = await others(stack, served, 1)
        for pair in (*PAIRS, *PAIRS):
            await visit(served, "/hub", *pair)
        await wait_all_tasks_blocked()
        for narrow in served.narrows:
            narrow.room = 0
        clients = served.app.hub(Radio).clients
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(4000):
                await clients.all.send("Told", number, KILOBYTE)
                if number % 20 == 19 or policy == "conflate":
                    await wait_all_tasks_blocked()
                    await member.take(1 if policy == "conflate" else 20)
                    member.pieces.clear()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # For each client what may wait, what is being sent, and that encoded; not what was sent in all.
        assert peak < 10 * 6 * LIMIT
        assert trio.current_time() < 1


async def test_a_slow_caller_of_a_broadcast_delays_nobody(autojump_clock: MockClock) -> None:
    """It takes neither the broadcasts nor the answers that it causes."""
    ends: list[str] = []
    async with open_app(radio_app(ends, "disconnect")) as served, AsyncExitStack() as stack:
        friends = await others(stack, served, 20)
        slow = await visit(served, "/hub")
        await wait_all_tasks_blocked()
        served.narrows[-1].room = 0
        for start in range(0, 500, 10):
            await slow.send(*(call("Tell", KILOBYTE, id=f"{n}") for n in range(start, start + 10)))
            await wait_all_tasks_blocked()
        counts = {len(await member.arrived()) for member in friends}
        assert len(counts) == 1
        assert counts.pop() > 50
        await trio.sleep(20)
        assert ends == ["TimeoutError"]
        assert served.app.statistics().slow_clients == 1


async def test_who_reads_again_in_time_has_lost_nothing(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    async with open_app(radio_app(ends, "disconnect")) as served:
        behind: Any = served.app.site.hubs[0][1]
        async with open_client(behind, id="pausing", capacity=0) as pausing:
            for number in range(80):
                await served.app.hub(Radio).clients.all.send("Told", number, KILOBYTE)
            await trio.sleep(9)
            got = await pausing.take(80)
            assert [message["arguments"][0] for message in got] == list(range(80))
            await trio.sleep(3)
            assert ends == []


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
async def test_a_shutdown_does_not_wait_for_long(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    ends: list[str] = []
    async with open_app(radio_app(ends, "drop the oldest")) as served:
        await take_nothing(served, transport, protocol)
        for number in range(500):
            await served.app.hub(Radio).clients.all.send("Told", number, KILOBYTE)
        began = trio.current_time()
        served.serving.cancel()
        await served.over.wait()
        assert trio.current_time() - began < 20
    assert len(ends) == 1
