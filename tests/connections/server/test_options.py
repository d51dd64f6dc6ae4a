"""The options of a path: ASP.NET Core's defaults, and what cannot be meant is refused by its name."""

import ast
import inspect
from itertools import pairwise
from typing import Any

import attrs
import pytest

from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.protocol.negotiate import Transport


def test_the_defaults_are_the_official_ones() -> None:
    options = EndpointOptions()
    assert options.transports == (
        Transport.WEBSOCKETS,
        Transport.SERVER_SENT_EVENTS,
        Transport.LONG_POLLING,
    )
    assert options.allowed_origins == frozenset()
    assert options.minimum_negotiate_version == 0
    assert options.disconnect_timeout == 15
    assert options.send_timeout == 10
    assert options.poll_timeout == 90
    assert options.close_timeout == 5
    assert options.application_buffer_size == options.transport_buffer_size == 65_536
    assert not options.stateful_reconnect
    assert not options.close_on_authentication_expiration
    assert not options.authentication_refresh
    assert options.on_authentication_refresh is None
    assert options.early_posts_buffer_size == 1_048_576
    assert options.own_scheme is None
    assert options.check_browser_gets
    assert options.websocket_subprotocol is None
    assert options.answer_headers is None


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    "name",
    [
        "maximum_negotiated",
        "disconnect_timeout",
        "send_timeout",
        "poll_timeout",
        "close_timeout",
        "application_buffer_size",
        "transport_buffer_size",
        "early_posts_buffer_size",
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: int) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"'{name}' must be > 0: {value}"):
        EndpointOptions(**options)


@pytest.mark.parametrize("scheme", ["ws", "HTTPS", ""])
def test_the_servers_own_pages_have_one_of_two_schemes(scheme: Any) -> None:
    with pytest.raises(ValueError, match="own_scheme"):
        EndpointOptions(own_scheme=scheme)


@pytest.mark.parametrize("version", [-1, 2])
def test_there_are_two_versions_of_negotiation(version: int) -> None:
    with pytest.raises(ValueError, match="minimum_negotiate_version"):
        EndpointOptions(minimum_negotiate_version=version)


def test_transports_come_in_their_order_and_once() -> None:
    options = EndpointOptions(transports=["LongPolling", "WebSockets", Transport.LONG_POLLING])
    assert options.transports == (Transport.WEBSOCKETS, Transport.LONG_POLLING)


@pytest.mark.parametrize("transports", [(), ["Pigeons"], "WebSockets"])
def test_transports_that_are_none(transports: Any) -> None:
    with pytest.raises(ValueError, match=r"transports|Transport"):
        EndpointOptions(transports=transports)


def test_origins_match_in_any_letter_case() -> None:
    options = EndpointOptions(allowed_origins=["https://Example.org", "HTTP://localhost:3000", "app://x"])
    assert options.allowed_origins == frozenset(("https://example.org", "http://localhost:3000", "app://x"))


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "*://a",
        "",
        "example.org",
        "https://",
        "https://*",
        "https://*.",
        "https://a.*.example.org",
        "https://*example.org",
        "https://*.*.example.org",
        "https://a:8*",
        "https://a:*:*",
        "https://:*",
        "https://a b",
        "https://example.org/a",
        "//a",
        "Null ",
    ],
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        EndpointOptions(allowed_origins=[origin])


def test_one_origin_is_no_collection_of_them() -> None:
    with pytest.raises(TypeError, match="collection"):
        EndpointOptions(allowed_origins="https://example.org")


def test_options_do_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EndpointOptions().poll_timeout = 1  # type: ignore[misc]


def test_every_option_has_its_docstring() -> None:
    """The class says of each what it is for, right below it."""
    (made,) = ast.parse(inspect.getsource(EndpointOptions)).body
    assert isinstance(made, ast.ClassDef)
    documented = {
        option.target.id
        for option, below in pairwise(made.body)
        if isinstance(option, ast.AnnAssign)
        and isinstance(option.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }
    assert documented == {field.name for field in attrs.fields(EndpointOptions)}


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://a.example:80", "https://a.example:80"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_meant_as_browsers_write_it(origin: str, meant: str) -> None:
    assert EndpointOptions(allowed_origins=[origin]).allowed_origins == frozenset((meant,))
