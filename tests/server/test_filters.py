"""Filters stand around invocations; each decides what passes, and what becomes of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, no_task_left, open_client, served_hub, session_of
from tests.messages import call, cancel, close, ended, item, result, stream
from tests.server.app_peer import open_app, visit
from tests.server.filtered_hub import Filtered, Invoking, noting
from trio_hubs import ChannelReader, HubApp, HubException, HubFilter, HubInvocationContext, HubLifetimeContext
from trio_hubs.server.filters import FilterChain, InvocationNext

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
INVOKING = "An unexpected error occurred invoking '{}' on the server."


# ---- order


@both_protocols
@pytest.mark.parametrize("method", ["inline", "plain"])
async def test_the_first_is_the_outermost(autojump_clock: MockClock, protocol: str, method: str) -> None:
    events: list[str] = []
    served = served_hub(Filtered, lambda: Filtered(events), filters=noting(events, "outer", "inner"))
    async with open_client(served, protocol) as client:
        await client.send(call(method, 5, id="1"))
        assert await client.receive() == result("1", 5)
        client.connection.close()
        assert await client.rest() == [close(allow_reconnect=True)]
    assert events == [
        "outer before connecting",
        "inner before connecting",
        "connected",
        "inner after connecting",
        "outer after connecting",
        f"outer before {method}",
        f"inner before {method}",
        f"{method} 5",
        f"inner after {method}",
        f"outer after {method}",
        "outer before disconnecting",
        "inner before disconnecting",
        "disconnected: None",
        "inner after disconnecting",
        "outer after disconnecting",
    ]


async def test_those_of_the_app_are_around_those_of_a_hub_and_hubs_have_their_own(
    autojump_clock: MockClock,
) -> None:
    events: list[str] = []
    app = HubApp(filters=noting(events, "app 1", "app 2"))
    app.add_hub("/one", Filtered, filters=noting(events, "hub 1", "hub 2"))
    app.add_hub("/other", Filtered)
    async with open_app(app) as served:
        one = await visit(served, "/one")
        other = await visit(served, "/other")
        events.clear()
        await one.send(call("Inline", id="1"))
        await one.receive()
        names = ["app 1", "app 2", "hub 1", "hub 2"]
        assert events == [f"{n} before inline" for n in names] + [f"{n} after inline" for n in names[::-1]]
        events.clear()
        await other.send(call("Inline", id="1"))
        await other.receive()
        assert events == [f"{n} {w} inline" for n, w in (("app 1", "before"), ("app 2", "before"))] + [
            "app 2 after inline",
            "app 1 after inline",
        ]


async def test_a_filter_need_not_care_for_everything(autojump_clock: MockClock) -> None:
    events: list[str] = []
    served = served_hub(Filtered, lambda: Filtered(events), filters=[HubFilter()])
    async with open_client(served) as client:
        await client.send(call("Inline", id="1"), stream("Count", 1, id="2"))
        assert await client.take(3) == [result("1", None), item("2", 0), ended("2")]
    assert [*events[:2], *events[-1:]] == ["connected", "inline None", "disconnected: None"]


async def test_a_chain_of_none_is_the_hub_itself() -> None:
    chain = FilterChain(())
    hub = Filtered()
    context: Any = HubInvocationContext(None, hub, hub.plain, [3])  # type: ignore[arg-type]
    assert await chain.invoke(context) == 3
    context.method = hub.inline
    assert await chain.invoke(context) == 3
    await chain.on_connected(HubLifetimeContext(None, hub))  # type: ignore[arg-type]
    await chain.on_disconnected(HubLifetimeContext(None, hub), ValueError("x"))  # type: ignore[arg-type]
    assert hub.events == ["plain 3", "inline 3", "connected", "disconnected: x"]


# ---- what a filter sees and changes


async def test_it_sees_the_connection_the_hub_the_method_and_the_arguments(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def look(context: HubInvocationContext, next: InvocationNext) -> Any:
        assert context.context is context.hub.context
        seen.append(
            (context.context.connection_id, type(context.hub), context.method.__name__, context.arguments)
        )
        assert context.method.__self__ is context.hub  # type: ignore[attr-defined]
        context.context.items["seen"] = True
        return await next(context)

    async with open_client(served_hub(Filtered, filters=[Invoking(look)]), id="a") as client:
        await client.send(call("Inline", [1, {"a": None}], id="1"))
        await client.receive()
    assert seen == [("a", Filtered, "inline", [[1, {"a": None}]])]


@both_protocols
@pytest.mark.parametrize("method", ["inline", "plain"])
async def test_arguments_and_results_may_be_changed(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    async def change(context: HubInvocationContext, next: InvocationNext) -> Any:
        context.arguments[0] += 1
        return await next(context) * 10

    async with open_client(served_hub(Filtered, filters=[Invoking(change)]), protocol) as client:
        await client.send(call(method, 4, id="1"), call(method, 5, id="2"))
        assert await client.take(2) == [result("1", 50), result("2", 60)]


@pytest.mark.parametrize("method", ["Inline", "Plain", "Forever"])
async def test_next_may_be_skipped(autojump_clock: MockClock, method: str) -> None:
    events: list[str] = []

    async def skip(context: HubInvocationContext, next: InvocationNext) -> Any:
        return "from the filter"

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Invoking(skip)])
    async with open_client(served) as client:
        await client.send(call(method, id="1"))
        assert await client.receive() == result("1", "from the filter")
        assert events == ["connected"]


@both_protocols
@pytest.mark.parametrize("method", ["Inline", "Plain", "Failing", "Forever"])
@pytest.mark.parametrize("after", [False, True])
async def test_raising_refuses_the_call_alone(
    autojump_clock: MockClock, protocol: str, method: str, after: bool
) -> None:
    async def refuse(context: HubInvocationContext, next: InvocationNext) -> Any:
        if context.arguments != ["ok"]:
            if after and method != "Forever":
                with pytest.raises(HubException) if method == "Failing" else trio.CancelScope():
                    await next(context)
            raise HubException("not today")
        return await next(context)

    async with open_client(served_hub(Filtered, filters=[Invoking(refuse)]), protocol) as client:
        await client.send(call(method, id="1"), call("Inline", "ok", id="2"))
        assert await client.take(2) == [
            ended("1", f"{INVOKING.format(method)} HubException: not today"),
            result("2", "ok"),
        ]


async def test_an_error_may_be_turned_into_a_result(autojump_clock: MockClock) -> None:
    async def mend(context: HubInvocationContext, next: InvocationNext) -> Any:
        try:
            return await next(context)
        except HubException as error:
            return f"mended: {error}"

    async with open_client(served_hub(Filtered, filters=[Invoking(mend)])) as client:
        await client.send(call("Failing", id="1"))
        assert await client.receive() == result("1", "mended: told")


async def test_a_private_error_of_a_filter_stays_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(context: HubInvocationContext, next: InvocationNext) -> Any:
        raise ValueError("secret")

    async with open_client(served_hub(Filtered, filters=[Invoking(fail)])) as client:
        await client.send(call("Inline", id="1"), call("Inline"))
        assert await client.receive() == ended("1", INVOKING.format("Inline"))
        assert await client.arrived() == []
    assert "ValueError: secret" in caplog.text


async def test_what_does_not_fit_the_method_reaches_no_filter(autojump_clock: MockClock) -> None:
    async def never(context: HubInvocationContext, next: InvocationNext) -> Any:
        raise AssertionError

    async with open_client(served_hub(Filtered, filters=[Invoking(never)])) as client:
        await client.send(
            call("Unknown", id="1"),
            call("Inline", 1, 2, id="2"),
            call("Count", 1, id="3"),
            call("Total", id="4"),
        )
        answers = await client.take(4)
        assert all("error" in answer for answer in answers)


async def test_two_filters_that_change_the_same_do_so_in_turn(autojump_clock: MockClock) -> None:
    async def add(context: HubInvocationContext, next: InvocationNext) -> Any:
        context.arguments[0] += "a"
        return f"({await next(context)})"

    async def replace(context: HubInvocationContext, next: InvocationNext) -> Any:
        other = HubInvocationContext(
            context.context, context.hub, context.method, [context.arguments[0] + "b"]
        )
        return f"[{await next(other)}]"

    served = served_hub(Filtered, filters=[Invoking(add), Invoking(replace)])
    async with open_client(served) as client:
        await client.send(call("Inline", "x", id="1"))
        assert await client.receive() == result("1", "([xab])")


# ---- streams and uploads


@both_protocols
@pytest.mark.parametrize("method", ["Count", "Channel"])
async def test_around_a_stream_it_sees_the_call_that_gives_it(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    events: list[str] = []
    async with open_client(served_hub(Filtered, filters=noting(events, "f")), protocol) as client:
        await client.send(stream(method, 2))
        assert await client.take(3) == [item("1", 0), item("1", 1), ended("1")]
    assert events[2:4] == [f"f before {method.lower()}", f"f after {method.lower()}"]


@pytest.mark.parametrize("method", ["Count", "Channel"])
async def test_it_may_give_another_stream(autojump_clock: MockClock, method: str) -> None:
    async def doubled(items: Any) -> AsyncIterator[int]:
        async for number in items:
            yield 2 * number

    async def double(context: HubInvocationContext, next: InvocationNext) -> Any:
        return doubled(await next(context))

    async with open_client(served_hub(Filtered, filters=[Invoking(double)])) as client:
        await client.send(stream(method, 3))
        assert await client.take(4) == [item("1", 0), item("1", 2), item("1", 4), ended("1")]


async def test_one_that_gives_no_stream_where_one_is_due_fails_the_call(autojump_clock: MockClock) -> None:
    async def forget(context: HubInvocationContext, next: InvocationNext) -> Any:
        return None

    async with open_client(served_hub(Filtered, filters=[Invoking(forget)])) as client:
        await client.send(stream("Count", 3), call("Inline", id="2"))
        text = "The value returned by the streaming method 'Count' is not a ChannelReader<> or IAsyncEnumerable<>."
        assert await client.take(2) == [ended("1", text), result("2", None)]


async def test_a_refused_stream_is_never_begun(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def refuse(context: HubInvocationContext, next: InvocationNext) -> Any:
        await next(context)
        raise HubException("no streams")

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Invoking(refuse)])
    with no_task_left():
        async with open_client(served) as client:
            await client.send(stream("Count", 3))
            assert await client.receive() == ended(
                "1", f"{INVOKING.format('Count')} HubException: no streams"
            )
    assert "count ended" not in events


async def test_a_filtered_stream_is_cancelled_by_its_client(autojump_clock: MockClock) -> None:
    events: list[str] = []
    served = served_hub(Filtered, lambda: Filtered(events), filters=[HubFilter()])
    async with open_client(served) as client:
        await client.send(stream("Count", 100))
        await client.receive()
        await client.send(cancel("1"))
        assert (await client.arrived())[-1] == ended("1")
        assert events[-1] == "count ended"


@both_protocols
async def test_uploads_are_among_the_arguments(autojump_clock: MockClock, protocol: str) -> None:
    seen: list[type] = []

    async def look(context: HubInvocationContext, next: InvocationNext) -> Any:
        seen.extend(type(argument) for argument in context.arguments)
        return await next(context) + 1

    async with open_client(served_hub(Filtered, filters=[Invoking(look)]), protocol) as client:
        await client.send(call("Total", id="1", uploads=("u",)), item("u", 1), item("u", 2), ended("u"))
        assert await client.receive() == result("1", 4)
    assert seen == [ChannelReader]


async def test_a_refused_upload_is_thrown_away(autojump_clock: MockClock) -> None:
    async def refuse(context: HubInvocationContext, next: InvocationNext) -> Any:
        raise HubException("no uploads")

    served = served_hub(Filtered, filters=[Invoking(refuse)])
    async with open_client(served, id="a") as client:
        await client.send(call("Total", id="1", uploads=("u",)), item("u", 1))
        assert "no uploads" in (await client.receive())["error"]
        await client.send(*[item("u", "x" * 1000)] * 500, ended("u"), call("Unknown", id="2"))
        assert "Method does not exist" in (await client.receive())["error"]
        incoming = session_of(served, "a").our_calls._incoming
        assert incoming.reading._unread == 0
        assert not incoming._streams


# ---- methods that need no task, and order


async def test_a_filter_may_wait_around_an_inline_method(autojump_clock: MockClock) -> None:
    async def wait(context: HubInvocationContext, next: InvocationNext) -> Any:
        await trio.sleep(1)
        try:
            return await next(context)
        finally:
            await trio.sleep(1)

    async with open_client(served_hub(Filtered, filters=[Invoking(wait)])) as client:
        await client.send(call("Inline", 1, id="1"))
        assert await client.receive() == result("1", 1)
        assert trio.current_time() == pytest.approx(2)


async def test_the_children_of_an_inline_method_are_waited_for(autojump_clock: MockClock) -> None:
    events: list[str] = []
    served = served_hub(Filtered, lambda: Filtered(events), filters=[HubFilter()])
    async with open_client(served) as client:
        await client.send(call("WithChild", id="1"))
        assert await client.receive() == result("1", "parent")
        assert events[-1] == "child ended"


@pytest.mark.parametrize("method", ["Inline", "Plain"])
async def test_one_at_a_time_holds_around_filters(autojump_clock: MockClock, method: str) -> None:
    running: list[int] = []
    most: list[int] = []
    order: list[int] = []

    async def slow(context: HubInvocationContext, next: InvocationNext) -> Any:
        running.append(1)
        most.append(len(running))
        order.append(context.arguments[0])
        await trio.sleep(1)
        running.pop()
        return await next(context)

    async with open_client(served_hub(Filtered, filters=[Invoking(slow)])) as client:
        await client.send(*(call(method, number, id=f"{number}") for number in range(20)))
        assert await client.take(20) == [result(f"{number}", number) for number in range(20)]
    assert max(most) == 1
    assert order == list(range(20))


@pytest.mark.parametrize("methods", [("Inline",), ("Plain",), ("Inline", "Plain")])
async def test_calls_come_to_filters_in_the_order_of_their_arrival(
    autojump_clock: MockClock, methods: tuple[str, ...]
) -> None:
    order: list[int] = []

    async def note(context: HubInvocationContext, next: InvocationNext) -> Any:
        order.append(context.arguments[0])
        return await next(context)

    served = served_hub(Filtered, filters=[Invoking(note)], maximum_parallel_invocations=8)
    async with open_client(served) as client:
        for start in range(0, 400, 8):
            calls = [call(methods[n % len(methods)], n, id=f"{n}") for n in range(start, start + 8)]
            await client.send(*calls)
            await client.take(8)
    assert order == list(range(400))


async def test_a_cancelled_call_is_cancelled_in_its_filter(autojump_clock: MockClock) -> None:
    events: list[str] = []
    served = served_hub(Filtered, lambda: Filtered(events), filters=noting(events, "f"))
    async with open_client(served) as client:
        await client.send(call("Forever", id="1"))
        await client.arrived()
        await client.send(cancel("1"))
        assert await client.receive() == ended("1", "The invocation was canceled by the client.")
    assert events[-5:-3] == ["forever ended", "f after forever"]


@pytest.mark.parametrize("method", ["Inline", "Plain"])
async def test_a_filter_is_cancelled_before_it_passes_on_when_the_client_leaves(
    autojump_clock: MockClock, method: str
) -> None:
    events: list[str] = []

    async def hang(context: HubInvocationContext, next: InvocationNext) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            events.append("filter ended")

    served = served_hub(Filtered, lambda: Filtered(events), filters=[Invoking(hang)])
    with no_task_left():
        async with open_client(served) as client:
            await client.send(call(method, id="1"))
            await client.arrived()
            client.leave()
            await client.served()
    assert events == ["connected", "filter ended", "disconnected: None"]
