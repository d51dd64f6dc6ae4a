"""A hub over two servers that a real Redis joins: what every roster does, and what happens when Redis goes away."""

from __future__ import annotations

import gc
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.fleet.bus_contract import BusContract, Heard
from tests.fleet.test_roster import open_roster
from tests.fuzz.test_fleet import CHANNELS
from tests.hub_peer import open_client
from tests.server.roster_contract import Member, RosterContract
from trio_hubs import Disconnect, HubOptions, User
from trio_hubs.errors import BackplaneError, ConnectionClosed
from trio_hubs.fleet.bus import Bus, Gap
from trio_hubs.fleet.messages import FleetInvocation, decode
from trio_hubs.redis import RedisBackplane, links, open_hub_publisher
from trio_hubs.redis.bus import RedisBus
from trio_hubs.server.address import Address
from trio_hubs.server.roster import ClientCall, Roster
from trio_hubs.server.served_hub import ServedHub

from .redis_process import RedisProcess

# A connection of coredis that could not be opened leaves streams behind which complain when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore:.*MemoryObject.*:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process.url
    process.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """One that a test may kill."""
    process = RedisProcess(tmp_path)
    yield process
    process.kill()
    gc.collect()


@pytest.fixture
def autojump_clock() -> None:
    """Time is real here."""


@asynccontextmanager
async def open_bus(
    url: str, *, gaps: Heard[Gap] | None = None, prefix: str = "", publish_timeout: float = 5
) -> AsyncGenerator[RedisBus]:
    backplane = RedisBackplane(url, channel_prefix=prefix, on_gap=gaps, publish_timeout=publish_timeout)
    async with backplane.open_bus():
        assert isinstance(backplane.bus, RedisBus)
        yield backplane.bus


class TestRedisRoster(RosterContract):
    """Two servers do together what one does."""

    @pytest.fixture(autouse=True)
    def _redis(self, redis: str) -> None:
        self.url = redis

    async def open_rosters(self, stack: AsyncExitStack) -> tuple[Roster, Roster]:
        self.buses = [await stack.enter_async_context(open_bus(self.url)) for _ in range(2)]
        first, second = [await open_roster(stack, bus) for bus in self.buses]
        return first, second

    async def settle(self) -> float:
        for bus in self.buses:
            for other in self.buses:
                arrived = trio.Event()
                other.subscribe("settled", partial(_set, arrived))
                await other.wait_subscribed("settled")
                await bus.publish_counted("settled", b"")
                await arrived.wait()
                other.unsubscribe("settled")
        return 0.05


def _set(event: trio.Event, _: bytes) -> None:
    event.set()


# ---- the bus alone


class TestRedisBus(BusContract):
    """It does what every bus does."""

    @pytest.fixture(autouse=True)
    def _redis(self, redis: str) -> None:
        self.url = redis

    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        return [await stack.enter_async_context(open_bus(self.url)) for _ in range(3)]


async def test_a_prefix_stands_before_every_name(redis: str) -> None:
    async with open_bus(redis, prefix="app") as ours, open_bus(redis) as bare:
        heard = Heard[bytes]()
        ours.subscribe("a", heard)
        await ours.wait_subscribed("a")
        assert await bare.publish_counted("a", b"1") == 0
        assert await bare.publish_counted("appa", b"2") == 1
        assert await ours.publish_counted("a", b"3") == 1
        assert [await heard.next(), await heard.next()] == [b"2", b"3"]


async def test_redis_comes_back(own_redis: RedisProcess) -> None:
    gaps = [Heard[Gap](), Heard[Gap]()]
    async with (
        open_bus(own_redis.url, gaps=gaps[0]) as first,
        open_bus(own_redis.url, gaps=gaps[1]) as second,
    ):
        heard = Heard[bytes]()
        second.subscribe("kept", heard)
        await second.wait_subscribed("kept")
        own_redis.kill()
        second.subscribe("new", heard)
        own_redis.start()
        for each in gaps:
            assert (await each.next()).seconds > 0
        for channel in ("kept", "new"):
            await second.wait_subscribed(channel)
            await first.wait_room(channel)
            first.publish(channel, channel.encode())
        assert [await heard.next() for _ in range(2)] == [b"kept", b"new"]


