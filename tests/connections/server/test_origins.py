"""Foreign pages get nothing, whatever they ask for; the server's own pages, allowed ones and programs do."""

import logging

import pytest
from trio.testing import MockClock

from trio_hubs.connections.http import CaseInsensitive, Request
from trio_hubs.connections.server.origins import REFUSAL, Origins, checked_origins
from trio_hubs.connections.users import User

from .endpoint_peer import Front, Handler, known_by, open_front
from .http_peer import Answer

ALLOWED = "https://allowed.example"
ORIGINS = Origins(frozenset((ALLOWED, "http://localhost:3000", "app://local")))


def headers_for(
    origin: str | None,
    host: str | None = "example",
    origins: Origins = ORIGINS,
    *,
    method: str = "GET",
    scheme: str = "http",
    site: str | None = None,
    referer: str | None = None,
) -> object:
    given = [("Origin", origin), ("Host", host), ("Sec-Fetch-Site", site), ("Referer", referer)]
    headers = CaseInsensitive((n, t) for n, t in given if t is not None)
    return origins.headers(Request(method=method, headers=headers, scheme=scheme))


def test_whoever_sends_no_origin_is_no_page() -> None:
    assert headers_for(None) == {}
    assert headers_for(None, None) == {}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example", "example"),
        ("https://example", "example"),  # a proxy may have taken the TLS off
        ("http://example", "example:80"),
        ("https://example", "example:443"),
        ("http://example:80", "example"),
        ("http://example:8000", "example:8000"),
        ("HTTP://Example:8000", "eXAMPLE:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
        ("http://[FE80::1]", "[fe80::1]"),
    ],
)
def test_the_servers_own_pages_need_no_permission(origin: str, host: str) -> None:
    assert headers_for(origin, host) == {}


@pytest.mark.parametrize(
    "origin", [ALLOWED, "https://ALLOWED.example", "http://localhost:3000", "app://local"]
)
def test_an_allowed_page_is_named_to_its_browser(origin: str) -> None:
    assert headers_for(origin) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "example"),
        ("http://example:8001", "example:8000"),
        ("http://example", "example:8000"),
        ("http://example:443", "example"),
        ("https://example:80", "example"),
        ("http://example.evil", "example"),
        ("http://evil-example", "example"),
        ("http://sub.example", "example"),
        ("http://[::2]:8000", "[::1]:8000"),
        ("http://allowed.example", "example"),  # of another scheme
        ("https://allowed.example:444", "example"),
        ("https://allowed.example.evil", "example"),
        ("https://allowed.example,https://evil.example", "example"),
        ("http://example,http://evil.example", "example"),
        ("http://localhost:3001", "example"),
        ("null", "example"),
        ("null", "null"),
        ("", "example"),
        ("", ""),
        ("example", "example"),
        ("http://", ""),
        ("http://[", "["),
        ("http://[::1", "[::1"),
        ("http://example:x", "example:x"),
        ("http://example:99999", "example:99999"),
        ("http://example", None),
        ("http://\u2100.example", "\u2100.example"),
        ("app://example", "example"),  # no server's own page has such a scheme
        ("capacitor://localhost", "localhost"),
        ("://example", "example"),
        ("%", "%"),
    ],
)
def test_all_other_pages_are_foreign(origin: str, host: str | None) -> None:
    assert headers_for(origin, host) is None


