"""Where to connect: what is asked, what is made of the answers, and where redirects lead."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import httpx2
import pytest

from trio_hubs import NegotiationError
from trio_hubs.connections.client.negotiation import MAXIMUM_REDIRECTS, ConnectTarget, negotiate

Answer = Callable[[httpx2.Request], httpx2.Response]

WEBSOCKETS = {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}


def document(**fields: Any) -> dict[str, Any]:
    """A good answer, with some fields set or (None) left out."""
    whole = {
        "negotiateVersion": 1,
        "connectionId": "id",
        "connectionToken": "token",
        "availableTransports": [WEBSOCKETS],
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


async def ask(
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer | dict[str, Any],
    url: str = "http://server/hub",
    headers: Mapping[str, str] | None = None,
) -> ConnectTarget:
    """Negotiate with something that answers so."""

    def answer_with_document(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=answer)

    handler = answer_with_document if isinstance(answer, dict) else answer
    client = partial(httpx2.AsyncClient, transport=httpx2.MockTransport(handler))
    monkeypatch.setattr(httpx2, "AsyncClient", client)
    return await negotiate(url, headers or {}, timeout=10.0, ssl_context=None)


async def test_the_token_goes_to_the_url_and_the_id_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    place = await ask(monkeypatch, document(), headers={"X-Who": "me"})
    assert place == ConnectTarget("http://server/hub?id=token", "id", {"X-Who": "me"})


async def test_version_0_has_the_id_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (0, None):
        place = await ask(monkeypatch, document(negotiateVersion=version, connectionToken="ignored"))
        assert place.url == "http://server/hub?id=id"


@pytest.mark.parametrize(
    ("url", "asked", "connected"),
    [
        ("http://server", "http://server/negotiate?negotiateVersion=1", "http://server?id=token"),
        ("http://server/", "http://server/negotiate?negotiateVersion=1", "http://server/?id=token"),
        (
            "http://server/hub/",
            "http://server/hub/negotiate?negotiateVersion=1",
            "http://server/hub/?id=token",
        ),
        (
            "https://server:7/a/hub?q=1&r=%20x",
            "https://server:7/a/hub/negotiate?q=1&r=%20x&negotiateVersion=1",
            "https://server:7/a/hub?q=1&r=%20x&id=token",
        ),
        (
            "http://server/hub?negotiateVersion=0",
            "http://server/hub/negotiate?negotiateVersion=0",
            "http://server/hub?negotiateVersion=0&id=token",
        ),
    ],
)
async def test_the_url_keeps_its_query(
    url: str, asked: str, connected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=document())

    place = await ask(monkeypatch, answer, url, {"X-Who": "me"})
    assert [(request.method, str(request.url)) for request in requests] == [("POST", asked)]
    assert requests[0].headers["X-Who"] == "me"
    assert requests[0].content == b""
    assert place.url == connected


async def test_a_token_is_escaped_in_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    place = await ask(monkeypatch, document(connectionToken="a b&c=d+/é"))
    assert place.url == "http://server/hub?id=a+b%26c%3Dd%2B%2F%C3%A9"


async def test_unknown_fields_and_transports_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"transport": "Pigeons", "transferFormats": ["Paper"]}
    place = await ask(monkeypatch, document(new={"field": 1}, availableTransports=[odd, WEBSOCKETS]))
    assert place.connection_id == "id"


@pytest.mark.parametrize("token", [None, "secret"])
async def test_a_redirect_leads_to_another_negotiation(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if request.url.host == "server":
            redirect = {"url": "https://other/there?k=v", **({"accessToken": token} if token else {})}
            return httpx2.Response(200, json=redirect)
        return httpx2.Response(200, json=document())

    place = await ask(monkeypatch, answer, headers={"Authorization": "Bearer mine"})
    assert [str(request.url) for request in requests] == [
        "http://server/hub/negotiate?negotiateVersion=1",
        "https://other/there/negotiate?k=v&negotiateVersion=1",
    ]
    authorization = f"Bearer {token or 'mine'}"
    assert requests[1].headers["Authorization"] == authorization
    assert place == ConnectTarget("https://other/there?k=v&id=token", "id", {"Authorization": authorization})


@pytest.mark.parametrize("token", ["SECRET ", " SECRET", "SECRET\r\nX: y", "SECRETä"])
async def test_an_access_token_that_no_header_can_have_is_not_repeated(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirect = {"url": "https://other/there", "accessToken": token}
    with pytest.raises(NegotiationError, match="cannot stand in an HTTP header") as caught:
        await ask(monkeypatch, lambda _: httpx2.Response(200, json=redirect))
    assert "SECRET" not in str(caught.value)


async def test_redirects_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        return httpx2.Response(200, json={"url": "http://server/hub"})

    with pytest.raises(NegotiationError) as caught:
        await ask(monkeypatch, answer)
    assert str(caught.value) == "Negotiate redirection limit exceeded."
    assert count == MAXIMUM_REDIRECTS == 100


async def test_one_redirect_less_than_the_limit_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        return httpx2.Response(200, json={"url": "http://server/hub"} if count < 100 else document())

    assert (await ask(monkeypatch, answer)).connection_id == "id"


ASP_NET = (
    "Detected a connection attempt to an ASP.NET SignalR Server. "
    "This client only supports connecting to an ASP.NET Core SignalR Server. "
    "See https://aka.ms/signalr-core-differences for details."
)
INVALID = "Invalid negotiation response received."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"error": "as the server says"}, "as the server says"),
        (document(error="as the server says"), "as the server says"),
        ({"ProtocolVersion": "1.5", "ConnectionId": "x"}, ASP_NET),
        ({}, INVALID),
        (document(connectionId=None), INVALID),
        (document(connectionId=""), INVALID),
        (document(connectionId=7), INVALID),
        (document(connectionToken=None), INVALID),
        (document(connectionToken=""), INVALID),
        (document(availableTransports=None), INVALID),
        (document(availableTransports="WebSockets"), INVALID),
        (document(availableTransports=[{}]), INVALID),
        (document(negotiateVersion="1"), INVALID),
    ],
)
async def test_what_is_no_good_answer_says_so(
    fields: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NegotiationError) as caught:
        await ask(monkeypatch, fields)
    assert str(caught.value) == text


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
async def test_a_malformed_document_says_so(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NegotiationError) as caught:
        await ask(monkeypatch, lambda _: httpx2.Response(200, content=body))
    assert str(caught.value) == INVALID


@pytest.mark.parametrize(("offered", "named"), [([], "nothing"), (["LongPolling", "X"], "LongPolling, X")])
async def test_without_websockets_there_is_no_connection(
    offered: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports = [{"transport": name, "transferFormats": ["Text"]} for name in offered]
    with pytest.raises(NegotiationError, match=f"offers no WebSockets, only {named};"):
        await ask(monkeypatch, document(availableTransports=transports))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, r"it answered 401 \(Unauthorized\)\.$"),
        (404, r"it answered 404 \(Not Found\)\. Is there a hub at this URL\?$"),
        (500, r"it answered 500 \(Internal Server Error\)\.$"),
        (503, "it answered 503"),
    ],
)
async def test_another_status_says_which(status: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(document()).encode()
    with pytest.raises(NegotiationError, match=text):
        await ask(monkeypatch, lambda _: httpx2.Response(status, content=body))


async def test_an_http_redirect_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "server":
            return httpx2.Response(307, headers={"Location": "http://other/hub/negotiate?negotiateVersion=1"})
        return httpx2.Response(200, json=document())

    assert (await ask(monkeypatch, answer)).connection_id == "id"


async def test_a_server_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    with pytest.raises(
        NegotiationError, match=r"Cannot negotiate with http://server/hub/.*connection refused"
    ):
        await ask(monkeypatch, refuse)


@pytest.mark.parametrize("url", ["", "server/hub", "ftp://server/hub", "http://", "http://server:x/hub"])
async def test_what_is_no_url_says_so(url: str) -> None:
    with pytest.raises(NegotiationError):
        await negotiate(url, {}, timeout=10.0, ssl_context=None)
