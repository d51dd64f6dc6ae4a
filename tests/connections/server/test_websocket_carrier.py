"""A WebSocket is asked for with the subprotocol that was chosen, and has its connection if nobody was faster."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.connections.http import CaseInsensitive, Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.carrier import Host
from trio_hubs.connections.server.lease import Leases
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.server.websocket_carrier import WebSocketCarrier

from .endpoint_peer import Handler, never


def offering(names: str) -> Request:
    return Request(headers=CaseInsensitive([("Sec-WebSocket-Protocol", names)] if names else []))


@pytest.mark.parametrize(
    ("names", "chosen"), [("a, b", "b"), ("b", "b"), (" a,,b ", "b"), ("a", None), ("", None), (" , ", None)]
)
def test_a_subprotocol_is_chosen_from_those_that_are_offered(names: str, chosen: str | None) -> None:
    seen: list[Sequence[str]] = []

    def choose(offered: Sequence[str]) -> str | None:
        seen.append(offered)
        return "b" if "b" in offered else None

    options, admission = EndpointOptions(websocket_subprotocol=choose), Admission(10)
    carrier = WebSocketCarrier(Leases(options, admission).make(None), Host(never, options, admission))
    assert carrier.answer(offering(names), None).subprotocol == chosen
    assert all(seen)  # nothing is chosen from nothing


def test_what_is_not_offered_cannot_be_chosen() -> None:
    options, admission = EndpointOptions(websocket_subprotocol=lambda _: "c"), Admission(10)
    carrier = WebSocketCarrier(Leases(options, admission).make(None), Host(never, options, admission))
    with pytest.raises(ValueError, match="the subprotocol 'c' was chosen"):
        carrier.answer(offering("a, b"), None)


async def test_of_two_that_race_one_has_the_connection() -> None:
    handler, options, admission = Handler(), EndpointOptions(), Admission(10)
    lease = Leases(options, admission).make(None)
    carriers = [WebSocketCarrier(lease, Host(handler, options, admission)) for _ in range(2)]
    first, second = (carrier.answer(Request(), None) for carrier in carriers)
    near, _ = memory_connection_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.serve, near)
        await wait_all_tasks_blocked()
        await second.serve(memory_connection_pair()[0])
        assert handler.connections == [near]
        assert lease.carrier is carriers[0]
        assert lease.state.name == "CARRIED"
        handler.release.set()
    assert lease.state.name == "GONE"
    assert admission.active == 0
