"""What the requests of a client carry, and where they go."""

import base64
import gc
import logging
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.connections.websocket.websocket_peer import connecting_by
from trio_hubs import AccessToken, ConnectionFailed, ConnectionOptions, TokenReason
from trio_hubs.connections.client.requests import Grant, Requests, default_trust, reason_of
from trio_hubs.connections.client.urls import origin_of

from .http_answers import Body, Endless, open_requests

URL = "http://server/hub"


def fine(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200)


def redirect(url: str, status: int = 307, *, cookie: str = "") -> Callable[[httpx2.Request], httpx2.Response]:
    """Answers the first path with a redirect, and what it leads to with 200."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == url:
            return httpx2.Response(200)
        return httpx2.Response(status, headers={"Location": url, "Set-Cookie": cookie})

    return answer


# ---- what they carry


async def test_headers_of_the_user_and_of_the_request_and_our_own() -> None:
    async with open_requests(fine, headers={"X-Who": "me", "User-Agent": "mine", "accept": "a"}) as (
        requests,
        made,
    ):
        await requests.send("GET", URL, headers={"Accept": "text/event-stream"})
    sent = made[0].headers
    assert sent["X-Who"] == "me"
    assert sent["User-Agent"] == "mine"
    assert sent.get_list("Accept") == ["text/event-stream"]
    assert sent["X-Requested-With"] == "XMLHttpRequest"


async def test_a_host_of_the_users_own() -> None:
    async with open_requests(fine, headers={"Host": "virtual"}) as (requests, made):
        await requests.send("GET", URL)
    assert made[0].headers.get_list("Host") == ["virtual"]


@pytest.mark.parametrize(
    ("url", "text"), [("http://ann:p%40ss@server/hub", "ann:p@ss"), ("ws://ann@server", "ann:")]
)
async def test_the_user_of_the_url_goes_with_every_request(url: str, text: str) -> None:
    async with open_requests(fine, url) as (requests, made):
        await requests.send("POST", requests.url)
        await requests.send("GET", f"{requests.url}?id=1")
    expected = f"Basic {base64.b64encode(text.encode()).decode()}"
    assert [request.headers["Authorization"] for request in made] == [expected] * 2
    assert "ann" not in str(made[0].url)


@pytest.mark.parametrize("more", [{"access_token": "t"}, {"headers": {"authorization": "x"}}])
async def test_a_user_of_the_url_and_other_credentials_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="other credentials") as caught:
        async with open_requests(fine, "http://ann:SECRET@server/hub", **more):
            raise AssertionError
    assert "SECRET" not in str(caught.value)


async def test_cookies_are_kept_per_host_and_merged_with_the_users_own() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers={"Set-Cookie": "sticky=1; Path=/"} if request.method == "POST" else {}
        )

    async with open_requests(answer, headers={"Cookie": "mine=2; sticky=0"}) as (requests, made):
        await requests.send("POST", URL)
        await requests.send("GET", URL)
        await requests.send("GET", "http://other/hub")
    assert [request.headers.get("Cookie") for request in made] == [
        "mine=2; sticky=0",
        "mine=2; sticky=1",
        None,
    ]


async def test_a_cookie_that_is_set_with_a_redirect_goes_along_to_its_host() -> None:
    async with open_requests(redirect("http://server/there", cookie="a=1; Path=/")) as (
        requests,
        made,
    ):
        await requests.send("GET", URL)
    assert made[1].headers["Cookie"] == "a=1"


async def test_cookies_are_bounded() -> None:
    count = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal count
        count += 100
        cookies = [("Set-Cookie", f"n{number}=1") for number in range(count)]
        return httpx2.Response(200, headers=cookies)

    async with open_requests(answer) as (requests, _):
        for _ in range(3):
            await requests.send("GET", URL)
        with pytest.raises(ConnectionFailed, match="more than 300 cookies"):
            await requests.send("GET", URL)


# ---- access tokens


def only(token: str) -> Callable[[httpx2.Request], httpx2.Response]:
    """Answers this token alone with 200."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        good = request.headers.get("Authorization") == f"Bearer {token}"
        return httpx2.Response(200 if good else 401)

    return answer


async def test_a_refused_token_is_renewed_once() -> None:
    reasons: list[TokenReason] = []

    def token(reason: TokenReason) -> str:
        reasons.append(reason)
        return f"t{len(reasons)}"

    async with open_requests(only("t2"), access_token=token) as (requests, made):
        for _ in range(2):
            assert (await requests.send("GET", URL)).response.status_code == 200
        assert reasons == [TokenReason.FIRST, TokenReason.REFUSED]
        assert len(made) == 3


