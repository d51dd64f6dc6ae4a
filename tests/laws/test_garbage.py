"""What a connection that ends in order leaves goes with its last user: no cycle waits for the garbage collector."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from trio.testing import MockClock

from tests.messages import call, close, ended, item, stream
from tests.server.app_peer import TRANSPORTS, hub_app, open_app, visit
from trio_hubs import Hub
from trio_hubs.calls.outbox import Outbox
from trio_hubs.calls.session import Session
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.server.lease import Lease
from trio_hubs.server.connected_client import ConnectedClient

KINDS = (Session, Outbox, Duplex, Lease, ConnectedClient)


class Busy(Hub):
    def echo(self, text: str) -> str:
        return text

    async def count(self) -> AsyncIterator[int]:
        yield 1


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nothing_of_a_connection_that_is_over_waits_for_the_garbage_collector(
    autojump_clock: MockClock, transport: str
) -> None:
    async with open_app(hub_app(Busy)) as served:
        known = {id(each) for each in gc.get_objects() if isinstance(each, KINDS)}
        client = await visit(served, "/hub", transport)
        await client.send(call("Echo", "a", id="1"), stream("Count", id="2"))
        messages = await client.take(3)
        assert sorted(message["invocationId"] for message in messages) == ["1", "2", "2"]
        assert item("2", 1) in messages
        assert ended("2") in messages
        await client.send(close())
        assert await client.rest() == [close()]
        client.leave()
        await trio.sleep(60)
        assert (served.sessions(), served.leases()) == (0, 0)
        left = [type(each) for each in gc.get_objects() if isinstance(each, KINDS) and id(each) not in known]
        assert left == []
