"""What trusted proxies say is believed, hop by hop from the right; what anybody else says never is."""

import time
from typing import Any

import pytest

from trio_hubs.connections.http import CaseInsensitive, Request
from trio_hubs.connections.server.proxies import MAXIMUM_HOPS, TrustedProxies

NEAR, FAR, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "198.51.100.7", "203.0.113.9"
PROXIES = TrustedProxies("10.0.0.0/8", "2001:db8::/32", "127.0.0.1")


def seen(
    proxies: TrustedProxies = PROXIES, client: str | None = NEAR, /, **headers: str
) -> tuple[str | None, str, str]:
    """Who made a request, by which scheme, and by which name, as it is seen."""
    given = [("Host", "inner:8000"), *((name.replace("_", "-"), text) for name, text in headers.items())]
    request = proxies.look_through(Request(client=client, headers=CaseInsensitive(given)))
    return request.client, request.scheme, request.host


# ---- X-Forwarded-For


@pytest.mark.parametrize(
    ("text", "client"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}, {FAR}", CLIENT),
        (f"{OTHER}, {CLIENT}", CLIENT),  # which the client has made up
        (f"{OTHER}, {FAR}, {CLIENT}", CLIENT),
        (f"{OTHER},{CLIENT},{FAR},127.0.0.1", CLIENT),
        # A client on the proxy itself (uvicorn's issue 1068), and one behind nothing but trusted ones.
        ("127.0.0.1", "127.0.0.1"),
        (f"{FAR}, 10.0.0.3", FAR),
        # Ports, which some balancers write, also at trusted hops (uvicorn's issue 2789).
        (f"{CLIENT}:1234", CLIENT),
        (f"{CLIENT}:1234, {FAR}:80", CLIENT),
        ("[2001:db9::7]:1234", "2001:db9::7"),
        ("[2001:db9::7]", "2001:db9::7"),
        ("2001:DB9::7, 2001:db8::1", "2001:db9::7"),
        ("2001:db9::7, [2001:db8::1]:8000", "2001:db9::7"),
        ("fe80::1%eth0", "fe80::1"),
        # An address of IPv4 within one of IPv6.
        (f"::ffff:{CLIENT}", CLIENT),
        (f"{CLIENT}, ::ffff:{FAR}", CLIENT),
        # What is no address ends the walk: what was known before it holds.
        ("", NEAR),
        (",", NEAR),
        ("unknown", NEAR),
        ("_hidden", NEAR),
        ("evil", NEAR),
        ("1.2.3", NEAR),
        ("1.2.3.4.5", NEAR),
        ("999.1.1.1", NEAR),
        ("1.2.3.4/8", NEAR),
        ("127.0.0.1\\n", NEAR),
        ("\u0661.1.1.1", NEAR),
        ("[", NEAR),
        ("[]", NEAR),
        (":", NEAR),
        ("::1::", NEAR),
        (f"{CLIENT}, evil, {FAR}", FAR),
        (f"{CLIENT},, {FAR}", FAR),
        (f"{CLIENT},", NEAR),
        ("x" * 10_000, NEAR),
    ],
)
def test_who_asked(text: str, client: str) -> None:
    assert seen(x_forwarded_for=text) == (client, "http", "inner:8000")


@pytest.mark.parametrize("near", [OTHER, "2001:db9::1", "testclient", "", "10.0.0.1.evil", None])
def test_nobody_else_is_believed(near: str | None) -> None:
    headers = {
        "x_forwarded_for": CLIENT,
        "x_forwarded_proto": "https",
        "x_forwarded_host": "x",
        "forwarded": "for=1",
    }
    assert seen(PROXIES, near, **headers) == (near, "http", "inner:8000")


def test_without_their_headers_they_are_the_clients() -> None:
    assert seen() == (NEAR, "http", "inner:8000")


def test_whoever_comes_over_a_unix_socket_may_be_one() -> None:
    unix = TrustedProxies("unix")
    assert seen(unix, None, x_forwarded_for=CLIENT)[0] == CLIENT
    assert seen(unix, None, x_forwarded_for="evil")[0] is None
    assert seen(unix, None, x_forwarded_for=f"{CLIENT}, {FAR}")[0] == FAR
    assert seen(unix, NEAR, x_forwarded_for=CLIENT)[0] == NEAR


def test_to_believe_everybody_is_to_believe_the_leftmost() -> None:
    everybody = TrustedProxies("0.0.0.0/0", "::/0")
    assert seen(everybody, OTHER, x_forwarded_for=f"{CLIENT}, {FAR}")[0] == CLIENT


def test_so_many_hops_are_looked_at() -> None:
    assert seen(x_forwarded_for=", ".join([CLIENT, *[FAR] * (MAXIMUM_HOPS - 1)]))[0] == CLIENT
    assert seen(x_forwarded_for=", ".join([CLIENT, *[FAR] * MAXIMUM_HOPS]))[0] == FAR
    began = time.perf_counter()
    assert seen(x_forwarded_for="10.0.0.1," * 1600 + NEAR)[0] == NEAR
    assert time.perf_counter() - began < 0.5


# ---- the scheme and the name