async def test_a_token_that_is_refused_twice_ends_it() -> None:
    reasons: list[TokenReason] = []

    def token(reason: TokenReason) -> str:
        reasons.append(reason)
        return "bad"

    async with open_requests(only("good"), access_token=token) as (requests, _):
        answer = await requests.send("GET", URL)
        error = await answer.failure()
    assert reasons == [TokenReason.FIRST, TokenReason.REFUSED]
    assert error.status == 401
    assert not error.retriable


@pytest.mark.parametrize("token", [None, "bad"])
async def test_a_token_that_stands_still_is_refused_once(token: AccessToken | None) -> None:
    async with open_requests(only("good"), access_token=token) as (requests, made):
        assert not (await (await requests.send("GET", URL)).failure()).retriable
        assert len(made) == 1


async def test_a_token_that_negotiation_gave_goes_to_its_origin_alone_and_is_given_anew_by_another() -> None:
    grant = Grant("given", origin_of("http://other"))
    async with open_requests(only("x"), access_token=lambda _: "mine") as (requests, made):
        answer = await requests.send("GET", "http://other/hub", grant=grant)
        assert (await answer.failure()).retriable
    assert [request.headers["Authorization"] for request in made] == ["Bearer given"]
    async with open_requests(redirect("http://third/hub")) as (requests, made):
        await requests.send("GET", "http://other/hub", grant=grant)
    assert [request.headers.get("Authorization") for request in made] == ["Bearer given", None]
    assert "given" not in repr(grant)


# ---- redirects


@pytest.mark.parametrize(
    ("url", "target", "trusts", "goes"),
    [
        (URL, "http://server/there", (), True),
        (URL, "https://server/there", (), True),
        (URL, "https://server:8443/there", (), False),
        ("https://server/hub", "http://server/there", (), False),
        (URL, "http://server:81/there", (), False),
        (URL, "http://other/there", (), False),
        (URL, "http://other/there", ("http://other:80",), True),
        (URL, "http://server.other/there", ("http://other",), False),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_what_goes_along_with_a_redirect(
    url: str, target: str, trusts: tuple[str, ...], goes: bool, status: int
) -> None:
    async with open_requests(
        redirect(target, status),
        url,
        headers={"X-Mine": "mine", "Cookie": "mine=1"},
        access_token="mine",
        trusted_origins=trusts,
    ) as (requests, made):
        answer = await requests.send("POST", url, content=b"body")
    names = ("Authorization", "X-Mine", "Cookie")
    assert [made[0].headers[name] for name in names] == ["Bearer mine", "mine", "mine=1"]
    assert [made[1].headers.get(name) for name in names] == (
        ["Bearer mine", "mine", "mine=1"] if goes else [None] * 3
    )
    lasts = status in (307, 308)
    assert (made[1].method, made[1].content) == (("POST", b"body") if lasts else ("GET", b""))
    assert answer.url == (target if lasts else url)


# ---- what is read


async def test_a_body_is_read_up_to_a_limit_and_the_answer_closed() -> None:
    body = Endless([b"x" * 1000])
    async with open_requests(lambda _: httpx2.Response(200, stream=body)) as (requests, _):
        with pytest.raises(ConnectionFailed, match="larger than"):
            await (await requests.send("GET", URL)).read()
    assert body.closed


async def test_a_body_that_breaks_off_says_so() -> None:
    body = Body([b"x", httpx2.ReadError("it broke")])
    async with open_requests(lambda _: httpx2.Response(200, stream=body)) as (requests, _):
        with pytest.raises(ConnectionFailed, match="it broke"):
            await (await requests.send("GET", URL)).read()


async def test_the_text_of_a_failure_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    body = Body([b"no"], endless=True)
    async with open_requests(lambda _: httpx2.Response(500, stream=body)) as (requests, _):
        error = await (await requests.send("GET", URL)).failure()
    assert (str(error), error.status, error.server_text) == (
        "it answered 500 (Internal Server Error)",
        500,
        "",
    )
    assert trio.current_time() == 0.5
    assert body.closed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 01 Jan 1990 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Fri, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Fri, 01 Jan 1990 00:00:00 +99999999999999999999", None),
    ],
)
async def test_when_to_come_again(text: str, seconds: float | None) -> None:
    async with open_requests(lambda _: httpx2.Response(503, headers={"Retry-After": text})) as (requests, _):
        assert (await (await requests.send("GET", URL)).failure()).retry_after == seconds


# ---- the HTTP client


def requests_of(url: str = URL, **arguments: Any) -> Requests:
    chosen: dict[str, Any] = {"ssl_context": None, "http_client": None, "options": ConnectionOptions()}
    return Requests(url, headers={}, access_token=None, **(chosen | arguments))


