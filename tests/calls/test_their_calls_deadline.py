"""A caller can limit its call: it is cancelled when its time has passed, wherever it is by then, and told so."""

import logging
from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import Message, ended, item, result
from trio_hubs.calls.channels import ChannelReader, open_channel
from trio_hubs.calls.methods import Deadline, Method, Signature
from trio_hubs.errors import BindingError
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol

from .gates import CANCELLED, started
from .support import Desk, read_all, read_call, read_stream

NEVER_CHECKED = Deadline(-7.0)
PAYLOADS = [JsonHubProtocol().payloads, MessagePackHubProtocol().payloads]


def passed(id: str, name: str) -> Message:
    return ended(id, f"The deadline of '{name}' has passed.")


async def slow(seconds: float, deadline: Deadline) -> float:
    await trio.sleep(seconds)
    return deadline


# ---- which arguments are deadlines


@pytest.mark.parametrize("payloads", PAYLOADS)
@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ((1, 5), 5),
        ((1, 0.5, "more"), 0.5),
        ((object, 7), 7),
        ((1,), inf),
        ((1, "5"), inf),
        ((1, -1), inf),
        (None, inf),
    ],
)
def test_a_deadline_is_read_without_the_other_arguments(
    payloads: Any, arguments: Any, seconds: float
) -> None:
    method = Method("slow", slow, Signature.of(slow), payloads)
    if arguments is None:
        assert method.seconds(Raw(b"")) == inf
    else:
        plain = ["not a number" if argument is object else argument for argument in arguments]
        assert method.seconds(Raw(payloads.dump_arguments(plain))) == seconds


def test_a_deadline_is_found_among_the_parameters_that_are_for_arguments() -> None:
    def function(a: int, items: ChannelReader[int], deadline: Deadline, b: str = "") -> None: ...

    assert Signature.of(function).deadline == 1
    assert Signature.of(slow).deadline == 1
    assert Signature.of(slow, skip=1).deadline == 0
    assert Signature.of(lambda a: a).deadline is None


def test_a_method_with_a_deadline_does_not_run_inline() -> None:
    def function(deadline: Deadline) -> None: ...

    assert not Method("x", function, Signature.of(function), PAYLOADS[0]).inline


@pytest.mark.parametrize("payloads", PAYLOADS)
@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, 5, 1e-300, 1.5, 1e300, 2**60])
def test_seconds_from_zero_on_are_a_deadline(payloads: Any, seconds: float) -> None:
    method = Method("slow", slow, Signature.of(slow), payloads)
    assert method.load(Raw(payloads.dump_arguments((1, seconds)))) == [1, seconds]


@pytest.mark.parametrize("payloads", PAYLOADS)
@pytest.mark.parametrize("seconds", [-1, -1e-9, "5", None, [], True, -(2**62)])
def test_nothing_else_is(payloads: Any, seconds: Any) -> None:
    method = Method("slow", slow, Signature.of(slow), payloads)
    with pytest.raises(BindingError):
        method.load(Raw(payloads.dump_arguments((1, seconds))))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), float("-inf")])
def test_nor_is_what_only_messagepack_can_say(seconds: float) -> None:
    payloads = PAYLOADS[1]
    method = Method("slow", slow, Signature.of(slow), payloads)
    with pytest.raises(BindingError, match=r"^A deadline is a number of seconds from 0 on\.$"):
        method.load(Raw(payloads.dump_arguments((1, seconds))))


@pytest.mark.parametrize("text", [b"1e999", b"1" + b"0" * 400, b"-1e999", b"NaN", b"Infinity"])
def test_nor_is_what_no_float_can_hold(text: bytes) -> None:
    method = Method("slow", slow, Signature.of(slow), PAYLOADS[0])
    with pytest.raises(BindingError):
        method.load(Raw(b"[1," + text + b"]"))


def test_one_that_is_not_given_is_not_checked() -> None:
    def function(a: int, deadline: Deadline = NEVER_CHECKED) -> None: ...

    method = Method("x", function, Signature.of(function), PAYLOADS[0])
    assert method.load(Raw(b"[1]")) == [1]
    with pytest.raises(BindingError):
        method.load(Raw(b"[1,-1]"))


# ---- a running call


async def test_the_method_gets_the_moment(desk: Desk, autojump_clock: MockClock) -> None:
    desk.method(slow)
    await trio.sleep(100)
    desk.their_calls.invoke(read_call("slow", 3, 5, id="1"))
    await trio.sleep(4)
    assert desk.sent == [result("1", 105.0)]


