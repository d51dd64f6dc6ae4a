"""The command `trio-hubs`: what it prints, how it ends, and that wrong input is one line and never a traceback."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import trio

from trio_hubs import (
    Hub,
    HubApp,
    HubException,
    open_hub_connection,
)
from trio_hubs.cli import client, commands, demo, main
from trio_hubs.cli.apps import find_app
from trio_hubs.cli.client import Server
from trio_hubs.cli.commands import run_command
from trio_hubs.cli.process import Fault, complain
from trio_hubs.cli.server import Doors
from trio_hubs.demo.counter import HUB_PATH, counter_app

COMMAND = [sys.executable, "-m", "trio_hubs"]
ROOT = Path(__file__).parent.parent


class Sample(Hub):
    """Answers with what it is given, or with an error."""

    def echo(self, value: Any) -> Any:
        return value

    def header(self, name: str) -> str:
        return self.context.request.headers[name]

    async def wait(self) -> None:
        await trio.sleep_forever()

    def who(self) -> str | None:
        return self.context.request.bearer_token

    def transport(self) -> str:
        headers = self.context.request.headers
        if "upgrade" in headers:
            return "WebSockets"
        return "ServerSentEvents" if headers.get("accept") == "text/event-stream" else "LongPolling"

    def fail(self) -> None:
        raise HubException("two\nlines, \x1b[31mand red")


@asynccontextmanager
async def served() -> AsyncGenerator[tuple[str, list[str]]]:
    """A server with the counter and the sample: its address, and what the counter reports."""
    seen: list[str] = []
    app = counter_app(lambda _, what: seen.append(what))
    app.add_hub("/sample", Sample)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        yield address, seen
        nursery.cancel_scope.cancel()


async def started(
    words: list[str], folder: Path = ROOT, *, task_status: trio.TaskStatus[trio.Process]
) -> None:
    """Run a command line of ours, for `nursery.start`."""
    pipe = subprocess.PIPE
    await trio.run_process(
        [*COMMAND, *words], cwd=folder, stdout=pipe, stderr=pipe, check=False, task_status=task_status
    )


async def lines_of(process: trio.Process, count: int) -> list[str]:
    """So many lines of a process's output, as soon as it has written them."""
    assert process.stdout is not None
    text = b""
    while text.count(b"\n") < count:
        part = await process.stdout.receive_some()
        assert part, text
        text += part
    return text.decode().splitlines()


def sample(address: str, **options: Any) -> Server:
    return Server(url=f"{address}/sample", **options)


