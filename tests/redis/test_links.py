"""What is published without waiting for room, while a node is away, waits within a bound, and then fails."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import coredis
import pytest
import trio
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import MovedError
from trio.testing import MockClock

from trio_hubs.errors import BackplaneError
from trio_hubs.redis.commands import SHARDED
from trio_hubs.redis.links import EXPIRY_INTERVAL, Links
from trio_hubs.redis.nodes import Node, Server
from trio_hubs.redis.publications import Publication
from trio_hubs.tasks import open_background

AWAY = TCPLocation("away", 1)
TIMEOUT = 5.0
BUFFER_SIZE = 1000


class AwayNodes(Server):
    """All that there are cannot be connected to."""

    home: Node = AWAY

    def of(self, name: bytes) -> Node:
        return self.home

    def has(self, node: Node) -> bool:
        return node == self.home

    def note_moved(self, node: Node, error: MovedError) -> None:
        pass

    async def make_connection(self, node: Node) -> BaseConnection:
        await trio.lowlevel.checkpoint()
        raise OSError


def make_links() -> tuple[Links, AwayNodes]:
    nodes = AwayNodes(coredis.Redis().connection_pool)
    return Links(nodes, SHARDED, TIMEOUT, BUFFER_SIZE, 10_000, lambda _: None), nodes


@asynccontextmanager
async def open_links() -> AsyncGenerator[tuple[Links, AwayNodes]]:
    links, nodes = make_links()
    async with open_background() as nursery:
        nursery.start_soon(links.run)
        await trio.testing.wait_all_tasks_blocked()
        yield links, nodes


def publication(size: int = 100, counted: trio.Event | None = None) -> Publication:
    return Publication(b"SPUBLISH", b"", bytes(size), counted)


def fill(links: Links) -> None:
    for _ in range(BUFFER_SIZE // 100):
        links.publish(publication())


async def test_a_failure_without_words_is_told_by_its_type(autojump_clock: MockClock) -> None:
    async with open_links() as (links, _):
        assert links.of(b"").failure == "OSError"


async def test_it_is_refused_beyond_the_buffers_size(autojump_clock: MockClock) -> None:
    async with open_links() as (links, _):
        fill(links)
        with pytest.raises(BackplaneError, match="too much waits"):
            links.publish(publication())
        assert links.of(b"").publications.bytes == BUFFER_SIZE


async def test_it_fails_after_the_timeout(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_links() as (links, _):
        early = publication(counted=trio.Event())
        links.publish(early)
        await trio.sleep(TIMEOUT - EXPIRY_INTERVAL)
        late = publication()
        links.publish(late)
        assert early.counted is not None
        with trio.fail_after(2 * EXPIRY_INTERVAL + 0.1):
            await early.counted.wait()
        assert isinstance(early.outcome, BackplaneError)
        assert links.of(b"").publications.take_waiting() == [late]
    assert "1 messages are lost" in caplog.text


async def test_what_moves_to_a_node_that_is_away_is_bound_by_the_same(autojump_clock: MockClock) -> None:
    links, _ = make_links()
    fill(links)
    moved = publication(counted=trio.Event())
    links._move_on(links.of(b""), moved, MovedError("5 away:1"))
    assert isinstance(moved.outcome, BackplaneError)
    assert links.of(b"").publications.bytes == BUFFER_SIZE


async def test_what_waited_for_a_node_that_is_gone_is_bound_by_the_same(autojump_clock: MockClock) -> None:
    links, nodes = make_links()
    links.publish(waiting := publication(counted=trio.Event()))
    deadline = waiting.deadline
    await trio.sleep(1)
    nodes.home = TCPLocation("away too", 1)
    fill(links)
    links._settle()
    assert isinstance(waiting.outcome, BackplaneError)
    assert links.of(b"").publications.bytes == BUFFER_SIZE
    links.of(b"").publications.take_waiting()
    links.publish(waiting)
    assert waiting.deadline == deadline  # it waits no longer for being put anew
