"""What the server calls on our client: in order, typed, and harmless when it does not fit."""

import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, open_raw_server
from tests.messages import call, close, ended, result
from trio_hubs import ChannelReader, HubConnectionOptions, hub_method
from trio_hubs.calls.refusals import ArgumentsUnfit, CallFailed, UnknownMethod
from trio_hubs.calls.workers import MAXIMUM_BESIDE
from trio_hubs.client.handlers import Handlers
from trio_hubs.protocol.payloads import Payloads

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@attrs.frozen
class Point:
    """Something typed."""

    x: int
    y: int = 0


@both_protocols
async def test_a_handler_gets_its_arguments_by_its_annotations(
    autojump_clock: MockClock, protocol: str
) -> None:
    heard: list[Any] = []

    def hear(point: Point, names: list[str], rest: float | None = None) -> None:
        heard.append((point, names, rest))

    async with open_raw_server(protocol, handlers={"Hear": hear}) as (_, server):
        await server.send(call("Hear", {"x": 1}, ["a"]), call("Hear", {"x": 1, "y": 2}, [], 2))
        await server.arrived()
    assert heard == [(Point(1), ["a"], None), (Point(1, 2), [], 2.0)]


@both_protocols
async def test_calls_are_handled_one_after_another_in_their_order(
    autojump_clock: MockClock, protocol: str
) -> None:
    heard: list[str] = []

    async def slow(number: int) -> None:
        heard.append(f"slow {number}")
        await trio.sleep(number)
        heard.append(f"slow {number} done")

    def quick(number: int) -> None:
        heard.append(f"quick {number}")

    async with open_raw_server(protocol, handlers={"Slow": slow, "Quick": quick}) as (_, server):
        await server.send(call("Slow", 3), call("Quick", 1), call("Slow", 1), call("Quick", 2))
        await trio.sleep(5)
    assert heard == ["slow 3", "slow 3 done", "quick 1", "slow 1", "slow 1 done", "quick 2"]


async def test_handlers_of_one_name_run_in_the_order_they_were_added(autojump_clock: MockClock) -> None:
    heard: list[str] = []

    async def first() -> None:
        await trio.sleep(1)
        heard.append("first")

    async with open_raw_server(handlers={"Go": first}) as (connection, server):
        connection.on("Go", lambda: heard.append("second"))
        remove = connection.on("Go", lambda: heard.append("third"))
        await server.send(call("Go"))
        await trio.sleep(2)
        remove()
        remove()  # again does no harm
        await server.send(call("Go"))
        await trio.sleep(2)
    assert heard == ["first", "second", "third", "first", "second"]


@both_protocols
@pytest.mark.parametrize("arguments", [[], [1, 2], ["x"], [None]])
async def test_wrong_arguments_do_no_harm_and_are_logged(
    autojump_clock: MockClock,
    protocol: str,
    arguments: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)

    async with open_raw_server(protocol, handlers={"Hear": hear}) as (connection, server):
        await server.send(call("Hear", *arguments), call("Hear", 7))
        assert await server.arrived() == []
        await connection.send("Still here")
        assert await server.arrived() == [call("Still here")]
    assert heard == [7]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "'Hear'" in caplog.text


async def test_wrong_arguments_for_one_handler_do_not_keep_the_others_from_theirs(
    autojump_clock: MockClock,
) -> None:
    heard: list[str] = []

    def number(value: int) -> None:
        heard.append(f"number {value}")

    def text(value: str) -> None:
        heard.append(f"text {value}")

    async with open_raw_server(handlers={"Hear": number}) as (connection, server):
        connection.on("Hear", text)
        await server.send(call("Hear", "x"), call("Hear", 1))
        await server.arrived()
    assert heard == ["text x", "number 1"]


