"""What the peer calls runs in order, is cancelled by its own scope, and is answered exactly once."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.channels import ChannelReader, ChannelWriter, open_channel
from trio_hubs.calls.intake import IntakeLimits
from trio_hubs.calls.outbox import HIGH_WATER
from trio_hubs.errors import ChannelClosed, ConnectionClosed, HubException, UploadBroken

from .support import Desk, call, done, failed, item, raw, result, stream_call

CANCELLED = "The invocation was canceled by the client."


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    """A callee that runs one call at a time."""
    return started(nursery)


def started(
    nursery: trio.Nursery,
    *,
    maximum_parallel: int = 1,
    maximum_streams: int = 1000,
    limits: IntakeLimits | None = None,
) -> Desk:
    desk = Desk(maximum_parallel=maximum_parallel, maximum_streams=maximum_streams, limits=limits)
    desk.callee.start(nursery)
    return desk


class Gates:
    """Async methods that end when they are let through, and what became of them, in order."""

    def __init__(self, desk: Desk) -> None:
        self.notes: list[str] = []
        self._events: dict[str, trio.Event] = {}
        desk.face.add("wait", self.wait)
        desk.face.add("stream", self.stream)

    async def wait(self, name: str) -> str:
        await self._pass(name)
        return name

    async def stream(self, name: str) -> AsyncIterator[str]:
        yield name
        await self._pass(name)

    async def _pass(self, name: str) -> None:
        self.notes.append(f"{name} started")
        self._events[name] = trio.Event()
        try:
            await self._events[name].wait()
        except trio.Cancelled:
            self.notes.append(f"{name} cancelled")
            raise

    async def open(self, name: str) -> None:
        self._events[name].set()
        await wait_all_tasks_blocked()


# ---- plain calls


async def test_a_plain_call_is_answered_at_once(desk: Desk) -> None:
    @desk.method
    def add(a: int, b: int) -> int:
        return a + b

    desk.callee.invoke(call("1", "add", 40, 2))
    assert desk.sent == [result("1", 42)]


async def test_an_async_call_is_answered(desk: Desk) -> None:
    @desk.method
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    assert await desk.answers(call("1", "add", 40, 2)) == [result("1", 42)]


async def test_a_call_without_a_result_is_answered_with_null(desk: Desk) -> None:
    @desk.method
    def nothing() -> None: ...

    assert await desk.answers(call("1", "nothing")) == [result("1", None)]


async def test_a_coroutine_that_a_sync_function_returns_is_awaited(desk: Desk) -> None:
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    @desk.method
    def delegate(a: int, b: int) -> Awaitable[int]:
        return add(a, b)

    desk.face.add("partly", lambda a: add(a, 1))
    assert await desk.answers(call("1", "delegate", 40, 2), call("2", "partly", 1)) == [
        result("1", 42),
        result("2", 2),
    ]


async def test_calls_without_an_id_are_never_answered(desk: Desk) -> None:
    ran: list[str] = []

    @desk.method
    def sync() -> None:
        ran.append("sync")

    @desk.method
    async def later() -> None:
        ran.append("later")

    @desk.method
    async def broken() -> None:
        ran.append("broken")
        raise ValueError

    @desk.method
    def broken_sync() -> None:
        raise ValueError

    @desk.method
    def delegate() -> Awaitable[None]:
        return later()

    names = ["sync", "later", "broken", "broken_sync", "delegate", "unknown"]
    assert await desk.answers(*[call("", name) for name in names], call("", "later", 1)) == []
    assert ran == ["sync", "later", "broken", "later"]


async def test_calls_wait_until_the_callee_is_started(nursery: trio.Nursery) -> None:
    desk = Desk()
    desk.method(plain)
    gates = Gates(desk)
    assert await desk.answers(call("1", "plain"), call("2", "wait", "a"), call("3", "plain")) == []
    desk.callee.start(nursery)
    await wait_all_tasks_blocked()
    await gates.open("a")
    assert desk.sent == [result("1", "plain"), result("2", "a"), result("3", "plain")]


def plain() -> str:
    return "plain"


# ---- failures


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [ValueError("broken"), HubException("broken")])
async def test_a_failed_call_is_answered_and_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception, is_async: bool
) -> None:
    async def broken_later() -> None:
        raise error

    def broken() -> None:
        raise error

    desk.face.add("broken", broken_later if is_async else broken)
    desk.method(plain)
    sent = await desk.answers(call("1", "broken"), call("2", "plain"))
    assert sorted(sent, key=str) == sorted(
        [failed("1", "broken failed: broken"), result("2", "plain")], key=str
    )
    (record,) = caplog.records
    expected = logging.WARNING if isinstance(error, HubException) else logging.ERROR
    assert record.levelno == expected
    assert "connection desk: 'broken'" in record.getMessage()


async def test_several_errors_stay_a_group(desk: Desk) -> None:
    @desk.method
    async def broken() -> None:
        raise ExceptionGroup("all of it", [ValueError(), TypeError()])

    assert await desk.answers(call("1", "broken")) == [
        failed("1", "broken failed: all of it (2 sub-exceptions)")
    ]


async def test_an_error_in_a_nursery_of_the_method_is_answered_bare(desk: Desk) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    @desk.method
    async def broken() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    assert await desk.answers(call("1", "broken")) == [failed("1", "broken failed: broken")]


async def test_a_result_that_cannot_be_encoded_is_an_error(desk: Desk) -> None:
    @desk.method
    def opaque() -> object:
        return object()

    @desk.method
    async def opaque_later() -> object:
        return object()

    (first, second) = await desk.answers(call("1", "opaque"), call("2", "opaque_later"))
    assert first["error"].startswith("opaque failed: A value of type 'object' cannot be written")
    assert second["error"].startswith("opaque_later failed: A value of type 'object' cannot be written")


async def test_an_unknown_method_is_an_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert await desk.answers(call("1", "nowhere"), stream_call("2", "nowhere")) == [
        failed("1", "nowhere is unknown"),
        failed("2", "nowhere is unknown"),
    ]
    assert len(caplog.records) == 2


async def test_a_call_of_the_wrong_kind_is_an_error(desk: Desk) -> None:
    desk.method(plain)
    Gates(desk)
    assert await desk.answers(
        call("1", "stream", "a"), stream_call("2", "plain"), call("", "stream", "a")
    ) == [
        failed(
            "1",
            "The client attempted to invoke the streaming 'stream' method with a non-streaming invocation.",
        ),
        failed(
            "2",
            "The client attempted to invoke the non-streaming 'plain' method with a streaming invocation.",
        ),
    ]


@pytest.mark.parametrize("arguments", [[], ["one"], [1, 2]])
async def test_arguments_that_do_not_fit_are_an_error(
    desk: Desk, caplog: pytest.LogCaptureFixture, arguments: list[object]
) -> None:
    @desk.method
    def double(a: int) -> int:
        return 2 * a

    (answer,) = await desk.answers(call("1", "double", *arguments))
    assert answer["error"].startswith("double does not fit: ")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "connection desk: call of 'double' refused: double does not fit: " in record.getMessage()
    if arguments == ["one"]:
        assert "argument 0: " in record.getMessage()  # what the peer is not told


async def test_a_hub_that_cannot_be_made_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(*_: object) -> Callable[[], None]:
        raise ValueError("no hub")

    desk.method(plain)
    Gates(desk)
    monkeypatch.setattr(desk.face, "enter", enter)
    assert await desk.answers(
        call("1", "plain"), call("2", "wait", "a"), stream_call("3", "stream", "a")
    ) == [
        failed("1", "plain failed: no hub"),
        failed("2", "wait failed: no hub"),
        failed("3", "stream failed: no hub"),
    ]


# ---- several methods of one name


async def test_of_several_methods_the_first_answers(desk: Desk) -> None:
    ran: list[int] = []

    def note(number: int) -> Callable[[], int]:
        def method() -> int:
            ran.append(number)
            return number

        return method

    for number in range(3):
        desk.face.add("several", note(number))
    assert await desk.answers(call("1", "several")) == [result("1", 0)]
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("unfit", range(3))
async def test_of_several_methods_one_that_does_not_fit_disturbs_no_other(desk: Desk, unfit: int) -> None:
    ran: list[int] = []

    def fits(a: int) -> None:
        ran.append(a)

    def differs(a: list[int]) -> None:
        raise NotImplementedError

    for number in range(3):
        desk.face.add("several", differs if number == unfit else fits)
    (answer,) = await desk.answers(call("1", "several", 7))
    assert ("error" in answer) == (unfit == 0)
    assert ran == [7, 7]


# ---- order and places


async def test_calls_run_one_after_another(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(*[call(name, "wait", name) for name in "abc"])
    assert gates.notes == ["a started"]
    await gates.open("a")
    assert gates.notes == ["a started", "b started"]
    await gates.open("b")
    await gates.open("c")
    assert desk.sent == [result(name, name) for name in "abc"]


async def test_a_plain_call_waits_its_turn(desk: Desk) -> None:
    desk.method(plain)
    gates = Gates(desk)
    assert await desk.answers(call("1", "wait", "a"), call("2", "plain")) == []
    await gates.open("a")
    assert desk.sent == [result("1", "a"), result("2", "plain")]
    assert await desk.answers(call("3", "plain")) == [*desk.sent[:2], result("3", "plain")]


@pytest.mark.parametrize("maximum", [2, 3, 20])
async def test_so_many_calls_run_at_a_time_and_start_in_order(nursery: trio.Nursery, maximum: int) -> None:
    desk = started(nursery, maximum_parallel=maximum)
    gates = Gates(desk)
    names = [chr(ord("a") + number) for number in range(10)]
    for _ in range(2):  # the workers are new, then idle
        await desk.answers(*[call(name, "wait", name) for name in names])
        for running, name in enumerate(names):
            assert gates.notes == [f"{name} started" for name in names[: maximum + running]]
            await gates.open(name)
        assert desk.sent == [result(name, name) for name in names]
        desk.sent.clear()
        gates.notes.clear()


async def test_a_plain_call_runs_beside_others_while_a_place_is_free(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel=2)
    desk.method(plain)
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"))
    assert await desk.answers(call("2", "plain")) == [result("2", "plain")]
    await gates.open("a")


async def test_streams_do_not_hold_places(desk: Desk) -> None:
    gates = Gates(desk)
    names = "abc"
    await desk.answers(*[stream_call(name, "stream", name) for name in names], call("d", "wait", "d"))
    assert gates.notes == [f"{name} started" for name in "abcd"]
    for name in "cdba":
        await gates.open(name)
    assert desk.sent[3:] == [done("c"), result("d", "d"), done("b"), done("a")]
    await desk.answers(call("e", "wait", "e"), call("f", "wait", "f"))
    assert gates.notes[4:] == ["e started"]  # and no place has come about by it


async def test_a_method_holds_its_place_until_it_has_its_stream(desk: Desk) -> None:
    desk.method(plain)
    ready = trio.Event()

    @desk.method
    async def stream() -> ChannelReader[int]:
        await ready.wait()
        return open_channel(int)[1]

    assert await desk.answers(stream_call("1", "stream"), call("2", "plain")) == []
    ready.set()
    assert await desk.answers() == [result("2", "plain")]


async def test_uploads_do_not_hold_places(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    messages = [call(id, "total", uploads=["s" + id]) for id in "123"]
    await desk.answers(*messages, call("4", "wait", "a"))
    assert gates.notes == ["a started"]
    for id in "123":
        desk.intake.feed("s" + id, raw(int(id), 1))
        desk.intake.complete("s" + id, None)
    await desk.answers()
    await gates.open("a")
    assert sorted(desk.sent, key=str) == [result("1", 2), result("2", 3), result("3", 4), result("4", "a")]
    await desk.answers(call("5", "wait", "b"), call("6", "wait", "c"))
    assert gates.notes[1:] == ["b started"]


@pytest.mark.parametrize("name", ["inline", "waiting"])
async def test_a_call_waits_while_the_outbox_is_full(desk: Desk, name: str) -> None:
    made: list[str] = []

    @desk.method
    def inline() -> None:
        made.append("inline")

    @desk.method
    async def waiting() -> None:
        made.append("waiting")

    desk.outbox.size = HIGH_WATER
    desk.callee.invoke(call("1", name))
    await wait_all_tasks_blocked()
    assert made == []
    desk.outbox.size = 0
    desk.outbox._producers.unpark_all()
    assert await desk.answers() == [result("1", None)]
    assert made == [name]


async def test_one_stream_too_many_is_refused(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_streams=1)
    gates = Gates(desk)
    assert failed("2", "Too many streams: 'stream' would be one more than 1.") in await desk.answers(
        stream_call("1", "stream", "a"), stream_call("2", "stream", "b")
    )
    desk.callee.cancel("1")
    await desk.answers()
    await desk.answers(stream_call("3", "stream", "c"))
    assert "c started" in gates.notes


async def test_waiting_calls_count_as_unread_and_are_bounded(nursery: trio.Nursery) -> None:
    limits = IntakeLimits(connection_bytes=1000, hard_bytes=2000)
    desk = started(nursery, limits=limits)
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"))
    assert desk.intake.wants_more
    await desk.answers(call("2", "wait", "x" * 1000))
    assert not desk.intake.wants_more
    await desk.answers(call("3", "wait", "x" * 1000))
    assert await desk.answers(call("4", "wait", "b")) == [
        failed("4", "Too many calls wait: 'wait' was not queued.")
    ]
    for name in ("a", "x" * 1000, "x" * 1000):
        await gates.open(name)
    assert desk.intake.wants_more
    await desk.answers(call("5", "wait", "c"))
    assert gates.notes[-1] == "c started"


# ---- cancelling


async def test_a_running_call_is_cancelled(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"), call("2", "wait", "b"))
    desk.callee.cancel("1")
    desk.callee.cancel("1")
    assert await desk.answers() == [failed("1", CANCELLED)]
    desk.callee.cancel("1")
    await gates.open("b")
    assert desk.sent[1:] == [result("2", "b")]
    assert gates.notes == ["a started", "a cancelled", "b started"]


async def test_a_running_stream_is_cancelled_without_an_error(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(stream_call("1", "stream", "a"))
    desk.callee.cancel("1")
    assert await desk.answers() == [item("1", "a"), done("1")]
    assert gates.notes == ["a started", "a cancelled"]


async def test_a_waiting_call_is_cancelled_before_it_starts(desk: Desk) -> None:
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"), call("2", "wait", "b"))
    await desk.answers(stream_call("3", "stream", "c"), call("4", "wait", "d"))
    desk.callee.cancel("2")
    desk.callee.cancel("3")
    await gates.open("a")
    await gates.open("d")
    assert desk.sent == [result("1", "a"), failed("2", CANCELLED), done("3"), result("4", "d")]
    assert gates.notes == ["a started", "d started"]


async def test_a_call_is_cancelled_in_the_same_batch(desk: Desk) -> None:
    gates = Gates(desk)
    for message in (call("1", "wait", "a"), stream_call("2", "stream", "b")):
        desk.callee.invoke(message)
        desk.callee.cancel(message.invocation_id)
    assert await desk.answers() == [failed("1", CANCELLED), done("2")]
    assert gates.notes == []


async def test_what_is_not_there_cannot_be_cancelled(desk: Desk) -> None:
    desk.callee.cancel("9")
    assert await desk.answers() == []


async def test_cleanup_may_wait_and_comes_before_the_answer(desk: Desk, autojump_clock: MockClock) -> None:
    steps: list[str] = []

    @desk.method
    async def careful() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            steps.append(f"cleaned, {len(desk.sent)} answers")

    await desk.answers(call("1", "careful"))
    desk.callee.cancel("1")
    await trio.sleep(6)
    assert steps == ["cleaned, 0 answers"]
    assert desk.sent == [failed("1", CANCELLED)]


async def test_a_method_that_fails_while_being_cancelled_is_answered_once_and_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    @desk.method
    async def clumsy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clumsy cleanup")

    @desk.method
    async def clumsy_stream() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("clumsy cleanup")

    await desk.answers(call("1", "clumsy"))
    desk.callee.cancel("1")
    await desk.answers(stream_call("2", "clumsy_stream"))
    desk.callee.cancel("2")
    assert await desk.answers() == [failed("1", CANCELLED), item("2", 1), done("2")]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_method_that_ignores_its_cancellation_gives_its_result(desk: Desk) -> None:
    go_on = trio.Event()

    @desk.method
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await go_on.wait()
        return "done"

    await desk.answers(call("1", "stubborn"))
    desk.callee.cancel("1")
    assert await desk.answers() == []
    go_on.set()
    assert await desk.answers() == [result("1", "done")]


async def test_a_coroutine_of_a_sync_function_can_be_cancelled(desk: Desk) -> None:
    gates = Gates(desk)

    @desk.method
    def delegate() -> Awaitable[str]:
        return gates.wait("a")

    @desk.method
    def clumsy() -> Awaitable[None]:
        async def run() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("clumsy cleanup")

        return run()

    await desk.answers(call("1", "delegate"))
    desk.callee.cancel("1")
    await desk.answers(call("2", "clumsy"))
    desk.callee.cancel("2")
    assert await desk.answers() == [failed("1", CANCELLED), failed("2", CANCELLED)]
    assert await desk.answers(call("", "delegate")) == desk.sent[:2]
    await gates.open("a")


async def test_a_cancelled_call_forgets_its_uploads(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(call("1", "total", uploads=["s"]))
    assert "s" in desk.intake
    desk.callee.cancel("1")
    assert await desk.answers() == [failed("1", CANCELLED)]
    assert "s" not in desk.intake
    desk.callee.invoke(call("2", "total", uploads=["s"]))
    desk.callee.cancel("2")
    await desk.answers()
    assert "s" not in desk.intake


# ---- ids


async def test_two_streams_cannot_have_one_id(desk: Desk) -> None:
    gates = Gates(desk)
    assert await desk.answers(stream_call("1", "stream", "a"), stream_call("1", "stream", "b")) == [
        failed("1", "Invocation ID '1' is already in use."),
        item("1", "a"),
    ]
    desk.callee.cancel("1")
    assert (await desk.answers())[2:] == [done("1")]
    assert gates.notes == ["a started", "a cancelled"]
    await desk.answers(stream_call("1", "stream", "c"))
    await gates.open("c")
    assert desk.sent[3:] == [item("1", "c"), done("1")]


async def test_plain_calls_of_one_id_are_answered_each(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel=2)
    gates = Gates(desk)
    await desk.answers(call("1", "wait", "a"), call("1", "wait", "b"))
    await gates.open("b")
    desk.callee.cancel("1")
    assert await desk.answers() == [result("1", "b"), failed("1", CANCELLED)]


# ---- streams


async def test_the_items_of_a_generator_then_the_end(desk: Desk) -> None:
    @desk.method
    async def count(stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    assert await desk.answers(stream_call("1", "count", 3)) == [item("1", n) for n in range(3)] + [done("1")]


async def test_the_items_of_a_reader_then_the_end(desk: Desk) -> None:
    writer, reader = open_channel(int)
    desk.face.add("plain", reader_of(reader))

    async def later() -> ChannelReader[int]:
        await trio.lowlevel.checkpoint()
        return later_reader

    later_writer, later_reader = open_channel(int)
    desk.method(later)
    for target in (writer, later_writer):
        target.try_write(1)
        target.complete()
    assert await desk.answers(stream_call("1", "plain")) == [item("1", 1), done("1")]
    assert await desk.answers(stream_call("2", "later")) == [*desk.sent[:2], item("2", 1), done("2")]


def reader_of(reader: ChannelReader[int]) -> Callable[[], ChannelReader[int]]:
    def stream() -> ChannelReader[int]:
        return reader

    return stream


async def test_a_coroutine_for_a_stream_is_awaited(desk: Desk) -> None:
    async def later() -> AsyncIterator[int]:
        writer, reader = open_channel(int)
        writer.try_write(1)
        writer.complete()
        return reader

    def stream() -> AsyncIterator[int]:
        return later()  # type: ignore[return-value]  # what users do

    desk.method(stream)
    assert await desk.answers(stream_call("1", "stream")) == [item("1", 1), done("1")]


async def test_a_stream_that_fails_ends_with_the_error_after_its_items(desk: Desk) -> None:
    @desk.method
    async def generator() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    writer, reader = open_channel(int)
    writer.try_write(2)
    writer.complete(ValueError("broken"))
    desk.face.add("channel", reader_of(reader))
    assert await desk.answers(stream_call("1", "generator"), stream_call("2", "channel")) == [
        item("1", 1),
        failed("1", "the stream failed: broken"),
        item("2", 2),
        failed("2", "the stream failed: broken"),
    ]


async def test_an_item_that_cannot_be_encoded_fails_the_stream(desk: Desk) -> None:
    @desk.method
    async def stream() -> AsyncIterator[object]:
        yield 1
        yield object()

    first, last = await desk.answers(stream_call("1", "stream"))
    assert first == item("1", 1)
    assert last["error"].startswith("the stream failed: A value of type 'object' cannot be written")


async def test_a_streaming_method_that_fails_is_a_failed_method(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        raise ValueError("broken")

    assert await desk.answers(stream_call("1", "stream")) == [failed("1", "stream failed: broken")]


async def test_a_streaming_method_without_a_stream_is_an_error(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        return None  # type: ignore[return-value]  # what users do

    desk.method(plain)
    assert await desk.answers(stream_call("1", "stream"), call("2", "plain")) == [
        failed(
            "1",
            "The value returned by the streaming method 'stream' is not a ChannelReader<> or IAsyncEnumerable<>.",
        ),
        result("2", "plain"),
    ]


async def test_the_reader_of_a_cancelled_stream_is_closed(desk: Desk) -> None:
    writer, reader = open_channel(int)
    desk.face.add("stream", reader_of(reader))
    await desk.answers(stream_call("1", "stream"))
    desk.callee.cancel("1")
    assert await desk.answers() == [done("1")]
    with pytest.raises(ChannelClosed):
        await writer.write(1)


# ---- uploads


async def test_uploads_stand_in_their_places(desk: Desk) -> None:
    @desk.method
    async def mixed(
        a: int, first: ChannelReader[int], b: int, second: AsyncIterator[str], c: int = 3
    ) -> list[object]:
        return [a, b, c, [x async for x in first], [x async for x in second]]

    desk.callee.invoke(call("1", "mixed", 1, 2, uploads=["x", "y"]))
    desk.intake.feed("y", raw("one"))
    desk.intake.feed("x", raw(1, 2))
    desk.intake.complete("x", None)
    desk.intake.complete("y", None)
    assert await desk.answers() == [result("1", [1, 2, 3, [1, 2], ["one"]])]


async def test_a_stream_both_ways(desk: Desk) -> None:
    @desk.method
    async def double(items: ChannelReader[int]) -> AsyncIterator[int]:
        async for number in items:
            yield 2 * number

    await desk.answers(stream_call("1", "double", uploads=["s"]))
    for number in (1, 2):
        desk.intake.feed("s", raw(number))
        await wait_all_tasks_blocked()
    desk.intake.complete("s", None)
    assert await desk.answers() == [item("1", 2), item("1", 4), done("1")]


async def test_an_upload_that_breaks_raises_in_the_method(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(call("1", "total", uploads=["s"]))
    desk.intake.complete("s", HubException("upload failed"))
    assert await desk.answers() == [failed("1", "total failed: upload failed")]


async def test_uploads_are_forgotten_when_the_method_ends(desk: Desk) -> None:
    readers: list[ChannelReader[int]] = []

    @desk.method
    async def ignore(items: ChannelReader[int]) -> None:
        readers.append(items)

    assert await desk.answers(call("1", "ignore", uploads=["s"])) == [result("1", None)]
    assert "s" not in desk.intake
    desk.intake.feed("s", raw(1))
    assert readers[0].read_ready() == []


async def test_the_number_of_uploads_must_fit(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> None: ...

    desk.method(plain)
    text = (
        "An unexpected error occurred invoking '{}' on the server. "
        "HubException: Client sent {} stream(s), Hub method expects {}."
    )
    assert await desk.answers(
        call("1", "total"), call("2", "total", uploads=["a", "b"]), call("3", "plain", uploads=["c"])
    ) == [
        failed("1", text.format("total", 0, 1)),
        failed("2", text.format("total", 2, 1)),
        failed("3", text.format("plain", 1, 0)),
    ]
    assert not any(id in desk.intake for id in "abc")


async def test_an_upload_id_in_use_is_refused(desk: Desk) -> None:
    @desk.method
    async def total(first: ChannelReader[int], second: ChannelReader[int]) -> int:
        return sum([number async for number in first])

    assert await desk.answers(
        call("1", "total", uploads=["a", "b"]),
        call("2", "total", uploads=["c", "b"]),
        call("3", "total", uploads=["d", "d"]),
    ) == [failed("2", "Stream ID 'b' is already in use."), failed("3", "Stream ID 'd' is already in use.")]
    assert "c" not in desk.intake
    assert "d" not in desk.intake
    desk.intake.feed("a", raw(1))
    desk.intake.complete("a", None)
    assert (await desk.answers())[2:] == [result("1", 1)]


async def test_an_upload_id_is_free_again_once_its_peer_has_ended_it(desk: Desk) -> None:
    gate = trio.Event()

    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        numbers = [number async for number in items]
        await gate.wait()
        return sum(numbers)

    desk.callee.invoke(call("1", "total", uploads=["s"]))
    desk.intake.complete("s", None)
    await desk.answers(call("2", "total", uploads=["s"]))
    gate.set()
    assert await desk.answers() == [result("1", 0)]
    desk.intake.feed("s", raw(5))
    desk.intake.complete("s", None)
    assert (await desk.answers())[1:] == [result("2", 5)]


# ---- children


class Child:
    """A child task that notes what became of it."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.notes: list[str] = []
        self.gate = trio.Event()
        self.error = error

    async def run(self) -> None:
        self.notes.append("started")
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.notes.append("cancelled")
            raise
        if self.error is not None:
            raise self.error
        self.notes.append("ended")


