"""A bus over the nodes of a real Redis Cluster, with plain and sharded pub/sub; nodes that die, change or return."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import coredis
import pytest
import trio

from tests.fleet.bus_contract import BusContract, Heard
from tests.fleet.test_roster import open_roster
from tests.hub_peer import open_client
from tests.server.roster_contract import Member
from trio_hubs import Disconnect, HubOptions
from trio_hubs.errors import BackplaneError, ConnectionClosed
from trio_hubs.fleet.bus import Bus, Gap
from trio_hubs.redis import RedisBackplane
from trio_hubs.redis.bus import RedisBus
from trio_hubs.redis.nodes import slot_of
from trio_hubs.server.address import Address
from trio_hubs.server.roster import ClientCall
from trio_hubs.server.served_hub import ServedHub

from .redis_process import RedisClusterProcesses, RedisProcess

pytestmark = pytest.mark.filterwarnings("ignore:.*MemoryObject.*:pytest.PytestUnraisableExceptionWarning")

NAMES = [f"channel {number}" for number in range(30)]  # of every node some


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisClusterProcesses]:
    processes = RedisClusterProcesses(tmp_path_factory.mktemp("cluster"))
    yield processes
    processes.kill()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a connection leaves behind that could not be opened is complained of where that is ignored."""
    yield
    gc.collect()


@pytest.fixture
def autojump_clock() -> None:
    """Time is real here."""


@asynccontextmanager
async def open_bus(
    cluster: RedisClusterProcesses, *, sharded: bool, gaps: Heard[Gap] | None = None, prefix: str = ""
) -> AsyncGenerator[RedisBus]:
    client: coredis.RedisCluster[Any] = coredis.RedisCluster("127.0.0.1", cluster.nodes[1].port)
    backplane = RedisBackplane(
        client, sharded=sharded, on_gap=gaps, channel_prefix=prefix, publish_timeout=20
    )
    async with backplane.open_bus():
        assert isinstance(backplane.bus, RedisBus)
        yield backplane.bus


class TestPlainBus(BusContract):
    """Any node will do."""

    sharded = False

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: RedisClusterProcesses) -> None:
        self.cluster = cluster

    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        buses = [open_bus(self.cluster, sharded=self.sharded, prefix=self.prefix) for _ in range(3)]
        return [await stack.enter_async_context(bus) for bus in buses]

    prefix = ""


class TestShardedBus(TestPlainBus):
    """Each node has the channels of its slots; what has the same braces is in one, so that it keeps its order."""

    sharded = True
    prefix = "{one}"


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_hubs(cluster: RedisClusterProcesses, sharded: bool) -> None:
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(open_bus(cluster, sharded=sharded)) for _ in range(3)]
        rosters = [await open_roster(stack, bus, f"Hub {sharded}") for bus in buses]
        for bus, roster in zip(buses, rosters, strict=True):
            await bus.wait_subscribed(roster._channels.queries)
            await bus.wait_subscribed(roster._channels.answers(bus.server))
            await bus.wait_subscribed(roster._channels.acks(bus.server))
        there = rosters[2]
        for id, roster in zip("ab", rosters, strict=False):
            hub = ServedHub(Member, Member, HubOptions(), roster=roster)
            client = await stack.enter_async_context(open_client(hub, "json", id=id))
            await client.take(1)
            await there.join(id, "room")
            await there.send(Address.groups("room"), ClientCall("Hear", (id,)), Disconnect())
            assert (await client.receive())["arguments"] == [id]
        # Who is nowhere is known at once, and who is anywhere completely.
        assert {client.id for client in await there.find(Address.all())} == {"a", "b"}
        with trio.fail_after(4):
            with pytest.raises(ConnectionClosed, match="does not exist"):
                await there.invoke("nobody", "Ask", (), int)
            await there.join("nobody", "room")


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_what_its_acl_must_allow(cluster: RedisClusterProcesses, sharded: bool) -> None:
    needed = "+publish +subscribe +unsubscribe +pubsub|numsub"
    if sharded:
        needed = "+spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub"
    for node in cluster.nodes:
        rules = f"reset on >password &shop* +hello +ping {needed} +cluster|slots +config|get"
        node.ask("acl", "setuser", "hubs", *rules.split())
    client: coredis.RedisCluster[Any] = coredis.RedisCluster(
        "127.0.0.1", cluster.nodes[1].port, username="hubs", password="password"
    )
    backplane = RedisBackplane(client, sharded=sharded, channel_prefix="shop")
    async with backplane.open_bus():
        backplane.bus.subscribe("a", lambda _: None)
        await backplane.bus.wait_subscribed("a")
        assert await backplane.bus.publish_counted("a", b"") == 1
        assert await backplane.bus.subscribers("a") == 1
        backplane.bus.unsubscribe("a")
        assert await backplane.bus.publish_counted("a", b"") == 0


