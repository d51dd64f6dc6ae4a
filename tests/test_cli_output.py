"""The command `trio-hubs` and its standard streams: all of the data goes out, or one line says that it does not."""

import fcntl
import os
import signal
from pathlib import Path

import pytest
import trio

from trio_hubs.demo.counter import HUB_PATH

from .test_cli import COMMAND, ROOT, lines_of, served, started

APP = "from trio_hubs import HubApp\napp = HubApp()\n"


async def ran(shell: str, *words: str, folder: Path = ROOT) -> tuple[int, bytes, bytes]:
    """Run a command line of ours with what the shell makes of its streams: its status, output and errors."""
    done = await trio.run_process(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *COMMAND, *words],
        cwd=folder,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app to serve."""
    tmp_path.joinpath("good.py").write_text(APP, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        (">&-", ["--help"]),
        (">&-", ["stream", "{address}/counter", "counter", "1000", "0"]),
        (">/dev/full", ["--help"]),
        (">/dev/full", ["--version"]),
        (">/dev/full", ["demo", "--port", "0"]),
        (">/dev/full", ["serve", "good:app", "--port", "0"]),
        (">/dev/full", ["invoke", "{address}/sample", "echo", "1"]),
        (">/dev/full", ["stream", "{address}/counter", "counter", "1000", "0"]),
    ],
    ids=str,
)
async def test_output_that_takes_nothing_is_one_line_and_status_2(
    shell: str, words: list[str], folder: Path
) -> None:
    async with served() as (address, _):
        status, out, err = await ran(shell, *(word.format(address=address) for word in words), folder=folder)
    assert (status, out) == (2, b"")
    why = "Bad file descriptor" if shell == ">&-" else "No space left on device"
    assert err.decode() == f"trio-hubs: cannot write to standard output: {why}\n"


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full", ">&- 2>&-"])
async def test_an_error_that_cannot_be_told_goes_nowhere(shell: str) -> None:
    status, out, err = await ran(shell, "invoke", "nowhere", "m")
    assert (status, out, err) == (2, b"", b"")


async def test_without_any_stream_a_call_is_made_all_the_same() -> None:
    """What is opened in the place of a closed stream would be written to instead: the connection's socket."""
    async with served() as (address, seen):
        status, out, err = await ran("<&- 2>&-", "stream", address + HUB_PATH, "counter", "2", "0")
    assert (status, out, err) == (0, b"0\n1\n", b"")
    assert seen[-1] == "completed"


LARGE = f'"{"x" * 30_000}"'


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["stream", "{address}/counter", "counter", "20000", "0"],
        ["invoke", "{address}/sample", "echo", LARGE],
    ],
    ids=lambda words: words[0],
)
async def test_a_pipe_that_does_not_block_gets_all_of_it(words: list[str]) -> None:
    async with served() as (address, _), trio.open_nursery() as nursery:
        words = [word.format(address=address) for word in words]
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        async with trio.lowlevel.FdStream(ours) as reader:
            process: trio.Process = await nursery.start(piped, words, theirs)
            os.close(theirs)
            text = b"".join([part async for part in reader])
        assert await process.wait() == 0
    if words == ["--help"]:
        assert text.rstrip().endswith("╯".encode())
    elif LARGE in words:
        assert text.decode() == f"{LARGE}\n"
    else:
        assert text == b"".join(b"%d\n" % number for number in range(20_000))


async def piped(words: list[str], out: int, *, task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process([*COMMAND, *words], cwd=ROOT, stdout=out, check=False, task_status=task_status)


@pytest.mark.parametrize("words", [["stream", "counter", "2", "1e9"], ["invoke", "wait"]])
async def test_a_quiet_call_ends_when_its_reader_has_gone(words: list[str]) -> None:
    async with served() as (address, seen), trio.open_nursery() as nursery:
        command, *call = words
        path = HUB_PATH if command == "stream" else "/sample"
        process = await nursery.start(started, [command, address + path, *call])
        if command == "stream":
            assert await lines_of(process, 1) == ["0"]
        assert process.stdout is not None
        await process.stdout.aclose()
        assert await process.wait() == 141
        assert await process.stderr.receive_some() == b""
    if command == "stream":
        assert seen == ["started", "item 0", "cancelled"]


async def test_the_demo_ends_when_its_reader_has_gone_though_nothing_happens() -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(started, ["demo", "--port", "0"])
        while b"Ctrl-C" not in await process.stdout.receive_some():
            pass
        await process.stdout.aclose()
        assert await process.wait() == 141
        assert await process.stderr.receive_some() == b""


async def test_a_server_goes_on_without_a_reader(folder: Path) -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(started, ["serve", "good:app", "--port", "0"], folder)
        [line] = await lines_of(process, 1)
        await process.stdout.aclose()
        async with await trio.open_tcp_stream("127.0.0.1", int(line.rpartition(":")[2])):
            pass
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
