"""The laws of structured concurrency and of the data's path, shown on whole hubs; and every bad input there is.

Each section is one law, and its tests fail where it is broken.
"""

import ast
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_hubs
from tests.hub_peer import (
    PING,
    PROTOCOLS,
    Message,
    RawClient,
    call,
    cancel,
    close,
    encode,
    ended,
    endpoint,
    framed,
    item,
    no_task_left,
    open_client,
    open_raw_server,
    result,
    stream,
)
from trio_hubs import (
    ChannelReader,
    ChannelWriter,
    Hub,
    HubApp,
    HubException,
    HubOptions,
    StreamOverflow,
    UploadBroken,
    open_channel,
)
from trio_hubs.protocol.payloads import Payloads
from trio_hubs.server.hub_endpoint import HubEndpoint

CANCELED = "The invocation was canceled by the client."
STREAMING = "An error occurred on the server while streaming results."
CLOSED = "Connection closed with an error."

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class Witness(Hub):
    """Methods of every kind, which note their beginning and their end."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    @contextlib.contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        self.events.append(f"{name} began")
        try:
            yield
        finally:
            self.events.append(f"{name} ended")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("disconnected")

    def add(self, a: int, b: int) -> int:
        return a + b

    def abort(self) -> None:
        self.context.abort()

    async def plain(self) -> None:
        with self._noting("plain"):
            await trio.sleep_forever()

    async def careful(self) -> None:
        try:
            with self._noting("careful"):
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("careful cleaned up")

    async def plain_with_child(self) -> None:
        self.start_soon(self._child)
        with self._noting("plain"):
            await trio.sleep_forever()

    def inline_with_child(self) -> None:
        self.start_soon(self._child)

    async def _child(self) -> None:
        with self._noting("child"):
            await trio.sleep_forever()

    async def generator(self, count: int) -> AsyncIterator[int]:
        with self._noting("generator"):
            for number in range(count):
                yield number
                await trio.sleep(1)

    async def careful_generator(self, count: int) -> AsyncIterator[int]:
        try:
            async for number in self.generator(count):
                yield number
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("careful cleaned up")

    def iterator(self, count: int) -> AsyncIterator[int]:
        return self.generator(count)

    def channel(self, count: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=1)
        self.start_soon(self._write, writer, count)
        return reader

    async def channel_later(self, count: int) -> ChannelReader[int]:
        await trio.lowlevel.checkpoint()
        return self.channel(count)

    async def _write(self, writer: ChannelWriter[int], count: int) -> None:
        with self._noting("writer"):
            for number in range(count):
                await writer.write(number)
                await trio.sleep(1)
            writer.complete()

    async def total(self, items: ChannelReader[int]) -> int:
        with self._noting("total"):
            return sum([number async for number in items])

    async def total_two(self, first: AsyncIterator[int], second: AsyncIterator[int]) -> int:
        with self._noting("total"):
            return 1000 * sum([number async for number in first]) + sum([number async for number in second])

    async def double(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        with self._noting("double"):
            async for number in items:
                yield 2 * number

    async def ignore(self, items: ChannelReader[int]) -> None:
        with self._noting("ignore"):
            await trio.sleep_forever()


def witness(events: list[str], **options: Any) -> HubEndpoint:
    return endpoint(Witness, lambda: Witness(events), **options)


def garbage(protocol: str) -> bytes:
    return b"{oops}\x1e" if protocol == "json" else framed(b"\xc1")


async def _be_silent(client: RawClient) -> None:
    await client.send(PING)


async def _vanish(client: RawClient) -> None:
    client.leave()


async def _close(client: RawClient) -> None:
    client.connection.close()


async def _shut_down(client: RawClient) -> None:
    client.serving.cancel()


ENDS: dict[str, Callable[[RawClient], Any]] = {
    "the client vanishes": _vanish,
    "the client closes": _close,
    "the client says close": lambda client: client.send(close()),
    "the client is silent": _be_silent,
    "the client sends garbage": lambda client: client.send_bytes(garbage(client.protocol)),
    "the hub aborts": lambda client: client.send(call("Abort")),
    "the server shuts down": _shut_down,
}
each_end = pytest.mark.parametrize("end", ENDS)
PARALLEL = 3  # so that Abort is not behind a method that hangs

# ---- law 1: each invocation has its scope as soon as its message is read; all that ends it cancels that


@both_protocols
async def test_a_cancel_in_the_same_packet_works(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(stream("Generator", 9, id="1"), cancel("1"), call("Plain", id="2"), cancel("2"))
        answers = await client.arrived()
        assert sorted(answers, key=lambda answer: str(answer["invocationId"])) == [
            ended("1"),
            ended("2", CANCELED),
        ]
    assert events == ["disconnected"]


@both_protocols
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (call("Plain", id="1"), ended("1", CANCELED)),
        (call("PlainWithChild", id="1"), ended("1", CANCELED)),
        (call("InlineWithChild", id="1"), ended("1", CANCELED)),
        (call("Ignore", id="1", uploads=("9",)), ended("1", CANCELED)),
        (stream("Generator", 9), ended("1")),
        (stream("Iterator", 9), ended("1")),
        (stream("Channel", 9), ended("1")),
        (stream("ChannelLater", 9), ended("1")),
        (stream("Double", uploads=("9",)), ended("1")),
    ],
)
async def test_the_clients_cancel_ends_a_method_that_did_not_prepare_for_it(
    autojump_clock: MockClock, protocol: str, message: Message, answer: Message
) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(message)
        await client.arrived()
        assert [event for event in events if event.endswith("ended")] == []
        await client.send(cancel("1"))
        assert await client.arrived() == [answer]
        assert len([event for event in events if event.endswith("ended")]) == len(events) / 2 > 0
        await client.send(call("Add", 1, 2, id="2"))
        assert await client.arrived() == [result("2", 3)]


@both_protocols
@each_end
@pytest.mark.parametrize(
    "message",
    [
        call("Plain", id="1"),
        call("Careful", id="1"),
        call("PlainWithChild", id="1"),
        call("InlineWithChild", id="1"),
        call("Ignore", id="1", uploads=("9",)),
        call("Total", id="1", uploads=("9",)),
        stream("CarefulGenerator", 999),
        stream("Iterator", 999),
        stream("Channel", 999),
        stream("Double", uploads=("9",)),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_whatever_ends_the_connection_ends_its_invocations(
    autojump_clock: MockClock, protocol: str, end: str, message: Message
) -> None:
    events: list[str] = []
    served = witness(events, maximum_parallel_invocations=PARALLEL)
    with no_task_left():
        async with open_client(served, protocol, beating=end == "the client is silent") as client:
            await client.send(message)
            await client.arrived()
            assert [event for event in events if event.endswith("ended")] == []
            await ENDS[end](client)
            await client.served()
    began = [event.removesuffix(" began") for event in events if event.endswith(" began")]
    assert began
    assert sorted(event.removesuffix(" ended") for event in events if event.endswith(" ended")) == sorted(
        began
    )
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1
    assert not served.roster.sessions


async def test_a_call_that_waits_can_be_cancelled_and_never_begins(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with open_client(witness(events)) as client:
        await client.send(call("Plain", id="1"), call("Careful", id="2"), cancel("2"), cancel("1"))
        assert await client.take(2) == [ended("1", CANCELED), ended("2", CANCELED)]
    assert "careful began" not in events


# ---- law 2: reading stops, what waits fails, calls are cancelled and awaited, the hub hears, the last bytes go


class Ordered(Hub):
    """Notes what happens at the end, and in which order."""

    def __init__(self, events: list[str], served: list[HubEndpoint]) -> None:
        self.events = events
        self.served = served

    def note(self, text: str) -> None:
        self.events.append(text)

    def abort(self) -> None:
        self.context.abort()

    async def work(self, items: ChannelReader[int]) -> None:
        try:
            await items.read()
        except UploadBroken:
            self.events.append("upload broken")
            await trio.sleep(5)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("method ended")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("hub hears")
        await trio.sleep(1)
        listed = self.context.connection_id in self.served[0].roster.sessions
        self.events.append("still listed" if listed else "unlisted")


@both_protocols
@each_end
async def test_the_end_of_a_connection_has_its_order(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    events: list[str] = []
    served: list[HubEndpoint] = []
    served.append(endpoint(Ordered, lambda: Ordered(events, served)))
    async with open_client(served[0], protocol, beating=end == "the client is silent") as client:
        await client.send(call("Work", uploads=("9",)))
        await client.arrived()
        await ENDS[end](client)
        if end != "the client vanishes":
            assert (await client.rest())[-1]["type"] == 7
        await client.served()
        assert not served[0].roster.sessions
    first = [] if end == "the server shuts down" else ["upload broken"]  # a shutdown cancels at once
    assert events == [*first, "method ended", "hub hears", "still listed"]


@both_protocols
@pytest.mark.parametrize("end", ["the client says close", "the hub aborts", "the client sends garbage"])
async def test_nothing_is_read_after_the_end(autojump_clock: MockClock, protocol: str, end: str) -> None:
    events: list[str] = []
    served: list[HubEndpoint] = []
    served.append(endpoint(Ordered, lambda: Ordered(events, served)))
    async with open_client(served[0], protocol) as client:
        await ENDS[end](client)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(call("Note", "too late", id="1"))
        assert [message["type"] for message in await client.rest()] == [7]
    assert events == ["hub hears", "still listed"]


@both_protocols
async def test_shutdown_in_the_middle_of_everything_is_in_order(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    served = witness(events, maximum_parallel_invocations=2)
    with no_task_left():
        async with open_client(served, protocol) as client:
            await client.send(
                stream("CarefulGenerator", 999, id="1"),
                stream("Channel", 999, id="2"),
                call("Total", id="3", uploads=("9",)),
                item("9", 1),
                call("Careful", id="4"),
                call("PlainWithChild", id="5"),
                call("Plain", id="6"),
            )
            await client.send_bytes(encode(protocol, call("Plain", id="7"))[:-1])
            await client.arrived()
            client.serving.cancel()
            messages = await client.rest()
            assert messages[-1] == close(allow_reconnect=True)
            assert messages.count(close(allow_reconnect=True)) == 1
    names = ("generator", "writer", "total", "careful", "plain", "child")
    assert {event for event in events if event.endswith("began")} == {f"{name} began" for name in names}
    assert {event for event in events if event.endswith("ended")} == {f"{name} ended" for name in names}
    assert events.count("careful cleaned up") == 2
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1


async def test_shutdown_before_the_handshake_ends_the_connection(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_client(witness(events), handshake=False) as client:
            await client.send_bytes(b'{"protocol"')
            await trio.testing.wait_all_tasks_blocked()
            client.serving.cancel()
            await client.served()
    assert events == []


async def test_a_client_that_takes_nothing_holds_up_no_shutdown(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_client(witness(events), capacity=1) as client:
            await client.send(*[call("Add", 1, 2, id=str(number)) for number in range(500)])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(*[call("Add", 1, 2, id=str(number)) for number in range(500)])
            await trio.testing.wait_all_tasks_blocked()
            client.serving.cancel()
            await client.served()
            assert trio.current_time() <= 10
    assert events == ["disconnected"]


# ---- law 3: exactly one Completion answers every invocation that has an id


class Answers(Hub):
    """Methods that end in every way."""

    def inline(self) -> int:
        return 1

    def inline_failing(self) -> None:
        raise ValueError

    async def plain(self, text: str = "") -> int:
        return 1

    async def failing(self) -> None:
        raise HubException("told")

    async def unwritable(self) -> object:
        return object()

    async def child_fails(self) -> None:
        async def child() -> None:
            raise ValueError("child")

        self.start_soon(child)
        await trio.sleep_forever()

    def inline_child_fails(self) -> None:
        async def child() -> None:
            raise ValueError("child")

        self.start_soon(child)

    async def forever(self) -> None:
        await trio.sleep_forever()

    async def fails_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while being cancelled")

    async def finishes_when_cancelled(self) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return 1

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def count_failing(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError

    async def count_unwritable(self) -> AsyncIterator[object]:
        yield object()

    async def count_forever(self) -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def count_fails_when_cancelled(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("while being cancelled")

    async def count_yields_when_closed(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            yield 2

    def channel_with_failing_child(self) -> ChannelReader[int]:
        async def child() -> None:
            await trio.sleep(1)
            raise ValueError("child")

        _, reader = open_channel(int)
        self.start_soon(child)
        return reader

    def no_reader(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([number async for number in items])


@both_protocols
@pytest.mark.parametrize(
    "messages",
    [
        [call("Nope", id="1")],
        [stream("Nope")],
        [call("Inline", id="1")],
        [call("Inline", 1, 2, id="1")],
        [call("Plain", 5, id="1")],
        [stream("Plain")],
        [call("Count", 1, id="1")],
        [call("InlineFailing", id="1")],
        [call("Plain", id="1")],
        [call("Plain", id="1"), cancel("1"), cancel("1")],
        [call("Failing", id="1")],
        [call("Unwritable", id="1")],
        [call("ChildFails", id="1")],
        [call("InlineChildFails", id="1")],
        [call("Forever", id="1"), cancel("1"), cancel("1")],
        [call("FailsWhenCancelled", id="1"), cancel("1")],
        [call("FinishesWhenCancelled", id="1"), cancel("1")],
        [stream("Count", 0)],
        [stream("Count", 3), cancel("1")],
        [stream("Count", "x")],
        [stream("CountFailing")],
        [stream("CountUnwritable")],
        [stream("CountForever"), cancel("1"), cancel("1")],
        [stream("CountFailsWhenCancelled"), cancel("1")],
        [stream("CountYieldsWhenClosed"), cancel("1")],
        [stream("ChannelWithFailingChild")],
        [stream("ChannelWithFailingChild"), cancel("1")],
        [stream("NoReader")],
        [call("Total", id="1")],
        [call("Total", id="1", uploads=("9",)), ended("9"), ended("9"), ended("1")],
        [call("Total", id="1", uploads=("9",)), ended("9", "oops"), item("9", 1)],
        [call("Total", id="1", uploads=("9",)), item("9", "x")],
        [call("Total", id="1", uploads=("9",)), cancel("1"), ended("9")],
    ],
    ids=lambda messages: "-".join(f"{message['type']}{message.get('target', '')}" for message in messages),
)
@pytest.mark.parametrize("together", [True, False])
async def test_exactly_one_completion_answers_each_invocation(
    autojump_clock: MockClock, protocol: str, messages: list[Message], together: bool
) -> None:
    async with open_client(Answers, protocol) as client:
        answers: list[Message] = []
        if together:
            await client.send(*messages)
        else:
            for message in messages:
                await client.send(message)
                answers += await client.arrived()
        await trio.sleep(10)
        answers += await client.arrived()
        assert [answer["type"] for answer in answers if answer["type"] != 2] == [3]
        assert answers[-1]["type"] == 3
        assert {answer["invocationId"] for answer in answers} == {"1"}
        await client.send(call("Inline", id="2"))
        assert await client.arrived() == [result("2", 1)]


@both_protocols
@pytest.mark.parametrize(
    "message",
    [
        call("Nope"),
        call("Inline"),
        call("Inline", 1),
        call("InlineFailing"),
        call("Plain"),
        call("Failing"),
        call("Count", 1),
        call("Unwritable"),
        call("InlineChildFails"),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_an_invocation_without_an_id_is_never_answered(
    autojump_clock: MockClock, protocol: str, message: Message
) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(message)
        assert await client.arrived() == []
        await client.send(call("Inline", id="2"))
        assert await client.arrived() == [result("2", 1)]


@both_protocols
async def test_a_cancelled_stream_completes_without_error(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(stream("CountForever", id="1"), stream("CountFailsWhenCancelled", id="2"))
        await client.arrived()
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(cancel("2"))
        assert await client.arrived() == [ended("2")]


@both_protocols
async def test_plain_calls_of_one_id_are_each_answered(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(call("Plain", id="1"), call("Plain", id="1"), call("Inline", id="1"))
        assert await client.arrived() == [result("1", 1)] * 3


@both_protocols
async def test_the_id_of_a_running_stream_is_refused_and_the_stream_goes_on(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Answers, protocol) as client:
        await client.send(stream("CountForever", id="1"))
        assert await client.arrived() == [item("1", 1)]
        await client.send(stream("CountForever", id="1"))
        assert await client.arrived() == [ended("1", "Invocation ID '1' is already in use.")]
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(stream("Count", 1, id="1"))
        assert await client.arrived() == [item("1", 0), ended("1")]


# ---- law 4: nurseries belong to functions


def test_each_nursery_is_opened_by_a_with_statement() -> None:
    opened = held = 0
    for path in Path(trio_hubs.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "open_nursery":
                opened += 1
            if isinstance(node, ast.AsyncWith):
                held += sum("open_nursery" in ast.unparse(part.context_expr) for part in node.items)
    assert opened == held > 0


def test_what_is_constructed_needs_no_event_loop() -> None:
    app = HubApp()
    app.add_hub("/witness", Witness, factory=lambda: Witness([]), options=HubOptions())
    endpoint(Witness, lambda: Witness([]))


async def test_the_tasks_of_a_client_end_with_its_block(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_task_left():
        async with open_raw_server(monkeypatch) as (connection, _), connection.stream("Count", 1):
            pass


# ---- law 5: a bug in one invocation never touches its siblings or the connection


@both_protocols
@pytest.mark.parametrize(
    "bug",
    [
        call("InlineFailing", id="9"),
        call("Failing", id="9"),
        call("ChildFails", id="9"),
        call("InlineChildFails", id="9"),
        call("Unwritable", id="9"),
        stream("CountFailing", id="9"),
        stream("CountUnwritable", id="9"),
        stream("ChannelWithFailingChild", id="9"),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_a_bug_harms_no_sibling(autojump_clock: MockClock, protocol: str, bug: Message) -> None:
    async with open_client(Answers, protocol, maximum_parallel_invocations=3) as client:
        await client.send(stream("CountForever", id="1"), call("FinishesWhenCancelled", id="2"), bug)
        await client.arrived()
        await trio.sleep(6)
        assert result("2", 1) in await client.arrived()
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (call("ChildFails", id="1"), "An unexpected error occurred invoking 'ChildFails' on the server."),
        (
            call("InlineChildFails", id="1"),
            "An unexpected error occurred invoking 'InlineChildFails' on the server.",
        ),
        (stream("ChannelWithFailingChild"), STREAMING),
    ],
)
async def test_what_a_child_raises_is_told_bare(
    autojump_clock: MockClock, message: Message, text: str
) -> None:
    async with open_client(Answers, detailed_errors=True) as client:
        await client.send(message)
        assert await client.receive() == ended("1", f"{text} ValueError: child")


@both_protocols
@pytest.mark.parametrize("with_child", [False, True])
@each_end
async def test_a_method_that_fails_while_the_connection_ends_harms_nothing(
    autojump_clock: MockClock, protocol: str, with_child: bool, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    class Stubborn(Witness):
        async def fail(self) -> None:
            if with_child:
                self.start_soon(self._child)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("stubborn")

        async def fail_streaming(self) -> AsyncIterator[int]:
            if with_child:
                self.start_soon(self._child)
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                raise ValueError("stubborn")

        async def fail_in_child(self) -> None:
            self.start_soon(self.fail)
            await trio.sleep_forever()

    served = endpoint(Stubborn, lambda: Stubborn(events), maximum_parallel_invocations=PARALLEL)
    with no_task_left():
        async with open_client(served, protocol, beating=end == "the client is silent") as client:
            await client.send(
                call("Careful", id="1"), call("Fail"), stream("FailStreaming", id="2"), call("FailInChild")
            )
            await client.arrived()
            await client.send(cancel("1")) if end == "the hub aborts" else None
            await ENDS[end](client)
            await client.served()
    assert events.count("careful cleaned up") == 1
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1
    assert "ValueError: stubborn" in caplog.text
    assert not served.roster.sessions


@both_protocols
async def test_bad_input_of_one_client_touches_no_other(autojump_clock: MockClock, protocol: str) -> None:
    served = witness([])
    async with open_client(served, protocol, id="a") as good, open_client(served, protocol, id="b") as bad:
        await good.send(stream("Generator", 3))
        await bad.send_bytes(garbage(protocol))
        assert (await bad.rest())[-1] == close(CLOSED, allow_reconnect=True)
        assert await good.take(4) == [item("1", 0), item("1", 1), item("1", 2), ended("1")]


# ---- law 6: order is a promise


@both_protocols
@pytest.mark.parametrize("parallel", [1, 3])
async def test_invocations_start_in_the_order_of_arrival(
    autojump_clock: MockClock, protocol: str, parallel: int
) -> None:
    started: list[int] = []

    class Starts(Hub):
        def inline(self, number: int) -> None:
            started.append(number)

        async def plain(self, number: int) -> None:
            started.append(number)
            await trio.sleep(number % 3)

        async def stream(self, number: int) -> AsyncIterator[int]:
            started.append(number)
            yield number
            await trio.sleep(number % 2)

        async def upload(self, number: int, items: ChannelReader[int]) -> None:
            started.append(number)
            await items.wait_to_read()

    kinds: list[Callable[[int], Message]] = [
        lambda number: call("Inline", number, id=str(number)),
        lambda number: call("Plain", number, id=str(number)),
        lambda number: call("Plain", number),
        lambda number: stream("Stream", number, id=str(number)),
        lambda number: call("Upload", number, id=str(number), uploads=(f"u{number}",)),
    ]
    async with open_client(Starts, protocol, maximum_parallel_invocations=parallel) as client:
        for start in range(0, 100, 20):
            await client.send(*[kinds[number * 7 % 5](number) for number in range(start, start + 20)])
        await trio.sleep(200)
    assert started == list(range(100))


@both_protocols
async def test_one_at_a_time_means_answers_in_order(autojump_clock: MockClock, protocol: str) -> None:
    running: list[int] = []

    class One(Hub):
        def inline(self, number: int) -> int:
            assert running == []
            return number

        async def plain(self, number: int) -> int:
            assert running == []
            running.append(number)
            await trio.sleep(1)
            running.remove(number)
            return number

    async with open_client(One, protocol) as client:
        await client.send(*[call("Inline" if n % 3 else "Plain", n, id=str(n)) for n in range(30)])
        assert await client.take(30) == [result(str(n), n) for n in range(30)]


async def test_no_more_run_than_may(autojump_clock: MockClock) -> None:
    running: list[int] = []
    most: list[int] = []

    class Many(Hub):
        async def plain(self, number: int) -> None:
            running.append(number)
            most.append(len(running))
            await trio.sleep(1)
            running.remove(number)

    async with open_client(Many, maximum_parallel_invocations=3) as client:
        await client.send(*[call("Plain", number, id=str(number)) for number in range(10)])
        assert len(await client.take(10)) == 10
        assert trio.current_time() == pytest.approx(4.0)
    assert max(most) == 3


@both_protocols
async def test_items_and_sends_come_in_the_order_they_were_made(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Mixed(Hub):
        async def mixed(self) -> AsyncIterator[int]:
            for number in range(100):
                await self.clients.caller.send("Sent", number)
                yield number

    async with open_client(Mixed, protocol) as client:
        await client.send(stream("Mixed"))
        expected = [message for n in range(100) for message in (call("Sent", n), item("1", n))]
        assert await client.take(201) == [*expected, ended("1")]


# ---- law 7: nothing is unbounded, and nothing is dropped silently


@both_protocols
async def test_a_flood_of_calls_is_not_read_while_they_wait(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    served = witness(events, connection_buffer_size=10_000)
    async with open_client(served, protocol, capacity=10, beating=True) as client:
        await client.send(call("Plain", id="0"))
        with trio.move_on_after(5) as blocked:
            for _ in range(1000):
                await client.connection.send(b"".join(encode(protocol, call("Plain")) for _ in range(100)))
        assert blocked.cancelled_caught
        assert await client.arrived() == []


@both_protocols
async def test_an_upload_that_nobody_reads_is_not_read_past_its_bound(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    served = witness(events, stream_buffer_size=10_000)
    async with open_client(served, protocol, capacity=10, beating=True) as client:
        await client.send(call("Ignore", uploads=("9",)))
        sent = 0
        with trio.move_on_after(5):
            for _ in range(1000):
                await client.connection.send(encode(protocol, item("9", 1)) * 100)
                sent += 100
        assert sent < 3000
        assert events == ["ignore began"]


@both_protocols
async def test_a_client_that_vanishes_while_it_is_not_read_is_noticed_by_the_ping(
    protocol: str, autojump_clock: MockClock
) -> None:
    events: list[str] = []
    served = witness(events, stream_buffer_size=1000)
    with no_task_left():
        async with open_client(served, protocol, beating=True) as client:
            await client.send(call("Ignore", uploads=("9",)))
            for _ in range(3):
                await client.send(*[item("9", number) for number in range(100)])
                await trio.testing.wait_all_tasks_blocked()
            client.leave()
            await client.served()
            assert 1 < trio.current_time() <= 17
    assert events == ["ignore began", "ignore ended", "disconnected"]


@both_protocols
@pytest.mark.parametrize("method", ["Generate", "Write"])
async def test_a_producer_waits_for_a_client_that_takes_nothing(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    produced: list[int] = []
    size = 1000

    class Producer(Hub):
        async def generate(self) -> AsyncIterator[str]:
            for _ in range(5000):
                produced.append(1)
                yield "x" * size

        def write(self) -> ChannelReader[str]:
            writer, reader = open_channel(str, capacity=10)
            self.start_soon(self._write, writer)
            return reader

        async def _write(self, writer: ChannelWriter[str]) -> None:
            for _ in range(5000):
                produced.append(1)
                await writer.write("x" * size)

    async with open_client(Producer, protocol, capacity=1) as client:
        await client.send(stream(method))
        await trio.testing.wait_all_tasks_blocked()
        assert 64 <= len(produced) * size / 1024 < 1024
        before = len(produced)
        await client.take(before)
        assert len(produced) > before


@both_protocols
async def test_what_still_comes_past_the_hard_limit_fails_and_says_so(
    autojump_clock: MockClock, protocol: str
) -> None:
    """A method that waits for its client keeps the reading on; the upload that floods meanwhile is ended."""
    failures: list[Exception] = []

    class Waiting(Hub):
        async def wait(self, flooded: ChannelReader[str], awaited: ChannelReader[int]) -> int:
            number = await awaited.read()
            try:
                async for _ in flooded:
                    pass
            except StreamOverflow as error:
                failures.append(error)
            return number

    async with open_client(
        Waiting,
        protocol,
        stream_buffer_size=1000,
        connection_buffer_size=2000,
        connection_buffer_limit=20_000,
    ) as client:
        await client.send(call("Wait", id="1", uploads=("8", "9")))
        for _ in range(100):
            await client.send(item("8", "x" * 1000))
        await client.send(item("9", 7))
        assert await client.receive() == result("1", 7)
    assert len(failures) == 1
    assert "20000" in str(failures[0])


async def test_a_client_that_takes_nothing_of_a_piece_is_disconnected(autojump_clock: MockClock) -> None:
    errors: list[Exception | None] = []

    class Talking(Hub):
        async def talk(self) -> AsyncIterator[str]:
            for _ in range(5000):
                yield "x" * 1000

        async def on_disconnected(self, error: Exception | None) -> None:
            errors.append(error)

    with no_task_left():
        async with open_client(Talking, capacity=0, send_timeout=10.0, beating=True) as client:
            await client.send(stream("Talk"))
            with trio.fail_after(30):
                await client.over.wait()
    assert [type(error) for error in errors] == [TimeoutError]


@both_protocols
async def test_one_stream_too_many_is_refused_and_harms_no_other(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Streams(Hub):
        async def endless(self) -> AsyncIterator[int]:
            yield 1
            await trio.sleep_forever()

        async def total(self, items: ChannelReader[int]) -> int:
            return sum([item async for item in items])

        async def plain(self) -> int:
            return 7

    def too_many(name: str) -> str:
        return f"Too many streams: '{name}' would be one more than 2."

    async with open_client(Streams, protocol, maximum_streams=2) as client:
        await client.send(stream("Endless", id="1"), call("Total", id="2", uploads=("8",)))
        assert await client.receive() == item("1", 1)
        await client.send(
            stream("Endless", id="3"), call("Total", id="4", uploads=("9",)), call("Plain", id="5")
        )
        assert await client.receive() == ended("3", too_many("Endless"))
        assert await client.receive() == ended("4", too_many("Total"))
        assert await client.receive() == result("5", 7)
        await client.send(cancel("1"))
        assert await client.receive() == ended("1")
        await client.send(stream("Endless", id="6"))
        assert await client.receive() == item("6", 1)


@pytest.mark.parametrize("inline", [False, True])
async def test_calls_wait_while_their_client_does_not_take_its_answers(
    autojump_clock: MockClock, inline: bool
) -> None:
    made = 0

    class Large(Hub):
        def inline(self) -> str:
            nonlocal made
            made += 1
            return "x" * 50_000

        async def waiting(self) -> str:
            return self.inline()

    async with open_client(Large, capacity=1) as client:
        method = "Inline" if inline else "Waiting"
        await client.send(*[call(method, id=str(number)) for number in range(100)])
        await trio.testing.wait_all_tasks_blocked()
        assert made < 10
        for number in range(100):
            assert await client.receive() == result(str(number), "x" * 50_000)
        assert made == 100


# ---- law 8: a cut-off upload raises in the hub method, and never looks like a clean end


class Uploads(Hub):
    """Reads uploads in every way, and notes how they ended."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def abort(self) -> None:
        self.context.abort()

    @contextlib.asynccontextmanager
    async def _noting(self) -> AsyncIterator[None]:
        try:
            yield
            self.events.append("clean end")
        except Exception as error:
            self.events.append(f"{type(error).__name__}: {error}")
            raise
        except trio.Cancelled:
            self.events.append("cancelled")
            raise

    async def loop(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))

    async def iterate(self, items: AsyncIterator[int]) -> None:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))

    async def read(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            with contextlib.suppress(trio.EndOfChannel):
                while True:
                    self.events.append(str(await items.read()))

    async def batches(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            while await items.wait_to_read():
                self.events += [str(number) for number in items.read_ready()]

    async def stream(self, items: ChannelReader[int]) -> AsyncIterator[int]:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))
                yield number

    async def later(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
                async for number in items:
                    self.events.append(str(number))


def uploads(events: list[str], **options: Any) -> HubEndpoint:
    return endpoint(Uploads, lambda: Uploads(events), **options)


@both_protocols
@each_end
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches", "Stream", "Later"])
async def test_a_cut_off_upload_is_no_clean_end(
    autojump_clock: MockClock, protocol: str, end: str, method: str
) -> None:
    events: list[str] = []
    message = (stream if method == "Stream" else call)(method, uploads=("9",), id="1")
    async with open_client(
        uploads(events, maximum_parallel_invocations=PARALLEL),
        protocol,
        beating=end == "the client is silent",
    ) as client:
        await client.send(message, item("9", 1), item("9", 2))
        await client.arrived()
        await ENDS[end](client)
        await client.served()
    cancelled = end == "the server shuts down" and method != "Later"  # which is shielded from it
    last = "cancelled" if cancelled else "UploadBroken: The underlying connection was closed."
    assert events == ["1", "2", last]


@both_protocols
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches"])
async def test_a_whole_upload_ends_clean(autojump_clock: MockClock, protocol: str, method: str) -> None:
    events: list[str] = []
    async with open_client(uploads(events), protocol) as client:
        await client.send(call(method, uploads=("9",), id="1"), item("9", 1), item("9", 2), ended("9"))
        assert await client.receive() == result("1", None)
    assert events == ["1", "2", "clean end"]


@both_protocols
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches"])
async def test_the_clients_error_is_raised_after_the_items(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    events: list[str] = []
    async with open_client(uploads(events), protocol) as client:
        await client.send(call(method, uploads=("9",), id="1"), item("9", 1), ended("9", "my fault"))
        text = f"An unexpected error occurred invoking '{method}' on the server. HubException: my fault"
        assert await client.receive() == ended("1", text)
    assert events == ["1", "HubException: my fault"]


@both_protocols
@pytest.mark.parametrize("value", ["x", None, 1.5, [1], {"a": 1}])
async def test_an_item_of_a_wrong_type_breaks_its_upload_alone(
    autojump_clock: MockClock, protocol: str, value: object
) -> None:
    seen: list[Exception] = []

    class Typed(Hub):
        async def read(self, items: ChannelReader[int], others: ChannelReader[int]) -> list[int]:
            numbers: list[int] = []
            try:
                while True:
                    numbers.append(await items.read())
            except HubException as error:
                seen.append(error)
            return [*numbers, *[number async for number in others]]

    async with open_client(Typed, protocol) as client:
        await client.send(
            call("Read", id="1", uploads=("8", "9")), item("8", 1), item("8", value), item("8", 3), ended("8")
        )
        await client.send(item("9", 4), ended("9"))
        assert await client.receive() == result("1", [1, 4])
    assert [str(error) for error in seen] == ["Failed to bind Stream message."]


@both_protocols
async def test_late_items_of_an_upload_that_was_left_are_thrown_away(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Leaving(Hub):
        async def first(self, items: ChannelReader[int]) -> int:
            return await items.read()

    async with open_client(Leaving, protocol) as client:
        await client.send(call("First", id="1", uploads=("9",)), item("9", 5))
        assert await client.receive() == result("1", 5)
        for _ in range(50):
            await client.send(*[item("9", "x" * 100) for _ in range(100)])
        await client.send(ended("9"), call("First", id="2", uploads=("9",)), item("9", 6))
        assert await client.receive() == result("2", 6)


# ---- law 9: timeouts wrap single awaits; our own slowness is never the peer's silence


async def test_while_we_do_not_read_the_peers_silence_does_not_count(autojump_clock: MockClock) -> None:
    class Slow(Hub):
        async def slow(self, items: ChannelReader[str]) -> int:
            await trio.sleep(100)
            return len([item async for item in items])

    served = endpoint(Slow, stream_buffer_size=1000, client_timeout=30.0)
    async with open_client(served, beating=True) as client:
        await client.send(PING, call("Slow", id="1", uploads=("9",)))
        for _ in range(30):
            await client.send(item("9", "x" * 100))
        await client.send(ended("9"))
        messages = [await client.receive()]
        while messages[-1] == PING:
            messages.append(await client.receive())
        assert messages[-1] == result("1", 30)
        assert trio.current_time() == pytest.approx(100.0)
        assert [message for message in await client.rest() if message != PING] == [
            close(CLOSED, allow_reconnect=True)
        ]
        assert 130.0 <= trio.current_time() <= 132.0


async def test_a_busy_process_judges_nobodys_silence(autojump_clock: MockClock) -> None:
    async with open_client(witness([]), beating=True) as client:
        await client.send(PING)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(100)  # as if something had held the whole process up
        await client.send(call("Add", 1, 2, id="1"))
        messages = await client.arrived()
        assert result("1", 3) in messages
        assert [message for message in messages if message["type"] == 7] == []


async def test_a_method_may_take_longer_than_every_timeout(autojump_clock: MockClock) -> None:
    class Long(Hub):
        async def long(self) -> int:
            await trio.sleep(500)
            return 1

    async with open_client(Long, beating=True) as client:
        await client.send(call("Long", id="1"))
        message = PING
        while message == PING:
            message = await client.receive()
        assert message == result("1", 1)


# ---- the way out: one writer, joined messages, whole frames, fairness


@both_protocols
async def test_an_item_is_on_the_wire_as_soon_as_its_producer_waits(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(stream("Generator", 3, id="1"), stream("Channel", 3, id="2"))
        for number in range(3):
            arrived = await client.arrived()
            assert sorted(arrived, key=lambda message: str(message["invocationId"])) == [
                item("1", number),
                item("2", number),
            ]
            await trio.sleep(0.5)
            assert await client.arrived() == []
            await trio.sleep(0.5)


@both_protocols
async def test_items_that_are_made_at_once_are_sent_together(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Fast(Hub):
        async def count(self) -> AsyncIterator[int]:
            for number in range(1000):
                yield number

    async with open_client(Fast, protocol) as client:
        await client.send(stream("Count"))
        assert await client.take(1001) == [*[item("1", number) for number in range(1000)], ended("1")]
        assert len(client.pieces) < 100


@both_protocols
async def test_a_cancelled_producer_never_cuts_a_message(autojump_clock: MockClock, protocol: str) -> None:
    class Large(Hub):
        async def large(self) -> AsyncIterator[str]:
            for _ in range(500):
                yield "x" * 50_000

    async with open_client(Large, protocol, capacity=1) as client:
        for number in range(5):
            await client.send(stream("Large", id=str(number)))
            await client.receive()
            await client.send(cancel(str(number)))
            while (message := await client.receive())["type"] == 2:
                assert message["item"] == "x" * 50_000
            assert message == ended(str(number))


async def test_streams_of_one_connection_share_it_fairly(autojump_clock: MockClock) -> None:
    class Greedy(Hub):
        async def forever(self) -> AsyncIterator[str]:
            for _ in range(50_000):
                yield "x" * 100

    async with open_client(Greedy, capacity=1) as client:
        await client.send(*[stream("Forever", id=str(number)) for number in range(4)])
        counts = dict.fromkeys("0123", 0)
        for message in await client.take(20_000):
            counts[message["invocationId"]] += 1
    assert min(counts.values()) > 0.5 * max(counts.values())


class Radio(Hub):
    """Broadcasts."""

    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("Heard", text)


async def test_a_broadcast_is_encoded_once_for_each_protocol(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    dump = Payloads.dump_arguments

    def counting(self: Payloads, args: Any) -> bytes:
        encoded.append(self.format)
        return dump(self, args)

    monkeypatch.setattr(Payloads, "dump_arguments", counting)
    served = endpoint(Radio)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(served, PROTOCOLS[number % 2], id=str(number)))
            for number in range(6)
        ]
        await clients[0].send(call("Broadcast", "hello"))
        for client in clients:
            assert await client.receive() == call("Heard", "hello")
    assert sorted(encoded) == ["json", "messagepack"]


async def test_a_slow_client_delays_no_other_and_is_disconnected(autojump_clock: MockClock) -> None:
    served = endpoint(Radio, broadcast_buffer_limit=100_000)
    async with (
        open_client(served, id="fast") as fast,
        open_client(served, id="slow", capacity=1) as slow,
    ):
        for _ in range(200):
            await fast.send(call("Broadcast", "x" * 1000))
            assert await fast.receive() == call("Heard", "x" * 1000)
        with trio.fail_after(60):
            await slow.over.wait()
        assert set(served.roster.sessions) == {"fast"}
        assert trio.current_time() < 60


# ---- the way in: the reader never waits on user code


@both_protocols
async def test_control_messages_are_heeded_while_all_places_are_taken(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    async with open_client(witness(events), protocol) as client:
        await client.send(
            call("Total", id="0", uploads=("9",)), stream("Generator", 99, id="1"), call("Plain", id="2")
        )
        await client.arrived()
        await client.send(*[call("Add", 1, 1, id=str(number)) for number in range(3, 50)])
        await client.send(cancel("1"))
        assert await client.arrived() == [ended("1")]
        await client.send(item("9", 1), ended("9"))
        assert await client.arrived() == [result("0", 1)]
        await client.send(cancel("2"))
        answers = await client.arrived()
        assert answers == [ended("2", CANCELED), *[result(str(number), 2) for number in range(3, 50)]]


@both_protocols
async def test_an_upload_that_nobody_reads_holds_up_no_other_call(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Ignore", id="1", uploads=("9",)))
        await client.send(*[item("9", number) for number in range(100)])
        await client.send(call("Add", 1, 2, id="2"))
        assert await client.arrived() == [result("2", 3)]


@both_protocols
async def test_streams_and_uploads_hold_no_place(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(witness([]), protocol, maximum_parallel_invocations=1) as client:
        await client.send(
            *[stream("Channel", 9, id=f"s{number}") for number in range(5)],
            *[stream("Generator", 9, id=f"g{number}") for number in range(5)],
            *[call("Total", id=f"t{number}", uploads=(f"u{number}",)) for number in range(5)],
            call("Add", 1, 2, id="sum"),
        )
        assert result("sum", 3) in await client.arrived()


@both_protocols
async def test_a_loop_over_a_stream_may_invoke_in_its_body(
    autojump_clock: MockClock, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though far more items lie unread than may, the answer behind them is read."""
    async with (
        open_raw_server(monkeypatch, protocol) as (connection, server),
        connection.stream("Count", item_type=str) as reader,
        trio.open_nursery() as nursery,
    ):
        assert (await server.receive())["target"] == "Count"
        for _ in range(50):
            await server.send(*[item("1", "x" * 1000) for _ in range(50)])
        assert await reader.read() == "x" * 1000

        async def answer() -> None:
            assert await server.receive() == call("Add", 1, id="2")
            await server.send(result("2", 42))

        nursery.start_soon(answer)
        assert await connection.invoke("Add", 1) == 42


async def test_memory_stays_bounded_behind_a_slow_reader(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_raw_server(monkeypatch) as (connection, server), connection.stream("Count") as reader:
        sent = 0
        with trio.move_on_after(5):
            for _ in range(5000):
                await server.connection.send(encode("json", item("1", "x" * 1000)) * 10)
                sent += 10
        assert sent < 20_000  # the memory connection itself holds 1000 pieces
        for _ in range(sent):
            assert await reader.read() == "x" * 1000


# ---- bad input: a client that vanishes at every step

Step = tuple[str, Any]


def sends(*messages: Message) -> Step:
    return "send", messages


def halves(message: Message) -> list[Step]:
    return [("first half", message), ("second half", message)]


def receives(count: int = 1) -> Step:
    return "receive", count


SCRIPTS: dict[str, list[Step]] = {
    **{
        f"{method}": [sends(stream(method, 3)), *[receives()] * 4]
        for method in ("Generator", "CarefulGenerator", "Iterator", "Channel", "ChannelLater")
    },
    **{
        f"{method}, cancelled": [sends(stream(method, 3)), receives(), sends(cancel("1")), receives()]
        for method in ("Generator", "CarefulGenerator", "Iterator", "Channel", "ChannelLater")
    },
    "upload": [
        sends(call("Total", id="1", uploads=("9",))),
        sends(item("9", 1)),
        *halves(item("9", 2)),
        *halves(ended("9")),
        receives(),
    ],
    "broken upload": [
        *halves(call("Total", id="1", uploads=("9",))),
        sends(item("9", 1)),
        sends(ended("9", "oops")),
        receives(),
    ],
    "two uploads": [
        sends(call("TotalTwo", id="1", uploads=("8", "9")), item("9", 1)),
        sends(item("8", 1), item("9", 2)),
        sends(ended("9")),
        sends(item("8", 3)),
        sends(ended("8")),
        receives(),
    ],
    "upload and nobody answers": [
        sends(call("Total", uploads=("9",))),
        sends(item("9", 1)),
        sends(ended("9")),
    ],
    "an upload that nobody reads": [
        sends(call("Ignore", id="1", uploads=("9",))),
        *[sends(*[item("9", number) for number in range(20)])] * 2,
        sends(ended("9")),
        sends(cancel("1")),
        receives(),
    ],
    "both ways": [
        sends(stream("Double", uploads=("9",))),
        sends(item("9", 1)),
        receives(),
        *halves(item("9", 2)),
        receives(),
        sends(ended("9")),
        receives(),
    ],
    "both ways, cancelled": [
        sends(stream("Double", uploads=("9",))),
        sends(item("9", 1)),
        receives(),
        sends(cancel("1")),
        receives(),
        sends(item("9", 2)),
    ],
}


async def play(client: RawClient, steps: list[Step]) -> None:
    for kind, what in steps:
        if kind == "send":
            await client.send(*what)
        elif kind == "receive":
            await client.take(what)
        else:
            data = encode(client.protocol, what)
            await client.send_bytes(data[:7] if kind == "first half" else data[7:])


@both_protocols
@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("end", ["the client vanishes", "the client closes", "the server shuts down"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_that_vanishes_at_any_step_leaves_nothing_behind(
    autojump_clock: MockClock, protocol: str, settled: bool, end: str, script: str
) -> None:
    steps = SCRIPTS[script]
    for count in range(len(steps) + 1):
        events: list[str] = []
        served = witness(events)
        with no_task_left():
            async with open_client(served, protocol) as client:
                await trio.testing.wait_all_tasks_blocked()
                await play(client, steps[:count])
                if settled:
                    await trio.testing.wait_all_tasks_blocked()
                await ENDS[end](client)
                await client.served()
        assert not served.roster.sessions
        assert events.count("disconnected") == 1
        assert events[-1] == "disconnected"
        began = [event for event in events if event.endswith(" began")]
        assert sorted(
            event.replace(" ended", " began") for event in events if event.endswith(" ended")
        ) == sorted(began)
        if settled and count > 1:
            assert began


# ---- bad input: everything that is no good message


def oversize(protocol: str, size: int) -> bytes:
    """A call whose framed message has just so many bytes."""
    length = 1
    while len(encode(protocol, call("Add", "x" * length))) < size:
        length += 1
    data = encode(protocol, call("Add", "x" * length))
    assert len(data) == size
    return data


@both_protocols
async def test_a_message_of_just_the_limit_is_fine_and_one_above_it_closes(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([], maximum_message_size=200, detailed_errors=True), protocol) as client:
        await client.send_bytes(encode(protocol, call("Add", 1, 2, id="1")) * 50)  # many are no large one
        assert len(await client.arrived()) == 50
        await client.send_bytes(oversize(protocol, 200))
        assert await client.arrived() == []
        await client.send_bytes(encode(protocol, call("Add", 1, 2, id="2")) + oversize(protocol, 201))
        text = (
            "The maximum message size of 200B was exceeded. "
            "The message size can be configured in AddHubOptions."
        )
        assert await client.rest() == [
            result("2", 3),
            close(f"{CLOSED} ProtocolError: {text}", allow_reconnect=True),
        ]


@both_protocols
async def test_an_incomplete_message_above_the_limit_closes_at_once(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([], maximum_message_size=200), protocol) as client:
        data = oversize(protocol, 300)
        for at in range(0, 201, 67):
            await client.send_bytes(data[at : at + 67])
        assert await client.rest() == [close(CLOSED, allow_reconnect=True)]


@both_protocols
async def test_without_a_limit_a_large_message_is_fine(autojump_clock: MockClock, protocol: str) -> None:
    class Echo(Hub):
        def echo(self, text: str) -> int:
            return len(text)

    async with open_client(Echo, protocol, maximum_message_size=None) as client:
        await client.send(call("Echo", "x" * 1_000_000, id="1"))
        assert await client.receive() == result("1", 1_000_000)


@both_protocols
async def test_a_message_in_single_bytes_works(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(witness([]), protocol) as client:
        for byte in encode(protocol, call("Add", 40, 2, id="1")) + encode(protocol, cancel("1")):
            await client.send_bytes(bytes([byte]))
        assert await client.arrived() == [result("1", 42)]


@both_protocols
async def test_input_cut_at_any_byte_of_a_message_closes_with_an_error(
    autojump_clock: MockClock, protocol: str
) -> None:
    data = encode(protocol, call("Add", 1, 2, id="1"))
    for size in range(1, len(data)):
        async with open_client(witness([]), protocol) as client:
            await client.send_bytes(data + data[:size])
            client.connection.close()
            assert await client.rest() == [result("1", 3), close(CLOSED, allow_reconnect=True)]


BAD_JSON = {
    "no JSON": (b"{oops}", "Error reading JSON."),
    "nothing": (b"", "Error reading JSON."),
    "a handshake": (b'{"protocol":"json","version":1}', "Missing required property 'type'."),
    "MessagePack": (b"\x91\x06", "Error reading JSON."),
    "no UTF-8": (b'{"type":1,"target":"\xff","arguments":[]}', "Error reading JSON."),
    "a number": (b"7", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    "an array": (b"[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    "a deep array": (b"[" * 20_000, "Error reading JSON."),
    "a deep argument": (
        b'{"type":1,"target":"Add","arguments":' + b"[" * 15_000 + b"]" * 15_000 + b"}",
        "",
    ),
    "no type": (b"{}", "Missing required property 'type'."),
    "a text for a type": (b'{"type":"1"}', "Expected 'type' to be of type Number."),
    "no target": (b'{"type":1,"arguments":[]}', "Missing required property 'target'."),
    "no arguments": (b'{"type":1,"target":"Add"}', "Missing required property 'arguments'."),
    "arguments in an object": (
        b'{"type":1,"target":"Add","arguments":{}}',
        "Expected 'arguments' to be of type Array.",
    ),
    "a null id": (
        b'{"type":1,"invocationId":null,"target":"Add","arguments":[]}',
        "Expected 'invocationId' to be of type String.",
    ),
    "a stream without an id": (
        b'{"type":4,"target":"Add","arguments":[]}',
        "Missing required property 'invocationId'.",
    ),
    "an item without a value": (b'{"type":2,"invocationId":"1"}', "Missing required property 'item'."),
    "a cancel without an id": (b'{"type":5}', "Missing required property 'invocationId'."),
    "error and result": (
        b'{"type":3,"invocationId":"1","error":"x","result":1}',
        "The 'error' and 'result' properties are mutually exclusive.",
    ),
    "a number for a header": (
        b'{"type":1,"headers":{"a":1},"target":"Add","arguments":[]}',
        "Expected header 'a' to be of type String.",
    ),
    "null stream ids": (
        b'{"type":1,"target":"Add","arguments":[],"streamIds":[null]}',
        "Null value for 'streamIds' is not valid.",
    ),
    "an ack without a number": (b'{"type":8}', "Missing required property 'sequenceId'."),
}
BAD_MESSAGEPACK = {
    "never valid": (b"\xc1", ""),
    "nothing": (b"", ""),
    "a map": (b"\x80", ""),
    "a type that is text": (b"\x91\xa1\x31", "Reading 'messageType' as Int32 failed."),
    "headers that are no map": (b"\x96\x01\x01\xc0\xa1A\x90\x90", "Reading map length for 'headers' failed."),
    "no target": (b"\x96\x01\x80\xc0\xa0\x90\x90", "Null or empty target for Invocation message."),
    "a stream without an id": (
        b"\x96\x04\x80\xc0\xa1A\x90\x90",
        "Null or empty invocation ID for StreamInvocation message.",
    ),
    "a cancel without an id": (
        b"\x93\x05\x80\xc0",
        "Null or empty invocation ID for CancelInvocation message.",
    ),
    "an odd result kind": (b"\x94\x03\x80\xa1\x31\x09", "Invalid invocation result kind."),
    "a header that is a number": (
        b"\x96\x01\x81\xa1a\x01\xc0\xa1A\x90\x90",
        "Reading 'headers[0].Value' as String failed.",
    ),
    "null stream ids": (b"\x96\x01\x80\xc0\xa1A\x90\x91\xc0", "Null or empty value in streamIds received."),
    "an ack without a number": (b"\x91\x08", "Reading 'sequenceId' as Int64 failed."),
    "a deep argument": (b"\x96\x01\x80\xc0\xa1A" + b"\x91" * 20_000 + b"\x90\x90", ""),
}
BAD = [
    *[
        pytest.param("json", body + b"\x1e", text, id=f"json, {name}")
        for name, (body, text) in BAD_JSON.items()
    ],
    *[
        pytest.param("messagepack", framed(body), text, id=f"messagepack, {name}")
        for name, (body, text) in BAD_MESSAGEPACK.items()
    ],
    pytest.param(
        "messagepack",
        b"\xff\xff\xff\xff\xff\x01",
        "Messages over 2GB in size are not supported.",
        id="messagepack, a length above 2 GB",
    ),
]


@pytest.mark.parametrize(("protocol", "data", "text"), BAD)
async def test_a_malformed_message_closes_its_connection_with_an_error_and_a_log_line(
    autojump_clock: MockClock, protocol: str, data: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty text stands for any."""
    events: list[str] = []
    served = witness(events, detailed_errors=True)
    with no_task_left():
        async with open_client(served, protocol, id="c1") as client:
            good = encode(protocol, call("Add", 1, 2, id="1"))
            await client.send_bytes(good + data + good)
            first, last = await client.rest()
            assert first == result("1", 3)
            assert last["type"] == 7
            assert last["allowReconnect"]
            assert last["error"].startswith(f"{CLOSED} ProtocolError: {text}")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"connection c1: {text}")
    assert events == ["disconnected"]
    assert not served.roster.sessions


@both_protocols
@pytest.mark.parametrize(
    "message",
    [
        cancel("nobody"),
        item("nobody", 1),
        ended("nobody"),
        ended("nobody", "error"),
        result("nobody", 1),
        PING,
    ],
    ids=lambda message: f"type {message['type']}",
)
async def test_ids_that_nobody_knows_harm_nothing(
    autojump_clock: MockClock, protocol: str, message: Message
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(message, call("Add", 1, 2, id="1"), message)
        assert await client.arrived() == [result("1", 3)]


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("json", b'{"type":77,"target":[null]}\x1e'),
        ("json", b'{"type":8,"sequenceId":5}\x1e{"type":9,"sequenceId":5}\x1e'),
        ("json", b'{"arguments":[1,2],"odd":[{}],"target":"add","invocationId":"0","type":1}\x1e'),
        ("messagepack", framed(b"\x92\x4d\x01")),
        ("messagepack", framed(b"\x92\x08\x05") + framed(b"\x92\x09\x05")),
        ("messagepack", framed(b"\x98\x01\x80\xa1\x30\xa3add\x92\x01\x02\x90\xc0\x01")),
    ],
)
async def test_what_later_protocols_may_add_harms_nothing(
    autojump_clock: MockClock, protocol: str, data: bytes
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send_bytes(data + encode(protocol, call("Add", 1, 2, id="1")))
        answers = [answer for answer in await client.arrived() if answer["invocationId"] != "0"]
        assert answers == [result("1", 3)]


@both_protocols
async def test_the_id_of_a_running_upload_is_refused_and_the_upload_goes_on(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Total", id="1", uploads=("9",)), item("9", 1))
        await client.send(call("Total", id="2", uploads=("9",)))
        assert await client.receive() == ended("2", "Stream ID '9' is already in use.")
        await client.send(call("TotalTwo", id="3", uploads=("8", "9")))
        assert await client.receive() == ended("3", "Stream ID '9' is already in use.")
        await client.send(call("TotalTwo", id="4", uploads=("7", "7")))
        assert await client.receive() == ended("4", "Stream ID '7' is already in use.")
        await client.send(item("9", 2), ended("9"))
        assert await client.receive() == result("1", 3)
        await client.send(call("TotalTwo", id="5", uploads=("8", "7")), ended("7"), item("8", 1), ended("8"))
        assert await client.receive() == result("5", 1000)


@both_protocols
async def test_an_upload_of_a_call_that_was_refused_is_ignored(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Nope", id="1", uploads=("9",)), item("9", 1), ended("9"))
        assert (await client.receive())["invocationId"] == "1"
        await client.send(call("Total", 5, id="2", uploads=("9",)), item("9", 1), ended("9"))
        assert (await client.receive())["invocationId"] == "2"
        await client.send(call("Total", id="3", uploads=("9",)), item("9", 1), ended("9"))
        assert await client.receive() == result("3", 1)


# ---- abort, from each place


@both_protocols
@pytest.mark.parametrize(
    "place", ["connected", "inline", "plain", "generator", "child", "upload", "disconnected"]
)
async def test_abort_works_from_each_place(autojump_clock: MockClock, protocol: str, place: str) -> None:
    events: list[str] = []

    class Aborting(Hub):
        def _abort(self, here: str) -> None:
            if here == place:
                self.context.abort()

        async def on_connected(self) -> None:
            self._abort("connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            self._abort("disconnected")
            events.append(f"disconnected: {error}")

        def inline(self) -> None:
            self._abort("inline")

        async def plain(self) -> None:
            self._abort("plain")
            self._abort("plain")  # again does no harm

        async def generator(self) -> AsyncIterator[int]:
            self._abort("generator")
            yield 1

        async def _child(self) -> None:
            self._abort("child")

        async def child(self) -> None:
            self.start_soon(self._child)

        async def upload(self, items: ChannelReader[int]) -> None:
            async for _ in items:
                self._abort("upload")

    calls = {
        "inline": [call("Inline")],
        "plain": [call("Plain")],
        "generator": [stream("Generator")],
        "child": [call("Child")],
        "upload": [call("Upload", uploads=("9",)), item("9", 1)],
        "disconnected": [close()],
    }
    with no_task_left():
        async with open_client(Aborting, protocol, handshake=False) as client:
            await client.shake_hands(*calls.get(place, []))
            messages = await client.rest()
            assert messages[-1] == close()
    assert events == ["disconnected: None"]


async def test_what_is_kept_of_a_connection_after_its_end_says_so(autojump_clock: MockClock) -> None:
    kept: list[Hub] = []

    class Kept(Hub):
        def keep(self) -> None:
            kept.append(self)

    async with open_client(Kept) as client:
        await client.send(call("Keep", id="1"))
        await client.receive()
        client.connection.close()
        await client.rest()
        await client.served()
        with pytest.raises(trio_hubs.ConnectionClosed):
            await kept[0].clients.caller.send("Late")
        with pytest.raises(RuntimeError, match="The invocation is over"):
            kept[0].start_soon(trio.sleep_forever)
        kept[0].context.abort()
        await kept[0].clients.all.send("Late")
