"""A hub over several workers: what every roster does; and workers that hang, lie or lose their supervisor."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fleet.bus_contract import BusContract, Heard
from tests.fleet.memory_bus import MemoryBroker, MemoryBus
from tests.fleet.test_roster import open_roster
from tests.hub_peer import no_task_left, open_client
from tests.server.roster_contract import Member, RosterContract
from trio_hubs import HubOptions
from trio_hubs.errors import BackplaneError, ProtocolError
from trio_hubs.fleet.bus import Bus, Gap
from trio_hubs.server.address import Address
from trio_hubs.server.roster import Roster
from trio_hubs.server.served_hub import ServedHub
from trio_hubs.tasks import open_background
from trio_hubs.workers import broker as broker_module
from trio_hubs.workers import bus as bus_module
from trio_hubs.workers.broker import Broker
from trio_hubs.workers.bus import WorkerBus
from trio_hubs.workers.frames import ALIVE_PERIOD, Alive, Closing, Counted, Publish, Subscribe, encode
from trio_hubs.workers.supervisor import SILENCE_TIMEOUT, Supervisor
from trio_hubs.workers.worker import Orders, WorkersBackplane


@asynccontextmanager
async def open_buses(count: int, fleet: Bus | None = None) -> AsyncGenerator[list[WorkerBus]]:
    broker = Broker(fleet)
    async with open_background() as nursery:
        buses = []
        for _ in range(count):
            ours, theirs = trio.testing.memory_stream_pair()
            bus = WorkerBus(ours)
            nursery.start_soon(bus.run)
            nursery.start_soon(broker.serve, theirs, print)
            buses.append(bus)
        yield buses


class TestWorkersRoster(RosterContract):
    """Two workers do together what one process does."""

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        first, second = [
            await open_roster(stack, bus) for bus in await stack.enter_async_context(open_buses(2))
        ]
        return first, second


class TestWorkerBus(BusContract):
    """It does what every bus does."""

    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        return await stack.enter_async_context(open_buses(3))


class TestWorkersOfAFleet(RosterContract):
    """Two workers of two machines, which another bus joins, do together what one process does."""

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        fleet = MemoryBroker()
        rosters = []
        for _ in range(2):
            (bus,) = await stack.enter_async_context(open_buses(1, fleet.open()))
            rosters.append(await open_roster(stack, bus))
        return rosters[0], rosters[1]


class TestWorkerBusOfAFleet(BusContract):
    """Workers of two machines."""

    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        fleet = MemoryBroker()
        (first,) = await stack.enter_async_context(open_buses(1, fleet.open()))
        second, third = await stack.enter_async_context(open_buses(2, fleet.open()))
        return first, second, third


async def test_all_say_who_is_there_that_a_fleet_counts_as_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = MemoryBroker()
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(open_background())
        buses = [
            bus
            for workers in (3, 1)
            for bus in await stack.enter_async_context(open_buses(workers, fleet.open()))
        ]
        rosters = [await open_roster(stack, bus) for bus in [*buses, fleet.open()]]
        for number, roster in enumerate(rosters):
            hub = ServedHub(Member, Member, HubOptions(), roster=roster)
            client = await stack.enter_async_context(open_client(hub, "json", id=f"{number}"))
            await client.take(1)
        publish = buses[2].publish

        async def publish_later(channel: str, data: bytes) -> None:
            await trio.sleep(1)
            publish(channel, data)

        def publish_soon(channel: str, data: bytes) -> None:
            nursery.start_soon(publish_later, channel, data)

        monkeypatch.setattr(buses[2], "publish", publish_soon)
        for roster in rosters:
            assert {each.id for each in await roster.find(Address.all())} == set("01234")


async def test_a_fleet_that_is_away(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    fleet = MemoryBroker().open()
    async with open_buses(1, fleet) as (bus,):
        heard = Heard[bytes]()
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        fleet.away = True
        for ask in (partial(bus.publish_counted, "a", b""), partial(bus.subscribers, "a")):
            with pytest.raises(BackplaneError, match="other servers"):
                await ask()
        bus.publish("a", b"lost")
        bus.subscribe("b", heard)
        with pytest.raises(BackplaneError):
            await bus.wait_subscribed("b")
        assert "is lost" in caplog.text
        fleet.away = False
        await bus.wait_subscribed("b")
        assert await bus.publish_counted("b", b"x") == 1
        assert await heard.next() == b"x"


async def test_what_the_fleet_does_not_take_is_lost_and_nothing_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = MemoryBroker().open()
    publish = fleet.publish

    def refuse(channel: str, data: bytes) -> None:
        if data == b"large":
            raise BackplaneError("That is too large.")
        publish(channel, data)

    monkeypatch.setattr(fleet, "publish", refuse)
    async with open_buses(1, fleet) as (bus,):
        heard = Heard[bytes]()
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        bus.publish("a", b"large")
        bus.publish("a", b"small")
        assert await heard.next() == b"small"
    assert "what a worker publishes is lost: That is too large." in caplog.text


async def test_without_its_supervisor_a_worker_waits_for_nothing(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    bus = WorkerBus(ours)
    async with open_background() as nursery:
        nursery.start_soon(bus.run)
        bus.subscribe("a", lambda _: None)
        await wait_all_tasks_blocked()
        await theirs.aclose()
        for ask in (partial(bus.publish_counted, "a", b""), partial(bus.subscribers, "a")):
            with pytest.raises(BackplaneError):
                await ask()
        with pytest.raises(BackplaneError):
            await bus.wait_subscribed("a")
        assert trio.current_time() == 0
        while True:
            bus.publish("a", bytes(100_000))
            try:
                await bus.wait_room("a")
            except BackplaneError:
                break


async def test_whoever_asks_and_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_buses(1) as (bus,):
        with trio.move_on_after(0):
            await bus.subscribers("a")
        assert not bus._counts


async def test_a_machine_that_was_cut_off(autojump_clock: MockClock) -> None:
    supervisor = Supervisor(Orders(app="", drain=0), 0, (), None)
    supervisor._broker.lost = 3
    ours, theirs = trio.testing.memory_stream_pair()
    bus = WorkerBus(ours)
    heard = Heard[Gap]()
    bus.backplanes.append(WorkersBackplane(MemoryBroker().open(), {}, heard))
    async with open_background() as nursery:
        nursery.start_soon(bus.run)
        nursery.start_soon(supervisor._broker.serve, theirs, print)
        await wait_all_tasks_blocked()
        for lost in (3, 0):
            supervisor.tell_gap(Gap(1.0, 2))
            assert await heard.next() == Gap(1.0, 2 + lost)
    assert bus.gaps == 2


async def test_a_worker_that_hangs_delays_nobody_and_is_given_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker_module, "MOST_QUEUED", 1_000_000)
    broker = Broker()
    async with open_background() as nursery:
        hanging, its_end = trio.testing.lockstep_stream_pair()
        given_up = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            await broker.serve(its_end, print)
            given_up.set()

        await hanging.send_all(encode(Subscribe("a")))
        ours, theirs = trio.testing.memory_stream_pair()
        bus = WorkerBus(ours)
        nursery.start_soon(bus.run)
        nursery.start_soon(broker.serve, theirs, print)
        heard = Heard[bytes]()
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        for number in range(12):
            assert await bus.publish_counted("a", bytes(100_000 + number)) in (1, 2)
            await heard.next()
        await given_up.wait()
        assert "is given up" in caplog.text
        assert await bus.subscribers("a") == 1


LIES = {
    "no MessagePack": b"\x01\xff",
    "no length": b"\xff" * 10,
    "a frame of no kind": b"\x02\x91\x09",
    "a channel that is no text": b"\x05\x92\x01\xa2\xff\xfe",
    "too many levels": b"\xd0\x0f" + b"\x91" * 2000,
    "a gigabyte": b"\x80\x80\x80\x80\x04" + b"\x93\x03",
    "what supervisors say": encode(Counted(1, 2)),
    "what supervisors say of all": encode(Closing()),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
async def test_a_worker_that_lies(autojump_clock: MockClock, data: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(encode(Subscribe("a")) + data)
    broker = Broker()
    with pytest.raises(ProtocolError):
        await broker.serve(theirs, print)
    assert not broker._subscribers


async def test_what_is_too_large_for_the_others_fails_where_it_is_sent(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "LARGEST_FRAME", 1000)
    async with open_buses(1) as (bus,):
        heard = Heard[bytes]()
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        with pytest.raises(BackplaneError, match="more than other workers can be sent"):
            bus.publish("a", bytes(1000))
        with pytest.raises(BackplaneError):
            await bus.publish_counted("a", bytes(1000))
        bus.publish("a", b"x")
        assert await heard.next() == b"x"


async def test_a_fleet_that_is_away_makes_no_worker_seem_silent(autojump_clock: MockClock) -> None:
    fleet = SlowlyFailing(MemoryBroker())
    signs: list[float] = []
    async with open_background() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        bus = WorkerBus(ours)
        nursery.start_soon(bus.run)
        broker = Broker(fleet)
        nursery.start_soon(broker.serve, theirs, lambda _: signs.append(trio.current_time()))
        for _ in range(20):
            bus.publish("a", b"lost")
        for _ in range(25):
            bus.tell(Alive())
            await trio.sleep(5)
    assert max(later - sooner for sooner, later in pairwise(signs)) < SILENCE_TIMEOUT / 3
    assert broker.lost == 20


async def test_a_fleet_that_takes_its_time_makes_no_worker_seem_silent(autojump_clock: MockClock) -> None:
    fleet = SlowlyFailing(MemoryBroker(), after=2 * SILENCE_TIMEOUT)
    signs = [0.0]
    async with open_background() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(Broker(fleet).serve, theirs, lambda _: signs.append(trio.current_time()))
        await ours.send_all(encode(Publish("a", b"lost")))
        await trio.sleep(2 * SILENCE_TIMEOUT + 1)
        assert max(later - sooner for sooner, later in pairwise(signs)) <= ALIVE_PERIOD
        last = len(signs)
        await trio.sleep(SILENCE_TIMEOUT)  # from now on it is the worker that is silent
        assert len(signs) == last


async def test_a_channel_that_the_fleet_refuses_is_asked_for_ever_less_often(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Refusing(MemoryBroker())
    async with open_buses(1, fleet) as (bus,):
        bus.subscribe("a", lambda _: None)
        await trio.sleep(600)
        assert fleet.asked < 600 / 4
        assert caplog.text.count("for a reason") == 1
        fleet.refuses = False
        await bus.wait_subscribed("a")
        with no_task_left():
            bus.unsubscribe("a")


async def test_who_comes_and_goes_while_the_fleet_is_away_leaves_nothing(autojump_clock: MockClock) -> None:
    fleet = MemoryBroker().open()
    async with open_buses(1, fleet) as (bus,):
        await wait_all_tasks_blocked()
        fleet.away = True
        with no_task_left():
            for number in range(100):
                bus.subscribe(f"{number}", lambda _: None)
                bus.unsubscribe(f"{number}")
            await trio.sleep(1)
        assert not bus._unconfirmed


class SlowlyFailing(MemoryBus):
    """Is away, and takes its time to say so."""

    def __init__(self, broker: MemoryBroker, after: float = 5) -> None:
        super().__init__(broker)
        self._after = after

    async def wait_room(self, *channels: str) -> None:
        await trio.sleep(self._after)
        raise BackplaneError("away")


class Refusing(MemoryBus):
    """Lets nobody hear anything, and says so at once."""

    asked = 0
    refuses = True

    async def wait_subscribed(self, channel: str) -> None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise BackplaneError("refused for a reason")