async def test_a_client_of_the_users_own_is_left_open_and_has_its_own_trust() -> None:
    async with httpx2.AsyncClient(
        transport=httpx2.MockTransport(fine), headers={"X-Own": "1"}, cookies={"own": "1"}
    ) as http_client:
        http_client.cookies.set("theirs", "1", domain="other.example")
        requests = requests_of(http_client=http_client)
        answer = await requests.send("GET", URL)
        assert answer.response.request.headers["X-Own"] == "1"
        assert answer.response.request.headers["Cookie"] == "own=1"
        answer = await requests.send("GET", "http://other.example/hub")
        assert "X-Own" not in answer.response.request.headers
        assert answer.response.request.headers["Cookie"] == "theirs=1"
        await requests.aclose()
        assert not http_client.is_closed
        with pytest.raises(ValueError, match="its own trust"):
            requests_of(http_client=http_client, ssl_context=default_trust())
        with pytest.raises(ValueError, match="its own trust"):
            requests_of(http_client=http_client, options=ConnectionOptions(proxy="http://proxy"))


@pytest.mark.parametrize("proxy", ["socks5://ann:secret@proxy:1080", "environment"])
def test_a_socks_proxy_says_what_it_needs(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ValueError, match=r"^a SOCKS proxy needs one more package: pip install socksio$"):
        requests_of(options=ConnectionOptions(proxy=proxy))


def test_all_clients_share_what_they_trust_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    trust = default_trust()
    assert default_trust() is trust
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    assert default_trust() is not trust
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(FileNotFoundError):
        default_trust()


@pytest.mark.parametrize("origin", ["other", "ftp://other", "https://ann:SECRET@"])
async def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin") as caught:
        requests_of(options=ConnectionOptions(trusted_origins=(origin,)))
    assert "SECRET" not in str(caught.value)


async def test_a_server_that_is_not_there_is_named_and_the_reason_told() -> None:
    async with aclosing(requests_of(url="http://127.0.0.1:1/hub")) as requests:
        with pytest.raises(
            ConnectionFailed, match=r"^cannot connect to 127\.0\.0\.1:1: \[Errno 111\] .*refused$"
        ):
            await requests.send("GET", requests.url)


async def test_a_network_that_is_silent_is_given_up(autojump_clock: MockClock) -> None:
    async def hang(*_: object, **__: object) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with aclosing(requests_of(options=ConnectionOptions(connect_timeout=7))) as requests:
        with (
            connecting_by(hang),
            pytest.raises(ConnectionFailed, match=r"^cannot connect to server:80 within 7 s$"),
        ):
            await requests.send("GET", requests.url)
    assert trio.current_time() == 7


def test_each_address_that_was_tried_has_its_reason_once() -> None:
    tried = OSError("all attempts to connect failed")
    refused, unreachable = OSError(111, "refused"), OSError(101, "unreachable")
    tried.__cause__ = ExceptionGroup("all", [refused, unreachable, OSError(101, "unreachable")])
    assert reason_of(tried) == "[Errno 111] refused, [Errno 101] unreachable"
    tried.__cause__ = None
    tried.__context__ = OSError(5, "of something else")
    assert reason_of(tried) == "all attempts to connect failed"


async def test_a_proxy_that_says_why_it_lets_nobody_through_is_quoted() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ProxyError("Host unreachable.")

    async with open_requests(answer) as (requests, _):
        with pytest.raises(
            ConnectionFailed, match=r"^the proxy does not let us through: Host unreachable\.$"
        ):
            await requests.send("GET", URL)


# ---- logs


async def test_secrets_are_masked_in_what_the_http_client_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_requests(fine, access_token="SECRET") as (requests, _):
        await requests.send("GET", f"{URL}?id=SECRET&access_token=SECRET")
        assert "HTTP Request: GET http://server/hub?id=***" in caplog.text
        assert "SECRET" not in caplog.text
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(fine)) as others:
        await others.get(f"{URL}?id=theirs")
    assert "id=theirs" in caplog.text


async def test_an_answer_that_is_left_with_many_small_parts_unread_is_ended_whole() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send_all(head + 5000 * b"1\r\nx\r\n")
        await trio.sleep_forever()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, answer, [listener])
        requests = Requests(
            f"http://127.0.0.1:{port}/hub",
            headers={},
            access_token=None,
            ssl_context=None,
            http_client=None,
            options=ConnectionOptions(),
        )
        async with aclosing(requests):
            sent = await requests.send("GET", f"http://127.0.0.1:{port}/hub")
            async with sent.parts() as parts:
                await anext(parts)
            gc.collect()  # where a generator that was not ended would complain
        nursery.cancel_scope.cancel()