# ---- calls


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_stream_prints_each_item_on_a_line(protocol: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (address, seen):
        await client.stream(Server(url=address + HUB_PATH, protocol=protocol), "Counter", [3, 0])
    assert capfd.readouterr() == ("0\n1\n2\n", "")
    assert seen == ["started", "item 0", "item 1", "item 2", "completed"]


@pytest.mark.parametrize("value", [None, 1.5, "später\n", [1, {"a": [True]}]])
async def test_invoke_prints_the_result_as_json_on_one_line(
    value: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served() as (address, _):
        await client.invoke(sample(address), "echo", [value])
    printed = capfd.readouterr().out
    assert printed.count("\n") == 1
    assert msgspec.json.decode(printed) == value


async def test_what_json_does_not_know_is_printed_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (address, _):
        await client.invoke(sample(address, protocol="messagepack"), "echo", [b"\x00\x01"])
    assert capfd.readouterr().out == '"AAE="\n'


async def test_headers_reach_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (address, _):
        await client.invoke(sample(address, headers={"X-Room": "blue"}), "header", ["X-Room"])
    assert capfd.readouterr().out == '"blue"\n'


async def test_no_hub_at_the_url_is_wrong_input() -> None:
    async with served() as (address, _):
        with pytest.raises(Fault, match="404"):
            await client.invoke(Server(url=address + "/nothing"), "echo", [])


async def test_an_error_of_the_server_is_one_line_and_status_1() -> None:
    async with served() as (address, _):
        process = await trio.run_process(
            [*COMMAND, "invoke", f"{address}/sample", "fail"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert (process.returncode, process.stdout) == (1, b"")
    assert process.stderr.decode().splitlines() == [
        "trio-hubs: An unexpected error occurred invoking 'Fail' on the server. "
        "HubException: two lines, [31mand red"
    ]


async def test_ctrl_c_cancels_the_method_and_is_status_130() -> None:
    async with served() as (address, seen), trio.open_nursery() as nursery:
        words = ["stream", address + HUB_PATH, "counter", "2", "1e9", "--header", "X-Room=blue"]
        process = await nursery.start(started, words)
        assert await lines_of(process, 1) == ["0"]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert seen == ["started", "item 0", "cancelled"]


async def test_a_pipe_that_closes_cancels_the_method_and_is_quiet() -> None:
    async with served() as (address, seen), trio.open_nursery() as nursery:
        process = await nursery.start(started, ["stream", address + HUB_PATH, "counter", "1000", "1"])
        await lines_of(process, 1)
        await process.stdout.aclose()
        assert await process.wait() == 141
        assert await process.stderr.receive_some() == b""
    assert seen[-1] == "cancelled"


def test_a_complaint_is_one_line_whatever_the_server_says(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\r\n\n\x1b]0;title\x07 b")
    assert capsys.readouterr().err == "trio-hubs: a ]0;title b\n"


# ---- servers


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_serve_ends_in_order_when_told_to(stop: signal.Signals, tmp_path: Path) -> None:
    tmp_path.joinpath("life.py").write_text(
        "import trio\n"
        "from trio_hubs import Hub, HubApp\n"
        "class Life(Hub):\n"
        "    async def wait(self):\n"
        "        print('waits', flush=True)\n"
        "        try:\n"
        "            await trio.sleep_forever()\n"
        "        finally:\n"
        "            print('is cancelled', flush=True)\n"
        "app = HubApp()\n"
        "app.add_hub('/life', Life)\n",
        encoding="utf-8",
    )
    async with trio.open_nursery() as nursery:
        words = ["serve", "life:app", "--port", "0", "--drain", "0"]
        process = await nursery.start(started, words, tmp_path)
        [line] = await lines_of(process, 1)
        assert re.fullmatch(r"listening http://127\.0\.0\.1:\d+", line)
        async with open_hub_connection(line.split()[1] + "/life") as connection:
            await connection.send("Wait")
            assert await lines_of(process, 1) == ["waits"]
            process.send_signal(stop)
            assert await lines_of(process, 1) == ["is cancelled"]
        assert await process.wait() == 0  # once this client's WebSocket is closed, too


def test_serve_gives_notice_before_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    app = HubApp()
    ends: list[Any] = []

    def note(*_: object, on_terminate: Any) -> None:
        ends.append((on_terminate.func, on_terminate.args, on_terminate.keywords))

    monkeypatch.setattr("trio_hubs.cli.commands.find_app", lambda *_: app)
    monkeypatch.setattr(commands, "run", note)
    assert run_command(["serve", "chat:app", "--drain", "3", "--notice", "5"]) == 0
    assert run_command(["serve", "chat:app"]) == 0
    assert ends == [(app.drain, (3.0,), {"notice": 5.0}), (app.drain, (10.0,), {"notice": 0.0})]


def test_workers_are_given_the_notice_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(commands, "run", lambda command, *_, **__: ran.append(command.args))
    words = ["serve", "chat:app", "--workers", "2", "--drain", "3", "--notice", "5"]
    assert run_command(words) == 0
    assert ran == [("chat:app", Doors(), 2, 3.0, 5.0)]


async def test_demo_shows_both_sides(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "DELAY", 0)
    await demo.demo("127.0.0.1", 0, once=True)
    first, empty, heading, *lines = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"listening http://127\.0\.0\.1:\d+", first)
    assert not empty
    assert heading == "  this terminal           the server"
    column = 2 + demo.COLUMN
    ours = [line.strip() for line in lines if line[:column].strip()]
    theirs = [line[column:] for line in lines if not line[:column].strip()]
    assert ours == ["Counter(10, 0)", *map(str, range(10)), "completed"]
    assert theirs == ["started", *(f"item {number}" for number in range(10)), "completed"]


async def test_demo_stays_for_browsers_until_ctrl_c() -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(started, ["demo", "--port", "0"])
        address = (await lines_of(process, 1))[0].split()[1]
        async with (
            open_hub_connection(address + HUB_PATH) as connection,
            connection.stream("Counter", 2, 0) as reader,
        ):
            assert [item async for item in reader] == [0, 1]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_demo_ends_quietly_when_its_reader_leaves() -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(started, ["demo", "--port", "0"])
        await lines_of(process, 3)
        await process.stdout.aclose()
        assert await process.wait() == 141
        assert await process.stderr.receive_some() == b""


async def test_the_page_needs_nothing_else() -> None:
    async with served() as (address, _), httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"""(?:src|href|@import|url)\s*[=(]?\s*["']?(?:https?:)?//""", answer.text)


async def test_the_counter_refuses_what_cannot_be() -> None:
    async with (
        served() as (address, seen),
        open_hub_connection(address + HUB_PATH) as connection,
        connection.stream("Counter", 1, -1) as reader,
    ):
        with pytest.raises(HubException, match="negative"):
            await reader.read()
    assert not seen


# ---- wrong input


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of modules, none of which stays imported."""
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, source in {
        "good_app": "from trio_hubs import HubApp\n"
        "app = HubApp()\n"
        "number = 3\n"
        "make_app = lambda: HubApp()\n"
        "make_nothing = lambda: {}\n"
        "make_late = lambda: [][3]\n",
        "bad_import": "import not_there_at_all\n",
        "bad_syntax": "def (\n",
        "bad_luck": "x = 1\ny = x / 0\n",
    }.items():
        tmp_path.joinpath(f"{name}.py").write_text(source, encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that cannot be listened on, and that answers nobody."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield str(holder.getsockname()[1])


URL = "http://127.0.0.1:1/hub"
COMMANDS = ("completion", "demo", "invoke", "listen", "send", "serve", "stream")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nonsense"], 'Unknown command "nonsense"'),
        (["--nonsense"], 'Unknown command "--nonsense"'),
        (["demo", "--nonsense"], "Unknown option: --nonsense"),
        (["demo", "more"], "more"),
        (["demo", "--port", "x"], "--port"),
        (["demo", "--port", "65536"], "65536"),
        (["stream"], "URL"),
        (["stream", URL], "METHOD"),
        (["stream", URL, "m", "--nonsense"], "Unknown option: --nonsense"),
        (["stream", URL, "m", "--protocol", "xml"], "xml"),
        (["stream", URL, "m", "1", "{"], "argument 2 is not JSON: {"),
        (["invoke", URL, "m", "[" * 3000 + "]" * 3000], "argument 1 is not JSON: [["),
        (["invoke", URL, "m", "1e-99999999999999999999"], "argument 1 is not JSON: 1e-9"),
        (["invoke", URL, "m", "bob"], "argument 1 is not JSON: bob (a text needs its quotes: '\"bob\"')"),
        (["invoke", URL, "m", "\udcff"], "not valid text"),
        (["invoke", URL, "m", "--header"], "--header"),
        (["invoke", URL, "m", "--header", "name"], "header 1 is none: write NAME=VALUE or 'NAME: VALUE'"),
        (["invoke", URL, "m", "--header", "a=1", "--header", "a b=1"], "header 2 is none"),
        (["invoke", URL, "m", "--header", "a=1\n2"], "header 1 is none"),
        (["invoke", URL, "m", "--header", "a:"], "header 1 is none"),
        (["invoke", URL, "m", "1" * 30, "--protocol", "messagepack"], "argument 1: "),
        (["invoke", URL, "m", "1e400", "--protocol", "messagepack"], "MessagePack has no number 1e400"),
        (["invoke", URL, "m", "0.12345678901234567891", "--protocol", "messagepack"], "argument 1: Mess"),
        (["invoke", URL, "m", "--reconnect"], "Unknown option: --reconnect"),
        (["invoke", URL, "m", "--transport", "udp"], "udp"),
        (["invoke", URL, "m", "--timeout", "0"], "--timeout"),
        (["invoke", URL, "m", "--cafile", "nothing.pem"], "'nothing.pem' cannot be read: No such file"),
        (["invoke", URL, "m", "--cafile", "good_app.py"], "'good_app.py' cannot be read: "),
        (["invoke", URL, "m", "@-", "@-"], "standard input can be one argument only"),
        (["stream", URL, "m", "@-", "--reconnect"], "cannot be sent again by --reconnect"),
        (["send", URL], "METHOD"),
        (["completion", "csh"], "csh"),
        (["listen", URL], "listen to which methods?"),
        (["listen", "somewhere", "m"], "'somewhere' is no URL of a hub"),
        (["invoke", "somewhere", "m"], "'somewhere' is no URL of a hub"),
        (["invoke", "ftp://127.0.0.1/hub", "m"], "no URL of a hub"),
        (["invoke", "http://", "m"], "no URL of a hub"),
        (["invoke", "http://[::1", "m"], "no URL of a hub"),
        (["invoke", "http://127.0.0.1:65536", "m"], "no URL of a hub"),
        (["invoke", "http://127.0.0.1/a b", "m"], "no URL of a hub"),
        (["serve"], "NAME"),
        (["serve", "good_app"], "write MODULE:APP"),
        (["serve", "good_app:"], "write MODULE:APP"),
        (["serve", ":app"], "write MODULE:APP"),
        (["serve", ".good_app:app"], "write MODULE:APP"),
        (["serve", "not_there:app"], "there is no module 'not_there'"),
        (["serve", "good_app.inner:app"], "there is no module 'good_app.inner'"),
        (["serve", "good_app:nothing"], "the module 'good_app' has no 'nothing'"),
        (["serve", "good_app:number"], "'good_app:number' is no HubApp, but of type int"),
        (["serve", "good_app:make_nothing"], "'good_app:make_nothing' is no HubApp, but of type dict"),
        (["serve", "good_app:make_late"], "'good_app:make_late': IndexError: list index out of range ("),
        (["serve", "good_app:app", "--fd", "99"], "cannot listen on descriptor 99: Bad file descriptor"),
        (["serve", "good_app:app", "--uds", "no/folder"], "cannot listen on 'no/folder': No such file"),
        (["serve", "good_app:app", "--ssl-keyfile", "key.pem"], "a private key needs its certificate"),
        (["serve", "good_app:app", "--ssl-certfile", "key.pem"], "key cannot be used: No such file"),
        (["serve", "good_app:app", "--ssl-certfile", "good_app.py"], "key cannot be used: "),
        (["serve", "good_app:app", "--log-level", "loud"], "loud"),
        (["serve", "good_app:app", "--reload", "--workers", "2"], "--reload serves one process alone"),
        (["serve", "good_app:app", "--backplane", "gopher://x:y"], "the backplane's URL is none"),
        (["serve", "good_app:app", "--backplane", "env:NO_SUCH_VARIABLE"], "the backplane's URL is none"),
        (["serve", "good_app:app", "--reload", "--uds", "no/folder"], "cannot listen on 'no/folder'"),
        (["serve", "bad_import:app"], "No module named 'not_there_at_all'"),
        (["serve", "bad_syntax:app"], "SyntaxError"),
        (["serve", "bad_luck:app"], "bad_luck.py, line 2)"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    words: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == 2
    assert_one_line(capsys, text)


@pytest.mark.parametrize("words", [["demo"], ["demo", "--once"], ["serve", "good_app:app"]])
def test_a_port_in_use_is_one_line_and_status_2(
    words: list[str], folder: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*words, "--port", taken]) == 2
    assert_one_line(capsys, f"cannot listen on 127.0.0.1 port {taken}: ")


@pytest.mark.parametrize("command", ["stream", "invoke", "listen"])
def test_nothing_listening_is_one_line_and_status_2(
    command: str, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([command, f"http://127.0.0.1:{taken}/hub", "m"]) == 2
    assert_one_line(capsys, f"Cannot negotiate with http://127.0.0.1:{taken}/hub")


@pytest.mark.parametrize("name", ["good_app:app", "good_app:make_app"])
def test_an_app_is_found_in_the_current_folder_or_made_there(name: str, folder: Path) -> None:
    assert isinstance(find_app(name), HubApp)


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    monkeypatch.delitem(sys.modules, "trio_hubs.cli.commands")
    assert main() == 2
    assert_one_line(capsys, "pip install 'trio-hubs[cli]'")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 0
    help = capsys.readouterr().out
    assert all(f" {name} " in help for name in COMMANDS)


def assert_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Standard output has nothing, standard error one line, with this text."""
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("trio-hubs: ")
    assert text in err
    assert err.count("\n") == 1
