"""Where to connect: what is asked, what is made of the answers, and where redirects lead."""

import gzip
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from trio_hubs import AccessToken, ConnectionOptions, NegotiationError
from trio_hubs.connections.client.negotiation import MAXIMUM_REDIRECTS, ConnectTarget, negotiate
from trio_hubs.connections.client.requests import Requests

from .http_answers import TARGET, open_requests

Answer = Callable[[httpx2.Request], httpx2.Response]


class Endless(httpx2.AsyncByteStream):
    """A body without end."""

    def __init__(self, piece: bytes) -> None:
        self._piece = piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield self._piece


class Once(Endless):
    """A body that comes in one piece."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._piece


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
    answer: Answer | dict[str, Any],
    url: str = "http://server/hub",
    headers: Mapping[str, str] | None = None,
    access_token: AccessToken | None = None,
    **options: Any,
) -> ConnectTarget:
    """Negotiate with something that answers so."""

    def answer_with_document(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=answer)

    handler = answer_with_document if isinstance(answer, dict) else answer
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as http_client:
        requests = Requests(
            url,
            headers=headers or {},
            access_token=access_token,
            ssl_context=None,
            http_client=http_client,
            options=ConnectionOptions(**options),
        )
        return await negotiate(requests, requests.url)


async def test_the_token_goes_to_the_url_and_the_id_is_public() -> None:
    place = await ask(document())
    assert (place.base, place.url) == ("http://server/hub", "http://server/hub?id=token")
    assert (place.connection_id, place.connection_token) == ("id", "token")
    assert [offered.transport for offered in place.transports] == ["WebSockets"]
    assert place.request.path == "/hub"


async def test_version_0_has_the_id_for_a_token() -> None:
    for version in (0, None):
        place = await ask(document(negotiateVersion=version, connectionToken="ignored"))
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
async def test_the_url_keeps_its_query(url: str, asked: str, connected: str) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=document())

    place = await ask(answer, url, {"X-Who": "me"})
    assert [(request.method, str(request.url)) for request in requests] == [("POST", asked)]
    assert requests[0].headers["X-Who"] == "me"
    assert requests[0].content == b""
    assert place.url == connected


async def test_a_token_is_escaped_in_the_url() -> None:
    place = await ask(document(connectionToken="a b&c=d+/é"))
    assert place.url == "http://server/hub?id=a+b%26c%3Dd%2B%2F%C3%A9"


async def test_unknown_fields_and_transports_are_ignored() -> None:
    odd = {"transport": "Pigeons", "transferFormats": ["Paper"]}
    place = await ask(document(new={"field": 1}, availableTransports=[odd, WEBSOCKETS]))
    assert place.connection_id == "id"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("token", [None, "secret"])
async def test_a_redirect_leads_to_another_negotiation_and_takes_nothing_of_the_users_along(
    token: str | None, trusted: bool
) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if request.url.host == "server":
            redirect = {"url": "https://other/there?k=v", **({"accessToken": token} if token else {})}
            return httpx2.Response(200, json=redirect)
        return httpx2.Response(200, json=document())

    place = await ask(
        answer,
        headers={"X-Mine": "mine", "Cookie": "mine=1"},
        access_token="mine",
        trusted_origins=["https://other"] if trusted else [],
    )
    assert [str(request.url) for request in requests] == [
        "http://server/hub/negotiate?negotiateVersion=1",
        "https://other/there/negotiate?k=v&negotiateVersion=1",
    ]
    names = ("Authorization", "X-Mine", "Cookie")
    assert [requests[0].headers[name] for name in names] == ["Bearer mine", "mine", "mine=1"]
    authorization = f"Bearer {token}" if token else "Bearer mine" if trusted else None
    mine = ["mine", "mine=1"] if trusted else [None, None]
    assert [requests[1].headers.get(name) for name in names] == [authorization, *mine]
    assert (place.base, place.url) == ("https://other/there?k=v", "https://other/there?k=v&id=token")
    assert (place.grant.token if place.grant else None) == token


@pytest.mark.parametrize("token", ["SECRET ", " SECRET", "SECRET\r\nX: y", "SECRETä"])
async def test_an_access_token_that_no_header_can_have_is_not_repeated(token: str) -> None:
    redirect = {"url": "https://other/there", "accessToken": token}
    with pytest.raises(NegotiationError, match="cannot stand in an HTTP header") as caught:
        await ask(lambda _: httpx2.Response(200, json=redirect))
    assert "SECRET" not in str(caught.value)


async def test_redirects_without_end_are_given_up() -> None:
    count = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        return httpx2.Response(200, json={"url": "http://server/hub"})

    with pytest.raises(NegotiationError) as caught:
        await ask(answer)
    assert str(caught.value) == "Negotiate redirection limit exceeded."
    assert count == MAXIMUM_REDIRECTS == 100


async def test_one_redirect_less_than_the_limit_is_fine() -> None:
    count = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        return httpx2.Response(200, json={"url": "http://server/hub"} if count < 100 else document())

    assert (await ask(answer)).connection_id == "id"


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
async def test_what_is_no_good_answer_says_so(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(NegotiationError) as caught:
        await ask(fields)
    assert str(caught.value) == text


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
async def test_a_malformed_document_says_so(body: bytes) -> None:
    with pytest.raises(NegotiationError) as caught:
        await ask(lambda _: httpx2.Response(200, content=body))
    assert str(caught.value) == INVALID


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, r"it answered 401 \(Unauthorized\)\.$"),
        (404, r"it answered 404 \(Not Found\)\. Is there a hub at this URL\?$"),
        (500, r"it answered 500 \(Internal Server Error\)\.$"),
        (503, "it answered 503"),
    ],
)
async def test_another_status_says_which(status: int, text: str) -> None:
    body = json.dumps(document()).encode()
    with pytest.raises(NegotiationError, match=text):
        await ask(lambda _: httpx2.Response(status, content=body))


async def test_an_http_redirect_is_followed() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "server":
            return httpx2.Response(307, headers={"Location": "http://other/hub/negotiate?negotiateVersion=1"})
        return httpx2.Response(200, json=document())

    assert (await ask(answer)).connection_id == "id"


async def test_a_server_that_cannot_be_reached_says_so() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    with pytest.raises(
        NegotiationError,
        match=r"Cannot negotiate with http://server/hub/negotiate: cannot connect to server:80: connection refused",
    ):
        await ask(refuse)


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("agreed", [False, True])
async def test_a_connection_that_may_be_torn_is_asked_for_and_agreed_to(wanted: bool, agreed: bool) -> None:
    requests_made: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests_made.append(request)
        if request.url.path == "/hub/negotiate":
            return httpx2.Response(
                307, headers={"Location": str(request.url.copy_with(path="/new/negotiate"))}
            )
        return httpx2.Response(200, json=document(useStatefulReconnect=agreed))

    async with open_requests(answer) as (requests, _):
        place = await negotiate(requests, requests.url, stateful_reconnect=wanted)
    assert ("useStatefulReconnect=true" in str(requests_made[0].url)) is wanted
    assert place.stateful_reconnect is (wanted and agreed)
    assert place.url == "http://server/new?id=token"


# ---- redirects of HTTP


@pytest.mark.parametrize(
    ("statuses", "method", "base"),
    [
        ([307], "POST", "http://other/hub"),
        ([308, 307], "POST", "http://third/hub"),
        ([302], "GET", "http://server/hub"),
        ([301], "GET", "http://server/hub"),
        ([303], "GET", "http://server/hub"),
        ([308, 302], "GET", "http://other/hub"),
        ([302, 308], "GET", "http://server/hub"),
    ],
)
async def test_redirects_that_last_move_the_connection(statuses: list[int], method: str, base: str) -> None:
    hosts = ["server", "other", "third"]
    methods: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        methods.append(request.method)
        at = hosts.index(request.url.host)
        if at == len(statuses):
            return httpx2.Response(200, json=document())
        location = str(request.url.copy_with(host=hosts[at + 1]))
        return httpx2.Response(statuses[at], headers={"Location": location})

    place = await ask(answer)
    assert place.base == base
    assert place.url == f"{base}?id=token"
    assert methods[-1] == method


async def test_redirects_of_http_without_end_are_given_up() -> None:
    count = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 1
        return httpx2.Response(307, headers={"Location": str(request.url)})

    with pytest.raises(NegotiationError, match="it redirects without end"):
        await ask(answer)
    assert count == 21


@pytest.mark.parametrize("way", ["negotiate", "http"])
@pytest.mark.parametrize("url", ["http://[bad", "ftp://server/hub", "http://", "http://server:x"])
async def test_a_redirect_to_what_is_no_url_is_a_negotiation_that_failed(way: str, url: str) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        if way == "http":
            return httpx2.Response(307, headers={"Location": url})
        return httpx2.Response(200, json={"url": url})

    with pytest.raises(NegotiationError, match="it redirects to what is no URL"):
        await ask(answer)


@pytest.mark.parametrize("label", ["a" * 64, "ä" * 70, "a..b"])
async def test_a_redirect_to_a_host_that_cannot_be_is_a_negotiation_that_failed(label: str) -> None:
    async with aclosing(
        Requests(
            f"http://{label}.invalid/hub" if label.isascii() else "http://127.0.0.1:1/hub",
            headers={},
            access_token=None,
            ssl_context=None,
            http_client=None,
            options=ConnectionOptions(),
        )
    ) as requests:
        with pytest.raises(NegotiationError):
            await negotiate(requests, requests.url)


# ---- what is read of an answer


async def test_an_answer_that_is_too_large_is_given_up() -> None:
    with pytest.raises(NegotiationError, match="its answer is larger than 262144 bytes"):
        await ask(lambda _: httpx2.Response(200, stream=Endless(b"x" * 1000)))


async def test_an_answer_that_unpacks_to_too_much_is_given_up() -> None:
    bomb = gzip.compress(gzip.compress(b"x" * 100_000_000))
    assert len(bomb) < 1000
    with pytest.raises(NegotiationError, match="its answer is larger"):
        await ask(
            lambda _: httpx2.Response(200, stream=Once(bomb), headers={"Content-Encoding": "gzip, gzip"})
        )


async def test_an_answer_is_asked_for_unpacked() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["Accept-Encoding"])
        return httpx2.Response(200, json=document())

    await ask(answer)
    assert asked == ["identity"]


@pytest.mark.parametrize(
    ("status", "retriable"),
    [(400, False), (401, False), (403, False), (404, True), (429, True), (500, True), (503, True)],
)
async def test_what_an_answer_says_can_be_asked_of_the_error(status: int, retriable: bool) -> None:
    headers = {"Retry-After": "7"}
    with pytest.raises(NegotiationError) as caught:
        await ask(lambda _: httpx2.Response(status, text="not now", headers=headers))
    error = caught.value
    assert (error.status, error.retry_after, error.server_text) == (status, 7.0, "not now")
    assert error.retriable is retriable


def test_the_token_of_a_connection_is_not_shown() -> None:
    assert "id=token" in TARGET.url
    assert "id=token" not in repr(TARGET)
