"""What becomes of messages for a client that does not take them as fast as they come, by each policy."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import (
    PROTOCOLS,
    RawClient,
    local_roster,
    members_of,
    no_task_left,
    open_client,
    served_hub,
    session_of,
)
from tests.messages import call, ended, item, result, stream
from trio_hubs import (
    BindingError,
    ClientProxy,
    Conflate,
    Disconnect,
    DropOldest,
    Hub,
    HubClients,
    Wait,
)
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.server.served_hub import ServedHub
from trio_hubs.server.statistics import LimitCounter

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
KILOBYTE = "x" * 1000


class Quiet(Hub):
    """Notes who has left, and why."""

    def __init__(self, ends: list[str] | None = None) -> None:
        self.ends = [] if ends is None else ends

    async def on_disconnected(self, error: Exception | None) -> None:
        self.ends.append(f"{self.context.connection_id}: {type(error).__name__ if error else None}")

    def same(self, value: str) -> str:
        return value

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


def quiet(ends: list[str] | None = None, **options: Any) -> ServedHub:
    return served_hub(Quiet, lambda: Quiet(ends), **options)


def waiting_for(served: ServedHub, id: str) -> int:
    """Bytes that wait for a client."""
    return session_of(served, id).outbox.size


async def tell(clients: HubClients[ClientProxy], first: int, last: int, name: str = "Word") -> None:
    """Send numbered messages of a kilobyte to all."""
    for number in range(first, last):
        await clients.all.send(name, number, KILOBYTE)


async def numbers(client: RawClient, name: str = "Word") -> list[int]:
    """The numbers of the messages that have come by now."""
    return [m["arguments"][0] for m in await client.arrived() if m.get("target") == name]


# ---- Disconnect: queue, and part with those who let it lie


@both_protocols
async def test_who_lets_a_message_lie_is_disconnected(
    autojump_clock: MockClock, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []
    limits = LimitCounter()
    served = quiet(ends, observers=[limits], send_timeout=20.0)
    async with (
        open_client(served, protocol, id="slow", capacity=0, beating=True) as slow,
        open_client(served, id="fast") as fast,
    ):
        patient = served.clients.when_slow(Disconnect(after=4.0))
        await tell(patient, 0, 1)
        await wait_all_tasks_blocked()  # it is being sent; what comes now lies behind it
        await tell(patient, 1, 3)
        assert await numbers(fast) == [0, 1, 2]
        await slow.over.wait()
        assert 4 <= trio.current_time() <= 5.1
        assert ends == ["slow: TimeoutError"]
        assert (limits.refused_calls, limits.slow_clients, served.roster.dropped) == (0, 1, 0)
    assert "connection slow is too slow for its messages: disconnected" in caplog.text


async def test_it_may_lie_for_the_send_timeout_by_default(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends, send_timeout=7.0)
    async with open_client(served, id="slow", capacity=0, beating=True) as slow:
        await tell(served.clients, 0, 3)
        await slow.over.wait()
        assert 7 <= trio.current_time() <= 8.1
    assert ends == ["slow: TimeoutError"]


async def test_who_takes_its_messages_late_but_in_time_stays(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends, send_timeout=10.0)
    async with open_client(served, id="late", capacity=0, beating=True) as late:
        for start in range(0, 60, 3):
            await tell(served.clients, start, start + 3)
            await trio.sleep(8)
            assert await numbers(late) == [start, start + 1, start + 2]
        assert ends == []


@both_protocols
async def test_who_lets_too_much_lie_is_disconnected_at_once(
    autojump_clock: MockClock, protocol: str
) -> None:
    ends: list[str] = []
    served = quiet(ends, broadcast_buffer_limit=10_000)
    async with (
        open_client(served, id="fast") as fast,
        open_client(served, protocol, id="slow", capacity=0) as slow,
    ):
        for number in range(100):
            await tell(served.clients, number, number + 1)
            assert await numbers(fast) == [number]
        await slow.over.wait()
        assert ends == ["slow: TimeoutError"]
        assert trio.current_time() < 1


async def test_one_message_may_be_as_large_as_it_is(autojump_clock: MockClock) -> None:
    """The limit is for what waits already; so no message is too large for a client that keeps up."""
    served = quiet(broadcast_buffer_limit=10_000)
    async with open_client(served) as client:
        for _ in range(3):
            await served.clients.all.send("Large", "x" * 1_000_000)
            assert (await client.arrived())[0]["arguments"] == ["x" * 1_000_000]


async def test_it_is_not_disconnected_for_what_was_taken_before(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends)
    async with open_client(served, beating=True) as client:
        await tell(served.clients.when_slow(Disconnect(after=1.0)), 0, 10)
        assert await numbers(client) == list(range(10))
        await trio.sleep(60)
        await client.arrived()
        assert ends == []


async def test_what_is_said_of_who_is_gone_stays_counted(autojump_clock: MockClock) -> None:
    limits = LimitCounter()
    served = quiet(observers=[limits], broadcast_buffer_limit=3000)
    for _ in range(3):
        async with open_client(served, capacity=0) as slow:
            await wait_all_tasks_blocked()
            for number in range(10):
                await tell(served.clients, number, number + 1)
                await wait_all_tasks_blocked()
            await slow.over.wait()
    assert (limits.refused_calls, limits.slow_clients, served.roster.dropped) == (0, 3, 0)


@pytest.mark.parametrize("after", [0, -1])
def test_a_message_may_lie_for_some_time_at_least(after: float) -> None:
    with pytest.raises(ValueError, match="'after' must be > 0"):
        Disconnect(after=after)


# ---- Wait


@both_protocols
async def test_whoever_sends_may_wait_for_all_and_nothing_is_lost(
    autojump_clock: MockClock, protocol: str
) -> None:
    served = quiet()
    sent: list[int] = []
    async with (
        open_client(served, protocol, id="slow", capacity=0) as slow,
        open_client(served, id="fast") as fast,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def _() -> None:
            for number in range(1000):
                await tell(served.clients.when_slow(Wait()), number, number + 1)
                sent.append(number)

        await wait_all_tasks_blocked()
        assert 0 < len(sent) < 300
        assert waiting_for(served, "slow") <= TRANSPORT_BUFFER_SIZE + 2000
        assert await numbers(slow) == list(range(1000))
        assert await numbers(fast) == list(range(1000))


@pytest.mark.parametrize("way", ["leaves", "is disconnected"])
async def test_nobody_waits_for_one_that_is_gone(autojump_clock: MockClock, way: str) -> None:
    served = quiet()
    async with (
        open_client(served, id="slow", capacity=0, beating=True) as slow,
        open_client(served, id="fast") as fast,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(tell, served.clients.when_slow(Wait()), 0, 300)
        got = await numbers(fast)
        assert 0 < len(got) < 200
        if way == "leaves":
            slow.leave()
        await slow.over.wait()
        assert trio.current_time() < (1 if way == "leaves" else 12)
        assert got + await numbers(fast) == list(range(300))


async def test_a_cancelled_sender_waits_no_more(autojump_clock: MockClock) -> None:
    served = quiet()
    async with open_client(served, id="slow", capacity=0) as slow:
        with trio.move_on_after(1) as scope:
            await tell(served.clients.when_slow(Wait()), 0, 1000)
        assert scope.cancelled_caught
        got = await numbers(slow)
        assert got == list(range(len(got)))
        assert 0 < len(got) < 300


# ---- DropOldest


@both_protocols
async def test_the_oldest_are_dropped_and_counted(autojump_clock: MockClock, protocol: str) -> None:
    served = quiet()
    async with open_client(served, protocol, id="slow", capacity=0) as slow:
        for number in range(5000):
            await tell(served.clients.when_slow(DropOldest()), number, number + 1)
            assert waiting_for(served, "slow") <= TRANSPORT_BUFFER_SIZE + 2000
        assert len(session_of(served, "slow").outbox._pieces) < 1000
        got = await numbers(slow)
        dropped = served.roster.dropped
        assert dropped + len(got) == 5000
        assert dropped > 4000
        newest = got[-60:]
        assert newest == list(range(4940, 5000))
        assert got == sorted(got)
        # What was on its way when the client stopped, then a gap, then all of the newest.
        assert sum(after - before > 1 for before, after in pairwise(got)) == 1
        await tell(served.clients.when_slow(DropOldest()), 5000, 5010)
        assert await numbers(slow) == list(range(5000, 5010))
    assert served.roster.dropped == dropped


async def test_what_was_not_sent_so_is_never_dropped(autojump_clock: MockClock) -> None:
    served = quiet(transport_buffer_size=10_000)
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        drop = served.clients.when_slow(DropOldest())
        await slow.send(call("Same", "first", id="1"))
        await wait_all_tasks_blocked()
        await tell(served.clients, 0, 5, "Kept")
        for number in range(100):
            await tell(drop, number, number + 1)
        await slow.send(call("Same", "second", id="2"), stream("Count", 3, id="3"))
        for number in range(100, 200):
            await tell(drop, number, number + 1)
        messages = await slow.arrived()
        assert [m["arguments"][0] for m in messages if m.get("target") == "Kept"] == list(range(5))
        assert [m for m in messages if m["type"] in (2, 3)] == [
            result("1", "first"),
            result("2", "second"),
            *(item("3", number) for number in range(3)),
            ended("3"),
        ]
        assert [m["arguments"][0] for m in messages if m.get("target") == "Word"][-1] == 199


async def test_who_lets_what_was_sent_without_waiting_lie_is_disconnected(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends, broadcast_buffer_limit=20_000)
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        session_of(served, "slow").outbox.put(b"x")
        await wait_all_tasks_blocked()
        for _ in range(3):
            await served.clients.all.send("Large", "x" * 20_000)
        await slow.over.wait()
    assert ends == ["slow: TimeoutError"]


async def test_a_clients_own_results_do_not_count(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends, broadcast_buffer_limit=20_000)
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        outbox = session_of(served, "slow").outbox
        outbox.put(b"x")
        await wait_all_tasks_blocked()
        outbox.put(b"x" * 100_000)
        await served.clients.all.send("Small")
        await wait_all_tasks_blocked()
        assert not slow.over.is_set()
    assert ends == ["slow: None"]


# ---- Conflate


@both_protocols
async def test_the_latest_replaces_what_still_waits(autojump_clock: MockClock, protocol: str) -> None:
    served = quiet()
    async with open_client(served, protocol, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        await served.clients.all.send("Before")
        await wait_all_tasks_blocked()
        for price in range(2000):
            await served.clients.when_slow(Conflate("a")).all.send("Price", "a", price)
            await served.clients.when_slow(Conflate("b")).all.send("Price", "b", -price)
            await served.clients.when_slow(Conflate("a")).all.send("Volume", "a", price)
        outbox = session_of(served, "slow").outbox
        assert outbox.size < 1000
        assert len(outbox._pieces) < 1000
        assert await slow.arrived() == [
            call("Before"),
            call("Price", "a", 1999),
            call("Price", "b", -1999),
            call("Volume", "a", 1999),
        ]
        assert served.roster.dropped == 3 * 1999


async def test_the_latest_comes_behind_what_was_sent_before_it(autojump_clock: MockClock) -> None:
    served = quiet()
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        await served.clients.all.send("Before")
        await wait_all_tasks_blocked()
        latest = served.clients.when_slow(Conflate())
        await latest.all.send("Price", 1)
        await served.clients.all.send("Between")
        await latest.all.send("Price", 2)
        await latest.client("slow").send("Price", 3)
        assert await slow.arrived() == [call("Before"), call("Between"), call("Price", 3)]
        await latest.all.send("Price", 4)
        assert await slow.arrived() == [call("Price", 4)]


async def test_one_that_keeps_up_gets_every_one(autojump_clock: MockClock) -> None:
    served = quiet()
    async with open_client(served) as fast:
        for price in range(5):
            await served.clients.when_slow(Conflate()).all.send("Price", price)
            assert await fast.arrived() == [call("Price", price)]
        assert served.roster.dropped == 0


async def test_too_many_keys_are_too_much(autojump_clock: MockClock) -> None:
    ends: list[str] = []
    served = quiet(ends, broadcast_buffer_limit=50_000)
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        await served.clients.all.send("Before")
        await wait_all_tasks_blocked()
        for key in range(100):
            await served.clients.when_slow(Conflate(key)).all.send("Price", KILOBYTE)
        await slow.over.wait()
    assert ends == ["slow: TimeoutError"]


def test_a_key_can_be_looked_up() -> None:
    assert Conflate(("a", 1)) == Conflate(("a", 1))
    assert hash(Conflate("a")) == hash(Conflate("a"))
    assert Conflate("a") != Conflate("b")


# ---- whose policy counts


@pytest.mark.parametrize("policy", [Wait(), DropOldest(), Conflate()])
async def test_a_hub_may_have_any_policy(
    autojump_clock: MockClock, policy: Wait | DropOldest | Conflate
) -> None:
    served = quiet(slow_clients=policy, broadcast_buffer_limit=100_000)
    async with open_client(served, id="slow", capacity=0) as slow:
        with trio.move_on_after(1) as scope:
            for number in range(1000):
                await tell(served.clients, number, number + 1)
        assert scope.cancelled_caught is isinstance(policy, Wait)
        assert waiting_for(served, "slow") <= TRANSPORT_BUFFER_SIZE + 2000
        got = await numbers(slow)
        assert (got[-1] == 999) is not isinstance(policy, Wait)
        assert (len(got) == 2) is isinstance(policy, Conflate)


async def test_a_policy_for_one_send_changes_no_other(autojump_clock: MockClock) -> None:
    served = quiet(slow_clients=Conflate())
    async with open_client(served, id="slow", capacity=0) as slow:
        await wait_all_tasks_blocked()
        await served.clients.all.send("Before")
        await wait_all_tasks_blocked()
        every = served.clients.when_slow(Disconnect())
        for number in range(3):
            await every.all.send("Every", number)
            await served.clients.all.send("Latest", number)
        assert await slow.arrived() == [
            call("Before"),
            *(call("Every", number) for number in range(3)),
            call("Latest", 2),
        ]


async def test_a_hub_method_may_choose_too_and_its_caller_is_always_waited_for(
    autojump_clock: MockClock,
) -> None:
    class Choosing(Hub):
        async def choose(self) -> None:
            for number in range(500):
                await self.clients.when_slow(DropOldest()).all.send("Dropped", number, KILOBYTE)
            for number in range(500):
                await self.clients.caller.send("Kept", number, KILOBYTE)

    served = served_hub(Choosing, slow_clients=DropOldest())
    async with open_client(served, id="slow", capacity=0) as slow:
        await slow.send(call("Choose", id="1"))
        await wait_all_tasks_blocked()
        messages = await slow.arrived()
        kept = [m["arguments"][0] for m in messages if m.get("target") == "Kept"]
        assert kept == list(range(500))
        assert len([m for m in messages if m.get("target") == "Dropped"]) < 200
        assert messages[-1] == result("1", None)


async def test_the_ways_of_addressing_are_the_same_with_a_policy(autojump_clock: MockClock) -> None:
    served = quiet(client_result_timeout=3.0)
    async with open_client(served, id="a") as client:
        await served.groups.add("a", "g")
        clients = served.clients.when_slow(DropOldest())
        for proxy in (
            clients.all,
            clients.all_except("b"),
            clients.client("a"),
            clients.clients("a"),
            clients.group("g"),
            clients.groups("g"),
            clients.group_except("g", "b"),
        ):
            await proxy.send("Hear")
        assert await client.arrived() == [call("Hear")] * 7
        with pytest.raises(trio.TooSlowError):
            await clients.client("a").invoke("Answer")


# ---- what cannot be sent


@pytest.mark.parametrize("policy", [Wait(), Disconnect(), DropOldest(), Conflate()])
async def test_what_cannot_be_written_reaches_nobody(
    autojump_clock: MockClock, policy: Wait | Disconnect | DropOldest | Conflate
) -> None:
    served = quiet(slow_clients=policy)
    async with open_client(served, id="a") as client:
        with pytest.raises(BindingError):
            await served.clients.all.send("Bad", object())
        await served.clients.all.send("Good")
        assert await client.arrived() == [call("Good")]


@pytest.mark.parametrize(
    ("able", "unable", "value"),
    [
        ("messagepack", "json", float("nan")),
        ("messagepack", "json", {None: 1}),
        ("json", "messagepack", 2**70),
    ],
)
async def test_what_one_protocol_cannot_write_reaches_nobody(
    autojump_clock: MockClock, able: str, unable: str, value: object
) -> None:
    served = quiet()
    async with (
        open_client(served, able, id="a") as one,
        open_client(served, unable, id="b") as other,
        open_client(served, able, id="c") as third,
    ):
        with pytest.raises(BindingError):
            await served.clients.all.send("Bad", value)
        await served.clients.all.send("Good")
        for client in (one, other, third):
            assert await client.arrived() == [call("Good")]


async def test_no_task_is_left_by_a_slow_client(autojump_clock: MockClock) -> None:
    served = quiet(broadcast_buffer_limit=3000)
    with no_task_left():
        async with open_client(served, capacity=0) as slow:
            for number in range(10):
                await tell(served.clients, number, number + 1)
                await wait_all_tasks_blocked()
            await slow.over.wait()
    assert not members_of(served).by_id
    assert not local_roster(served)._unflushed