@pytest.mark.parametrize(
    ("allowed", "welcome", "foreign"),
    [
        (
            "https://*.example.org",
            [
                "https://a.example.org",
                "https://a.b.example.org",
                "HTTPS://A.Example.ORG",
                "https://a_b.example.org",
            ],
            [
                "https://example.org",
                "https://.example.org",
                "http://a.example.org",
                "https://a.example.org:8000",
                "https://aexample.org",
                "https://a.exampleXorg",
                "https://a.example.org.evil",
                "https://evil/.example.org",
                "https://evil#.example.org",
                "https://evil?.example.org",
                "https://evil@a.example.org",
                "https://evil:1.example.org",
                "https://evil,https://a.example.org",
                "https://evil\\.example.org",
                "https://evil .example.org",
            ],
        ),
        (
            "http://localhost:*",
            ["http://localhost", "http://localhost:1", "http://localhost:65535"],
            ["https://localhost:1", "http://localhost:", "http://localhost:x", "http://localhost:1.evil"],
        ),
        ("http://[::1]:*", ["http://[::1]", "http://[::1]:8000"], ["http://[::11]", "http://[::1]8000"]),
        (
            "https://*.example.org:*",
            ["https://a.example.org", "https://a.example.org:8000"],
            ["https://example.org:8000", "https://a.example.org:8000:1"],
        ),
        ("https://*.example.org:443", ["https://a.example.org"], ["https://example.org"]),
        ("null", ["null", "NULL"], ["", "nul", "null.example"]),
        ("vscode-webview://*.a", ["vscode-webview://1f.a"], ["vscode-webview://a"]),
        ("capacitor://localhost", ["capacitor://localhost"], ["http://localhost", "capacitor://localhost:1"]),
    ],
)
def test_wider_origins(allowed: str, welcome: list[str], foreign: list[str]) -> None:
    origins = Origins(checked_origins([allowed, "https://other.example"]))
    assert headers_for("https://other.example", origins=origins)
    for origin in welcome:
        assert headers_for(origin, origins=origins) == {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Vary": "Origin",
        }
    for origin in foreign:
        assert headers_for(origin, origins=origins) is None


def test_a_predicate_says_which_origins_are_allowed() -> None:
    asked: list[str] = []

    def is_ours(origin: str) -> bool:
        asked.append(origin)
        return origin.endswith(".example.org")

    origins = Origins(checked_origins(is_ours))
    assert headers_for("https://A.example.org", origins=origins)
    assert headers_for(None, origins=origins, site="cross-site", referer="https://b.example.org/page") == {}
    assert headers_for("https://evil", origins=origins) is None
    assert headers_for("null", origins=origins) is None
    assert asked == ["https://a.example.org", "https://b.example.org", "https://evil", "null"]


@pytest.mark.parametrize(
    "origin",
    ["", "https://evil,https://a.example.org", "https://evil/.example.org", "evil.example.org", "a b"],
)
def test_a_predicate_is_asked_of_origins_alone(origin: str) -> None:
    def fail(_: str) -> bool:
        raise AssertionError

    assert headers_for(origin, origins=Origins(fail)) is None


def test_a_predicate_is_not_asked_of_the_servers_own_pages_and_programs_first() -> None:
    origins = Origins(lambda _: False)
    assert headers_for("http://example", origins=origins) == {}
    assert headers_for(None, origins=origins) == {}


# ---- the scheme


@pytest.mark.parametrize(
    ("own", "came_by", "origin", "host", "welcome"),
    [
        (None, "https", "https://example", "example", True),
        (None, "https", "https://example", "example:443", True),
        (None, "https", "https://example:8443", "example:8443", True),
        (None, "https", "http://example", "example", False),
        (None, "https", "http://example:8443", "example:8443", False),
        (None, "https", "http://localhost:3000", "example", True),  # an allowed one
        (None, "http", "https://example", "example", True),  # a proxy may have taken the TLS off
        (None, "http", "http://example", "example", True),  # or not
        ("https", "http", "https://example", "example", True),
        ("https", "http", "http://example", "example", False),
        ("http", "http", "http://example", "example", True),
        ("http", "http", "https://example", "example", False),
    ],
)
def test_where_the_scheme_is_known_it_counts(
    own: str | None, came_by: str, origin: str, host: str, welcome: bool
) -> None:
    origins = Origins(frozenset(("http://localhost:3000",)), own_scheme=own)
    assert (headers_for(origin, host, origins, scheme=came_by) is not None) is welcome
    assert (headers_for(origin, host, origins, scheme=came_by, method="POST") is not None) is welcome
    page = f"{origin}/page?query"
    assert (headers_for(None, host, origins, scheme=came_by, referer=page) is not None) is welcome


