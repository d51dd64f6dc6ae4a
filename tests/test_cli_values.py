"""The command `trio-hubs` and what it is trusted with: numbers keep their digits, and secrets are not repeated."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import RawPeer, RawServer
from trio_hubs import BindingError
from trio_hubs.cli import client
from trio_hubs.cli.client import Protocol, Server
from trio_hubs.cli.commands import run_command
from trio_hubs.client.opening import open_over
from trio_hubs.connections.http import public_url
from trio_hubs.tasks import open_background

from .test_cli import assert_one_line, served

both_protocols = pytest.mark.parametrize("protocol", ["json", "messagepack"])
exact: Callable[[str], Any] = json.JSONDecoder(parse_float=Decimal).decode


async def answer(server: RawPeer, *answers: bytes, task_status: trio.TaskStatus[None]) -> None:
    """Be the server of a call: it is answered with these bytes."""
    await server.send_bytes(b"{}\x1e")
    task_status.started()
    await server.receive_record()
    while (await server.receive())["type"] == 6:
        pass
    for data in answers:
        await server.send_bytes(data)


# ---- digits


@pytest.mark.parametrize(
    "text",
    [
        "1234567890123456789.123456789",
        "1.10",
        "-0.00000000000000000000000001234567890123456789",
        "123456789012345678901234567890",
        '{"deep":[1234567890123456789.123456789,1e10]}',
    ],
)
async def test_digits_survive_on_their_way_there_and_back(
    autojump_clock: MockClock, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server = RawServer()
    monkeypatch.setattr(client, "open_hub_connection", opening(server))
    async with open_background() as nursery:
        result = b'{"type":3,"invocationId":"1","result":%b}\x1e' % text.encode()
        await nursery.start(answer, server, result)
        value = client.read_argument(text, "json")
        await client.invoke(Server(url="http://raw"), "Echo", [value])
    sent = next(record for record in b"".join(server.pieces).split(b"\x1e") if b"Echo" in record)
    assert exact(sent.decode())["arguments"] == [exact(text)]
    assert exact(capfd.readouterr().out) == exact(text)


def opening(server: RawServer) -> Any:
    """What opens the command's connection, to this server."""
    return lambda *_, protocol, **__: open_over([server.dial], protocol=protocol)


