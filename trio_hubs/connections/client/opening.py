"""How a client comes to a connection: it negotiates, and opens the transport; whatever the bytes mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

from ..connection import Connection
from ..duplex import Duplex
from ..http import public_url
from ..websocket import open_websocket
from .negotiation import HEADER_TEXT, ConnectTarget, negotiate

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def open_connection(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    skip_negotiation: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = 30.0,
) -> AbstractAsyncContextManager[Connection]:
    """Connect to a server for the body of ``async with``; no hub is known there, only bytes.

    Args:
        url: The URL of a connection handler, such as ``http://127.0.0.1:8000/echo``.
        headers: Further headers for the HTTP requests.
        skip_negotiation: Connect by WebSocket at once; the connection then has no id.
        ssl_context: For ``https``; the system's defaults by default.
        connect_timeout: Seconds that negotiation and the WebSocket's opening may take, each.

    Returns:
        A context manager that gives the connection, which ends in order with the body.

    Raises:
        ValueError: The URL or a header is none.
        NegotiationError: The server cannot be reached, or refuses.
        ConnectionClosed: The WebSocket cannot be opened.

    Source:
        The .NET client's ``HttpConnection``.
    """
    return open_duplex(
        url,
        headers=headers,
        skip_negotiation=skip_negotiation,
        ssl_context=ssl_context,
        connect_timeout=connect_timeout,
    )


@asynccontextmanager
async def open_duplex(
    url: str,
    *,
    headers: Mapping[str, str] | None,
    skip_negotiation: bool,
    ssl_context: ssl.SSLContext | None,
    connect_timeout: float,
) -> AsyncGenerator[Duplex]:
    """The same as :func:`open_connection`, with what a session needs besides."""
    check_request(url, headers or {})
    sent = {"X-Requested-With": "XMLHttpRequest", **(headers or {})}
    if skip_negotiation:
        target = ConnectTarget(url, None, sent)
    else:
        target = await negotiate(url, sent, timeout=connect_timeout, ssl_context=ssl_context)
    async with open_websocket(
        target.url,
        target.connection_id,
        headers=target.headers,
        ssl_context=ssl_context,
        timeout=connect_timeout,
    ) as connection:
        yield connection


def check_request(url: str, headers: Mapping[str, str]) -> None:
    """Raise for what cannot be meant, before anything is tried."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"'{public_url(url)}' is no URL of a hub, such as http://127.0.0.1:8000/chat")
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not HEADER_TEXT.fullmatch(text):
            raise ValueError(
                f"a header is no HTTP header; names are tokens, and texts are in ASCII, without spaces around: {name!r}"
            )