# ---- what a browser GETs without an Origin


@pytest.mark.parametrize(
    ("site", "referer", "welcome"),
    [
        (None, None, True),  # no browser, or an old one
        (None, "", True),
        ("same-origin", None, True),
        ("same-origin", "https://evil.example/", True),  # which cannot be
        ("same-origin", "http://example/chat", True),
        ("none", None, True),  # a user has typed the address
        ("same-site", None, False),
        ("cross-site", None, False),
        ("cross-site", "", False),
        ("cross-site", "https://evil.example/page", False),
        ("same-site", "http://example/chat", False),  # as a page of http at the same name
        ("cross-site", f"{ALLOWED}/page?query", True),
        ("same-site", f"{ALLOWED}/", True),
        ("cross-site", f"{ALLOWED}.evil/", False),
        ("cross-site", f"https://evil.example/{ALLOWED}/", False),
        ("same-origin,cross-site", None, False),
        ("cross-site,same-origin", None, False),
        ("anything", None, False),
        ("", None, False),
        (None, "http://example/", True),
        (None, "https://example/page", True),
        (None, "http://example:80/page", True),
        (None, f"{ALLOWED}/page", True),
        (None, "HTTPS://Allowed.example/page", True),
        (None, "https://evil.example/", False),
        (None, "https://evil.example/http://example/", False),
        (None, "http://example:8001/", False),
        (None, "http://example.evil/", False),
        (None, "http://example@evil/", False),
        (None, "android-app://com.example.mail/", False),
        (None, "about:client", False),
        (None, "/page", False),
        (None, "http://[", False),
    ],
)
def test_a_get_of_a_foreign_page_is_known_by_what_browsers_say(
    site: str | None, referer: str | None, welcome: bool
) -> None:
    assert (headers_for(None, site=site, referer=referer) == {}) is welcome
    assert (
        headers_for(None, site=site, referer=referer, method="POST") == {}
    )  # which has an Origin from a page
    unchecked = Origins(frozenset(), check_gets=False)
    assert headers_for(None, origins=unchecked, site=site, referer=referer) == {}


@pytest.mark.parametrize(
    ("origin", "site", "referer", "welcome"),
    [
        ("http://example", "same-origin", "https://evil.example/", True),
        ("http://example", None, "https://evil.example/", True),  # it is trusted less
        ("http://example", "cross-site", "http://example/", False),  # https://example is here
        ("http://example", "same-site", None, False),
        ("https://evil.example", "same-origin", "http://example/", False),
        ("https://evil.example", "none", None, False),
        (ALLOWED, "cross-site", f"{ALLOWED}/", True),
        (ALLOWED, "same-site", None, True),
        (ALLOWED, "cross-site", "https://evil.example/", True),
        ("null", "same-origin", None, False),
    ],
)
def test_an_origin_beside_them(origin: str, site: str | None, referer: str | None, welcome: bool) -> None:
    assert (headers_for(origin, site=site, referer=referer) is not None) is welcome


def test_what_is_said_of_a_page_tells_nothing_but_its_origin() -> None:
    for headers, said in (
        ({"origin": "https://evil.example", "referer": "https://other.example/"}, "https://evil.example"),
        ({"referer": "https://evil.example/secret?token=1"}, "https://evil.example"),
        ({"referer": "secret", "sec-fetch-site": "cross-site"}, "a cross-site page"),
        ({"referer": "secret"}, "a foreign page"),
        ({"referer": "http://[secret"}, "a foreign page"),
    ):
        assert ORIGINS.page_of(Request(headers=headers)) == said


# ---- preflight


def test_a_preflight_says_what_is_allowed() -> None:
    headers = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-requested-with,x",
    }
    answer = ORIGINS.preflight(Request(method="OPTIONS", headers=headers), "GET, POST")
    assert answer is not None
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers == {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "x-requested-with,x",
        "Access-Control-Max-Age": "600",
    }


