"""What every carrier does: the handler says how it is asked to end, and what it raises is told as it is."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.carrier import NOT_DELETED, Host
from trio_hubs.connections.server.lease import Lease, Leases, LeaseState
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.server.websocket_carrier import WebSocketCarrier
from trio_hubs.errors import ConnectionClosed

from .endpoint_peer import Handler


class Listening(Handler):
    """Says itself how it is asked to end."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def __call__(self, connection: Duplex) -> None:
        connection.on_end_asked = self._ask
        await super().__call__(connection)

    def _ask(self) -> None:
        self.asked += 1
        self.release.set()


def made(handler: Handler) -> tuple[Lease, WebSocketCarrier]:
    options, admission = EndpointOptions(), Admission(10)
    lease = Leases(options, admission).make(None)
    return lease, WebSocketCarrier(lease, Host(handler, options, admission))


async def test_a_handler_that_does_not_say_how_is_cancelled() -> None:
    handler = Handler()
    lease, carrier = made(handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carrier.answer(Request(), None).serve, memory_connection_pair()[0])
        await wait_all_tasks_blocked()
        carrier.ask_to_end()
    assert handler.ended == 1
    assert lease.state is LeaseState.GONE


async def test_only_the_handler_says_how_it_is_asked_to_end() -> None:
    handler = Listening()
    _, carrier = made(handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carrier.answer(Request(), None).serve, memory_connection_pair()[0])
        await wait_all_tasks_blocked()
        carrier.ask_to_end()
        await wait_all_tasks_blocked()
        assert (handler.asked, handler.ended) == (1, 1)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([ConnectionClosed("left")], ConnectionClosed),
        ([ConnectionClosed("left"), ValueError()], ExceptionGroup),
    ],
)
async def test_only_that_the_client_left_comes_out_bare(
    errors: list[Exception], expected: type[Exception]
) -> None:
    class Failing(Handler):
        async def __call__(self, connection: Duplex) -> None:
            raise ExceptionGroup("nurseries", errors)

    lease, carrier = made(Failing())
    with pytest.raises(expected):
        await carrier.answer(Request(), None).serve(memory_connection_pair()[0])
    assert lease.state is LeaseState.GONE


def test_only_polls_can_be_deleted() -> None:
    _, carrier = made(Handler())
    assert carrier.delete() is NOT_DELETED
    assert carrier.crowded
    assert not carrier.ended
