"""Observers: what they hear of calls, in which order, and that they disturb nothing."""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import open_client, served_hub
from tests.messages import Message, call, cancel, ended, item, result, stream
from trio_hubs import (
    ChannelReader,
    Deadline,
    Hub,
    HubException,
    ObservedCall,
    ObservedConnection,
    Observer,
    Outcome,
    User,
)
from trio_hubs.calls.observer import NOBODY, Observers
from trio_hubs.calls.refusals import (
    ArgumentsUnfit,
    CallCancelled,
    DeadlinePassed,
    TooManyStreams,
    UnknownMethod,
)


class Witness(Observer):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connection_opened(self, connection: ObservedConnection) -> None:
        self.heard.append(("opened", connection.id, connection.user_id, connection.request.path))

    def connection_closed(self, connection: ObservedConnection) -> None:
        seconds = trio.current_time() - connection.opened_at
        self.heard.append(("closed", connection.id, type(connection.error), connection.too_slow, seconds))

    def call_began(self, call: ObservedCall) -> None:
        assert (call.outcome, call.error) == (None, None)
        self.heard.append(("began", call.id, call.target, call.argument_bytes))

    def call_ended(self, call: ObservedCall) -> None:
        seconds = trio.current_time() - call.began_at
        self.heard.append((call.outcome, call.id, call.connection_id, type(call.error), seconds))

    def call_refused(self, call: ObservedCall) -> None:
        assert call.outcome is Outcome.REFUSED
        self.heard.append((call.outcome, call.id, call.target, type(call.error)))

    def calls(self) -> list[Any]:
        """What it has heard of calls, since it was last asked."""
        heard, self.heard = self.heard, []
        return [each for each in heard if each[0] not in ("opened", "closed")]


