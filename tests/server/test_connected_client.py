"""A hub's side of one connection: who hears of its coming and going, what ends it, and what is told of that."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, members_of, no_task_left, open_client, served_hub
from tests.messages import PING, call, close, encode, ended, result
from trio_hubs import Hub, HubException, HubFilter, HubLifetimeContext, Request
from trio_hubs.connections.http import CaseInsensitive
from trio_hubs.server.connected_client import ConnectedClient
from trio_hubs.server.filters import ConnectedNext

from .calls_hub import INVOKING, Calls

CLOSED = "Connection closed with an error."


# ---- coming and going


class Made(Hub):
    """Counts its instances; it has nothing to do when clients come and go."""

    instances = 0

    def __init__(self) -> None:
        type(self).instances += 1

    def plain(self) -> int:
        return self.instances


class Parting(Made):
    async def on_disconnected(self, error: Exception | None) -> None:
        raise NotImplementedError


class Welcoming(HubFilter):
    """Stands around the coming alone."""

    async def on_connected(self, context: HubLifetimeContext, next: ConnectedNext) -> None:
        await next(context)


@pytest.mark.parametrize("filters", [(), (HubFilter(),), (Welcoming(),)])
async def test_hooks_that_do_nothing_are_not_run(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, filters: tuple[HubFilter, ...]
) -> None:
    monkeypatch.setattr(Made, "instances", 0)
    async with open_client(served_hub(Made, filters=filters)) as client:
        await client.send(call("Plain", id="1"))
        welcomed = int(any(isinstance(each, Welcoming) for each in filters))
        assert await client.receive() == result("1", welcomed + 1)
        client.leave()
        await client.served()
    assert Made.instances == welcomed + 1


async def test_an_end_that_nobody_hears_of_costs_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    async def tell(self: ConnectedClient, error: Exception | None) -> None:
        told.append(error)

    monkeypatch.setattr(ConnectedClient, "_tell_closed", tell)
    for hub, count in ((Made, 0), (Parting, 1)):
        async with open_client(served_hub(hub)) as client:
            client.leave()
            await client.served()
        assert len(told) == count


async def test_a_factory_may_make_hubs_with_hooks_of_their_own(autojump_clock: MockClock) -> None:
    events: list[Any] = []

    class Derived(Made):
        async def on_connected(self) -> None:
            events.append("connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    async with open_client(served_hub(Made, Derived)) as client:
        await client.send(call("Plain", id="1"))
        await client.receive()
    assert events == ["connected", "disconnected"]


class Visits(Hub):
    """Tells what it hears; each visit's events are in the order they happened."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    async def on_connected(self) -> None:
        self.events.append("connected")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append(error)

    def same(self) -> bool:
        first = self.context.items.setdefault("first", self)
        return first is self

    def who(self) -> list[Any]:
        request = self.context.request
        return [self.context.connection_id, request.path, request.query["Room"], request.headers["x-who"]]

    def abort(self) -> None:
        self.context.abort()

    async def abort_and_wait(self) -> None:
        self.context.abort()
        await trio.sleep_forever()


def visits(events: list[Any], **options: Any) -> Any:
    return served_hub(Visits, lambda: Visits(events), **options)


async def test_each_invocation_has_a_hub_of_its_own_and_the_connection_its_items(
    autojump_clock: MockClock,
) -> None:
    async with open_client(visits([])) as client:
        await client.send(call("Same", id="1"), call("Same", id="2"))
        assert await client.take(2) == [result("1", True), result("2", False)]


