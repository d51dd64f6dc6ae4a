"""A Sentinel or a node that takes connections, but never answers, keeps nobody from the others."""

import gc
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import coredis
import pytest
import trio
from coredis.connection import TCPLocation
from trio.testing import MockClock

from trio_hubs.redis.bus import RedisBus
from trio_hubs.redis.nodes import CONNECT_TIMEOUT, LOST, nodes_of
from trio_hubs.tasks import open_background

pytestmark = pytest.mark.filterwarnings("ignore:.*MemoryObject.*:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a connection leaves behind that could not be opened is complained of where that is ignored."""
    yield
    gc.collect()


@pytest.fixture
def autojump_clock() -> MockClock:
    """Time that leaves real sockets a moment."""
    return MockClock(autojump_threshold=0.05)


class Hosts:
    """The first never answers, the last hangs up.

    Attributes:
        places: Where they are.
        asked: How often each was connected to.
    """

    def __init__(self, number: int) -> None:
        self.places: list[TCPLocation] = []
        self.asked = [0] * number

    async def serve(self, number: int, stream: trio.SocketStream) -> None:
        self.asked[number] += 1
        async with stream:
            if number < len(self.asked) - 1:
                await trio.sleep_forever()


@asynccontextmanager
async def open_hosts(number: int) -> AsyncGenerator[Hosts]:
    hosts = Hosts(number)
    async with open_background() as nursery:
        for each in range(number):

            async def serve(stream: trio.SocketStream, each: int = each) -> None:
                await hosts.serve(each, stream)

            [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            hosts.places.append(TCPLocation("127.0.0.1", listener.socket.getsockname()[1]))
        yield hosts


@pytest.mark.parametrize("number", [2, 7])
async def test_mute_sentinels_leave_the_others_time(number: int, autojump_clock: MockClock) -> None:
    async with open_hosts(number) as hosts:
        nodes = nodes_of(coredis.Sentinel(hosts.places).primary_for("main"), sharded=False)
        with pytest.raises(LOST, match="No Sentinel knows a primary of main: Connection lost"):
            async with nodes.connect(None):
                pass
    assert hosts.asked == [1] * number
    assert trio.current_time() < CONNECT_TIMEOUT


@pytest.mark.parametrize("number", [2, 4])
async def test_mute_nodes_of_a_cluster_leave_the_others_time(number: int, autojump_clock: MockClock) -> None:
    async with open_hosts(number) as hosts:
        nodes = nodes_of(coredis.RedisCluster(startup_nodes=hosts.places), sharded=True)
        with pytest.raises(LOST, match="cannot be connected"):
            await nodes.look()
        assert all(hosts.asked)


async def test_a_cluster_that_is_mute_from_the_start(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_hosts(2) as hosts, open_background() as nursery:
        client: coredis.RedisCluster[Any] = coredis.RedisCluster(startup_nodes=hosts.places)
        bus = RedisBus(client, "", 5.0, 1024, 1024, lambda _: None)
        with caplog.at_level(logging.WARNING, "trio_hubs"):
            nursery.start_soon(bus.run)
            await trio.sleep(30)
    assert all(hosts.asked)
    assert "the connection to Redis failed, and is tried again: Redis Cluster cannot be" in caplog.text
