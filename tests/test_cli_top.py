"""`trio-hubs top`: live on a terminal, lines of JSON elsewhere; it finds back, and says in one line what is wrong."""

import os
import pty
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from tests.test_cli import COMMAND, ROOT, lines_of, started
from trio_hubs import Hub, HubApp, Request, User
from trio_hubs.cli import commands
from trio_hubs.cli import top as command
from trio_hubs.cli.client import Server
from trio_hubs.cli.commands import run_command
from trio_hubs.cli.process import Fault
from trio_hubs.cli.top import top
from trio_hubs.monitor import add_monitor

TOKEN = "the-admins-token"


class Chat(Hub):
    async def join(self, group: str) -> None:
        await self.groups.add(self.context.connection_id, group)


def authenticate(request: Request) -> User | None:
    return User("admin") if request.bearer_token == TOKEN else None


@asynccontextmanager
async def served(app: HubApp | None = None) -> AsyncGenerator[tuple[HubApp, Server]]:
    """An app with a monitor."""
    if app is None:
        app = HubApp(authenticate=authenticate)
        app.add_hub("/chat", Chat)
        add_monitor(app, authorize=lambda user: user.id == "admin")
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        yield app, Server(url=f"{address}/monitor", token=TOKEN)
        nursery.cancel_scope.cancel()


def words(server: Server, *more: str) -> list[str]:
    return ["top", server.url, "--token", TOKEN, "--every", "0.25", *more]


# ---- lines


