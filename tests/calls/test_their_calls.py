"""What the peer calls is answered exactly once, also when it fails, and also when the connection ends."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import ended, item, result
from trio_hubs.errors import ConnectionClosed, HubException, UploadBroken

from .gates import CANCELLED, Gates, plain, started
from .support import Desk, read_call, read_stream

# ---- plain calls


async def test_a_plain_call_is_answered_at_once(desk: Desk) -> None:
    @desk.method
    def add(a: int, b: int) -> int:
        return a + b

    desk.their_calls.invoke(read_call("add", 40, 2, id="1"))
    assert desk.sent == [result("1", 42)]


async def test_an_async_call_is_answered(desk: Desk) -> None:
    @desk.method
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    assert await desk.answers(read_call("add", 40, 2, id="1")) == [result("1", 42)]


async def test_a_call_without_a_result_is_answered_with_null(desk: Desk) -> None:
    @desk.method
    def nothing() -> None: ...

    assert await desk.answers(read_call("nothing", id="1")) == [result("1", None)]


async def test_a_coroutine_that_a_sync_function_returns_is_awaited(desk: Desk) -> None:
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    @desk.method
    def delegate(a: int, b: int) -> Awaitable[int]:
        return add(a, b)

    desk.face.add("partly", lambda a: add(a, 1))
    assert await desk.answers(read_call("delegate", 40, 2, id="1"), read_call("partly", 1, id="2")) == [
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
    assert await desk.answers(*[read_call(name) for name in names], read_call("later", 1)) == []
    assert ran == ["sync", "later", "broken", "later"]


async def test_calls_wait_until_they_are_started(nursery: trio.Nursery) -> None:
    desk = Desk()
    desk.method(plain)
    gates = Gates(desk)
    assert (
        await desk.answers(
            read_call("plain", id="1"), read_call("wait", "a", id="2"), read_call("plain", id="3")
        )
        == []
    )
    desk.their_calls.start(nursery)
    await wait_all_tasks_blocked()
    await gates.open("a")
    assert desk.sent == [result("1", "plain"), result("2", "a"), result("3", "plain")]


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

    caplog.set_level(logging.DEBUG, "trio_hubs.calls.answers")
    desk.face.add("broken", broken_later if is_async else broken)
    desk.method(plain)
    sent = await desk.answers(read_call("broken", id="1"), read_call("plain", id="2"))
    assert sorted(sent, key=str) == sorted(
        [ended("1", "broken failed: broken"), result("2", "plain")], key=str
    )
    (record,) = caplog.records
    expected = logging.DEBUG if isinstance(error, HubException) else logging.ERROR
    assert record.levelno == expected
    assert "connection desk: 'broken'" in record.getMessage()


async def test_several_errors_stay_a_group(desk: Desk) -> None:
    @desk.method
    async def broken() -> None:
        raise ExceptionGroup("all of it", [ValueError(), TypeError()])

    assert await desk.answers(read_call("broken", id="1")) == [
        ended("1", "broken failed: all of it (2 sub-exceptions)")
    ]


async def test_an_error_in_a_nursery_of_the_method_is_answered_bare(desk: Desk) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    @desk.method
    async def broken() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    assert await desk.answers(read_call("broken", id="1")) == [ended("1", "broken failed: broken")]


async def test_a_result_that_cannot_be_encoded_is_an_error(desk: Desk) -> None:
    @desk.method
    def opaque() -> object:
        return object()

    @desk.method
    async def opaque_later() -> object:
        return object()

    (first, second) = await desk.answers(read_call("opaque", id="1"), read_call("opaque_later", id="2"))
    assert first["error"].startswith("opaque failed: A value of type 'object' cannot be written")
    assert second["error"].startswith("opaque_later failed: A value of type 'object' cannot be written")


async def test_an_unknown_method_is_an_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert await desk.answers(read_call("nowhere", id="1"), read_stream("nowhere", id="2")) == [
        ended("1", "nowhere is unknown"),
        ended("2", "nowhere is unknown"),
    ]
    assert len(caplog.records) == 2


async def test_a_call_of_the_wrong_kind_is_an_error(desk: Desk) -> None:
    desk.method(plain)
    Gates(desk)
    assert await desk.answers(
        read_call("stream", "a", id="1"), read_stream("plain", id="2"), read_call("stream", "a")
    ) == [
        ended(
            "1",
            "The client attempted to invoke the streaming 'stream' method with a non-streaming invocation.",
        ),
        ended(
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

    (answer,) = await desk.answers(read_call("double", *arguments, id="1"))
    assert answer["error"].startswith("double does not fit: ")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "connection desk: call of 'double' refused: double does not fit: " in record.getMessage()
    if arguments == ["one"]:
        assert "argument 1: " in record.getMessage()  # what the peer is not told


async def test_a_hub_that_cannot_be_made_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(*_: object) -> Callable[[], None]:
        raise ValueError("no hub")

    desk.method(plain)
    Gates(desk)
    monkeypatch.setattr(desk.face, "enter", enter)
    assert await desk.answers(
        read_call("plain", id="1"), read_call("wait", "a", id="2"), read_stream("stream", "a", id="3")
    ) == [
        ended("1", "plain failed: no hub"),
        ended("2", "wait failed: no hub"),
        ended("3", "stream failed: no hub"),
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
    assert await desk.answers(read_call("several", id="1")) == [result("1", 0)]
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
    (answer,) = await desk.answers(read_call("several", 7, id="1"))
    assert ("error" in answer) == (unfit == 0)
    assert ran == [7, 7]


# ---- ids


async def test_two_streams_cannot_have_one_id(desk: Desk) -> None:
    gates = Gates(desk)
    assert await desk.answers(read_stream("stream", "a"), read_stream("stream", "b")) == [
        ended("1", "Invocation ID '1' is already in use."),
        item("1", "a"),
    ]
    desk.their_calls.cancel("1")
    assert (await desk.answers())[2:] == [ended("1")]
    assert gates.notes == ["a started", "a cancelled"]
    await desk.answers(read_stream("stream", "c"))
    await gates.open("c")
    assert desk.sent[3:] == [item("1", "c"), ended("1")]


async def test_plain_calls_of_one_id_are_answered_each(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    gates = Gates(desk)
    await desk.answers(read_call("wait", "a", id="1"), read_call("wait", "b", id="1"))
    await gates.open("b")
    desk.their_calls.cancel("1")
    assert await desk.answers() == [result("1", "b"), ended("1", CANCELLED)]


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

    await desk.answers(read_call("tell", id="1"))
    desk.their_calls.stop()
    gate.set()
    await desk.answers()
    assert caplog.records == []


async def test_a_lost_connection_elsewhere_is_an_error_like_any_other(desk: Desk) -> None:
    @desk.method
    async def tell() -> None:
        raise ConnectionClosed("another connection")

    assert await desk.answers(read_call("tell", id="1")) == [ended("1", "tell failed: another connection")]


@pytest.mark.parametrize("where", ["method", "coroutine", "child", "plain failure"])
async def test_a_call_that_fails_while_the_connection_ends_harms_nobody_and_is_logged(
    caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Not even with nurseries of their own, in which others are being cancelled at the same time."""
    desk = Desk()
    ends: list[str] = []

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append("failed")
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
        desk.their_calls.start(nursery)
        await desk.answers(read_call("clumsy", id="1"))
        desk.their_calls.stop()
        nursery.cancel_scope.cancel()
    assert ends == ["failed"]
    assert desk.sent in ([], [ended("1", "clumsy failed: broken")])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "connection desk: 'clumsy' failed" in record.getMessage()