async def test_a_call_is_cancelled_at_its_deadline(
    desk: Desk, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk.method(slow)
    desk.their_calls.invoke(read_call("slow", 100, 5, id="1"))
    await trio.sleep(4.99)
    assert desk.sent == []
    await trio.sleep(0.02)
    assert desk.sent == [passed("1", "slow")]
    assert desk.their_calls.idle
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("seconds", [0, -0.0])
async def test_a_deadline_that_has_passed_already_keeps_the_method_from_being_called(
    desk: Desk, autojump_clock: MockClock, seconds: float
) -> None:
    called = False

    @desk.method
    def quick(deadline: Deadline) -> None:
        nonlocal called
        called = True

    assert await desk.answers(read_call("quick", seconds, id="1")) == [passed("1", "quick")]
    assert not called


async def test_a_deadline_far_away_is_none(desk: Desk, autojump_clock: MockClock) -> None:
    desk.method(slow)
    desk.their_calls.invoke(read_call("slow", 10_000, 1e300, id="1"))
    await trio.sleep(20_000)
    assert desk.sent == [result("1", 1e300)]


async def test_a_call_without_the_argument_has_no_deadline(desk: Desk, autojump_clock: MockClock) -> None:
    @desk.method
    async def limited(seconds: float, deadline: Deadline = NEVER_CHECKED) -> float:
        await trio.sleep(seconds)
        return deadline

    desk.their_calls.invoke(read_call("limited", 100, id="1"))
    await trio.sleep(101)
    desk.their_calls.invoke(read_call("limited", 100, 1, id="2"))
    await trio.sleep(2)
    assert desk.sent == [result("1", -7.0), passed("2", "limited")]


async def test_a_call_that_nobody_waits_for_is_cancelled_without_a_word(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.method(slow)
    desk.their_calls.invoke(read_call("slow", 100, 5))
    await trio.sleep(6)
    assert desk.sent == []
    assert desk.their_calls.idle


async def test_a_bad_deadline_refuses_the_call(desk: Desk) -> None:
    desk.method(slow)
    (answer,) = await desk.answers(read_call("slow", 1, -2, id="1"))
    assert answer["error"].startswith("slow does not fit: A deadline is a number of seconds from 0 on")
    assert desk.their_calls.idle


async def test_cancelling_before_the_deadline_has_its_own_text(desk: Desk, autojump_clock: MockClock) -> None:
    desk.method(slow)
    desk.their_calls.invoke(read_call("slow", 100, 5, id="1"))
    await wait_all_tasks_blocked()
    desk.their_calls.cancel("1")
    await trio.sleep(10)
    assert desk.sent == [ended("1", CANCELLED)]


async def test_a_method_that_ends_in_spite_of_its_deadline_gives_its_result(
    desk: Desk, autojump_clock: MockClock
) -> None:
    @desk.method
    async def shielded(deadline: Deadline) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        return 5

    desk.their_calls.invoke(read_call("shielded", 1, id="1"))
    await trio.sleep(11)
    assert desk.sent == [result("1", 5)]


async def test_a_method_that_fails_at_its_deadline_is_told_to_have_failed(
    desk: Desk, autojump_clock: MockClock
) -> None:
    @desk.method
    async def fails(deadline: Deadline) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("untidy")

    desk.their_calls.invoke(read_call("fails", 1, id="1"))
    await trio.sleep(2)
    assert desk.sent == [ended("1", "fails failed: untidy")]


async def test_children_end_at_the_deadline_too(desk: Desk, autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    @desk.method
    async def parent(deadline: Deadline) -> None:
        desk.face.children.start_soon(child)

    desk.their_calls.invoke(read_call("parent", 3, id="1"))
    await trio.sleep(4)
    assert ended == [3]
    assert desk.sent == [passed("1", "parent")]


async def test_a_deadline_counts_on_while_the_call_waits_for_its_turn(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.method(slow)
    for id, seconds in (("1", 10), ("2", 5), ("3", 15)):
        desk.their_calls.invoke(read_call("slow", 7, seconds, id=id))
    await trio.sleep(20)
    assert desk.sent == [result("1", 10.0), passed("2", "slow"), result("3", 15.0)]


async def test_a_call_that_waits_is_answered_at_its_deadline(desk: Desk, autojump_clock: MockClock) -> None:
    desk.method(slow)

    @desk.method
    async def total(deadline: Deadline, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    for id, seconds in (("1", 1000), ("2", 5), ("3", 50), ("4", 3)):
        desk.their_calls.invoke(read_call("slow", 500, seconds, id=id))
    desk.their_calls.invoke(read_call("total", 1, id="5", uploads=("u",)))
    await trio.sleep(4.99)
    desk.their_calls.drop_overdue(trio.current_time())
    assert desk.sent == [passed("4", "slow"), passed("5", "total")]
    assert "u" not in desk.incoming
    await trio.sleep(0.01)
    for _ in range(2):
        desk.their_calls.drop_overdue(trio.current_time())
    assert desk.sent[2:] == [passed("2", "slow")]
    await trio.sleep(600)
    assert desk.sent[3:] == [result("1", 1000.0), passed("3", "slow")]
    assert desk.their_calls.idle


async def test_a_deadline_may_be_none_as_type_checkers_want_it(desk: Desk, autojump_clock: MockClock) -> None:
    @desk.method
    async def wait(deadline: Deadline | None = None) -> None:
        await trio.sleep(100)

    desk.their_calls.invoke(read_call("wait", 5, id="1"))
    await trio.sleep(6)
    assert desk.sent == [passed("1", "wait")]


async def test_a_call_that_waits_is_not_answered_any_more_once_all_is_halted(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.method(slow)
    for id in "12":
        desk.their_calls.invoke(read_call("slow", 500, 5, id=id))
    desk.their_calls.halt()
    desk.their_calls.drop_overdue(trio.current_time() + 10)
    assert desk.sent == []


@pytest.mark.parametrize("payloads", PAYLOADS)
def test_none_is_no_deadline_where_it_may_be_given(payloads: Any) -> None:
    def function(deadline: Deadline | None = None) -> None: ...

    method = Method("x", function, Signature.of(function), payloads)
    assert method.load(Raw(payloads.dump_arguments((None,)))) == [None]
    with pytest.raises(BindingError):
        method.load(Raw(payloads.dump_arguments((-1,))))


async def test_a_call_with_none_for_its_deadline_has_none(desk: Desk, autojump_clock: MockClock) -> None:
    @desk.method
    async def wait(deadline: Deadline | None) -> None:
        await trio.sleep(100)
        assert deadline is None

    desk.their_calls.invoke(read_call("wait", None, id="1"))
    await trio.sleep(101)
    assert desk.sent == [result("1", None)]


def test_a_call_has_one_deadline() -> None:
    def function(a: Deadline, b: Deadline) -> None: ...

    with pytest.raises(TypeError, match="'b' cannot be another"):
        Signature.of(function)


@pytest.mark.parametrize(("annotation", "value"), [(list[Deadline], [5]), (Deadline | str, "5")])
def test_what_only_mentions_a_deadline_is_none_or_is_refused(annotation: Any, value: Any) -> None:
    def function(deadline: Any) -> None: ...

    function.__annotations__["deadline"] = annotation
    try:
        method = Method("x", function, Signature.of(function), PAYLOADS[0])
    except TypeError:
        return
    assert method.load(Raw(PAYLOADS[0].dump_arguments((value,)))) == [value]


# ---- streams


@pytest.mark.parametrize("kind", ["generator", "reader"])
async def test_a_stream_is_cut_off_at_its_deadline(desk: Desk, autojump_clock: MockClock, kind: str) -> None:
    ended: list[float] = []

    async def ticks() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
                await trio.sleep(1)
        finally:
            ended.append(trio.current_time())

    @desk.method
    async def generator(deadline: Deadline) -> AsyncIterator[int]:
        async for number in ticks():
            yield number

    @desk.method
    def reader(deadline: Deadline) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=10)

        async def write() -> None:
            async for number in ticks():
                await writer.write(number)

        desk.face.children.start_soon(write)
        return reader

    desk.their_calls.invoke(read_stream(kind, 2.5))
    await trio.sleep(4)
    assert desk.sent == [item("1", 0), item("1", 1), item("1", 2), passed("1", kind)]
    assert ended == [2.5]
    assert desk.their_calls.idle


async def test_an_upload_is_forgotten_at_the_deadline(desk: Desk, autojump_clock: MockClock) -> None:
    seen: list[Sequence[int]] = []

    @desk.method
    async def total(deadline: Deadline, items: ChannelReader[int]) -> int:
        seen.append([number async for number in items])
        return 0

    desk.their_calls.invoke(read_call("total", 5, id="1", uploads=("u",)))
    await wait_all_tasks_blocked()
    assert "u" in desk.incoming
    await trio.sleep(6)
    assert desk.sent == [passed("1", "total")]
    assert "u" not in desk.incoming
    assert seen == []
    assert desk.their_calls.idle


async def test_uploads_stand_in_their_places_beside_a_deadline(desk: Desk, autojump_clock: MockClock) -> None:
    @desk.method
    async def total(items: ChannelReader[int], a: int, deadline: Deadline) -> list[Any]:
        return [await read_all(items), a, deadline]

    desk.their_calls.invoke(read_call("total", 7, 5, id="1", uploads=("u",)))
    await wait_all_tasks_blocked()
    desk.incoming.complete("u", None)
    await wait_all_tasks_blocked()
    assert desk.sent == [result("1", [[], 7, 5.0])]


async def test_a_deadline_frees_its_place(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    desk.method(slow)
    for id in ("1", "2", "3", "4"):
        desk.their_calls.invoke(read_call("slow", 100, int(id) if id in "12" else 500, id=id))
    await trio.sleep(103)
    assert desk.sent == [passed("1", "slow"), passed("2", "slow"), result("3", 500.0), result("4", 500.0)]
