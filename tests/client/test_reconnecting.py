"""Our client's connection over one link after another: what is told, what waits, what fails, and what ends it."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, no_task_left
from tests.messages import call, close, result
from trio_hubs import (
    ConnectionClosed,
    HandshakeError,
    HubConnectionOptions,
    HubConnectionState,
    NegotiationError,
    StateChange,
)

from .dials import Dials, after, always, becomes, greet, open_over

CONNECTED, RECONNECTING = HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING
DISCONNECTING, DISCONNECTED = HubConnectionState.DISCONNECTING, HubConnectionState.DISCONNECTED
REFUSED = NegotiationError("refused")


# ---- another link


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("end", ["lost", "ended", "told to come back", "nonsense"])
async def test_a_lost_connection_is_followed_by_a_new_one(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    dials = Dials(protocol)
    first, second = dials.server(), dials.server()
    with no_task_left():
        async with open_over(dials, reconnect=after(5)) as connection:
            await greet(first)
            assert connection.connection_id == "id 1"
            if end == "lost":
                first.leave()
            elif end == "ended":
                first.connection.close()
            elif end == "nonsense":
                await first.send_bytes(b"\x00\x1e")
            else:
                await first.send(close("restart", allow_reconnect=True))
            await becomes(connection, RECONNECTING)
            await greet(second)
            assert trio.current_time() == 5
            assert connection.state is CONNECTED
            assert connection.connection_id == "id 2"
            await connection.send("Hello")
            assert await second.receive() == call("Hello")
    assert await second.rest() == [close()]


async def test_none_is_the_default(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    dials.server()
    async with open_over(dials) as connection:
        await greet(server)
        server.leave()
        assert str(await connection.wait_closed()) == "The connection was lost."
        assert connection.state is DISCONNECTED
    assert len(dials.times) == 1


async def test_failed_attempts_go_on_as_the_policy_says_then_the_connection_is_given_up(
    autojump_clock: MockClock,
) -> None:
    dials = Dials()
    server = dials.server()
    dials.fail_always(REFUSED)
    async with open_over(dials, reconnect=after(1, 2, 4)) as connection:
        server.leave()
        reason = await connection.wait_closed()
        assert dials.times == [0, 1, 3, 7]
        assert str(reason) == "The connection was lost, and given up after 3 attempts in 7 s: refused"
        for wait in (False, True):
            with pytest.raises(ConnectionClosed):
                await connection.send("Late", wait_for_ready=wait)


async def test_a_policy_that_says_no_at_once_leaves_the_reason_as_it_is(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=after()) as connection:
        with connection.state_changes() as changes:
            await greet(server)
            server.leave()
            reason = await connection.wait_closed()
            assert [change async for change in changes] == [StateChange(DISCONNECTED, reason)]
        assert str(reason) == "The connection was lost."


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_server_that_does_not_want_it_is_left_alone(autojump_clock: MockClock, attempt: int) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(attempt)]
    async with open_over(dials, reconnect=always) as connection:
        for server in servers[:-1]:
            server.leave()
            await becomes(connection, RECONNECTING)
            await becomes(connection, CONNECTED)
        await servers[-1].send(close("go away"))
        reason = await connection.wait_closed()
        assert str(reason) == "The server closed the connection with the following error: go away"
        assert (reason.server_text, reason.retriable) == ("go away", False)
    assert len(dials.times) == attempt


async def test_an_error_that_another_attempt_cannot_help_ends_the_attempts(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    dials.fail(REFUSED, NegotiationError("forbidden", status=403, retriable=False))
    async with open_over(dials, reconnect=always) as connection:
        server.leave()
        reason = await connection.wait_closed()
        assert str(reason) == "The connection was lost, and given up after 2 attempts in 2 s: forbidden"
        assert (reason.status, reason.retriable) == (403, False)


async def test_a_failed_handshake_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, silent, broken, good = dials.server(), dials.server(answer=b""), dials.server(), dials.server()
    broken.leave()
    async with open_over(
        dials, reconnect=always, options=HubConnectionOptions(handshake_timeout=7)
    ) as connection:
        first.leave()
        await greet(good)
        assert connection.state is CONNECTED
        assert dials.times == [0, 1, 9, 10]
    assert await silent.receive_record() == {"protocol": "json", "version": 1, "streamCredits": 1}


@pytest.mark.parametrize("silent", [True, False])
async def test_a_silent_server_is_not_waited_for_to_close(autojump_clock: MockClock, silent: bool) -> None:
    dials = Dials()
    server = dials.server()
    dials.server()
    dials.closing = 5
    async with open_over(dials, reconnect=always) as connection:
        await greet(server)
        if not silent:
            await trio.sleep(20)
            await server.send(close(allow_reconnect=True))
        await becomes(connection, RECONNECTING)
        assert trio.current_time() == pytest.approx(30 if silent else 25, abs=1.1)


async def test_the_wait_that_the_server_asks_for_is_heeded(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    dials.fail(NegotiationError("busy", status=503, retry_after=60))
    dials.server()
    async with open_over(dials, reconnect=always) as connection:
        server.leave()
        await becomes(connection, RECONNECTING)
        await becomes(connection, CONNECTED)
        assert dials.times == [0, 1, 62]


async def test_a_server_that_accepts_and_drops_uses_the_attempts_up(autojump_clock: MockClock) -> None:
    dials = Dials()
    first = dials.server()
    for _ in range(5):
        dials.server().connection.close()
    async with open_over(dials, reconnect=after(1, 2, 4)) as connection:
        first.connection.close()
        await connection.wait_closed()
    assert len(dials.times) == 4


async def test_a_connection_that_lasted_begins_the_counting_anew(autojump_clock: MockClock) -> None:
    dials = Dials()
    servers = [dials.server() for _ in range(5)]
    async with open_over(
        dials, reconnect=after(1), options=HubConnectionOptions(stable_time=20, server_timeout=1000)
    ) as connection:
        for server in servers[:-1]:
            await trio.sleep(25)
            server.leave()
            await becomes(connection, RECONNECTING)
            await becomes(connection, CONNECTED)
        await trio.sleep(15)
        servers[-1].leave()
        await connection.wait_closed()


async def test_what_a_policy_raises_ends_the_block_with_it(autojump_clock: MockClock) -> None:
    def policy(*_: object) -> float:
        raise KeyError("mine")

    dials = Dials()
    server = dials.server()
    with no_task_left(), pytest.raises(KeyError, match="mine"):
        async with open_over(dials, reconnect=policy):
            server.leave()
            await trio.sleep_forever()


# ---- the first connect


async def test_the_first_attempt_is_the_only_one_by_default(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.fail_always(REFUSED)
    with pytest.raises(NegotiationError) as caught:
        async with open_over(dials, reconnect=always):
            raise AssertionError
    assert caught.value is REFUSED
    assert dials.times == [0]


async def test_the_first_connection_is_tried_again_where_that_is_asked_for(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.fail(REFUSED, HandshakeError("slow"))
    dials.server()
    async with open_over(dials, reconnect=after(2, 3), retry_first=True) as connection:
        assert connection.state is CONNECTED
    assert dials.times == [0, 2, 5]


async def test_the_last_error_comes_out_where_the_first_connection_is_given_up(
    autojump_clock: MockClock,
) -> None:
    dials = Dials()
    last = HandshakeError("slow")
    dials.fail(REFUSED, last)
    with pytest.raises(HandshakeError) as caught:
        async with open_over(dials, reconnect=after(2), retry_first=True):
            raise AssertionError
    assert caught.value is last


# ---- several servers


async def test_each_attempt_tries_all_servers_in_a_random_order(autojump_clock: MockClock) -> None:
    several = [Dials() for _ in range(3)]
    for dials in several:
        dials.fail_always(REFUSED)
    server = several[2].server()
    async with open_over(several, reconnect=after(1, 1)) as connection:
        assert connection.state is CONNECTED
        server.leave()
        reason = await connection.wait_closed()
        assert str(reason) == (
            "The connection was lost, and given up after 2 attempts in 2 s: "
            "None of the servers can be connected to: (refused) (refused) (refused)"
        )
    assert [dials.times[-2:] for dials in several] == [[1, 2]] * 3


async def test_connections_spread_over_the_servers(autojump_clock: MockClock) -> None:
    several = [Dials() for _ in range(2)]
    for _ in range(50):
        for dials in several:
            dials.server()
        async with open_over(several):
            pass
    counts = [len(dials.times) for dials in several]
    assert sum(counts) == 50
    assert min(counts) > 5


@pytest.mark.parametrize(("waits", "wait"), [((20.0, 10.0), 10.0), ((20.0, None), None)])
async def test_the_failure_of_all_servers_keeps_their_status_and_the_shortest_wait(
    autojump_clock: MockClock, waits: tuple[float | None, ...], wait: float | None
) -> None:
    several = [Dials(), Dials()]
    for dials, each in zip(several, waits, strict=True):
        dials.fail_always(NegotiationError("no", status=503, retry_after=each))
    with pytest.raises(NegotiationError, match=r"^None of the servers") as caught:
        async with open_over(several):
            raise AssertionError
    assert (caught.value.status, caught.value.retry_after) == (503, wait)


@pytest.mark.parametrize("retriable", [(False, False), (False, True)])
async def test_one_server_that_may_be_tried_again_is_enough(
    autojump_clock: MockClock, retriable: tuple[bool, bool]
) -> None:
    several = [Dials(), Dials()]
    for dials, may in zip(several, retriable, strict=True):
        dials.fail_always(NegotiationError("no", retriable=may, retry_after=10 if may else 20))
    with pytest.raises(NegotiationError, match=r"^None of the servers") as caught:
        async with open_over(several):
            raise AssertionError
    assert caught.value.retriable is any(retriable)


# ---- what is told


async def test_changes_of_state_come_with_their_reasons(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with open_over(dials, reconnect=after(1)) as connection:
        with connection.state_changes() as changes:
            await first.send(close("restart", allow_reconnect=True))
            lost = await changes.read()
            assert (lost.state, lost.reason and lost.reason.server_text) == (RECONNECTING, "restart")
            assert await changes.read() == StateChange(CONNECTED)
            second.leave()
            over = await changes.read()
            assert over.state is DISCONNECTED
            assert over.reason is await connection.wait_closed()
            assert [change async for change in changes] == []


async def test_callbacks_are_told_and_may_stop_the_connection(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    told: list[StateChange] = []
    with no_task_left():
        async with open_over(dials, reconnect=after(1)) as connection:

            @connection.on_state_change
            def remove(change: StateChange) -> None:
                told.append(change)
                connection.stop()

            await server.send(close("restart", allow_reconnect=True))
            await connection.wait_closed()
            assert [change.state for change in told] == [RECONNECTING, DISCONNECTING, DISCONNECTED]
            assert told[0].reason is not None
            assert told[0].reason.server_text == "restart"
            remove()
    assert len(told) == 3


async def test_an_end_that_was_asked_for_has_no_reason(autojump_clock: MockClock) -> None:
    dials = Dials()
    dials.server()
    async with open_over(dials) as connection:
        changes = connection.state_changes()
    assert changes.read_ready() == [StateChange(DISCONNECTING), StateChange(DISCONNECTED)]


# ---- calls while it is away


async def test_what_waits_for_the_server_fails_and_is_not_sent_again(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    failed: list[str] = []

    async def invoke(wait: bool) -> None:
        try:
            await connection.invoke("Slow", wait_for_ready=wait)
        except ConnectionClosed as error:
            failed.append(str(error))

    async with open_over(dials, reconnect=after(1)) as connection, trio.open_nursery() as nursery:
        await greet(first)
        nursery.start_soon(invoke, False)
        nursery.start_soon(invoke, True)
        await first.take(2)
        first.leave()
        await greet(second)
        assert failed == ["The connection was lost."] * 2
        assert await second.arrived() == []


async def test_a_new_call_fails_at_once_by_default_and_says_why(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=after(1)) as connection:
        await greet(server)
        server.leave()
        await becomes(connection, RECONNECTING)
        before = trio.current_time()
        with pytest.raises(ConnectionClosed, match=r"^The connection was lost\.$"):
            await connection.invoke("Add")
        with pytest.raises(ConnectionClosed):
            await connection.send("Add")
        with pytest.raises(ConnectionClosed):
            async with connection.stream("Count"):
                raise AssertionError
        assert trio.current_time() == before


async def test_a_call_may_wait_until_the_connection_is_ready(autojump_clock: MockClock) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    results: list[Any] = []

    async def invoke() -> None:
        results.append(await connection.invoke("Add", 1, wait_for_ready=True))

    async def stream() -> None:
        async with connection.stream("Count", wait_for_ready=True) as reader:
            results.append(await reader.read())

    async with open_over(dials, reconnect=after(60)) as connection, trio.open_nursery() as nursery:
        await greet(first)
        first.leave()
        await becomes(connection, RECONNECTING)
        nursery.start_soon(invoke)
        await wait_all_tasks_blocked()
        nursery.start_soon(stream)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: connection.send("Note", wait_for_ready=True))
        await greet(second)
        arrived = await second.arrived()
        assert sorted(message["target"] for message in arrived) == ["Add", "Count", "Note"]
        ids: dict[str, str] = {message["target"]: message.get("invocationId", "") for message in arrived}
        await second.send(result(ids["Add"], 2), {"type": 2, "invocationId": ids["Count"], "item": 7})
    assert sorted(results) == [2, 7]


async def test_a_call_that_waits_does_not_trust_a_link_that_is_about_to_end(
    autojump_clock: MockClock,
) -> None:
    dials = Dials()
    first, second = dials.server(), dials.server()
    async with open_over(dials, reconnect=after(1)) as connection:
        await greet(first)
        connection._link._session.end()  # its state is told in a moment
        assert connection.state is CONNECTED
        await connection.send("Note", wait_for_ready=True)
        await greet(second)
        assert await second.receive() == call("Note")


async def test_the_callers_scope_cuts_the_wait(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    async with open_over(dials, reconnect=after(60)) as connection:
        server.leave()
        await becomes(connection, RECONNECTING)
        with trio.move_on_after(5) as scope:
            await connection.invoke("Add", wait_for_ready=True)
        assert scope.cancelled_caught


async def test_a_wait_in_vain_says_so(autojump_clock: MockClock) -> None:
    dials = Dials()
    server = dials.server()
    dials.fail(REFUSED)
    async with open_over(dials, reconnect=after(1)) as connection:
        server.leave()
        await becomes(connection, RECONNECTING)
        with pytest.raises(ConnectionClosed, match="given up after 1 attempts in 1 s: refused"):
            await connection.invoke("Add", wait_for_ready=True)
