"""A hub connection's states: every event in every state, as the table says and not otherwise."""

from itertools import product

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import ConnectionClosed, HubConnectionState, StateChange, StreamOverflow
from trio_hubs.client.state import MAXIMUM_CHANGES, TRANSITIONS, Event, Lifecycle

CONNECTING, CONNECTED, RECONNECTING, DISCONNECTING, DISCONNECTED = HubConnectionState

EXPECTED = {
    (CONNECTING, Event.RESUMED): CONNECTING,
    (CONNECTING, Event.OPENED): CONNECTED,
    (CONNECTING, Event.LEFT): DISCONNECTING,
    (CONNECTING, Event.ENDED): DISCONNECTED,
    (CONNECTED, Event.RESUMED): CONNECTED,
    (CONNECTED, Event.LOST): RECONNECTING,
    (CONNECTED, Event.LEFT): DISCONNECTING,
    (CONNECTED, Event.ENDED): DISCONNECTED,
    (RECONNECTING, Event.RESUMED): RECONNECTING,
    (RECONNECTING, Event.OPENED): CONNECTED,
    (RECONNECTING, Event.LEFT): DISCONNECTING,
    (RECONNECTING, Event.ENDED): DISCONNECTED,
    (DISCONNECTING, Event.RESUMED): DISCONNECTING,
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
        for event in (Event.OPENED, Event.LOST, Event.OPENED, Event.LEFT):
            lifecycle.apply(event)
            await wait_all_tasks_blocked()
            assert not over
        lifecycle.apply(Event.ENDED)
    assert over


async def test_changes_are_read_in_order_with_their_reasons_to_the_last() -> None:
    lifecycle = Lifecycle()
    lost, final = ConnectionClosed("lost"), ConnectionClosed("given up")
    with lifecycle.watch() as changes, lifecycle.watch() as others:
        lifecycle.apply(Event.OPENED)
        lifecycle.apply(Event.LOST, lost)
        assert changes.read_ready() == [StateChange(CONNECTED), StateChange(RECONNECTING, lost)]
        lifecycle.apply(Event.ENDED, final)
        assert [change async for change in changes] == [StateChange(DISCONNECTED, final)]
        assert len([change async for change in others]) == 3
    assert [change async for change in lifecycle.watch()] == []


def test_what_changes_nothing_is_not_told() -> None:
    lifecycle = Lifecycle()
    with lifecycle.watch() as changes:
        for event in (Event.LEFT, Event.OPENED, Event.LEFT):
            lifecycle.apply(event)
        assert changes.read_ready() == [StateChange(DISCONNECTING)]


def test_that_a_torn_connection_goes_on_is_told_while_calls_can_be_made() -> None:
    lifecycle = Lifecycle()
    with lifecycle.watch() as changes:
        for event in (Event.RESUMED, Event.OPENED, Event.RESUMED, Event.LEFT, Event.RESUMED):
            lifecycle.apply(event)
        assert changes.read_ready() == [
            StateChange(CONNECTED),
            StateChange(CONNECTED, recovered=True),
            StateChange(DISCONNECTING),
        ]


async def test_a_reader_of_changes_that_does_not_read_is_told_so_and_one_that_left_is_forgotten() -> None:
    lifecycle = Lifecycle()
    lifecycle.watch().close()
    with lifecycle.watch() as changes:
        lifecycle.apply(Event.OPENED)
        for _ in range(MAXIMUM_CHANGES):
            lifecycle.apply(Event.LOST)
            lifecycle.apply(Event.OPENED)
        assert len(changes.read_ready()) == MAXIMUM_CHANGES
        with pytest.raises(StreamOverflow, match="More than 100 changes"):
            await changes.read()
    assert lifecycle._watchers == []