async def test_each_snapshot_is_a_line_until_ctrl_c() -> None:
    async with served() as (_, server), trio.open_nursery() as nursery:
        process = await nursery.start(started, words(server))
        told = [msgspec.json.decode(line) for line in await lines_of(process, 3)]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await process.stderr.receive_some() == b""
    assert [each["statistics"]["connections"] for each in told] == [1, 1, 1]
    rates = [each["hubs"][1]["sent_per_second"] for each in told]
    assert rates[0] is None
    assert rates[1] > 0


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_once_is_one_line_with_rates(protocol: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (_, server):
        await top(Server(url=server.url, token=TOKEN, protocol=protocol), 0.25, once=True)
    [line] = capfd.readouterr().out.splitlines()
    assert msgspec.json.decode(line)["hubs"][1]["sent_per_second"] > 0


async def test_a_slash_and_a_query_stay_where_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (_, server):
        await top(Server(url=f"{server.url}/?access_token={TOKEN}"), 0.25, once=True)
    assert capfd.readouterr().out.count("\n") == 1


async def test_a_connection_that_is_lost_is_regained_and_both_are_told() -> None:
    async with served() as (app, server), trio.open_nursery() as nursery:
        process = await nursery.start(started, words(server))
        await lines_of(process, 2)
        [_, (_, monitor)] = app.site.hubs
        for session in tuple(monitor.sessions):
            session.end(allow_reconnect=True)
        await lines_of(process, 2)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
        lost, again = (await process.stderr.receive_some()).decode().splitlines()
    assert lost.startswith("trio-hubs: the connection is lost, and tried again: ")
    assert again == "trio-hubs: connected again"


async def test_when_an_app_runs_empty_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[Any] = []

    async def print_values(values: list[Any]) -> None:
        lines.extend(map(msgspec.json.decode, values))

    monkeypatch.setattr(command, "print_values", print_values)
    async with served() as (app, server), trio.open_nursery() as nursery:
        nursery.start_soon(top, server, 0.25, False)
        nursery.start_soon(lambda: app.drain(60, notice=60))
        with trio.fail_after(60):
            while [each["draining"] for each in lines].count(1) < 3:  # noqa: ASYNC110 - as its user looks
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


async def test_once_tells_what_there_is_when_the_app_runs_empty(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (app, server), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: app.drain(60, notice=60))
        await top(server, 0.25, once=True)
        nursery.cancel_scope.cancel()
    assert msgspec.json.decode(capfd.readouterr().out)["draining"] == 1


# ---- what is wrong


async def test_a_token_that_is_refused_is_wrong_input() -> None:
    async with served() as (_, server):
        with pytest.raises(Fault, match="401"):
            await top(Server(url=server.url, token="wrong"), 1, once=False)


async def test_where_no_monitor_is_that_is_said() -> None:
    async with served() as (_, server):
        with pytest.raises(
            Fault, match=r"^there is no monitor at http://127\.0\.0\.1:\d+/chat; an app has one by"
        ):
            await top(
                Server(url=f"{server.url.replace('monitor', 'chat')}?token={TOKEN}", token=TOKEN),
                1,
                once=False,
            )


async def test_a_hub_that_is_no_monitor_is_one_line_and_status_1() -> None:
    app = HubApp()
    app.add_hub("/monitor/hub", Chat)
    async with served(app) as (_, server):
        done = await trio.run_process(
            [*COMMAND, *words(server)], capture_stderr=True, capture_stdout=True, check=False
        )
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert "Watch" in line


@pytest.mark.parametrize("every", ["0.1", "61", "nan", "often"])
def test_how_often_is_bounded(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["top", "http://127.0.0.1:1/monitor", "--every", every]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_all_ways_to_a_server_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def note(*arguments: Any) -> None:
        asked.extend(arguments)

    monkeypatch.setattr(commands, "run_top", note)
    way = [
        "--token",
        "t",
        "--header",
        "A=b",
        "--transport",
        "long-polling",
        "--timeout",
        "3",
        "--every",
        "2",
        "--once",
    ]
    assert run_command(["top", "http://127.0.0.1:1/monitor", *way]) == 0
    server, *rest = asked
    assert (server.token, server.headers, server.timeout) == ("t", {"A": "b"}, 3)
    assert [transport.value for transport in server.transports] == ["LongPolling"]
    assert rest == [2.0, True]


# ---- on a terminal


class Terminal:
    """A terminal with a command in it."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._text = ""

    @asynccontextmanager
    async def running(self, *line: str) -> AsyncGenerator[trio.Process]:
        """Run a command line of ours for the body, and until it has ended."""
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(self._run, line)
            os.close(self._theirs)
            yield process
            await process.wait()
        os.close(self._ours)

    async def _run(self, line: tuple[str, ...], *, task_status: trio.TaskStatus[trio.Process]) -> None:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "30"}
        await trio.run_process(
            [*COMMAND, *line],
            cwd=ROOT,
            env=environment,
            stdout=self._theirs,
            stderr=self._theirs,
            check=False,
            task_status=task_status,
        )

    async def shows(self, *texts: str) -> str:
        """Wait until these have come, one after another; gives all until then."""
        start = 0
        for text in texts:
            while (found := self._text.find(text, start)) < 0:
                await trio.lowlevel.wait_readable(self._ours)
                try:
                    self._text += os.read(self._ours, 100_000).decode(errors="replace")
                except OSError as error:  # which is how Linux says that the other end is closed
                    raise AssertionError(self._text) from error
            start = found + len(text)
        return self._text


IN, OUT = "\x1b[?1049h", "\x1b[?1049l"
"""What gives a program the whole terminal, and what it was before."""


async def test_a_terminal_is_live_and_is_as_before_in_the_end() -> None:
    terminal = Terminal()
    async with served() as (_, server), terminal.running(*words(server)) as process:
        text = await terminal.shows(IN, "trio-hubs top", "live", "METHOD", "Watch", "live", "live")
        assert TOKEN not in text
        process.send_signal(signal.SIGINT)
        await terminal.shows(OUT)
        assert await process.wait() == 130


async def test_a_terminal_says_that_the_server_is_lost_and_comes_back() -> None:
    terminal = Terminal()
    async with served() as (app, server), terminal.running(*words(server)) as process:
        await terminal.shows("live")
        [_, (_, monitor)] = app.site.hubs
        for session in tuple(monitor.sessions):
            session.end(allow_reconnect=True)
        await terminal.shows("lost, and tried again", "live")
        for session in tuple(monitor.sessions):
            session.end()
        await terminal.shows(OUT, "trio-hubs: ")
        assert await process.wait() == 1


async def test_once_is_drawn_below_what_was_there() -> None:
    terminal = Terminal()
    async with served() as (_, server), terminal.running(*words(server, "--once")) as process:
        text = await terminal.shows("trio-hubs top", "Watch", "OUT/S", "Monitor")
        assert IN not in text
        assert await process.wait() == 0


async def test_what_is_no_snapshot_is_one_line_behind_the_view() -> None:
    class Liar(Hub):
        async def watch(self, every: float) -> AsyncIterator[Any]:
            yield {"processes": "\x1b[31mmany"}

    app = HubApp()
    app.add_hub("/monitor/hub", Liar)
    terminal = Terminal()
    async with served(app) as (_, server), terminal.running(*words(server)) as process:
        text = await terminal.shows(IN, OUT, "trio-hubs: ", "\n")
        assert "\x1b[31m" not in text
        assert await process.wait() == 1
