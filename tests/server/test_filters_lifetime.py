"""Filters around connecting and disconnecting: they refuse, swallow, replace, and have no more time than the hub."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, members_of, no_task_left, open_client, served_hub
from tests.messages import call, close, result
from tests.server.filtered_hub import Filtered, Lifetime
from trio_hubs import HubException, HubLifetimeContext
from trio_hubs.server.filters import ConnectedNext, DisconnectedNext

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
CLOSED = "Connection closed with an error."


class Failing(Filtered):
    """Cannot be connected to."""

    async def on_connected(self) -> None:
        raise HubException("hub says no")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("disconnected")
        raise ValueError("hub fails")


async def test_an_error_of_on_connected_may_be_swallowed(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def swallow(context: HubLifetimeContext, next: ConnectedNext) -> None:
        try:
            await next(context)
        except HubException as error:
            events.append(str(error))

    served = served_hub(Failing, lambda: Failing(events), filters=[Lifetime(connects=swallow)])
    async with open_client(served) as client:
        await client.send(call("Inline", id="1"))
        assert await client.receive() == result("1", None)
    assert events == ["hub says no", "inline None", "disconnected"]


@both_protocols
async def test_raising_refuses_the_client(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []

    async def refuse(context: HubLifetimeContext, next: ConnectedNext) -> None:
        raise HubException(f"not you, {context.context.connection_id}")

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Lifetime(connects=refuse)])
    async with open_client(served, protocol, id="a", handshake=False) as client:
        await client.shake_hands(call("Inline", id="1"))
        assert await client.rest() == [close(f"{CLOSED} HubException: not you, a")]
    assert events == []
    assert not members_of(served).by_id


async def test_the_hub_may_be_kept_from_hearing_of_its_clients(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def quiet(*_: Any) -> None:
        await trio.lowlevel.checkpoint()

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Lifetime(quiet, quiet)])
    async with open_client(served) as client:
        await client.send(call("Inline", id="1"))
        assert await client.receive() == result("1", None)
    assert events == ["inline None"]
    assert not members_of(served).by_id


async def test_what_ended_the_connection_may_be_replaced(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def replace(context: HubLifetimeContext, error: Exception | None, next: DisconnectedNext) -> None:
        events.append(f"filter: {error}")
        await next(context, ValueError("another"))

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Lifetime(disconnects=replace)])
    async with open_client(served) as client:
        await client.send(close("client failed"))
        await client.rest()
    assert events == ["connected", "filter: client failed", "disconnected: another"]


@pytest.mark.parametrize("where", ["filter", "hub"])
async def test_failing_around_on_disconnected_is_logged_and_harms_nothing(
    autojump_clock: MockClock, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def pass_by(context: HubLifetimeContext, next: ConnectedNext) -> None:
        await trio.lowlevel.checkpoint()

    async def fail(context: HubLifetimeContext, error: Exception | None, next: DisconnectedNext) -> None:
        if where == "filter":
            raise ValueError("filter fails")
        await next(context, error)

    served = served_hub(
        Failing if where == "hub" else Filtered,
        filters=[Lifetime(connects=pass_by, disconnects=fail)],
    )
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "connection c1: on_disconnected failed" in caplog.text
    assert f"ValueError: {where} fails" in caplog.text
    assert not members_of(served).by_id


async def test_a_filter_that_hangs_around_on_disconnected_has_no_more_time_than_the_hub(
    autojump_clock: MockClock,
) -> None:
    async def hang(*_: Any) -> None:
        await trio.sleep_forever()

    served = served_hub(Filtered, filters=[Lifetime(disconnects=hang)], on_disconnected_timeout=3.0)
    async with open_client(served) as client:
        client.connection.close()
        assert await client.rest() == [close(allow_reconnect=True)]
        assert trio.current_time() == pytest.approx(3)
    assert not members_of(served).by_id


async def test_calls_wait_for_a_filter_around_on_connected(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def slow(context: HubLifetimeContext, next: ConnectedNext) -> None:
        await next(context)
        await trio.sleep(5)
        events.append("let in")

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Lifetime(connects=slow)])
    async with open_client(served) as client:
        await client.send(call("Inline", id="1"))
        assert await client.receive() == result("1", None)
    assert events[:3] == ["connected", "let in", "inline None"]