@both_protocols
@pytest.mark.parametrize("text", ["0.1", "1e300", "-5e-324", "3"])
async def test_what_a_float_holds_survives_in_either_protocol(
    text: str, protocol: Protocol, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served() as (address, _):
        value = client.read_argument(text, protocol)
        await client.invoke(Server(url=f"{address}/sample", protocol=protocol), "echo", [value])
    assert float(capfd.readouterr().out) == float(text)


async def test_a_number_out_of_bounds_is_the_servers_fault(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server = RawServer()
    monkeypatch.setattr(client, "open_hub_connection", opening(server))
    items = b"".join(b'{"type":2,"invocationId":"1","item":%b}\x1e' % item for item in (b"1.50", b"1e400"))
    with pytest.raises(BindingError, match="1e400"):
        async with open_background() as nursery:
            await nursery.start(answer, server, items)
            await client.stream(Server(url="http://raw"), "Count", [])
    assert capfd.readouterr().out == "1.50\n"


@pytest.mark.parametrize(
    "answer",
    [b"1e-99999999999999999999", b"[" * 3000 + b"]" * 3000, b"1" * 5000],
    ids=lambda answer: answer[:9],
)
def test_what_python_cannot_hold_is_the_servers_fault(answer: bytes) -> None:
    with pytest.raises(BindingError, match="cannot be read"):
        client._line(msgspec.Raw(answer))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
async def test_what_json_has_no_number_for_is_no_null(value: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as (address, _):
        with pytest.raises(BindingError, match="is not a JSON number"):
            await client.invoke(Server(url=f"{address}/sample", protocol="messagepack"), "echo", [value])
    assert capfd.readouterr().out == ""


def test_an_answer_that_cannot_be_told_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def invoke(*_: object) -> None:
        raise BindingError("The server's answer cannot be read.")

    monkeypatch.setattr(client, "invoke", invoke)
    assert run_command(["invoke", "http://127.0.0.1:1/hub", "m"]) == 1
    assert_one_line(capsys, "cannot be read")


# ---- headers and secrets


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Authorization: Bearer a=b:c", "Bearer a=b:c"),
        ("Authorization:Bearer a", "Bearer a"),
        ("Authorization=Bearer: a=b", "Bearer: a=b"),
        ("authorization=", ""),
        ("Authorization= Bearer a", "Bearer a"),
        ("Authorization:  Bearer a ", "Bearer a"),
    ],
)
def test_a_header_is_written_with_a_colon_too(text: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Server] = []

    async def invoke(server: Server, *_: object) -> None:
        servers.append(server)

    monkeypatch.setattr(client, "invoke", invoke)
    assert run_command(["invoke", "http://127.0.0.1:1/hub", "m", "--header", text]) == 0
    [(name, found)] = servers[0].headers.items()
    assert (name.lower(), found) == ("authorization", value)


URL = "http://127.0.0.1:1/hub"
SECRET_URL = "http://me:SECRET@127.0.0.1:1/hub?access_token=SECRET&id=SECRET#SECRET"


@pytest.mark.parametrize(
    "words",
    [
        ["invoke", URL, "m", "--header", "Authorization Bearer SECRET"],
        ["invoke", URL, "m", "--header", "Authorization; Bearer SECRET"],
        ["invoke", URL, "m", "--header", "Authorization: Bearer SECRET\n"],
        ["invoke", URL, "m", "--header", "Authorization: Bearer SECRETä"],
        ["invoke", URL, "m", "--header", "X=1", "--header", "SECRET"],
        ["invoke", URL, "m", "--header", "Authorization: "],
        ["invoke", URL, "m", "--header", "Authorization=Bearer", "SECRET"],
        ["invoke", URL, "m", "--header", "Authorization=Bearer", "a b SECRET"],
        ["invoke", URL, "m", "--header", "Authorization:", "Bearer", "SECRET"],
        ["invoke", URL, "m", "--header", "Authorization:", "Bearer SECRET"],
        ["invoke", URL, "m", "--headers", "Authorization: Bearer SECRET"],
        ["invoke", URL, "m", "--headers=Authorization: Bearer SECRET"],
        ["invoke", URL, "m", "-HAuthorization: Bearer SECRET"],
        ["invoke", URL, "m", "-H", "Authorization: Bearer SECRET"],
        ["invoke", URL, "--header=Authorization: Bearer SECRET"],
        ["--header=Authorization: Bearer SECRET", "invoke", URL, "m"],
        ["--token=SECRET"],
        ["invoke", URL, "m", "--token", "SECRETä"],
        ["invoke", URL, "m", "--token", "Bearer", "SECRET"],
        ["invoke", URL, "m", "--token", "@SECRET"],
        ["invoke", URL, "m", "--token", "env:SECRET"],
        ["listen", URL, "m", "--token=SECRET"],
        ["listen", SECRET_URL, "m", "--token", "t"],
        ["stream", SECRET_URL, "m"],
        ["stream", SECRET_URL.replace("http", "ftp"), "m"],
        ["stream", SECRET_URL.replace("127.0.0.1", "a b"), "m"],
        ["stream", SECRET_URL],
    ],
)
def test_secrets_are_not_repeated(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(words) == 2
    out, err = capsys.readouterr()
    assert err.startswith("trio-hubs: ")
    assert "SECRET" not in out + err


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (SECRET_URL, "http://127.0.0.1:1/hub"),
        ("https://a@b@host/x@y", "https://host/x@y"),
        ("http://host?x=//a@b", "http://host"),
        ("nothing", "nothing"),
    ],
)
def test_what_of_a_url_is_public(url: str, public: str) -> None:
    assert public_url(url) == public
