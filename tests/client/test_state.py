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


def test_callbacks_are_called_where_the_state_changes_in_order_until_they_are_removed() -> None:
    lifecycle = Lifecycle()
    lost = ConnectionClosed("lost")
    told: list[tuple[str, StateChange]] = []
    lifecycle.call(lambda change: told.append(("first", change)))
    remove = lifecycle.call(lambda change: told.append(("second", change)))
    lifecycle.apply(Event.OPENED)
    remove()
    remove()
    lifecycle.apply(Event.LOST, lost)
    assert told == [
        ("first", StateChange(CONNECTED)),
        ("second", StateChange(CONNECTED)),
        ("first", StateChange(RECONNECTING, lost)),
    ]


def test_one_function_may_be_two_callbacks() -> None:
    lifecycle = Lifecycle()
    told: list[StateChange] = []
    lifecycle.call(told.append)
    lifecycle.call(told.append)()
    lifecycle.apply(Event.OPENED)
    assert told == [StateChange(CONNECTED)]


def test_a_callback_that_raises_is_logged_and_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: StateChange) -> None:
        raise KeyError("mine")

    lifecycle = Lifecycle()
    told: list[StateChange] = []
    lifecycle.call(fail)
    lifecycle.call(told.append)
    with lifecycle.watch() as changes:
        lifecycle.apply(Event.OPENED)
        assert changes.read_ready() == told == [StateChange(CONNECTED)]
    assert "a callback of state changes failed" in caplog.text
    assert "KeyError: 'mine'" in caplog.text


def test_a_change_by_a_callback_is_told_after_the_one_that_it_was_told() -> None:
    lifecycle = Lifecycle()
    told: list[tuple[str, HubConnectionState]] = []

    def first(change: StateChange) -> None:
        told.append(("first", change.state))
        if change.state is RECONNECTING:
            lifecycle.apply(Event.LEFT)

    lifecycle.call(first)
    lifecycle.call(lambda change: told.append(("second", change.state)))
    lifecycle.apply(Event.OPENED)
    told.clear()
    lifecycle.apply(Event.LOST)
    lifecycle.apply(Event.ENDED)
    assert told == [
        (name, state) for state in (RECONNECTING, DISCONNECTING, DISCONNECTED) for name in ("first", "second")
    ]


def test_a_callback_that_another_one_has_removed_is_not_called() -> None:
    lifecycle = Lifecycle()
    told: list[StateChange] = []
    lifecycle.call(lambda _: remove())
    remove = lifecycle.call(told.append)
    lifecycle.apply(Event.OPENED)
    assert told == []


def test_an_interrupt_in_a_callback_comes_out_and_later_changes_are_told() -> None:
    def interrupt(_: StateChange) -> None:
        remove()
        raise KeyboardInterrupt

    lifecycle = Lifecycle()
    told: list[StateChange] = []
    remove = lifecycle.call(interrupt)
    lifecycle.call(told.append)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.apply(Event.OPENED)
    lifecycle.apply(Event.ENDED)
    assert told == [StateChange(DISCONNECTED)]


def test_a_callback_is_a_plain_function() -> None:
    async def later(_: StateChange) -> None: ...

    with pytest.raises(TypeError, match="a callback of state changes is a plain function, not an async one"):
        Lifecycle().call(later)