def with_child(desk: Desk, kind: str, child: Child) -> None:
    """Add a method `parent` that starts a child, and then returns or streams."""
    writer: ChannelWriter[int]
    writer, reader = open_channel(int)
    writer.try_write(1)

    def start() -> None:
        desk.face.children.start_soon(child.run)

    def inline() -> str:
        start()
        return "parent"

    async def later() -> str:
        start()
        return "parent"

    def delegating() -> Awaitable[str]:
        return later()

    def channel() -> ChannelReader[int]:
        start()
        return reader

    async def generator() -> AsyncIterator[int]:
        start()
        yield 1
        await trio.sleep_forever()

    functions = {f.__name__: f for f in (inline, later, delegating, channel, generator)}
    desk.face.add("parent", functions[kind])


PLAIN = pytest.mark.parametrize("kind", ["inline", "later", "delegating"])
STREAMS = pytest.mark.parametrize("kind", ["channel", "generator"])


@PLAIN
async def test_the_answer_of_a_plain_call_waits_for_its_children(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    desk.method(plain)
    assert await desk.answers(call("1", "parent"), call("2", "plain")) == []
    assert child.notes == ["started"]
    child.gate.set()
    assert await desk.answers() == [result("1", "parent"), result("2", "plain")]
    assert child.notes == ["started", "ended"]


@PLAIN
async def test_children_of_a_cancelled_call_are_cancelled(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    await desk.answers(call("1", "parent"))
    desk.callee.cancel("1")
    assert await desk.answers() == [failed("1", CANCELLED)]
    assert child.notes == ["started", "cancelled"]
    desk.method(plain)
    assert (await desk.answers(call("2", "plain")))[1:] == [result("2", "plain")]


@PLAIN
async def test_a_child_that_fails_fails_the_call(desk: Desk, kind: str) -> None:
    child = Child(error=ValueError("broken child"))
    with_child(desk, kind, child)
    await desk.answers(call("1", "parent"))
    child.gate.set()
    assert await desk.answers() == [failed("1", "parent failed: broken child")]


async def test_children_of_an_inline_call_hold_its_place(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel=2)
    gates = Gates(desk)
    child = Child()
    with_child(desk, "inline", child)
    await desk.answers(call("1", "parent"), call("2", "wait", "a"), call("3", "wait", "b"))
    assert gates.notes == ["a started"]
    child.gate.set()
    await desk.answers()
    assert gates.notes == ["a started", "b started"]
    await desk.answers(call("4", "wait", "c"))
    assert len(gates.notes) == 2


@STREAMS
async def test_children_of_a_cancelled_stream_are_cancelled(desk: Desk, kind: str) -> None:
    child = Child()
    with_child(desk, kind, child)
    await desk.answers(stream_call("1", "parent"))
    assert child.notes == ["started"]
    desk.callee.cancel("1")
    assert await desk.answers() == [item("1", 1), done("1")]
    assert child.notes == ["started", "cancelled"]


@STREAMS
async def test_a_child_that_fails_fails_the_stream(desk: Desk, kind: str) -> None:
    child = Child(error=ValueError("broken child"))
    with_child(desk, kind, child)
    await desk.answers(stream_call("1", "parent"))
    child.gate.set()
    assert await desk.answers() == [item("1", 1), failed("1", "the stream failed: broken child")]


async def test_the_end_of_a_stream_cancels_its_children(desk: Desk) -> None:
    child = Child()

    @desk.method
    async def stream() -> AsyncIterator[int]:
        desk.face.children.start_soon(child.run)
        yield 1
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    assert await desk.answers(stream_call("1", "stream")) == [item("1", 1), done("1")]
    assert child.notes == ["started", "cancelled"]


async def test_a_child_may_write_the_stream(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=1)

        async def write() -> None:
            for number in range(3):
                await writer.write(number)
            writer.complete()

        desk.face.children.start_soon(write)
        return reader

    assert await desk.answers(stream_call("1", "stream")) == [item("1", n) for n in range(3)] + [done("1")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_method_that_fails_cancels_its_children(desk: Desk, is_async: bool) -> None:
    child = Child()

    def broken() -> None:
        desk.face.children.start_soon(child.run)
        raise ValueError("broken")

    async def broken_later() -> None:
        broken()

    desk.face.add("broken", broken_later if is_async else broken)
    assert await desk.answers(call("1", "broken")) == [failed("1", "broken failed: broken")]
    assert child.notes in ([], ["started", "cancelled"])


@pytest.mark.parametrize("kind", ["plain", "broken", "later"])
async def test_an_invocation_that_is_over_starts_no_children(desk: Desk, kind: str) -> None:
    def broken() -> None:
        raise ValueError

    async def later() -> None: ...

    desk.face.add("method", {"plain": plain, "broken": broken, "later": later}[kind])
    await desk.answers(call("1", "method"))
    with pytest.raises(RuntimeError, match="The invocation is over"):
        desk.face.children.start_soon(trio.sleep_forever)


# ---- the connection's end


@pytest.mark.parametrize("error", [ConnectionClosed("gone"), UploadBroken("gone")])
async def test_a_call_that_ends_with_the_connection_is_no_news(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    gate = trio.Event()

    @desk.method
    async def tell() -> None:
        await gate.wait()
        raise error

    await desk.answers(call("1", "tell"))
    desk.callee.stop()
    gate.set()
    await desk.answers()
    assert caplog.records == []


async def test_a_lost_connection_elsewhere_is_an_error_like_any_other(desk: Desk) -> None:
    @desk.method
    async def tell() -> None:
        raise ConnectionClosed("another connection")

    assert await desk.answers(call("1", "tell")) == [failed("1", "tell failed: another connection")]


@pytest.mark.parametrize("where", ["method", "coroutine", "child", "plain failure"])
async def test_a_call_that_fails_while_the_connection_ends_harms_nobody_and_is_logged(
    caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Not even with nurseries of their own, in which others are being cancelled at the same time."""
    desk = Desk()
    ended: list[str] = []

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("failed")
            raise ValueError("broken")

    async def clumsy() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    def delegate() -> Awaitable[None]:
        return clumsy()

    async def parent() -> None:
        desk.face.children.start_soon(clumsy)
        await trio.sleep_forever()

    functions = {"method": clumsy, "coroutine": delegate, "child": parent, "plain failure": fail}
    desk.face.add("clumsy", functions[where])
    async with trio.open_nursery() as nursery:
        desk.callee.start(nursery)
        await desk.answers(call("1", "clumsy"))
        desk.callee.stop()
        nursery.cancel_scope.cancel()
    assert ended == ["failed"]
    assert desk.sent in ([], [failed("1", "clumsy failed: broken")])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "connection desk: 'clumsy' failed" in record.getMessage()