def test_a_preflight_for_no_headers() -> None:
    headers = {"access-control-request-method": "POST"}
    answer = ORIGINS.preflight(Request(method="OPTIONS", headers=headers), "POST")
    assert answer is not None
    assert "Access-Control-Allow-Headers" not in answer.headers


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_what_is_no_preflight(method: str) -> None:
    assert ORIGINS.preflight(Request(method=method), "POST") is None
    if method != "OPTIONS":
        headers = {"access-control-request-method": "POST"}
        assert ORIGINS.preflight(Request(method=method, headers=headers), "POST") is None


# ---- on the wire


def permits(answer: Answer, origin: str) -> bool:
    given = {name: answer.headers.get(name) for name in ("access-control-allow-origin", "vary")}
    return given == {"access-control-allow-origin": origin, "vary": "Origin"} and (
        answer.headers["access-control-allow-credentials"] == "true"
    )


def is_refusal(answer: Answer) -> bool:
    assert not [name for name in answer.headers if name.startswith("access-control")]
    return (answer.status, answer.body) == (403, REFUSAL.body)


FOREIGN = {"Origin": "https://evil.example"}


async def test_foreign_pages_are_refused_before_anything_else(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    asked: list[str] = []

    def authenticate(request: object) -> User | None:
        asked.append("authenticate")
        return None

    handler = Handler()
    async with open_front(handler, authenticate=authenticate, authentication_refresh=True) as front:
        token = await front.polled()
        asked.clear()
        for path in ("/chat/negotiate", "/chat/refresh", "/chat"):
            assert is_refusal(await front.ask("POST", token, b"x", path=path, **FOREIGN))
            preflight = {"Access_Control_Request_Method": "POST", **FOREIGN}
            assert is_refusal(await front.ask("OPTIONS", token, path=path, **preflight))
        for method in ("GET", "DELETE", "PUT"):
            assert is_refusal(await front.ask(method, token, **FOREIGN))
        assert is_refusal(await front.ask("GET", token, Accept="text/event-stream", **FOREIGN))
        assert is_refusal(await front.refused(token, **FOREIGN))
        assert is_refusal(await front.refused(**FOREIGN))
        assert asked == []
        assert front.admission.active == 1
        assert "'https://evil.example'" in caplog.text


FROM_AN_IMAGE = ({"Sec_Fetch_Site": "cross-site"}, {"Referer": "https://evil.example/page?token=1"})


@pytest.mark.parametrize("sent", FROM_AN_IMAGE)
async def test_an_image_of_a_foreign_page_opens_nothing(
    sent: dict[str, str], caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known_by(a=User("a"))) as front:
        token = await front.token()
        for headers in ({}, {"Accept": "text/event-stream"}):
            assert is_refusal(await front.ask("GET", token, Authorization="Bearer a", **headers, **sent))
        assert is_refusal(await front.refused(token, **sent))
        assert is_refusal(await front.refused(**sent))
        assert handler.connections == []
        assert (await front.ask("GET", token, Sec_Fetch_Site="same-origin")).status == 200
        assert is_refusal(await front.ask("GET", token, **sent))  # nor does it poll
        assert "allowed_origins" in caplog.text
        assert "token=1" not in caplog.text


@pytest.mark.parametrize("sent", FROM_AN_IMAGE)
async def test_whoever_wants_to_may_let_it_in(sent: dict[str, str], autojump_clock: MockClock) -> None:
    async with open_front(Handler(), check_browser_gets=False) as front:
        assert (await front.ask("GET", await front.token(), **sent)).status == 200
        assert is_refusal(await front.ask("GET", await front.token(), **sent, **FOREIGN))


async def test_a_program_that_names_its_origin_without_the_port_is_told_of_in_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Handler()) as front:
        assert is_refusal(await front.refused(Origin="http://localhost"))
        assert (
            "it comes from 'http://localhost', which is not among allowed_origins; add it there"
            in caplog.text
        )
    async with open_front(Handler(), allowed_origins=["http://localhost"]) as front:
        await front.socket(Origin="http://localhost")


