"""How a client's connection to a hub is opened: what is refused at once, and any dials in place of URLs."""

from typing import Any

import pytest
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, RawServer
from tests.messages import PING, call
from trio_hubs import ConnectionOptions, open_hub_connection
from trio_hubs.client.opening import open_over


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