class Work(Hub):
    """Methods that come to every end."""

    def add(self, first: int, second: int) -> int:
        return first + second

    def fail(self) -> None:
        raise ValueError

    def unfit(self) -> object:
        return object()

    def later(self) -> Any:
        return self.sleep(2)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def raising(self) -> None:
        await trio.sleep(1)
        raise HubException("no")

    async def bad_result(self) -> object:
        return object()

    async def stubborn(self) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return 1

    async def stopped(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    async def within(self, deadline: Deadline) -> None:
        await trio.sleep_forever()

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number
        await trio.sleep(1)
        if stop == 3:
            raise HubException("no")

    def no_stream(self) -> AsyncIterator[int]:
        return 1  # type: ignore[return-value]

    async def total(self, items: ChannelReader[int]) -> int:
        return sum([number async for number in items])


async def observed(*messages: Message, seconds: float = 5, **options: Any) -> list[Any]:
    """What is heard of calls while a client sends these, each when there is nothing more to do."""
    witness = Witness()
    async with open_client(served_hub(Work, observers=[witness], **options), id="c", beating=True) as client:
        for message in messages:
            await client.send(message)
            await wait_all_tasks_blocked()
        await trio.sleep(seconds)
        return witness.calls()


NONE, WAITS = type(None), {"maximum_parallel_invocations": 9}


@pytest.mark.parametrize(
    ("messages", "heard"),
    [
        (
            [call("Add", 40, 2, id="1")],
            [("began", "1", "Add", 7), (Outcome.COMPLETED, "1", "c", NONE, 0)],
        ),
        ([call("Add", 40, 2)], [("began", "", "Add", 7), (Outcome.COMPLETED, "", "c", NONE, 0)]),
        ([call("Fail", id="1")], [("began", "1", "Fail", 2), (Outcome.FAILED, "1", "c", ValueError, 0)]),
        (
            [call("Later", id="1")],
            [("began", "1", "Later", 2), (Outcome.COMPLETED, "1", "c", NONE, 2)],
        ),
        (
            [call("Sleep", 1, id="1")],
            [("began", "1", "Sleep", 3), (Outcome.COMPLETED, "1", "c", NONE, 1)],
        ),
        (
            [call("Raising", id="1")],
            [("began", "1", "Raising", 2), (Outcome.FAILED, "1", "c", HubException, 1)],
        ),
        (
            [call("Sleep", 9, id="1"), cancel("1")],
            [("began", "1", "Sleep", 3), (Outcome.CANCELLED, "1", "c", NONE, 0)],
        ),
        (
            [call("Later", id="1"), cancel("1")],
            [("began", "1", "Later", 2), (Outcome.CANCELLED, "1", "c", NONE, 0)],
        ),
        (
            [call("Stopped", id="1"), cancel("1")],
            [("began", "1", "Stopped", 2), (Outcome.CANCELLED, "1", "c", ValueError, 0)],
        ),
        (
            [call("Stubborn", id="1"), cancel("1")],
            [("began", "1", "Stubborn", 2), (Outcome.COMPLETED, "1", "c", NONE, 1)],
        ),
        (
            [call("Within", 3, id="1")],
            [("began", "1", "Within", 3), (Outcome.CANCELLED, "1", "c", NONE, 3)],
        ),
        (
            [stream("Count", 2)],
            [("began", "1", "Count", 3), (Outcome.COMPLETED, "1", "c", NONE, 1)],
        ),
        (
            [stream("Count", 3)],
            [("began", "1", "Count", 3), (Outcome.FAILED, "1", "c", HubException, 1)],
        ),
        (
            [stream("Count", 2), cancel("1")],
            [("began", "1", "Count", 3), (Outcome.CANCELLED, "1", "c", NONE, 0)],
        ),
        (
            [call("Total", id="1", uploads=("u",)), item("u", 1), ended("u")],
            [("began", "1", "Total", 2), (Outcome.COMPLETED, "1", "c", NONE, 0)],
        ),
    ],
)
async def test_a_call_is_heard_of_when_it_begins_and_when_it_ends(
    autojump_clock: MockClock, messages: list[Message], heard: list[Any]
) -> None:
    assert [(*each[:-1], pytest.approx(each[-1], abs=0.01)) for each in heard] == await observed(*messages)


@pytest.mark.parametrize("target", ["Unfit", "BadResult"])
async def test_a_result_that_cannot_be_encoded_is_a_failure(autojump_clock: MockClock, target: str) -> None:
    began, ended = await observed(call(target, id="1"))
    assert began[0] == "began"
    assert ended[0] is Outcome.FAILED


async def test_a_method_that_should_stream_and_does_not_has_failed(autojump_clock: MockClock) -> None:
    began, ended = await observed(stream("NoStream"))
    assert began[0] == "began"
    assert ended[0] is Outcome.FAILED


@pytest.mark.parametrize(
    ("message", "error", "target"),
    [
        (call("Nothing", id="1"), UnknownMethod, "Nothing"),
        (call("Add", "x", id="1"), ArgumentsUnfit, "Add"),
        (call("Sleep", "x", id="1"), ArgumentsUnfit, "Sleep"),
        (stream("Count", 1), TooManyStreams, "Count"),
    ],
)
async def test_a_refused_call_is_heard_of_once(
    autojump_clock: MockClock, message: Message, error: type[Exception], target: str
) -> None:
    heard = await observed(stream("Count", 2, id="s"), message, maximum_streams=1)
    assert [each for each in heard if each[1] == "1"] == [(Outcome.REFUSED, "1", target, error)]


async def test_a_call_that_ends_while_it_waits_has_not_begun(autojump_clock: MockClock) -> None:
    heard = await observed(
        call("Sleep", 4, id="1"), call("Add", 1, 2, id="2"), call("Within", 1, id="3"), cancel("2")
    )
    assert (Outcome.REFUSED, "2", "Add", CallCancelled) in heard
    assert (Outcome.REFUSED, "3", "Within", DeadlinePassed) in heard
    assert len(heard) == 4


async def test_the_end_of_a_connection_cancels_its_calls(autojump_clock: MockClock) -> None:
    witness = Witness()
    served = served_hub(Work, observers=[witness])
    async with open_client(served, id="c", user=User("ann")) as client:
        await client.send(call("Sleep", 9, id="1"), call("Add", 1, 2, id="2"))
        await wait_all_tasks_blocked()
        client.leave()
        await client.served()
    opened, *calls, closed = witness.heard
    assert opened == ("opened", "c", "ann", "/")
    assert [each[0] for each in calls] == ["began", Outcome.REFUSED, Outcome.CANCELLED]
    assert closed[:2] == ("closed", "c")
    assert not closed[3]


async def test_a_shutdown_is_the_end_of_calls_and_connections(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_client(served_hub(Work, observers=[witness]), id="c") as client:
        await client.send(call("Sleep", 9, id="1"))
        await wait_all_tasks_blocked()
        client.serving.cancel()
        await client.served()
    assert [each[0] for each in witness.heard] == ["opened", "began", Outcome.CANCELLED, "closed"]


class Door(Observer):
    """Notes what it hears of connections and hooks."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connection_opened(self, connection: ObservedConnection) -> None:
        self.heard.append("opened")

    def connection_closed(self, connection: ObservedConnection) -> None:
        self.heard.append("closed")

    def hook_began(self, call: ObservedCall) -> None:
        assert (call.connection_id, call.outcome, call.error) == ("c", None, None)
        self.heard.append(call.target)

    def hook_ended(self, call: ObservedCall) -> None:
        self.heard.append((call.target, call.outcome, type(call.error), trio.current_time() - call.began_at))


class Coming(Hub):
    """Takes a second to come, and two to go, which fails."""

    async def on_connected(self) -> None:
        await trio.sleep(1)

    async def on_disconnected(self, error: Exception | None) -> None:
        await trio.sleep(2)
        raise ValueError


@pytest.mark.parametrize(
    ("hub", "stays", "come", "gone"),
    [
        (Work, 5, (Outcome.COMPLETED, type(None), 0), (Outcome.COMPLETED, type(None), 0)),
        (Coming, 5, (Outcome.COMPLETED, type(None), 1), (Outcome.FAILED, ValueError, 2)),
        (Coming, 0.5, (Outcome.CANCELLED, type(None), 0.5), None),
    ],
)
async def test_a_hubs_hooks_are_heard_of(
    hub: type[Hub], stays: float, come: Any, gone: Any, autojump_clock: MockClock
) -> None:
    door = Door()
    async with open_client(served_hub(hub, observers=[door]), id="c") as client:
        await trio.sleep(stays)
        client.leave()
        await client.served()
    going = ["on_disconnected", ("on_disconnected", *gone)] if gone else []
    assert door.heard == ["opened", "on_connected", ("on_connected", *come), *going, "closed"]


async def test_an_observer_that_fails_is_logged_and_disturbs_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Observer):
        def call_began(self, call: ObservedCall) -> None:
            raise ValueError

    witness = Witness()
    async with open_client(served_hub(Work, observers=[Failing(), witness])) as client:
        await client.send(call("Add", 40, 2, id="1"))
        assert await client.receive() == result("1", 42)
    assert "an observer failed at" in caplog.text
    assert [each[0] for each in witness.calls()] == ["began", Outcome.COMPLETED]


async def test_nothing_is_made_where_nobody_listens() -> None:
    class Deaf(Observer):
        """Overrides nothing."""

    for observers in (NOBODY, Observers([Deaf()])):
        assert not observers.hear_calls
        observers.call_refused("c", "1", "Add", ValueError())
        assert not observers.hear_hooks
        assert observers.hook_began("c", "on_connected") is None
        observers.hook_ended(None, None)
    assert Observers([Witness()]).hear_calls
    assert Observers([Door()]).hear_hooks


class Waiting(Observer):
    async def call_ended(self, call: ObservedCall) -> None:  # type: ignore[override]
        raise NotImplementedError


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Waiting(), r"Waiting\.call_ended must not be async: observers do not wait"),
        (Observer, "an observer is an instance of Observer"),
    ],
)
def test_an_observer_that_would_hear_of_nothing_is_refused(wrong: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Observers([wrong])


ROOM: ContextVar[str] = ContextVar("room", default="")


class Told(Hub):
    """Tells what observers have set."""

    def at_once(self) -> str:
        return ROOM.get()

    async def later(self) -> str:
        await trio.sleep(1)
        return ROOM.get()


class Setter(Observer):
    """Sets what a call's headers say."""

    def call_began(self, call: ObservedCall) -> None:
        ROOM.set(call.headers.get("room", "none"))


@pytest.mark.parametrize("method", ["AtOnce", "Later"])
async def test_a_method_sees_what_an_observer_sets_from_its_headers(
    method: str, autojump_clock: MockClock
) -> None:
    async with open_client(served_hub(Told, observers=[Setter()]), id="c", beating=True) as client:
        for id, more in ("1", {"headers": {"room": "a"}}), ("2", {"headers": {}}), ("3", {}):
            await client.send({**call(method, id=id), **more})
        await trio.sleep(5)
        answers = {each["invocationId"]: each["result"] for each in await client.arrived()}
    assert answers == {"1": "a", "2": "none", "3": "none"}
    assert ROOM.get() == ""


async def test_headers_of_calls_that_wait_count_for_what_lies_unread(autojump_clock: MockClock) -> None:
    hub = served_hub(Work, observers=[Setter()])
    async with open_client(hub, id="c", beating=True) as client:
        (session,) = hub.sessions
        await client.send(call("Sleep", 5))
        await wait_all_tasks_blocked()
        sizes = []
        for headers in {}, {"name": "x" * 1000}:
            before = session.reading._unread
            await client.send({**call("Sleep", 5), "headers": headers})
            await wait_all_tasks_blocked()
            sizes.append(session.reading._unread - before)
        assert sizes[1] - sizes[0] == 1204
