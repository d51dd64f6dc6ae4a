"""An ASGI scope as a request, whose path is what lies below the mount of the app; and a request as a scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..connections.http import Request
from .messages import Scope

ASGI = {"version": "3.0", "spec_version": "2.4"}
"""What we say of ourselves to an application."""


def request_of(scope: Scope) -> Request:
    """The request of an ``http`` or ``websocket`` scope, its body yet to be read."""
    is_websocket = scope["type"] == "websocket"
    client = scope.get("client")
    return Request.parse(
        b"GET" if is_websocket else scope["method"].encode("ascii"),
        quote(_path_below(scope), errors="replace").encode() + b"?" + scope.get("query_string", b""),
        _websocket_headers(scope) if is_websocket else scope["headers"],
        scheme="https" if scope.get("scheme") in ("https", "wss") else "http",
        client=client[0] if client else None,
    )


def _path_below(scope: Scope) -> str:
    """The path below the mount.

    Most hosts leave the path whole and tell the mount by ``root_path``, which may begin with what a proxy has cut off
    already. Litestar cuts the path itself, and ends it with a slash.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    while root:
        if path.startswith(root) and path[len(root) :][:1] in ("", "/"):
            path = path[len(root) :]
            break
        cut_off = root.find("/", 1)
        root = "" if cut_off == -1 else root[cut_off:]
    if not (scope.get("raw_path") or b"/").endswith(b"/"):
        path = path.removesuffix("/")
    return path if path.startswith("/") else f"/{path}"


def _websocket_headers(scope: Scope) -> Iterator[tuple[bytes, bytes]]:
    """The headers by which a WebSocket is asked for, also where the server, or HTTP/2, asks without them."""
    names = {name.lower() for name, _ in scope["headers"]}
    yield from scope["headers"]
    if b"upgrade" not in names:
        yield b"upgrade", b"websocket"
    if b"sec-websocket-protocol" not in names and (offered := scope.get("subprotocols")):
        yield b"sec-websocket-protocol", ", ".join(offered).encode("latin-1")


def scope_of(request: Request) -> dict[str, Any]:
    """The ``http`` scope of a request."""
    headers = [
        (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in request.headers.items()
    ]
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "query_string": request.raw_query.encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "client": None if request.client is None else (request.client, 0),
        "server": None,
        "extensions": {},
    }
