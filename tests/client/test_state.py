"""A hub connection's states: every event in every state, as the table says and not otherwise."""

from itertools import product

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import HubConnectionState
from trio_hubs.client.state import TRANSITIONS, Event, Lifecycle

CONNECTING, CONNECTED, DISCONNECTING, DISCONNECTED = HubConnectionState

EXPECTED = {
    (CONNECTING, Event.OPENED): CONNECTED,
    (CONNECTING, Event.LEFT): DISCONNECTING,
    (CONNECTING, Event.ENDED): DISCONNECTED,
    (CONNECTED, Event.LEFT): DISCONNECTING,
    (CONNECTED, Event.ENDED): DISCONNECTED,
    (DISCONNECTING, Event.OPENED): DISCONNECTING,
    (DISCONNECTING, Event.LEFT): DISCONNECTING,
    (DISCONNECTING, Event.ENDED): DISCONNECTED,
    (DISCONNECTED, Event.LEFT): DISCONNECTED,
    (DISCONNECTED, Event.ENDED): DISCONNECTED,
}


@pytest.mark.parametrize(("state", "event"), list(product(HubConnectionState, Event)))
async def test_every_event_in_every_state(state: HubConnectionState, event: Event) -> None:
    lifecycle = Lifecycle()
    lifecycle.state = state
    if (state, event) in EXPECTED:
        lifecycle.apply(event)
        assert lifecycle.state is EXPECTED[state, event]
    else:
        with pytest.raises(KeyError):
            lifecycle.apply(event)
        assert lifecycle.state is state


def test_nothing_leads_out_of_the_last_state() -> None:
    assert {after for (before, _), after in TRANSITIONS.items() if before is DISCONNECTED} == {DISCONNECTED}


async def test_the_end_is_waited_for(autojump_clock: MockClock) -> None:
    lifecycle = Lifecycle()
    over = False

    async def wait() -> None:
        nonlocal over
        await lifecycle.wait_over()
        over = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for event in (Event.OPENED, Event.LEFT):
            lifecycle.apply(event)
            await wait_all_tasks_blocked()
            assert not over
        lifecycle.apply(Event.ENDED)
    assert over