@pytest.mark.parametrize("name", ["hear", "Nobody"])
async def test_names_match_in_their_exact_letter_case_and_unknown_ones_are_logged(
    autojump_clock: MockClock, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    caplog.set_level(logging.DEBUG)
    async with open_raw_server(handlers={"Hear": heard.append}) as (_, server):
        await server.send(call(name, 1), call("Hear", 2))
        await server.arrived()
    assert heard == [2]
    assert f"'{name}'" in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_server_that_waits_for_nobody_is_worth_a_warning(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_raw_server() as (_, server):
        await server.send(call("Nobody", id="1"))
        assert await server.arrived() == [ended("1", "Client didn't provide a result.")]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@both_protocols
async def test_a_handler_that_fails_does_not_disturb_the_next(
    autojump_clock: MockClock, protocol: str
) -> None:
    heard: list[int] = []

    async def fail(number: int) -> None:
        raise ValueError(number)

    async with open_raw_server(protocol, handlers={"Hear": fail}) as (connection, server):
        connection.on("Hear", heard.append)
        await server.send(call("Hear", 1), call("Hear", 2))
        await server.arrived()
    assert heard == [1, 2]


@both_protocols
async def test_a_handler_may_call_the_server(autojump_clock: MockClock, protocol: str) -> None:
    heard: list[int] = []
    async with open_raw_server(protocol) as (connection, server):

        async def ask() -> None:
            heard.append(await connection.invoke("Answer"))

        connection.on("Ask", ask)
        await server.send(call("Ask"), call("Ask"))
        for id in ("1", "2"):
            assert await server.receive() == call("Answer", id=id)
            await server.send(result(id, int(id)))
        await server.arrived()
    assert heard == [1, 2]


@both_protocols
@pytest.mark.parametrize("kind", ["push", "ask"])
@pytest.mark.parametrize("how", ["invoke", "stream"])
async def test_a_handler_that_waits_for_the_server_may_be_asked_meanwhile(
    autojump_clock: MockClock, protocol: str, kind: str, how: str
) -> None:
    heard: list[str] = []

    async with open_raw_server(protocol) as (connection, server):

        async def begin() -> None:
            heard.append("began")
            if how == "invoke":
                await connection.invoke("Work")
            else:
                async with connection.stream("Work") as reader:
                    assert [item async for item in reader] == []
            heard.append("done")

        async def confirm(depth: int) -> int:
            heard.append(f"asked {depth}")
            if depth:
                await connection.invoke("Deeper")
            return depth

        connection.on("Begin", begin)
        connection.on("Confirm", confirm)
        connection.on("Note", lambda: heard.append("noted"))
        await server.send(call("Begin", id="b" if kind == "ask" else ""), call("Note"))
        assert (await server.receive())["target"] == "Work"
        await server.send(call("Confirm", 1, id="s1"))
        assert (await server.receive())["target"] == "Deeper"
        await server.send(call("Confirm", 0, id="s2"), call("Confirm", 0, id="s3"))
        assert await server.take(2) == [result("s2", 0), result("s3", 0)]
        await server.send(ended("2"))
        assert await server.receive() == result("s1", 1)
        assert "noted" not in heard  # the others keep their order
        await server.send(ended("1"))
        await server.arrived()
    assert heard == ["began", "asked 1", "asked 0", "asked 0", "done", "noted"]


async def test_only_so_many_are_asked_beside_each_other(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):
        connection.on("Ask", partial(connection.invoke, "Again"))
        await server.send(*[call("Ask", id=f"s{number}") for number in range(200)])
        messages = await server.arrived()
        assert len(messages) == 1 + MAXIMUM_BESIDE
        await server.send(*[ended(message["invocationId"]) for message in messages])
        assert len([message for message in await server.arrived() if message["type"] == 1]) == 99


async def test_a_handler_that_is_at_work_is_cancelled_with_the_connection(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            events.append("cancelled")

    async with open_raw_server(handlers={"Slow": slow}) as (_, server):
        await server.send(call("Slow"))
        await server.arrived()
        assert events == []
    assert events == ["cancelled"]


@both_protocols
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (call("Nobody", id="s1"), ended("s1", "Client didn't provide a result.")),
        (call("Hear", id="s1"), ended("s1", "Client failed to parse argument(s).")),
        (call("Hear", 0, id="s1"), ended("s1", "oops")),
        (call("Hear", 4, id="s1"), result("s1", 8)),
    ],
)
async def test_a_server_that_waits_gets_one_answer(
    autojump_clock: MockClock, protocol: str, message: Any, answer: Any
) -> None:
    def hear(number: int) -> int:
        if not number:
            raise ValueError("oops")
        return 2 * number

    async with open_raw_server(protocol, handlers={"Hear": hear}) as (connection, server):
        connection.on("Hear", [].append)
        await server.send(message)
        assert await server.arrived() == [answer]


async def test_a_handlers_annotations_must_resolve(autojump_clock: MockClock) -> None:
    def hear(number: "Unknown") -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    async with open_raw_server() as (connection, _):
        with pytest.raises(TypeError, match="an annotation cannot be resolved"):
            connection.on("Hear", hear)


def test_the_faults_of_a_client_are_the_official_texts() -> None:
    handlers = Handlers(Payloads("json"))
    assert handlers.find("Nobody") == ()
    assert handlers.text(UnknownMethod("Nobody")) == "Client didn't provide a result."
    assert handlers.text(ArgumentsUnfit("Hear", ValueError("x"))) == "Client failed to parse argument(s)."
    assert handlers.text(CallFailed("Hear", ValueError("x"))) == "x"


async def test_a_handler_that_streams_is_refused_where_it_is_added(autojump_clock: MockClock) -> None:
    async def gives() -> AsyncIterator[int]:
        yield 1

    def takes(items: ChannelReader[int]) -> None: ...

    async with open_raw_server() as (connection, _):
        for handler in (gives, takes):
            with pytest.raises(TypeError, match="the handler of 'Hear' streams"):
                connection.on("Hear", handler)


async def test_a_server_that_floods_is_told_of_in_a_few_lines(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    options = HubConnectionOptions(connection_buffer_size=1000, connection_buffer_limit=10_000)

    def fail() -> None:
        raise ValueError("no")

    handlers: dict[str, Any] = {"Slow": trio.sleep_forever, "Fail": fail}
    async with open_raw_server(options=options, handlers=handlers) as (connection, server):
        with trio.move_on_after(1):
            async with connection.stream("Count"), trio.open_nursery() as nursery:
                nursery.start_soon(connection.invoke, "Wait")  # for which the reading goes on
                for target in ("Fail", "Nothing", "Slow"):
                    await server.send(*[call(target)] * 2000)
    refused = [line for line in caplog.messages if "Too many calls wait" in line]
    assert len(refused) == 20
    assert refused[-1].endswith("(more like this are only counted for 10 s)")
    assert len(caplog.messages) <= 3 * 20


@both_protocols
@pytest.mark.parametrize("how", ["close", "end"])
async def test_a_call_that_was_read_begins_though_the_server_ends_the_connection_behind_it(
    autojump_clock: MockClock, protocol: str, how: str
) -> None:
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(f"{text} began")
        await trio.sleep_forever()

    async with open_raw_server(protocol, handlers={"Hear": hear}) as (client, server):
        if how == "close":
            await server.send(call("Hear", "it"), close())
        else:
            await server.send(call("Hear", "it"))
            server.connection.close()
        await client.wait_closed()
    assert heard == ["it began"]


async def test_a_handler_may_be_decorated(autojump_clock: MockClock) -> None:
    async with open_raw_server() as (connection, server):

        @connection.on("Add")
        def add(a: int, b: int) -> int:
            return a + b

        assert add(1, 2) == 3
        await server.send(call("Add", 40, 2, id="1"))
        assert await server.take(1) == [result("1", 42)]


# ---- several handlers, one result


def noted() -> int:
    return 1


def untold():  # type: ignore[no-untyped-def]  # noqa: ANN201
    return 2


def told_other() -> object:
    return "object"


def silent() -> None:
    return None


@pytest.mark.parametrize(
    ("handlers", "answer"),
    [
        ([silent, untold, noted], 1),
        ([told_other, silent, untold], "object"),
        ([silent, untold, untold], 2),
        ([silent], None),
    ],
)
async def test_the_handler_that_promises_a_result_answers(
    autojump_clock: MockClock, handlers: list[Any], answer: Any
) -> None:
    async with open_raw_server() as (connection, server):
        for handler in handlers:
            connection.on("Ask", handler)
        await server.send(call("Ask", id="1"))
        assert await server.arrived() == [result("1", answer)]


async def test_a_handler_that_fails_beside_the_one_that_answers_is_only_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("no")

    async with open_raw_server(handlers={"Ask": fail}) as (connection, server):
        connection.on("Ask", noted)
        await server.send(call("Ask", id="1"))
        assert await server.arrived() == [result("1", 1)]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_two_handlers_that_promise_a_result_are_refused_until_the_first_is_removed(
    autojump_clock: MockClock,
) -> None:
    async with open_raw_server() as (connection, server):
        remove = connection.on("Ask", noted)
        connection.on("Ask", untold)
        with pytest.raises(ValueError, match=r"^'Ask' already has a value returning handler\."):
            connection.on("Ask", told_other)
        remove()
        await server.send(call("Ask", id="1"))
        assert await server.arrived() == [result("1", 2)]
        connection.on("Ask", told_other)
        await server.send(call("Ask", id="2"))
        assert await server.arrived() == [result("2", "object")]


# ---- an object whose methods are the handlers


class Base:
    def inherited(self) -> str:
        return "inherited"


class Listener(Base):
    """Handlers with something in common."""

    label = "not a handler"

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @property
    def nor_this(self) -> str:
        raise AssertionError

    async def receive_message(self, user: str, point: Point) -> None:
        self.heard.append((user, point))

    @hub_method("bye")
    def goodbye(self) -> int:
        return len(self.heard)

    @staticmethod
    def of_nobody(number: int) -> int:
        return number

    def _private(self) -> None:
        raise AssertionError


@both_protocols
async def test_the_methods_of_an_object_are_handlers_by_their_wire_names(
    autojump_clock: MockClock, protocol: str
) -> None:
    listener = Listener()
    async with open_raw_server(protocol, handlers=listener) as (_, server):
        await server.send(call("ReceiveMessage", "ann", {"x": 1}), call("bye", id="1"))
        await server.send(call("Inherited", id="2"), call("OfNobody", 3, id="3"))
        assert await server.arrived() == [result("1", 1), result("2", "inherited"), result("3", 3)]
        await server.send(call("Private", id="4"), call("NorThis", id="5"))
        nobody = "Client didn't provide a result."
        assert await server.arrived() == [ended("4", nobody), ended("5", nobody)]
    assert listener.heard == [("ann", Point(1))]


@pytest.mark.parametrize("handlers", [Listener, [], noted, object()])
def test_what_has_no_handlers_is_refused(handlers: object) -> None:
    with pytest.raises(TypeError, match="has no methods to be handlers"):
        Handlers(Payloads("json")).add_all(handlers)


# ---- choices


@both_protocols
@pytest.mark.parametrize("tolerant", [False, True])
async def test_extra_arguments_are_left_out_where_that_is_chosen(
    autojump_clock: MockClock, protocol: str, tolerant: bool
) -> None:
    heard: list[Any] = []

    def hear(number: int, text: str = "") -> None:
        heard.append((number, text))

    options = HubConnectionOptions(ignore_extra_arguments=tolerant)
    async with open_raw_server(protocol, handlers={"Hear": hear}, options=options) as (
        _,
        server,
    ):
        await server.send(
            call("Hear", 1), call("Hear", 2, "b", {"new": True}, 4), call("Hear"), call("Hear", "x", "y", "z")
        )
        await server.arrived()
    assert heard == ([(1, ""), (2, "b")] if tolerant else [(1, "")])


async def test_handlers_run_beside_each_other_where_that_is_chosen(autojump_clock: MockClock) -> None:
    heard: list[str] = []

    async def slow(number: int) -> None:
        heard.append(f"{number} began")
        await trio.sleep(10 - number)
        heard.append(f"{number} done")

    options = HubConnectionOptions(maximum_parallel_invocations=2)
    async with open_raw_server(handlers={"Slow": slow}, options=options) as (_, server):
        await server.send(call("Slow", 1), call("Slow", 2), call("Slow", 3))
        await trio.sleep(20)
    assert heard == ["1 began", "2 began", "2 done", "3 began", "1 done", "3 done"]
