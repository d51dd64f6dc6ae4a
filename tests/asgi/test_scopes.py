"""Scopes as requests: paths below mounts as each host has them, headers, queries and clients."""

from typing import Any

import pytest

from trio_hubs.asgi.scopes import request_of

HTTP = {"type": "http", "method": "POST", "scheme": "http", "headers": [], "query_string": b""}


def http(**fields: Any) -> dict[str, Any]:
    return {**HTTP, "path": "/", **fields}


def test_a_scope_is_a_request() -> None:
    request = request_of(
        http(
            path="/chat/negotiate",
            scheme="https",
            query_string=b"id=a%20b&id=c",
            headers=[(b"host", b"a"), (b"cookie", b"a=1"), (b"cookie", b"b=2")],
            client=("10.0.0.7", 50000),
        )
    )
    assert (request.method, request.path, request.scheme) == ("POST", "/chat/negotiate", "https")
    assert request.query["id"] == "a b,c"
    assert request.raw_query == "id=a%20b&id=c"
    assert request.headers["Cookie"] == "a=1; b=2"
    assert request.host == "a"
    assert request.client == "10.0.0.7"


def test_what_a_server_may_leave_out() -> None:
    request = request_of({"type": "http", "method": "GET", "path": "/", "headers": []})
    assert (request.scheme, request.raw_query, request.client) == ("http", "", None)
    assert request_of(http(client=None)).client is None


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/chat", "", "/chat"),
        ("/hubs/chat", "/hubs", "/chat"),
        ("/hubs/chat", "/hubs/", "/chat"),
        ("/hubs", "/hubs", "/"),
        ("/hubs/", "/hubs", "/"),
        ("/chat", "/hubs", "/chat"),  # a host that has cut the path itself
        ("/hubstore", "/hubs", "/hubstore"),
        ("chat", "", "/chat"),
        ("", "", "/"),
        ("/chat", "/", "/chat"),  # Hypercorn's dispatcher at /
        ("/a b/ü%?#", "/a b", "/ü%?#"),
        ("/a%2Fb", "", "/a%2Fb"),
    ],
)
def test_the_path_is_what_lies_below_the_mount(path: str, root: str, below: str) -> None:
    assert request_of(http(path=path, root_path=root)).path == below


@pytest.mark.parametrize(
    ("root", "below"),
    [("/api/hubs", "/chat"), ("/api/v1/hubs", "/chat"), ("/api", "/hubs/chat"), ("api/x", "/hubs/chat")],
)
def test_what_a_proxy_has_cut_off_is_no_part_of_the_path(root: str, below: str) -> None:
    """As a mount at /hubs has it behind a proxy that cuts off /api, which the server was told."""
    assert request_of(http(path="/hubs/chat", root_path=root)).path == below


@pytest.mark.parametrize(
    ("path", "raw", "below"),
    [
        ("/chat/", b"/hubs/chat", "/chat"),
        ("/chat/", b"/hubs/chat/", "/chat/"),
        ("/", b"/hubs", "/"),
        ("/chat/", None, "/chat/"),
    ],
)
def test_a_slash_that_litestar_adds_is_no_part_of_the_path(path: str, raw: bytes | None, below: str) -> None:
    assert request_of(http(path=path, raw_path=raw)).path == below


def test_a_websocket_asks_for_one() -> None:
    scope = {"type": "websocket", "path": "/chat", "scheme": "wss", "headers": [], "subprotocols": ["a", "b"]}
    request = request_of(scope)
    assert (request.method, request.scheme) == ("GET", "https")
    assert request.headers["upgrade"] == "websocket"
    assert request.headers["sec-websocket-protocol"] == "a, b"
    headers = [(b"upgrade", b"WebSocket"), (b"Sec-WebSocket-Protocol", b"b")]
    request = request_of({**scope, "headers": headers})
    assert request.headers["upgrade"] == "WebSocket"
    assert request.headers["sec-websocket-protocol"] == "b"
