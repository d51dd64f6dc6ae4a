"""Figures of an app: what they count, from when on, and for whom."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import BindingError, Hub, HubApp, HubException
from trio_hubs.server.figures import BOUNDS, Figures, HubFigures
from trio_hubs.testing import Network, open_test_app, open_test_client


class Work(Hub):
    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def unfit(self) -> AsyncIterator[Any]:
        yield 1
        yield 2
        yield object()


class Other(Hub):
    async def rest(self) -> None:
        raise HubException("no")


def made() -> HubApp:
    app = HubApp()
    for path, hub in (("/work", Work), ("/again", Work), ("/other", Other)):
        app.add_hub(path, hub)
    return app


async def test_they_begin_with_the_first_look(autojump_clock: MockClock) -> None:
    app = made()
    async with open_test_client(app, "/work") as before, trio.open_nursery() as nursery:
        nursery.start_soon(before.invoke, "Rest", 5)
        await trio.sleep(1)
        figures = app.figures
        assert app.figures is figures
        async with open_test_client(app, "/work") as connection:
            await connection.invoke("Rest", 1)
        await trio.sleep(10)
        assert list(figures.methods) == [("Work", "Rest")]
        assert figures.methods["Work", "Rest"].durations[BOUNDS.index(1.0)] == 1
    assert figures.ways["Work", "WebSockets"].opened == 1
    assert figures.ways["Work", "WebSockets"].now == 0


async def test_hubs_are_told_apart_and_a_hub_at_two_paths_is_one(autojump_clock: MockClock) -> None:
    app = made()
    figures = app.figures
    async with open_test_app(app):
        for path in ("/work", "/again", "/other"):
            async with open_test_client(app, path) as connection:
                if path == "/other":
                    with pytest.raises(HubException):
                        await connection.invoke("Rest")
                else:
                    await connection.invoke("Rest", 1)
        assert [each.hub for each in figures.hubs] == ["Work", "Other"]
        assert all(each.received_bytes > 20 and each.sent_bytes > 20 for each in figures.hubs)
    assert figures.methods["Work", "Rest"].outcomes == {"completed": 2}
    assert figures.methods["Other", "Rest"].outcomes == {"failed": 1}


async def test_items_before_one_that_cannot_be_sent_count(autojump_clock: MockClock) -> None:
    app = made()
    figures = app.figures
    async with open_test_client(app, "/work") as connection:
        with pytest.raises(HubException):
            async with connection.stream("Unfit") as reader:
                async for _ in reader:
                    pass
    assert figures.methods["Work", "Unfit"].items == 2
    assert figures.methods["Work", "Unfit"].outcomes == {"failed": 1}


class Leaving(Hub):
    """Takes its time when a client leaves."""

    async def echo(self, text: str) -> str:
        return text

    async def stuck(self) -> None:
        await trio.sleep_forever()

    async def bye(self) -> None:
        self.context.abort("bye")

    async def on_disconnected(self, error: Exception | None) -> None:
        await trio.sleep(1)


class Falls(trio.abc.Instrument):
    """Looks whenever a task has run."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.last = self.seen()
        self.found: list[Any] = []

    def seen(self) -> tuple[int, int]:
        [hub] = self.figures.hubs
        return hub.received_bytes, hub.sent_bytes

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        now = self.seen()
        if any(new < old for new, old in zip(now, self.last, strict=True)):
            self.found.append((self.last, now))
        self.last = now


@pytest.mark.parametrize("way", ["leave", "bye", "stuck"])
@pytest.mark.parametrize("late", [False, True])
async def test_no_count_of_bytes_ever_falls(way: str, late: bool, autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/leaving", Leaving)
    async with open_test_app(app):
        if not late:
            _ = app.figures
        async with open_test_client(app, "/leaving") as connection:
            await connection.invoke("Echo", "x" * 10_000)
            falls = Falls(app.figures)
            trio.lowlevel.add_instrument(falls)
            if way != "leave":
                await connection.send(way.title())
                await trio.sleep(0.5)
        await trio.sleep(20)
        trio.lowlevel.remove_instrument(falls)
    assert not falls.found
    assert min(falls.last) > 10_000


async def test_bytes_count_of_a_client_that_takes_nothing_to_its_end(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/leaving", Leaving)
    network = Network()
    falls = Falls(app.figures)
    async with open_test_app(app), open_test_client(app, "/leaving", network=network) as connection:
        await connection.invoke("Echo", "x" * 10_000)
        trio.lowlevel.add_instrument(falls)
        network.stall()
        await app.hub(Leaving).clients.all.send("Flood", "x" * 200_000)
        await trio.sleep(1)
        await app.hub(Leaving).abort(connection.connection_id or "")
        await trio.sleep(60)
        trio.lowlevel.remove_instrument(falls)
    assert not falls.found
    assert falls.last[1] > 10_000


def test_a_hub_without_connections_has_figures() -> None:
    assert made().figures.hubs == [HubFigures("Work"), HubFigures("Other")]


async def test_a_client_that_is_gone_leaves_nothing(autojump_clock: MockClock) -> None:
    app = made()
    figures = app.figures
    async with open_test_app(app):
        async with open_test_client(app, "/work") as connection:
            with pytest.raises(BindingError):
                await connection.invoke("Rest", object())
            await connection.send("Rest", 60)
            await trio.sleep(1)
            assert figures.methods["Work", "Rest"].running
        await trio.sleep(60)
        assert not figures.methods["Work", "Rest"].running
    assert not figures._hubs
