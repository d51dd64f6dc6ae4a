"""How a client's connection to a hub is opened: what is refused at once, and any dials in place of URLs."""

from typing import Any

import pytest
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, RawServer
from tests.messages import PING, call
from trio_hubs import (
    ConnectionOptions,
    HubApp,
    HubConnectionOptions,
    HubConnectionState,
    Request,
    Response,
    TokenReason,
    Transport,
    User,
    open_hub_connection,
)
from trio_hubs.client.opening import open_over
from trio_hubs.testing import Network, open_test_client

from .dials import always, becomes
from .hub_dials import Sample


@pytest.mark.parametrize(
    "url",
    [
        "",
        "server/hub",
        "ftp://server/hub",
        "http://",
        "http://server:x/hub",
        "http://server:0/hub",
        "http://[",
    ],
)
@pytest.mark.parametrize("skip", [False, True])
async def test_what_is_no_url_is_refused_at_once(url: str, skip: bool) -> None:
    with pytest.raises(ValueError, match="is no URL of a hub") as caught:
        async with open_hub_connection(url, skip_negotiation=skip):
            raise AssertionError
    assert f"'{url}'" in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"X Y": "x"},
        {"X:": "x"},
        {"Ä": "x"},
        {"X": "a\r\nY: b"},
        {"X": "ä"},
        {"X": "\0"},
        {"X": " SECRET"},
        {"X": "SECRET "},
    ],
)
async def test_what_is_no_header_is_refused_at_once(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is no HTTP header") as caught:
        async with open_hub_connection("http://127.0.0.1:1", headers=headers):
            raise AssertionError
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"protocol": "xml"}, "protocol must be one of json, messagepack, not 'xml'"),
        ({"naming": "java"}, "naming must be one of python, dotnet, or a Naming, not 'java'"),
    ],
)
async def test_what_is_not_spoken_is_refused_at_once(choice: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        async with open_hub_connection("http://127.0.0.1:1", **choice):
            raise AssertionError


async def test_a_connection_has_a_url() -> None:
    with pytest.raises(ValueError, match="url must have one URL at least"):
        async with open_hub_connection([]):
            raise AssertionError


async def test_the_options_are_those_of_a_hubs_connection() -> None:
    options: Any = ConnectionOptions()
    with pytest.raises(TypeError, match="HubConnectionOptions"):
        async with open_hub_connection("http://127.0.0.1:1", options=options):
            raise AssertionError


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_connection_goes_over_what_a_dial_opens(autojump_clock: MockClock, protocol: Any) -> None:
    server = RawServer(protocol)
    await server.send_bytes(b"{}\x1e")
    async with open_over([server.dial], protocol=protocol) as connection:
        await connection.send("Add", 40, 2)
        await server.receive_record()
        assert await server.take(2) == [PING, call("Add", 40, 2)]


@pytest.mark.parametrize("transport", Transport)
async def test_each_link_has_the_token_that_its_redirect_gave_and_shows_it_to_nobody_else(
    autojump_clock: MockClock, transport: Transport
) -> None:
    asked: list[TokenReason] = []
    seen: dict[str, list[str | None]] = {"test": [], "hubs": []}
    network = Network()

    def token(reason: TokenReason) -> str:
        asked.append(reason)
        return f"mine {len(asked)}"

    def redirect(request: Request) -> Response:
        seen[request.host].append(request.bearer_token)
        return Response.json({"url": "http://hubs/real", "accessToken": f"granted {len(seen['test'])}"})

    def authenticate(request: Request) -> User | None:
        if request.path.startswith("/real"):
            seen[request.host].append(request.bearer_token)
        return User("ann")

    app = HubApp(authenticate=authenticate)
    app.add_route("/desk/negotiate", redirect, methods=["POST"])
    app.add_hub("/real", Sample)
    async with open_test_client(
        app,
        "/desk",
        network=network,
        access_token=token,
        reconnect=always,
        options=HubConnectionOptions(transports=[transport]),
    ) as connection:
        for link in (1, 2, 3):
            assert await connection.invoke("Add", 40, 2, wait_for_ready=True) == 42
            assert seen["test"] == [f"mine {number + 1}" for number in range(link)]
            assert set(seen["hubs"]) == {f"granted {link}"}
            seen["hubs"].clear()
            network.cut()
            await becomes(connection, HubConnectionState.RECONNECTING)
    assert asked == [TokenReason.FIRST] * 3