async def test_a_hub_knows_its_connection_and_the_request_that_made_it(autojump_clock: MockClock) -> None:
    request = Request(
        path="/chat", query=CaseInsensitive([("room", "7")]), headers=CaseInsensitive([("X-Who", "me")])
    )
    async with open_client(visits([]), id="c1", request=request) as client:
        await client.send(call("Who", id="1"))
        assert await client.receive() == result("1", ["c1", "/chat", "7", "me"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_end_in_order_is_no_error_and_lets_the_client_reconnect(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        client.connection.close()
        assert await client.rest() == [close(allow_reconnect=True)]
    assert events == ["connected", None]


async def test_a_lost_connection_is_no_error(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    async with open_client(visits(events)) as client:
        await client.send(call("Same", id="1"))
        await client.receive()
        client.leave()
    assert events == ["connected", None]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_close_message_is_answered_with_one(autojump_clock: MockClock, protocol: str) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        await client.send(close())
        assert await client.rest() == [close()]
    assert events == ["connected", None]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_error_of_a_clients_close_is_told_to_the_hub_alone(
    autojump_clock: MockClock, protocol: str, detailed: bool
) -> None:
    events: list[Any] = []
    async with open_client(visits(events, detailed_errors=detailed), protocol) as client:
        await client.send(close("my fault"))
        assert await client.rest() == [close()]
    _, error = events
    assert isinstance(error, HubException)
    assert str(error) == "my fault"


@pytest.mark.parametrize("method", ["Abort", "AbortAndWait"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_abort_closes_and_the_client_is_not_to_reconnect(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        await client.send(call(method))
        assert await client.rest() == [close()]
    assert events == ["connected", None]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_silent_client_that_used_to_ping_is_closed_with_an_error(
    autojump_clock: MockClock, protocol: str, detailed: bool
) -> None:
    events: list[Any] = []
    served = visits(events, client_timeout=30.0, keep_alive_interval=100.0, detailed_errors=detailed)
    async with open_client(served, protocol, beating=True) as client:
        await client.send(PING)
        text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
        expected = f"{CLOSED} TimeoutError: {text}" if detailed else CLOSED
        assert await client.rest() == [close(expected, allow_reconnect=True)]
        assert 30.0 <= trio.current_time() <= 32.0
    _, error = events
    assert isinstance(error, TimeoutError)
    assert str(error) == text


async def test_a_client_that_never_pings_may_be_silent(autojump_clock: MockClock) -> None:
    async with open_client(visits([]), beating=True) as client:
        await trio.sleep(300)
        await client.send(call("Same", id="1"))
        assert result("1", True) in await client.arrived()


async def test_any_bytes_are_life(autojump_clock: MockClock) -> None:
    async with open_client(visits([]), beating=True) as client:
        await client.send(PING)
        for _ in range(5):
            await trio.sleep(29)
            await client.send_bytes(encode("json", call("Same", id="1"))[:1] or b"")
            await client.send_bytes(encode("json", call("Same", id="1"))[1:])
        answers = await client.arrived()
        assert [answer for answer in answers if answer["type"] == 3] == [
            result("1", True),
            *[result("1", False)] * 4,
        ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_pings_come_after_each_interval_busy_or_not(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(visits([], keep_alive_interval=10.0), protocol, beating=True) as client:
        for _ in range(8):
            await trio.sleep(5.1)
            await client.send(call("Same"))
        pings = await client.arrived()
        assert pings == [PING] * 4
        await trio.sleep(30)
        assert await client.arrived() == [PING] * 3


async def test_calls_wait_until_on_connected_has_returned(autojump_clock: MockClock) -> None:
    events: list[str] = []
    go = trio.Event()

    class Slow(Hub):
        async def on_connected(self) -> None:
            events.append("connecting")
            await go.wait()
            events.append("connected")

        def inline(self) -> None:
            events.append("inline")

        async def plain(self) -> None:
            events.append("plain")

    async with open_client(Slow) as client:
        await client.send(call("Inline", id="1"), call("Plain", id="2"), call("Inline", id="3"))
        assert await client.arrived() == []
        assert events == ["connecting"]
        go.set()
        assert await client.take(3) == [result("1", None), result("2", None), result("3", None)]
    assert events == ["connecting", "connected", "inline", "plain", "inline"]


async def test_on_connected_may_send_and_is_in_the_roster(autojump_clock: MockClock) -> None:
    class Greeting(Hub):
        async def on_connected(self) -> None:
            await self.clients.caller.send("Hello", self.context.connection_id)
            await self.clients.all.send("Joined", self.context.connection_id)

    served = served_hub(Greeting)
    async with open_client(served, id="a") as first, open_client(served, id="b") as second:
        assert await first.take(3) == [call("Hello", "a"), call("Joined", "a"), call("Joined", "b")]
        assert await second.take(2) == [call("Hello", "b"), call("Joined", "b")]


@pytest.mark.parametrize(
    ("error", "detailed", "text"),
    [
        (ValueError("secret"), False, CLOSED),
        (ValueError("secret"), True, f"{CLOSED} ValueError: secret"),
        (HubException("not you"), False, f"{CLOSED} HubException: not you"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_raising_in_on_connected_refuses_the_client(
    autojump_clock: MockClock,
    protocol: str,
    error: Exception,
    detailed: bool,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events: list[str] = []

    class Refusing(Hub):
        async def on_connected(self) -> None:
            raise error

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

        def inline(self) -> None:
            events.append("called")

    caplog.set_level("INFO")
    served = served_hub(Refusing, detailed_errors=detailed)
    with no_task_left():
        async with open_client(served, protocol, id="c1", handshake=False) as client:
            await client.shake_hands(call("Inline", id="1"))
            assert await client.rest() == [close(text)]
            await client.served()
            assert not members_of(served).by_id
    assert events == []
    assert "connection c1 was refused" in caplog.text


async def test_on_connected_is_cancelled_when_its_client_leaves(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Hanging(Hub):
        async def on_connected(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                events.append("cancelled")

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    served = served_hub(Hanging)
    with no_task_left():
        async with open_client(served) as client:
            client.leave()
            await client.served()
    assert events == ["cancelled"]
    assert not members_of(served).by_id


async def test_raising_in_on_disconnected_is_logged_and_the_connection_ends_in_order(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            raise ValueError("oops")

    served = served_hub(Failing)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "connection c1: on_disconnected failed" in caplog.text
    assert "ValueError: oops" in caplog.text
    assert not members_of(served).by_id


async def test_on_disconnected_has_its_grace_and_no_longer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            await trio.sleep_forever()

    served = served_hub(Hanging, on_disconnected_timeout=3.0)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
            assert trio.current_time() == pytest.approx(3.0)
    assert "connection c1: on_disconnected was cancelled after 3 s" in caplog.text
    assert not members_of(served).by_id


@pytest.mark.parametrize("with_child", [False, True])
async def test_on_disconnected_may_fail_when_its_grace_is_over(
    autojump_clock: MockClock, with_child: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            if with_child:
                self.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("oops")

    served = served_hub(Stubborn)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "ValueError: oops" in caplog.text
    assert not members_of(served).by_id


@pytest.mark.parametrize("with_child", [False, True])
async def test_on_connected_may_fail_while_it_is_cancelled(
    autojump_clock: MockClock, with_child: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Hub):
        async def on_connected(self) -> None:
            if with_child:
                self.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("oops")

    served = served_hub(Stubborn)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "ValueError: oops" in caplog.text
    assert not members_of(served).by_id


async def test_hooks_wait_for_their_children(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Parent(Hub):
        async def child(self, name: str) -> None:
            await trio.sleep(1)
            events.append(f"{name} child")

        async def on_connected(self) -> None:
            self.start_soon(self.child, "connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            self.start_soon(self.child, "disconnected")

        def inline(self) -> None:
            events.append("inline")

    async with open_client(Parent) as client:
        await client.send(call("Inline", id="1"))
        await client.receive()
        client.connection.close()
        await client.rest()
    assert events == ["connected child", "inline", "disconnected child"]


@pytest.mark.parametrize("place", ["connect", "call", "disconnect"])
async def test_a_factory_that_fails_harms_its_own_call_only(
    autojump_clock: MockClock, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    turn = {"connect": 1, "call": 2, "disconnect": 3}[place]
    made: list[int] = []

    def factory() -> Hub:
        made.append(1)
        if len(made) == turn:
            raise ValueError("no hub today")
        return Calls()

    with no_task_left():
        async with open_client(served_hub(Calls, factory), handshake=False) as client:
            await client.shake_hands(call("Add", 1, id="1"))
            answers = [await client.receive()]
            client.connection.close()
            answers += await client.rest()
    assert (
        answers
        == {
            "connect": [close(CLOSED)],
            "call": [ended("1", INVOKING.format("Add")), close(allow_reconnect=True)],
            "disconnect": [result("1", 2), close(allow_reconnect=True)],
        }[place]
    )
    assert "no hub today" in caplog.text


# ---- the protocol's own errors


@pytest.mark.parametrize("detailed", [False, True])
async def test_a_malformed_message_closes_with_the_official_text(
    autojump_clock: MockClock, detailed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    async with open_client(visits(events, detailed_errors=detailed), id="c1") as client:
        await client.send_bytes(encode("json", call("Same", id="1")) + b"{oops}\x1e")
        text = f"{CLOSED} ProtocolError: Error reading JSON." if detailed else CLOSED
        assert await client.rest() == [result("1", True), close(text, allow_reconnect=True)]
    assert [str(event) for event in events] == ["connected", "Error reading JSON."]
    assert "connection c1: ProtocolError('Error reading JSON.')" in caplog.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_input_that_ends_inside_a_message_closes_with_an_error(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(visits([], detailed_errors=True), protocol) as client:
        await client.send_bytes(encode(protocol, call("Same"))[:-1])
        client.connection.close()
        text = f"{CLOSED} ProtocolError: Connection terminated while reading a message."
        assert await client.rest() == [close(text, allow_reconnect=True)]
