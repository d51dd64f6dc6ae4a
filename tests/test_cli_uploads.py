"""The command `trio-hubs` with what comes on standard input, and what is sent without an answer."""

import os
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawServer
from trio_hubs import ChannelReader, ConnectionClosed, Hub, HubApp, UploadBroken
from trio_hubs.cli import client, uploads
from trio_hubs.cli.client import LateAnswer, Server
from trio_hubs.cli.process import Fault
from trio_hubs.cli.uploads import Upload
from trio_hubs.cli.words import Items, read_arguments
from trio_hubs.tasks import open_background

from .test_cli import COMMAND, ROOT, lines_of
from .test_cli_values import answer, opening


class Desk(Hub):
    """Takes uploads, and remembers how they went."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    async def collect(self, items: ChannelReader[Any]) -> list[Any]:
        """All of them."""
        try:
            return [item async for item in items]
        except UploadBroken:
            self.notes.append("broken off")
            raise

    async def double(self, items: ChannelReader[int]) -> Any:
        """Each twice, at once."""
        async for item in items:
            yield item
            yield item

    async def first(self, items: ChannelReader[int]) -> int:
        """What comes first, whatever follows."""
        return await items.read()

    async def note(self, items: ChannelReader[str]) -> None:
        """Remember all of them."""
        async for item in items:
            self.notes.append(item)
        self.notes.append("whole")

    def hello(self) -> None:
        """Remember a word."""
        self.notes.append("hello")

    async def hang_up(self, items: ChannelReader[str]) -> None:
        """Leave in the midst of them."""
        await items.read()
        self.context.abort()


@asynccontextmanager
async def desk() -> AsyncGenerator[tuple[Server, list[str]]]:
    """A server with the hub, and what that remembers."""
    notes: list[str] = []
    app = HubApp()
    app.add_hub("/desk", Desk, factory=lambda: Desk(notes))
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        yield Server(url=f"{address.replace('http', 'ws')}/desk"), notes
        nursery.cancel_scope.cancel()


def arguments(text: bytes, items: Items = "json") -> list[Any]:
    """What `@-` stands for when this comes on standard input, and nothing more."""
    ours, theirs = os.pipe()
    os.write(theirs, text)
    os.close(theirs)
    [upload] = read_arguments(["@-"], "json", items, beside_secrets=False)
    return [attrs.evolve(upload, descriptor=ours)]


# ---- items


@pytest.mark.parametrize(
    ("items", "text", "printed"),
    [
        ("json", b'1\n"b"\n\n{"c": [1.10]}\n', '[1,"b",{"c":[1.1]}]\n'),
        ("json", b"1\r\n2", "[1,2]\n"),
        ("json", b"", "[]\n"),
        ("text", "a b\n\nżółć\r\nlast".encode(), '["a b","","żółć","last"]\n'),
    ],
)
async def test_each_line_is_an_item(
    items: Items, text: bytes, printed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with desk() as (server, _):
        await client.invoke(server, "Collect", arguments(text, items))
    assert capfd.readouterr().out == printed


async def test_a_line_of_many_pieces_is_one_item(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uploads, "_PIECE", 2)
    async with desk() as (server, _):
        await client.invoke(server, "Collect", arguments("żółć\nx\n\nabcde".encode(), "text"))
    assert capfd.readouterr().out == '["żółć","x","","abcde"]\n'


@pytest.mark.parametrize(
    ("items", "text", "why"),
    [
        (
            "json",
            b"1\nbob\n",
            "line 2 of standard input is not JSON: bob (a text needs its quotes: '\"bob\"')",
        ),
        ("json", b"1\n\n[1", "line 3 of standard input is not JSON: [1"),
        ("text", b"a\n\xff\n", "line 2 of standard input is no text"),
        ("text", b"a\n" + b"x" * 21, "line 2 of standard input is longer than 20 bytes"),
    ],
)
async def test_a_line_that_is_no_item_is_wrong_input_and_breaks_the_upload_off(
    items: Items, text: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAXIMUM_LINE", 20)
    async with desk() as (server, notes):
        with pytest.raises(Fault) as caught:
            await client.invoke(server, "Collect", arguments(text, items))
        assert str(caught.value) == why
        assert "whole" not in notes


async def test_standard_input_that_cannot_be_read_is_wrong_input(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    async with desk() as (server, _):
        with pytest.raises(Fault, match="cannot read standard input: Is a directory"):
            await client.invoke(server, "Collect", [Upload(folder, lambda _, text: text, skip_empty=False)])
    os.close(folder)


async def test_a_line_is_sent_before_the_next_one_comes() -> None:
    async with desk() as (server, _), trio.open_nursery() as nursery:
        process = await nursery.start(piped, ["stream", server.url, "Double", "@-"])
        for number in range(3):
            await process.stdin.send_all(b"%d\n" % number)
            assert await lines_of(process, 2) == [f"{number}"] * 2
        await process.stdin.aclose()
        assert await process.wait() == 0


async def test_a_method_that_takes_only_some_of_it_answers_all_the_same() -> None:
    async with desk() as (server, _), trio.open_nursery() as nursery:
        process = await nursery.start(piped, ["invoke", server.url, "First", "@-"])
        await process.stdin.send_all(b"7\n8\n")
        assert await lines_of(process, 1) == ["7"]
        assert await process.wait() == 0


async def piped(words: list[str], *, task_status: trio.TaskStatus[trio.Process]) -> None:
    """Run a command line whose standard input and output are the test's."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    task_status.started(process)
    await process.wait()


# ---- send


async def test_send_sends_all_of_it_and_waits_for_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [f"line {number}" for number in range(1000)]
    async with desk() as (server, notes):
        await client.send(server, "Note", arguments("\n".join(lines).encode(), "text"))
        await until(lambda: notes[-1:] == ["whole"])
        await client.send(server, "Hello", [])
        await until(lambda: notes[-1:] == ["hello"])
    assert notes == [*lines, "whole", "hello"]
    assert capfd.readouterr().out == ""


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110  # the hub has no event for it
            await trio.sleep(0.001)


async def test_what_could_not_be_sent_whole_is_an_error() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"1\n")
    upload = Upload(ours, lambda _, text: text, skip_empty=False)
    async with desk() as (server, _):
        with pytest.raises(ConnectionClosed, match="before all of standard input was sent"):
            await client.send(server, "HangUp", [upload])
    os.close(theirs)
    os.close(ours)


# ---- times


async def test_an_answer_that_comes_too_late_is_an_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RawServer()
    monkeypatch.setattr(client, "open_hub_connection", opening(server))
    async with open_background() as nursery:
        await nursery.start(answer, server)
        with pytest.raises(LateAnswer, match=r"no answer within 2\.5 s"):
            await client.invoke(Server(url="http://raw", timeout=2.5), "Wait", [])


async def test_a_server_that_does_not_answer_in_time_is_wrong_input() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = Server(url=f"http://127.0.0.1:{silent.getsockname()[1]}/hub", timeout=0.01)
        with pytest.raises(Fault, match=r"0\.01"):
            await client.invoke(server, "Wait", [])