def test_slots(cluster: RedisClusterProcesses) -> None:
    for name in ("", "a", "Chat:group:{room}:x", "{}a", "a{b", "a}b{c}d", "{{a}}", "é"):
        assert slot_of(name.encode()) == int(cluster.nodes[0].ask("cluster", "keyslot", name))


async def hear_all(bus: RedisBus) -> dict[str, Heard[bytes]]:
    heard = {name: Heard[bytes]() for name in NAMES}
    for name, hear in heard.items():
        bus.subscribe(name, hear)
    for name in NAMES:
        await bus.wait_subscribed(name)
    return heard


async def expect_all(bus: RedisBus, heard: dict[str, Heard[bytes]], data: bytes) -> None:
    """What is published is heard, on every channel, if not at once."""
    for name, hear in heard.items():
        await until(partial(arrives, bus, name, data))
        while await hear.next() != data:
            pass


async def arrives(bus: RedisBus, name: str, data: bytes) -> bool:
    try:
        return await bus.publish_counted(name, data) == 1
    except BackplaneError:
        return False


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(30):
        while not await true():  # noqa: ASYNC110 - of processes
            await trio.sleep(0.05)


async def take_role(node: RedisProcess, *, replica: bool) -> None:
    async def has_role() -> bool:
        return node.is_replica() == replica

    await until(has_role)


async def test_channels_spread_over_the_nodes(cluster: RedisClusterProcesses) -> None:
    async with open_bus(cluster, sharded=True) as first, open_bus(cluster, sharded=True) as second:
        await expect_all(first, await hear_all(second), b"x")
        assert len(list(second._links)) == 3
        counts = [int(node.ask("pubsub", "shardchannels").count("channel")) for node in cluster.nodes[:3]]
        assert sum(counts) == len(NAMES)
        assert all(counts)


async def test_a_slot_that_gets_another_node(cluster: RedisClusterProcesses) -> None:
    async with open_bus(cluster, sharded=True) as first, open_bus(cluster, sharded=True) as second:
        heard = await hear_all(second)
        await expect_all(first, heard, b"1")
        moved = next(name for name in NAMES if 5461 <= slot_of(name.encode()) <= 10922)
        id = cluster.nodes[2].ask("cluster", "myid")
        for node in cluster.nodes[:3]:
            node.ask("cluster", "setslot", str(slot_of(moved.encode())), "node", id)
        await expect_all(first, heard, b"2")
        assert cluster.nodes[2].ask("pubsub", "shardnumsub", moved).split() == [
            "channel",
            moved.split()[1],
            "1",
        ]
        id = cluster.nodes[1].ask("cluster", "myid")
        for node in cluster.nodes[:3]:
            node.ask("cluster", "setslot", str(slot_of(moved.encode())), "node", id)
        await expect_all(first, heard, b"3")


async def test_a_node_that_comes_back(cluster: RedisClusterProcesses) -> None:
    gaps = Heard[Gap]()
    async with open_bus(cluster, sharded=True) as first, open_bus(cluster, sharded=True, gaps=gaps) as second:
        heard = await hear_all(second)
        await expect_all(first, heard, b"1")
        cluster.nodes[2].kill()
        others = {name: each for name, each in heard.items() if slot_of(name.encode()) <= 10922}
        with trio.fail_after(5):
            await expect_all(first, others, b"2")  # which hear nothing of it
        cluster.nodes[2].start()
        await expect_all(first, heard, b"3")
        await gaps.next()


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_a_replica_takes_over(cluster: RedisClusterProcesses, sharded: bool) -> None:
    gaps = Heard[Gap]()
    async with (
        open_bus(cluster, sharded=sharded) as first,
        open_bus(cluster, sharded=sharded, gaps=gaps) as second,
    ):
        heard = await hear_all(second)
        await expect_all(first, heard, b"1")
        primary, replica = cluster.primary_and_replica()
        primary.kill()
        await take_role(replica, replica=False)
        await expect_all(first, heard, b"2")
        if sharded:
            await gaps.next()
        primary.start()
        await take_role(primary, replica=True)
        await expect_all(first, heard, b"3")
        while primary.is_replica():
            primary.ask("cluster", "failover")  # nobody is disconnected
            with trio.move_on_after(2):  # it gives up where the others do not answer in time
                await take_role(primary, replica=False)
        await expect_all(first, heard, b"4")