async def test_any_number_of_connections_may_be_lost(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_delays", partial(itertools.repeat, 0.001))
    gaps, heard = Heard[Gap](), Heard[bytes]()
    async with open_bus(own_redis.url, gaps=gaps) as bus:
        bus.subscribe("a", heard)
        for _ in range(100):
            await bus.wait_subscribed("a")
            own_redis.ask("client", "kill", "type", "pubsub")
            await gaps.next()
        await bus.wait_subscribed("a")
        assert await bus.publish_counted("a", b"x") == 1
        assert await heard.next() == b"x"
        assert len(own_redis.ask("client", "list").splitlines()) == 2  # the bus, and whoever asks


async def test_a_gap_is_told_and_counted_and_logged(
    own_redis: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    gaps = Heard[Gap]()
    backplane = RedisBackplane(own_redis.url, on_gap=gaps)
    async with backplane.open_bus():
        await backplane.bus.wait_room("a")
        assert backplane.gaps == 0  # there was none before
        for count in (1, 2):
            own_redis.kill()
            own_redis.start()
            assert (await gaps.next()).unsent == 0
            assert backplane.gaps == count
        assert caplog.text.count("0 messages may be lost, and others'") == 2


async def test_redis_comes_late(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    own_redis.kill()
    gaps, heard, delays = Heard[Gap](), Heard[bytes](), list[float]()

    def note(least: float, most: float) -> float:
        delays.append(most)
        assert least == most / 2
        return 0.01

    monkeypatch.setattr(links, "uniform", note)
    async with open_bus(own_redis.url, gaps=gaps) as bus:
        bus.subscribe("a", heard)
        with trio.fail_after(20):
            while len(delays) < 10:  # noqa: ASYNC110 - of attempts
                await trio.sleep(0.01)
        own_redis.start()
        await bus.wait_subscribed("a")
        assert await bus.publish_counted("a", b"x") == 1
        assert delays[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10]
        delays.clear()
        own_redis.kill()
        own_redis.start()
        await gaps.next()
        assert delays[0] == 0.1  # the time before is forgotten


async def test_a_silent_connection_is_found_out(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "PING_INTERVAL", 0.05)
    monkeypatch.setattr(links, "REPLY_TIMEOUT", 0.5)
    gaps = Heard[Gap]()
    async with open_bus(own_redis.url, gaps=gaps) as bus:
        await bus.wait_room("a")
        await trio.sleep(1)  # in which nothing but pings is sent
        assert caplog.text == ""
        own_redis.pause()
        with trio.fail_after(20):
            while "PING timed out" not in caplog.text:  # noqa: ASYNC110 - of a line
                await trio.sleep(0.01)
        own_redis.resume()
        await gaps.next()


async def test_a_subscriber_that_redis_throws_out(own_redis: RedisProcess) -> None:
    """For what it has not taken; all that are behind a large message are thrown out together."""
    own_redis.ask("config", "set", "client-output-buffer-limit", "pubsub 256kb 64kb 1")
    gaps = [Heard[Gap](), Heard[Gap]()]
    async with (
        open_bus(own_redis.url, gaps=gaps[0]) as first,
        open_bus(own_redis.url, gaps=gaps[1]) as second,
    ):
        heard = Heard[bytes]()
        for bus in (first, second):
            bus.subscribe("a", heard)
            await bus.wait_subscribed("a")
        with suppress(BackplaneError):
            await first.publish_counted("a", bytes(1024 * 1024))
        for each in gaps:
            await each.next()
        for bus in (first, second):
            await bus.wait_subscribed("a")
        assert await first.publish_counted("a", b"small") == 2
        for _ in range(2):
            assert await heard.next() == b"small"


async def test_nothing_waits_longer_than_it_may(own_redis: RedisProcess) -> None:
    async with open_bus(own_redis.url, publish_timeout=0.2) as bus:
        await bus.wait_room("a")
        own_redis.kill()
        with trio.fail_after(20):
            for ask in (
                partial(bus.wait_room, "a"),
                partial(bus.publish_counted, "a", b""),
                partial(bus.subscribers, "a"),
                partial(bus.wait_subscribed, "a"),
            ):
                with pytest.raises(BackplaneError, match=r"0\.2 s"):
                    while True:
                        await ask()
                        await trio.sleep(0.01)
        own_redis.start()


async def test_what_was_accepted_and_did_not_leave_is_counted(own_redis: RedisProcess) -> None:
    gaps = Heard[Gap]()
    async with open_bus(own_redis.url, gaps=gaps) as bus, trio.open_nursery() as nursery:
        await bus.wait_room("a")
        own_redis.pause()
        for number in range(20):
            await bus.wait_room("a")
            bus.publish("a", b"%d" % number)
        failed = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(BackplaneError, match="may be lost"):
                await bus.publish_counted("a", b"counted")
            failed.set()

        await trio.testing.wait_all_tasks_blocked()
        own_redis.kill()
        await failed.wait()
        own_redis.start()
        assert (await gaps.next()).unsent == 21


async def test_senders_wait_for_a_redis_that_is_slow(own_redis: RedisProcess) -> None:
    async with open_bus(own_redis.url) as bus:
        await bus.wait_room("a")
        own_redis.pause()
        sent = 0
        with trio.move_on_after(1):
            while True:
                await bus.wait_room("a")
                bus.publish("a", bytes(100_000))
                sent += 1
        assert 10 <= sent <= 12  # 1 MiB
        own_redis.resume()
        with trio.fail_after(20):
            await bus.publish_counted("a", b"")


async def test_nothing_lies_in_the_librarys_queue(redis: str) -> None:
    async with open_bus(redis) as sender, open_bus(redis) as bus:
        heard = Heard[bytes]()
        most = 0

        def hear(data: bytes) -> None:
            nonlocal most
            (link,) = bus._links
            assert link.connection is not None
            most = max(most, link.connection._push_message_buffer_out.statistics().current_buffer_used)
            heard(data)

        bus.subscribe("flood", hear)
        await bus.wait_subscribed("flood")
        for number in range(5000):
            await sender.wait_room("flood")
            sender.publish("flood", b"%05d" % number + bytes(100))
        for _ in range(5000):
            await heard.next()
        assert most < 2 * 64 * 1024 / 100  # what two reads bring


async def test_messages_that_are_too_large(redis: str, caplog: pytest.LogCaptureFixture) -> None:
    backplane = RedisBackplane(redis, maximum_message_size=1000)
    async with backplane.open_bus(), open_bus(redis) as other:
        heard = Heard[bytes]()
        backplane.bus.subscribe("large", heard)
        await backplane.bus.wait_subscribed("large")
        for size in (1001, 1000):
            assert await other.publish_counted("large", bytes(size)) == 1
        assert await heard.next() == bytes(1000)
        assert "a message of 1001 bytes is more than another server may send" in caplog.text
        with pytest.raises(BackplaneError, match="1001 bytes are more than"):
            await backplane.bus.publish_counted("large", bytes(1001))
        with pytest.raises(BackplaneError, match="1001 bytes are more than"):
            backplane.bus.publish("large", bytes(1001))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x90\x81\xa4json\xc4\x01?"[:-2],
        b"\x96\x90\x81\xa4json\xc4\x01?\xa0\xa0\xa0\x93\xa8conflate\xc0\xc0",
        bytes(100_000),
    ],
)
async def test_hostile_bytes_on_every_channel(redis: str, data: bytes) -> None:
    async with AsyncExitStack() as stack:
        bus, other = [await stack.enter_async_context(open_bus(redis)) for _ in range(2)]
        roster = await open_roster(stack, bus, "Hostile")
        hub = ServedHub(Member, Member, HubOptions(), roster=roster)
        client = await stack.enter_async_context(open_client(hub, "json", id="json", user=User("ann")))
        await client.take(1)
        await roster.join("json", "room")
        for channel in CHANNELS.values():
            name = channel.format(server=bus.server).replace("Hub", "Hostile", 1)
            assert await other.publish_counted(name, data) == 1
        there = await open_roster(stack, other, "Hostile")
        await there.send(Address.groups("room"), ClientCall("Hear", (1,)), Disconnect())
        assert (await client.receive())["arguments"] == [1]


async def test_a_process_that_is_no_server_sends(redis: str) -> None:
    async with open_bus(redis) as bus:
        heard = Heard[bytes]()
        bus.subscribe("Shop.Chat:group:room", heard)
        await bus.wait_subscribed("Shop.Chat:group:room")
        async with open_hub_publisher(redis, Member, hub_name="Shop.Chat") as clients:
            await clients.group("room").send("Hear", 1)
        message = decode(FleetInvocation, await heard.next())
        assert message.blobs["json"] == b'{"type":1,"target":"Hear","arguments":[1]}\x1e'
        with pytest.raises(ConnectionClosed, match="does not exist"):
            async with open_hub_publisher(redis, Member) as clients:
                await clients.client("nobody").invoke("Ask")