async def allowed_front(front: Front, origin: str) -> None:
    """Use every transport from this page."""
    headers = {"Origin": origin}
    own = origin == "http://example"
    answer = await front.ask("POST", {"negotiateVersion": "1"}, path="/chat/negotiate", **headers)
    assert answer.status == 200
    assert own is not permits(answer, origin)
    token = await front.token(**headers)
    for parts in (("GET", token), ("POST", token, b"x"), ("DELETE", token), ("GET", "unknown")):
        answer = await front.ask(*parts, **headers)
        assert answer.status in (200, 202, 404)
        assert own is not permits(answer, origin)
    events = await front.events(await front.token(), **headers)
    assert events.head is not None
    assert own is not ((b"access-control-allow-origin", origin.encode()) in events.head.headers)
    await front.socket(await front.token(), **headers)


@pytest.mark.parametrize("origin", [ALLOWED, "http://example"], ids=["allowed", "own"])
async def test_allowed_pages_get_their_answers_on_every_transport(
    origin: str, autojump_clock: MockClock
) -> None:
    async with open_front(Handler(), allowed_origins=[ALLOWED]) as front:
        await allowed_front(front, origin)


async def test_an_allowed_page_may_read_refusals_too(autojump_clock: MockClock) -> None:
    async with open_front(
        Handler(), allowed_origins=[ALLOWED], policies=[lambda _: False], authenticate=known_by(a=User("a"))
    ) as front:
        answer = await front.ask("POST", path="/chat/negotiate", Origin=ALLOWED)
        assert answer.status == 401
        assert permits(answer, ALLOWED)
        answer = await front.ask("GET", path="/chat", Origin=ALLOWED, Authorization="Bearer a")
        assert answer.status == 403
        assert permits(answer, ALLOWED)


async def test_an_allowed_page_is_told_what_it_may_ask_before_anybody_asks_who_it_is(
    autojump_clock: MockClock,
) -> None:
    def authenticate(request: object) -> User:
        raise AssertionError

    async with open_front(Handler(), allowed_origins=[ALLOWED], authenticate=authenticate) as front:
        for path, methods in (("/chat/negotiate", "POST"), ("/chat", "GET, POST, DELETE")):
            answer = await front.ask(
                "OPTIONS",
                path=path,
                Origin=ALLOWED,
                Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="authorization,x-signalr-user-agent",
            )
            assert (answer.status, answer.body) == (204, b"")
            assert permits(answer, ALLOWED)
            assert answer.headers["access-control-allow-methods"] == methods
            assert answer.headers["access-control-allow-headers"] == "authorization,x-signalr-user-agent"


async def test_a_preflight_that_no_browser_makes_is_answered_without_what_cannot_be_repeated(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Handler(), allowed_origins=[ALLOWED]) as front:
        answer = await front.ask(
            "OPTIONS",
            path="/chat",
            Origin=ALLOWED,
            Access_Control_Request_Method="\u00e9",
            Access_Control_Request_Headers="x-\u00e9",
        )
        assert (answer.status, answer.body) == (204, b"")
        assert permits(answer, ALLOWED)
        assert "access-control-allow-headers" not in answer.headers
        forged = await front.ask("OPTIONS", path="/chat", Origin=ALLOWED + "\u00e9")
        assert forged.status == 403
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_options_of_a_page_that_asks_for_nothing_are_not_allowed(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), allowed_origins=[ALLOWED]) as front:
        for headers in ({"Origin": ALLOWED}, {}, {"Origin": "http://example"}):
            assert (await front.ask("OPTIONS", path="/chat/negotiate", **headers)).status == 405


async def test_the_long_polls_of_an_allowed_page_say_so_when_they_are_answered_late(
    autojump_clock: MockClock,
) -> None:
    handler = Handler()
    async with open_front(handler, allowed_origins=[ALLOWED]) as front:
        token = await front.polled(Origin=ALLOWED)
        poll = await front.poll(token, Origin=ALLOWED)
        await handler.only.send(b"data")
        answer = await poll.answer()
        assert answer.body == b"data"
        assert permits(answer, ALLOWED)
        assert answer.headers["cache-control"] == "no-cache, no-store"
