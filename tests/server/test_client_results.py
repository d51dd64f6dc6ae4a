"""Client results: a hub calls one of its clients and waits, from wherever it is, for whatever comes of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, RawClient, no_task_left, open_client, served_hub, session_of
from tests.messages import call, cancel, close, ended, item, result, stream
from trio_hubs import BindingError, ChannelReader, ConnectionClosed, Hub, HubException, User, Wait
from trio_hubs.server.clients import HubClients
from trio_hubs.server.served_hub import ServedHub

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


class Asking(Hub):
    """Asks its clients, in every way."""

    async def ask(self, question: str) -> int:
        answer: int = await self.clients.caller.invoke("Answer", question, result_type=int)
        return answer

    async def ask_other(self, id: str) -> object:
        return await self.clients.client(id).invoke("Answer", "?")

    async def ask_slow(self, id: str) -> object:
        return await self.clients.when_slow(Wait()).client(id).invoke("Answer", "?")

    async def ask_from_outside(self, id: str) -> object:
        return await OUTSIDE[0].client(id).invoke("Answer", "?")

    async def ask_two(self) -> list[int]:
        answers: list[int] = [0, 0]

        async def one(place: int) -> None:
            answers[place] = await self.clients.caller.invoke("Answer", place, result_type=int)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            await wait_all_tasks_blocked()  # so that the questions have an order
            nursery.start_soon(one, 1)
        return answers

    async def ask_streaming(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield await self.clients.caller.invoke("Answer", number, result_type=int)

    async def ask_about(self, items: ChannelReader[int]) -> list[int]:
        ask = self.clients.caller.invoke
        return [await ask("Answer", number, result_type=int) async for number in items]

    def same(self, value: int) -> int:
        return value


OUTSIDE: list[HubClients[Any]] = []


def asked(id: str, *arguments: Any) -> dict[str, Any]:
    return call("Answer", *arguments, id=id)


@pytest.mark.parametrize("method", ["AskOther", "AskSlow"])
async def test_who_asks_a_client_by_its_id_lends_its_place_too(
    autojump_clock: MockClock, method: str
) -> None:
    """With one invocation at a time: whoever is asked, the caller itself included, can call the hub meanwhile."""
    async with open_client(Asking) as client:
        await client.send(call(method, "memory", id="1"))
        assert await client.receive() == asked("s1", "?")
        await client.send(call("Same", 7, id="2"))
        assert await client.arrived() == [result("2", 7)]
        await client.send(result("s1", 5))
        assert await client.arrived() == [result("1", 5)]
        await client.send(call(method, "memory", id="3"), call("Same", 8, id="4"))
        assert await client.take(2) == [asked("s2", "?"), result("4", 8)]  # a place is lent again
        await client.send(result("s2", 6))
        assert await client.receive() == result("3", 6)


async def test_who_asks_from_outside_of_its_invocation_lends_nothing(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    OUTSIDE[:] = [served.clients]
    async with open_client(served) as client:
        await client.send(call("AskFromOutside", "memory", id="1"), call("Same", 7, id="2"))
        assert await client.arrived() == [asked("s1", "?")]
        await client.send(result("s1", 5))
        assert await client.take(2) == [result("1", 5), result("2", 7)]


@both_protocols
async def test_the_answer_is_the_result_also_with_one_invocation_at_a_time(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Asking, protocol) as client:
        await client.send(call("Ask", "how many?", id="1"), call("Same", 7, id="2"))
        assert await client.receive() == asked("s1", "how many?")
        assert await client.arrived() == [result("2", 7)]  # who is asked may call meanwhile
        await client.send(result("s1", 5))
        assert await client.receive() == result("1", 5)


@pytest.mark.parametrize("whom", ["a", "b"])
async def test_whoever_asks_a_client_by_its_id_may_be_called_meanwhile(
    autojump_clock: MockClock, whom: str
) -> None:
    served = served_hub(Asking)
    async with open_client(served, id="a") as one, open_client(served, id="b") as other:
        await one.send(call("AskOther", whom, id="1"), call("Same", 7, id="2"))
        assert asked("s1", "?") in await (one if whom == "a" else other).take(1)
        assert await one.arrived() == [result("2", 7)]
        await (one if whom == "a" else other).send(result("s1", 5))
        assert await one.receive() == result("1", 5)


async def test_whoever_has_been_answered_goes_on_and_the_next_waits_for_both(
    autojump_clock: MockClock,
) -> None:
    """The one that ran in its place is not stopped for it; but no third comes to these two."""
    running: list[str] = []
    together: list[int] = []

    class Turns(Asking):
        async def on_its_own(self, name: str) -> None:
            running.append(name)
            together.append(len(running))
            await trio.sleep(1)
            running.remove(name)

        async def ask_and_work(self, name: str) -> None:
            await self.on_its_own(name)
            await self.clients.caller.invoke("Answer", name)
            await self.on_its_own(name)

    async with open_client(Turns) as client:
        calls = [
            call("AskAndWork", "a", id="1"),
            call("OnItsOwn", "b", id="2"),
            call("OnItsOwn", "c", id="3"),
        ]
        await client.send(*calls)
        assert await client.receive() == asked("s1", "a")
        await client.send(result("s1", 1))
        assert sorted(m["invocationId"] for m in await client.take(3)) == ["1", "2", "3"]
    assert together == [1, 1, 2, 1]


@both_protocols
async def test_an_error_is_a_hub_exception(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Asking, protocol) as client:
        await client.send(call("Ask", "?", id="1"))
        await client.receive()
        await client.send(ended("s1", "Client error"))
        text = "An unexpected error occurred invoking 'Ask' on the server. HubException: Client error"
        assert await client.receive() == ended("1", text)


@both_protocols
@pytest.mark.parametrize("wrong", ["five", None, [5], {"a": 1}, 1.5])
async def test_a_result_of_another_type_fails_the_call_alone(
    autojump_clock: MockClock, protocol: str, wrong: object
) -> None:
    served = served_hub(Asking)
    async with open_client(served, protocol, id="a") as client:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(BindingError):
                    await served.clients.client("a").invoke("Answer", result_type=int)

            assert await client.receive() == asked("s1")
            await client.send(result("s1", wrong))
        await client.send(call("Same", 1, id="1"))
        assert await client.receive() == result("1", 1)


async def test_an_answer_without_a_result_is_an_error_and_null_is_none(autojump_clock: MockClock) -> None:
    async with open_client(Asking, id="a") as client:
        await client.send(call("AskOther", "a", id="1"))
        await client.receive()
        await client.send(ended("s1"))
        assert "HubException: The client gave no result." in (await client.receive())["error"]
        await client.send(call("AskOther", "a", id="2"))
        await client.receive()
        await client.send(result("s2", None))
        assert await client.receive() == result("2", None)


async def test_a_client_that_is_none_cannot_be_asked(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    with pytest.raises(ConnectionClosed, match=r"^Connection 'nobody' does not exist\.$"):
        await served.clients.client("nobody").invoke("Answer")


async def test_one_client_answers_and_no_other_can(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    async with open_client(served, id="a") as one, open_client(served, "messagepack", id="b") as other:
        await one.send(call("AskOther", "b", id="1"))
        assert await other.receive() == asked("s1", "?")
        await one.send(result("s1", "mine"), ended("s1", "mine"), item("s1", "mine"))
        assert await one.arrived() == []
        await other.send(result("s1", "yours"))
        assert await one.receive() == result("1", "yours")
        await one.send(call("Same", 1, id="2"))
        assert await one.receive() == result("2", 1)


@both_protocols
@pytest.mark.parametrize("way", ["vanishes", "closes", "says close", "is aborted"])
async def test_a_client_that_leaves_meanwhile_fails_the_call(
    autojump_clock: MockClock, protocol: str, way: str
) -> None:
    served = served_hub(Asking)
    errors: list[str] = []
    async with open_client(served, protocol, id="a") as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await served.clients.client("a").invoke("Answer")
            errors.append(str(caught.value))

        await client.receive()
        match way:
            case "vanishes":
                client.leave()
            case "closes":
                client.connection.close()
            case "says close":
                await client.send(close())
            case _:
                session_of(served, "a").end()
    assert errors == ["Connection 'a' disconnected."]


async def test_a_client_that_leaves_while_its_own_method_asks_it_cancels_that(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []

    class Own(Hub):
        async def ask(self) -> None:
            try:
                await self.clients.caller.invoke("Answer")
            except ConnectionClosed as error:
                events.append(str(error))
                raise

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    async with open_client(Own, id="a") as client:
        await client.send(call("Ask", id="1"))
        await client.receive()
        client.leave()
        await client.served()
    assert events in (["disconnected"], ["Connection 'a' disconnected.", "disconnected"])
    assert "failed" not in caplog.text


@both_protocols
async def test_a_call_that_is_given_up_tells_the_client_nothing_and_its_late_answer_is_ignored(
    autojump_clock: MockClock, protocol: str
) -> None:
    served = served_hub(Asking)
    async with open_client(served, protocol, id="a") as client:
        with trio.move_on_after(3):
            await served.clients.client("a").invoke("Answer")
        assert await client.arrived() == [asked("s1")]
        await client.send(result("s1", 1), ended("s1", "oops"), call("Same", 1, id="1"))
        assert await client.arrived() == [result("1", 1)]
        assert not session_of(served, "a").our_calls._pending


async def test_a_client_that_answers_not_in_time_fails_the_call(autojump_clock: MockClock) -> None:
    served = served_hub(Asking, client_result_timeout=20.0)
    async with open_client(served, id="a") as client:
        with pytest.raises(trio.TooSlowError, match=r"Connection 'a' did not answer 'Answer' within 20 s"):
            await served.clients.client("a").invoke("Answer")
        assert trio.current_time() == pytest.approx(20.0)
        await client.send(call("Ask", "?", id="1"))
        assert await client.take(2) == [asked("s1"), asked("s2", "?")]
        text = "An unexpected error occurred invoking 'Ask' on the server."
        assert await client.receive() == ended("1", text)
        assert trio.current_time() == pytest.approx(40.0)


async def test_a_client_may_have_any_time(autojump_clock: MockClock) -> None:
    async with open_client(Asking, client_result_timeout=None) as client:
        await client.send(call("Ask", "?", id="1"))
        await client.receive()
        await trio.sleep(80_000)
        await client.send(result("s1", 1))
        assert await client.receive() == result("1", 1)


async def test_the_time_counts_for_a_client_that_takes_nothing_too(autojump_clock: MockClock) -> None:
    served = served_hub(Asking, client_result_timeout=5.0)
    async with open_client(served, id="a", capacity=1):
        for _ in range(200):
            await served.clients.client("a").send("Word", "x" * 1000)
        with pytest.raises(trio.TooSlowError):
            await served.clients.client("a").invoke("Answer")
        assert trio.current_time() == pytest.approx(5.0)


@both_protocols
async def test_two_outstanding_calls_may_be_answered_in_any_order(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Asking, protocol) as client:
        await client.send(call("AskTwo", id="1"))
        assert await client.take(2) == [asked("s1", 0), asked("s2", 1)]
        await client.send(result("s2", 22))
        await client.send(result("s1", 11))
        assert await client.receive() == result("1", [11, 22])


@both_protocols
async def test_a_stream_may_ask_for_each_item(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Asking, protocol) as client:
        await client.send(stream("AskStreaming", 2))
        assert await client.receive() == asked("s1", 0)
        await client.send(result("s1", 10))
        assert await client.take(2) == [item("1", 10), asked("s2", 1)]
        await client.send(cancel("1"))
        assert await client.receive() == ended("1")
        await client.send(result("s2", 11))
        assert await client.arrived() == []


@both_protocols
async def test_an_upload_may_be_read_while_asking_whatever_its_id(
    autojump_clock: MockClock, protocol: str
) -> None:
    """The server's own ids begin with an s; an upload's are the client's affair."""
    async with open_client(Asking, protocol) as client:
        await client.send(call("AskAbout", id="1", uploads=("2",)), item("2", 5))
        assert await client.receive() == asked("s1", 5)
        await client.send(item("2", 6), ended("2"), result("s1", 50))
        assert await client.receive() == asked("s2", 6)
        await client.send(result("s2", 60))
        assert await client.receive() == result("1", [50, 60])


