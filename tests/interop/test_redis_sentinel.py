"""A bus over a Redis that Sentinel watches: when the primary dies, its replica takes over."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from coredis import Sentinel
from coredis.connection import TCPLocation

from tests.fleet.bus_contract import Heard
from trio_hubs.errors import BackplaneError
from trio_hubs.fleet.bus import Gap
from trio_hubs.redis import RedisBackplane

from .redis_process import RedisProcess, free_port

pytestmark = pytest.mark.filterwarnings("ignore:.*MemoryObject.*:pytest.PytestUnraisableExceptionWarning")

WATCH = """
sentinel monitor main 127.0.0.1 {port} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 2000
"""


USER = "user hubs on >password resetchannels &shop* +hello +ping +publish +subscribe +unsubscribe +pubsub|numsub +role"


class Watched:
    """A primary, its replica, and the Sentinel that watches them."""

    def __init__(self, folder: Path) -> None:
        self.primary = RedisProcess(folder / "primary", "--repl-diskless-sync-delay", "0", config=USER)
        of = ("--replicaof", "127.0.0.1", str(self.primary.port))
        self.replica = RedisProcess(folder / "replica", *of, config=USER)
        config = WATCH.format(port=self.primary.port)
        self.sentinel = RedisProcess(folder / "sentinel", "--sentinel", config=config, ready="+monitor")
        while not self.sentinel.ask("sentinel", "replicas", "main"):
            time.sleep(0.05)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    processes = Watched(tmp_path)
    yield processes
    for each in (processes.primary, processes.replica, processes.sentinel):
        each.kill()
    gc.collect()


@pytest.fixture
def autojump_clock() -> None:
    """Time is real here."""


def make_backplane(watched: Watched, gaps: Heard[Gap]) -> RedisBackplane:
    places = [TCPLocation("127.0.0.1", port) for port in (free_port(), watched.sentinel.port)]  # one is away
    client = Sentinel(places).primary_for("main", username="hubs", password="password")
    return RedisBackplane(client, channel_prefix="shop", on_gap=gaps, publish_timeout=30)


async def test_a_replica_takes_over(watched: Watched) -> None:
    gaps, heard = Heard[Gap](), Heard[bytes]()
    first, second = (make_backplane(watched, gaps) for _ in range(2))
    async with first.open_bus(), second.open_bus():
        second.bus.subscribe("a", heard)
        await second.bus.wait_subscribed("a")
        assert await first.bus.publish_counted("a", b"1") == 1
        watched.primary.kill()
        for _ in range(2):
            assert (await gaps.next()).seconds > 0
        await second.bus.wait_subscribed("a")
        assert await first.bus.publish_counted("a", b"2") == 1
        assert [await heard.next() for _ in range(2)] == [b"1", b"2"]
        assert watched.replica.ask("role").startswith("master")
        watched.primary.start()


async def test_a_service_that_no_sentinel_knows(watched: Watched) -> None:
    places = [TCPLocation("127.0.0.1", watched.sentinel.port)]
    backplane = RedisBackplane(Sentinel(places).primary_for("other"), publish_timeout=0.5)
    async with backplane.open_bus():
        with pytest.raises(BackplaneError, match="No Sentinel knows a primary of other"):
            await backplane.bus.wait_room("a")


def test_replicas_are_of_no_use() -> None:
    with pytest.raises(ValueError, match="published to a replica stays there"):
        RedisBackplane(Sentinel([TCPLocation("127.0.0.1", 1)]).replica_for("main"))


async def test_sentinel_answers_again(watched: Watched) -> None:
    backplane = make_backplane(watched, Heard[Gap]())
    watched.sentinel.kill()
    async with backplane.open_bus(), trio.open_nursery() as nursery:
        nursery.start_soon(backplane.bus.publish_counted, "a", b"")
        await trio.testing.wait_all_tasks_blocked()
        watched.sentinel.start()
