"""An ASGI scope as a request: its path is what lies below the place where the app is mounted."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from ..connections.http import Request
from .messages import Scope


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