@pytest.mark.parametrize(
    ("clients", "schemes", "scheme"),
    [
        (CLIENT, "https", "https"),
        (CLIENT, "HTTPS", "https"),
        (CLIENT, "wss", "https"),
        (CLIENT, "http", "http"),
        (None, "https", "https"),
        (f"{CLIENT}, {FAR}", "https", "https"),  # of the nearest, which has replaced what came
        (f"{CLIENT}, {FAR}", "https, http", "https"),
        (f"{CLIENT}, {FAR}", "http, https", "http"),
        (f"{OTHER}, {CLIENT}", "https, http", "http"),  # the other is the client's own word
        (CLIENT, "https, http", "http"),
        (CLIENT, "ftp", "http"),
        (CLIENT, "https https", "http"),
        (CLIENT, "", "http"),
        ("evil", "https", "https"),
    ],
)
def test_the_scheme(clients: str | None, schemes: str, scheme: str) -> None:
    headers = {"x_forwarded_proto": schemes, **({"x_forwarded_for": clients} if clients else {})}
    assert seen(**headers)[1] == scheme


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ("example.org", "example.org"),
        ("example.org:8000", "example.org:8000"),
        ("[::1]:8000", "[::1]:8000"),
        ("a, example.org", "example.org"),
        ("", "inner:8000"),
        ("example.org/evil", "inner:8000"),
        ("user@example.org", "inner:8000"),
        ("example.org:80:80", "inner:8000"),
        ("a b", "inner:8000"),
        ("\u00e4", "inner:8000"),
    ],
)
def test_the_name_where_that_was_asked_for(hosts: str, host: str) -> None:
    headers = {"x_forwarded_for": CLIENT, "x_forwarded_host": hosts}
    assert seen(TrustedProxies(NEAR, host=True), NEAR, **headers)[2] == host
    assert seen(TrustedProxies(NEAR), NEAR, **headers)[2] == "inner:8000"


# ---- Forwarded


@pytest.mark.parametrize(
    ("text", "client", "scheme", "host"),
    [
        (f"for={CLIENT}", CLIENT, "http", "inner:8000"),
        (f"For={CLIENT};Proto=https;Host=example.org;by={NEAR}", CLIENT, "https", "example.org"),
        (
            f'for="{CLIENT}:1234"; proto="https" ; host="example.org:8000"',
            CLIENT,
            "https",
            "example.org:8000",
        ),
        ('for="[2001:db9::7]:1234"', "2001:db9::7", "http", "inner:8000"),
        (r'for="198.51.\100.7"', CLIENT, "http", "inner:8000"),
        (f"for={CLIENT};proto=https, for={FAR};proto=http", CLIENT, "https", "inner:8000"),
        (f"for={OTHER};proto=https;host=evil, for={CLIENT};proto=http", CLIENT, "http", "inner:8000"),
        (f"for={CLIENT};proto=https, for={FAR}", CLIENT, "https", "inner:8000"),
        # What a client has written ahead, to mislead.
        (f'for="evil, for={CLIENT}', CLIENT, "http", "inner:8000"),
        (f'for="{FAR}, for={CLIENT};proto=https', CLIENT, "https", "inner:8000"),
        (f'for="{OTHER},{FAR}", for={FAR}', FAR, "http", "inner:8000"),
        (f"for={OTHER}\\, for={CLIENT}", CLIENT, "http", "inner:8000"),
        # What is no address.
        ("", NEAR, "http", "inner:8000"),
        ("for=unknown;proto=https", NEAR, "https", "inner:8000"),
        ("for=_secret", NEAR, "http", "inner:8000"),
        ("for", NEAR, "http", "inner:8000"),
        ("=;=;=", NEAR, "http", "inner:8000"),
        ('for="', NEAR, "http", "inner:8000"),
        ("proto=https", NEAR, "https", "inner:8000"),
        ("; " * 8000, NEAR, "http", "inner:8000"),
        ("host=a/b;for=1.2.3.4", "1.2.3.4", "http", "inner:8000"),
    ],
)
def test_forwarded(text: str, client: str, scheme: str, host: str) -> None:
    proxies = TrustedProxies("10.0.0.0/8", forwarded=True, host=True)
    assert seen(proxies, NEAR, forwarded=text) == (client, scheme, host)


def test_one_kind_of_header_is_read() -> None:
    both = {"x_forwarded_for": CLIENT, "forwarded": f"for={OTHER}"}
    assert seen(TrustedProxies(NEAR), NEAR, **both)[0] == CLIENT
    assert seen(TrustedProxies(NEAR, forwarded=True), NEAR, **both)[0] == OTHER


# ---- logs and arguments


def test_what_they_say_wrongly_is_logged_once_it_matters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    proxies = TrustedProxies(NEAR, host=True)
    assert seen(proxies, NEAR, x_forwarded_for="<a>", x_forwarded_host="<c>")[0] == NEAR
    assert seen(proxies, OTHER, x_forwarded_for="a", x_forwarded_host="<c>")[0] == OTHER
    assert [record.getMessage() for record in caplog.records] == [
        "a trusted proxy says that '<a>' has asked it, which is no address",
        "a trusted proxy says that it was called '<c>', which is no name",
    ]


@pytest.mark.parametrize("addresses", [(), ("evil",), ("10.0.0.1/8",), ("*",), ("",)])
def test_proxies_have_addresses(addresses: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"name the addresses|does not appear|host bits"):
        TrustedProxies(*addresses)
