"""The command `trio-hubs` on its way to a hub: transports, tokens, and connections that are lost and regained."""

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import trio

from trio_hubs import ConnectionClosed, Hub, HubApp, TokenReason, TransferFormat, Transport, authorize
from trio_hubs.calls.session import Session
from trio_hubs.cli import client
from trio_hubs.cli.client import Server
from trio_hubs.cli.commands import run_command
from trio_hubs.cli.process import Fault

from .test_cli import COMMAND, URL, assert_one_line, lines_of, sample, served, started


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize("transport", Transport)
async def test_the_transport_is_the_chosen_one(
    transport: Transport, protocol: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served() as (address, _):
        server = sample(address, protocol=protocol, transports=[transport])
        if TransferFormat.BINARY in transport.transfer_formats or protocol == "json":
            await client.invoke(server, "transport", [])
            assert capfd.readouterr().out == f'"{transport}"\n'
        else:
            with pytest.raises(Fault, match="ServerSentEvents"):
                await client.invoke(server, "transport", [])


def test_each_transport_has_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = caught(monkeypatch)
    for word in "websockets", "sse", "long-polling":
        run_command(["invoke", URL, "m", "--transport", word])
    run_command(["invoke", URL, "m", "--transport", "sse", "--transport", "long-polling"])
    run_command(["invoke", URL, "m"])
    websockets, sse, polling = Transport
    assert [server.transports for server in servers] == [
        [websockets],
        [sse],
        [polling],
        [sse, polling],
        list(Transport),
    ]


@pytest.mark.parametrize("text", ["t1", "env:HUB_TOKEN", "@{folder}/token"])
async def test_a_token_stands_in_a_file_or_in_the_environment(text: str, tmp_path: Path) -> None:
    tmp_path.joinpath("token").write_text("t1\n", encoding="utf-8")
    async with served() as (address, _):
        done = await trio.run_process(
            [*COMMAND, "invoke", f"{address}/sample", "who", "--token", text.format(folder=tmp_path)],
            env={**os.environ, "HUB_TOKEN": "t1"},
            capture_stdout=True,
        )
    assert done.stdout == b'"t1"\n'


def test_a_file_gives_the_token_that_it_holds_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("t1", encoding="utf-8")
    servers = caught(monkeypatch)
    run_command(["invoke", URL, "m", "--token", f"@{file}"])
    token = servers[0].token
    assert callable(token)
    assert token(TokenReason.FIRST) == "t1"
    file.write_text("t2", encoding="utf-8")
    assert token(TokenReason.EXPIRING) == "t2"
    file.write_text("", encoding="utf-8")  # a pipe is empty when it is read again
    assert token(TokenReason.FIRST) == "t2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the token is empty"),
        ("env:NOT_SET", "the token is empty"),
        ("@{folder}/nothing", "the token's file cannot be read: No such file or directory"),
        ("@{folder}/binary", "the token's file cannot be read: it is no text"),
        ("a\nb", "the token is empty, or no token"),
    ],
)
def test_a_token_that_is_none_is_one_line_and_status_2(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.joinpath("binary").write_bytes(b"\xff")
    assert run_command(["listen", URL, "m", "--token", text.format(folder=tmp_path)]) == 2
    assert_one_line(capsys, why)


async def test_a_token_that_is_refused_is_wrong_input() -> None:
    @authorize
    class Closed(Hub):
        pass

    app = HubApp(authenticate=lambda _: None)
    app.add_hub("/closed", Closed)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        with pytest.raises(Fault, match="401"):
            await client.listen(Server(url=f"{address}/closed", token="wrong"), ["Noted"])
        nursery.cancel_scope.cancel()


def test_a_user_in_the_url_and_a_token_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["invoke", "http://ann:secret@127.0.0.1:1/hub", "m", "--token", "t"]) == 2
    assert_one_line(capsys, "there are other credentials besides")


def caught(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that would be called from now on."""
    servers: list[Server] = []

    async def invoke(server: Server, *_: object) -> None:
        servers.append(server)

    monkeypatch.setattr(client, "invoke", invoke)
    return servers


# ---- listening, and connections that are lost


class Talker(Hub):
    """Talks to each client that comes, and lets the test end its connections."""

    sessions: ClassVar[list[Session]] = []
    farewell: ClassVar[bool]

    async def on_connected(self) -> None:
        """Two methods, in order."""
        await self.clients.caller.send("Welcomed", 1, 1.10)
        await self.clients.caller.send("Noted")
        await self.clients.caller.send("Welcomed", "again")
        self.sessions.append(self.context._session)
        if self.farewell:
            self.context.abort()

    async def count(self) -> AsyncIterator[int]:
        """The number of connections, and no end."""
        yield len(self.sessions)
        await trio.sleep_forever()


@asynccontextmanager
async def talker_served(*, farewell: bool = False) -> AsyncGenerator[Server]:
    Talker.sessions.clear()
    Talker.farewell = farewell
    app = HubApp()
    app.add_hub("/talker", Talker)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        yield Server(url=f"{address}/talker")
        nursery.cancel_scope.cancel()


WELCOME = [
    '{"method":"Welcomed","arguments":[1,1.1]}',
    '{"method":"Noted","arguments":[]}',
    '{"method":"Welcomed","arguments":["again"]}',
]


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_listen_prints_all_that_was_called_before_the_end(
    protocol: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async with talker_served(farewell=True) as server:
        with pytest.raises(ConnectionClosed):
            await client.listen(attrs.evolve(server, protocol=protocol), ["Welcomed", "Noted"])
    assert capfd.readouterr().out.splitlines() == WELCOME


async def test_listen_goes_on_over_reconnects_and_says_so() -> None:
    async with talker_served() as server, trio.open_nursery() as nursery:
        process = await nursery.start(started, ["listen", server.url, "Welcomed", "Noted", "--reconnect"])
        assert await lines_of(process, 3) == WELCOME
        Talker.sessions[0].end(allow_reconnect=True)
        assert await lines_of(process, 3) == WELCOME
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        lost, again = (await process.stderr.receive_some()).decode().splitlines()
    assert lost.startswith("trio-hubs: the connection is lost, and tried again: ")
    assert again == "trio-hubs: connected again"


async def test_a_stream_is_called_again_when_the_connection_is_regained() -> None:
    async with talker_served() as server, trio.open_nursery() as nursery:
        process = await nursery.start(started, ["stream", server.url, "Count", "--reconnect"])
        assert await lines_of(process, 1) == ["1"]
        Talker.sessions[0].end(allow_reconnect=True)
        assert await lines_of(process, 1) == ["2"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


async def test_without_reconnect_a_lost_connection_is_one_line_and_status_1() -> None:
    async with talker_served() as server, trio.open_nursery() as nursery:
        process = await nursery.start(started, ["listen", server.url, "Noted"])
        await lines_of(process, 1)
        Talker.sessions[0].end()
        assert await process.wait() == 1
        assert (await process.stderr.receive_some()).count(b"\n") == 1