async def test_an_upload_that_takes_the_id_of_our_call_is_ended_first(autojump_clock: MockClock) -> None:
    """Completions go to uploads first, as in ASP.NET Core: it is its client's own fault, and harms nobody else."""
    served = served_hub(Asking)
    async with open_client(served) as client, open_client(served, id="b") as other:
        await client.send(call("AskAbout", id="1", uploads=("s1",)), item("s1", 5))
        assert await client.receive() == asked("s1", 5)
        await client.send(ended("s1"))
        assert await client.arrived() == []
        await client.send(result("s1", 50))
        assert await client.receive() == result("1", [50])
        await other.send(call("Same", 1, id="1"))
        assert await other.receive() == result("1", 1)


@both_protocols
async def test_on_connected_may_ask(autojump_clock: MockClock, protocol: str) -> None:
    class Curious(Hub):
        async def on_connected(self) -> None:
            self.context.items["name"] = await self.clients.caller.invoke("Name", result_type=str)

        def name(self) -> str:
            return str(self.context.items["name"])

    async with open_client(Curious, protocol) as client:
        await client.send(call("Name", id="1"))
        assert await client.receive() == call("Name", id="s1")
        await client.send(result("s1", "Ann"))
        assert await client.receive() == result("1", "Ann")


async def test_on_connected_ends_with_the_client_that_it_asks(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Curious(Hub):
        async def on_connected(self) -> None:
            try:
                await self.clients.caller.invoke("Name")
            finally:
                events.append("on_connected ended")

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    with no_task_left():
        async with open_client(Curious) as client:
            await client.receive()
            client.leave()
            await client.served()
            assert trio.current_time() < 1
    assert events == ["on_connected ended"]


async def test_on_disconnected_cannot_ask_who_has_left_but_others(autojump_clock: MockClock) -> None:
    answers: list[object] = []

    class Last(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            if self.context.connection_id == "a":
                for proxy in (self.clients.caller, self.clients.client("a")):
                    with pytest.raises(ConnectionClosed) as caught:
                        await proxy.invoke("Answer")
                    answers.append(str(caught.value))
                answers.append(await self.clients.client("b").invoke("Answer"))

    served = served_hub(Last)
    async with open_client(served, id="b") as other, open_client(served, id="a") as gone:
        gone.leave()
        assert await other.receive() == asked("s1")
        await other.send(result("s1", "still here"))
        await gone.served()
    assert answers == ["Connection 'a' disconnected."] * 2 + ["still here"]


@pytest.mark.parametrize(
    "way", ["all", "others", "clients", "group", "groups", "user", "users", "all_except"]
)
async def test_many_cannot_be_asked(autojump_clock: MockClock, way: str) -> None:
    proxies: dict[str, Any] = {}

    class Many(Hub):
        async def on_connected(self) -> None:
            clients = self.clients
            proxies.update(
                all=clients.all,
                others=clients.others,
                all_except=clients.all_except("x"),
                clients=clients.clients("memory"),
                group=clients.group("g"),
                groups=clients.groups("g"),
                user=clients.user("u"),
                users=clients.users("u"),
            )

    async with open_client(Many, user=User("u")) as client:
        await client.arrived()
        with pytest.raises(TypeError, match=r"'Answer' can only be invoked on a single client"):
            await proxies[way].invoke("Answer")
        assert await client.arrived() == []


async def test_what_cannot_be_sent_is_not(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    async with open_client(served, id="a") as client:
        with pytest.raises(BindingError):
            await served.clients.client("a").invoke("Answer", object())
        assert await client.arrived() == []
        assert not session_of(served, "a").our_calls._pending


async def ask_many(served: ServedHub, client: RawClient, count: int) -> None:
    """Ask, and never be answered."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(served.clients.client("a").invoke, "Answer")
        assert len(await client.take(count)) == count
        nursery.cancel_scope.cancel()


async def test_calls_that_are_given_up_leave_nothing_behind(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    async with open_client(served, id="a") as client:
        await ask_many(served, client, 100)
        asked = session_of(served, "a")
        assert not asked.our_calls._pending
        assert asked.our_calls._incoming.reading._waiting == 0


async def test_a_failed_call_from_outside_is_the_callers_alone(autojump_clock: MockClock) -> None:
    served = served_hub(Asking)
    async with open_client(served, id="a") as client:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(HubException, match="no such method"):
                    await served.clients.client("a").invoke("Unknown")

            assert await client.receive() == call("Unknown", id="s1")
            await client.send(ended("s1", "no such method"))
        await client.send(call("Same", 1, id="1"))
        assert await client.receive() == result("1", 1)
