"""An app's life: its lifespan is around everything, and ends last and in order."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import no_task_left
from tests.messages import call, result
from trio_hubs import Hub, HubApp, Request, Response, User
from trio_hubs.server.app_life import LIFESPAN_TIMEOUT

from .app_peer import open_app, visit


@attrs.define
class State:
    """What a lifespan yields here."""

    events: list[str] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)


class Board(Hub):
    """Uses what the lifespan holds."""

    app: HubApp[State]

    def said(self) -> list[str]:
        return self.app.state.said

    async def on_disconnected(self, error: Exception | None) -> None:
        await trio.sleep(1)
        self.app.state.events.append("disconnected")


def board_app(lifespan: Any, **options: Any) -> HubApp[State]:
    app = HubApp[State](lifespan=lifespan, **options)
    app.add_hub("/board", Board)
    return app


async def test_it_is_around_all_connections_and_requests(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            events.append("task ended")

    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[State]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield State(events)
            await trio.sleep(1)  # as it is not cancelled
            events.append("lifespan goes on")
            nursery.cancel_scope.cancel()
        events.append("lifespan ended")

    async def slow(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            events.append("request ended")
        raise AssertionError

    app = board_app(lifespan)
    app.add_route("/slow", slow)
    with no_task_left():
        async with open_app(app) as served:
            client = await visit(served, "/board")
            stream = served.open_stream()
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.send(call("Said", id="1"))
            assert await client.receive() == result("1", [])
            await trio.sleep(1)
    assert sorted(events[:2]) == ["disconnected", "request ended"]
    assert events[2:] == ["lifespan goes on", "task ended", "lifespan ended"]


async def test_a_background_task_publishes(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[None]:
        async def publish() -> None:
            for number in range(3):
                await trio.sleep(1)
                await app.hub(Board).clients.all.send("News", number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            yield
            nursery.cancel_scope.cancel()

    app = HubApp(lifespan=lifespan)
    app.add_hub("/board", Hub)
    app.add_hub("/news", Board, factory=News)
    async with open_app(app) as served:
        client = await visit(served, "/news")
        assert [await client.receive() for _ in range(3)] == [call("News", number) for number in range(3)]


class News(Board):
    """Does nothing at its end."""

    async def on_disconnected(self, error: Exception | None) -> None: ...


async def test_its_state_is_in_reach_of_requests(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[State]:
        yield State(said=["ann"])

    def authenticate(request: Request) -> User:
        return User(request.app.state.said[0])

    app = HubApp(lifespan=lifespan, authenticate=authenticate)

    class Who(Hub):
        def name(self) -> str | None:
            return self.context.user_id

    app.add_hub("/who", Who)
    app.add_route("/said", lambda request: Response(",".join(request.app.state.said)))
    with pytest.raises(RuntimeError, match="an app has its state while it runs"):
        print(app.state)
    async with open_app(app) as served:
        assert app.state.said == ["ann"]
        assert (await served.ask("GET", "/said")).body == b"ann"
        client = await visit(served, "/who")
        await client.send(call("Name", id="1"))
        assert await client.receive() == result("1", "ann")
    with pytest.raises(RuntimeError, match="an app has its state while it runs"):
        print(app.state)


async def test_an_app_without_one_has_nothing_for_its_state(autojump_clock: MockClock) -> None:
    app = HubApp()
    async with app.running():
        assert app.state is None


async def test_an_app_runs_without_a_door(autojump_clock: MockClock) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[State]:
        events.append("begins")
        yield State(events)
        events.append("ends")

    app = board_app(lifespan)
    for _ in range(2):  # one after the other
        async with app.running() as doors:
            doors.start_soon(trio.sleep_forever)
            events.append("runs")
            with pytest.raises(RuntimeError, match="the app is being served already"):
                async with app.running():
                    raise AssertionError
            assert app.state.events is events
    assert events == ["begins", "runs", "ends"] * 2


@pytest.mark.parametrize("when", ["at the beginning", "in the midst", "at the end", "in a task"])
async def test_its_error_comes_out_bare(autojump_clock: MockClock, when: str) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise LookupError(when)

    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[State]:
        async with trio.open_nursery() as nursery:
            if when == "at the beginning":
                raise LookupError(when)
            if when == "in a task":
                nursery.start_soon(fail)
            yield state
            if when == "at the end":
                raise LookupError(when)

    state = State()
    app = board_app(lifespan)
    with no_task_left(), pytest.raises(LookupError, match=when):
        async with app.running():
            await trio.sleep(2)
            assert when != "in a task"
            if when == "in the midst":
                raise LookupError(when)
    with pytest.raises(RuntimeError):
        print(app.state)


async def test_when_a_task_of_its_fails_connections_end_in_order(autojump_clock: MockClock) -> None:
    state = State()

    async def fail() -> None:
        await trio.sleep(1)
        raise LookupError

    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[State]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            yield state

    with no_task_left(), pytest.raises(ExceptionGroup) as caught:
        async with open_app(board_app(lifespan)) as served:
            client = await visit(served, "/board")
            await client.receive()
            assert state.events == ["disconnected"]
            await trio.sleep_forever()
    assert caught.group_contains(LookupError)


async def test_one_that_does_not_end_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield

    async with HubApp(lifespan=lifespan).running():
        began = trio.current_time()
    assert trio.current_time() - began == LIFESPAN_TIMEOUT
    assert "the lifespan was cancelled, as it ran 10 s after its yield: have it end its tasks" in caplog.text


async def test_its_beginning_can_be_cancelled(autojump_clock: MockClock) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: HubApp[Any]) -> AsyncGenerator[None]:
        try:
            await trio.sleep(5)
            yield
        finally:
            events.append("ended")

    with no_task_left():
        for passes in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(HubApp(lifespan=lifespan).serve, "127.0.0.1", 0)
                    for _ in range(passes):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
    assert "ended" in events


async def test_one_that_is_no_context_manager_is_refused() -> None:
    wrong: Any = 7
    with pytest.raises(TypeError, match="lifespan is called with the app, which 7 cannot be"):
        HubApp(lifespan=wrong)

    async def lifespan(app: HubApp[Any]) -> AsyncIterator[None]:
        yield

    undecorated: Any = lifespan
    with pytest.raises(TypeError, match=r"a lifespan is an async context manager.*decorate it"):
        async with HubApp(lifespan=undecorated).running():
            raise AssertionError


async def test_an_app_that_drains_says_so(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_route("/ready", lambda request: Response(status=503 if request.app.draining else 200))
    async with open_app(app) as served:
        assert (await served.ask("GET", "/ready")).status == 200
        await app.drain(1)
        assert (await served.ask("GET", "/ready")).status == 503
