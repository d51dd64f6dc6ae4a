"""How a client comes to a connection: it negotiates, then opens the first transport that works.

The server's order counts, of which the user may leave some out. Each transport is tried with a negotiation of its own,
and all of connecting has one time.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import TypeAlias

import httpx2
import trio

from ...errors import ConnectionClosed, ConnectionFailed, NegotiationError
from ...protocol.hub_protocol import TransferFormat
from ...protocol.negotiate import AvailableTransport, Transport
from ..connection import Connection
from ..duplex import Duplex
from ..http import public_url
from ..validators import check_kind
from .event_stream import start_event_stream
from .long_polling import start_long_polling
from .negotiation import ConnectTarget, negotiate
from .options import ConnectionOptions
from .refresh import refreshing
from .requests import Requests
from .resuming import resuming
from .tokens import AccessToken
from .websocket import start_websocket

_Start: TypeAlias = Callable[[Requests, ConnectTarget], Awaitable[AbstractAsyncContextManager[Duplex]]]

_STARTS: Mapping[Transport, _Start] = {
    Transport.WEBSOCKETS: start_websocket,
    Transport.SERVER_SENT_EVENTS: start_event_stream,
    Transport.LONG_POLLING: start_long_polling,
}


@asynccontextmanager
async def open_connection(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    access_token: AccessToken | None = None,
    transfer_format: TransferFormat = TransferFormat.TEXT,
    skip_negotiation: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    http_client: httpx2.AsyncClient | None = None,
    options: ConnectionOptions | None = None,
) -> AsyncGenerator[Connection]:
    """Connect to a server for the body of ``async with``; no hub is known there, only bytes.

    Args:
        url: The URL of a connection handler, such as ``http://127.0.0.1:8000/echo``.
        headers: Further headers for the HTTP requests.
        access_token: A bearer token for them, or a function that gives one; see :data:`AccessToken`.
        transfer_format: What will be sent; text alone can go by Server-Sent Events.
        skip_negotiation: Connect by WebSocket at once; the connection then has no id.
        ssl_context: Whom to trust for ``https``; the system's defaults by default.
        http_client: An HTTP client of yours, for all requests; it is left open.
        options: Times, transports and the like; the defaults by default.

    Yields:
        The connection, which ends in order with the body.

    Raises:
        ValueError: The URL, a header, the token or an option cannot be used.
        TypeError: The options are of another kind, or the token is no text.
        NegotiationError: The server cannot be reached, or refuses, or no transport can be opened.
        ConnectionClosed: The WebSocket cannot be opened, where negotiation was skipped.

    Source:
        The .NET client's ``HttpConnection``.
    """
    options = options or ConnectionOptions()
    check_kind(options, ConnectionOptions)
    transfer_format = TransferFormat(transfer_format)
    requests = Requests(
        url,
        headers=headers or {},
        access_token=access_token,
        ssl_context=ssl_context,
        http_client=http_client,
        options=options,
    )
    async with (
        aclosing(requests),
        open_duplex(requests, transfer_format, skip_negotiation=skip_negotiation) as connection,
    ):
        connection.transfer_format = transfer_format
        yield connection


@asynccontextmanager
async def open_duplex(
    requests: Requests,
    transfer_format: TransferFormat,
    *,
    skip_negotiation: bool,
    stateful_reconnect: bool = False,
) -> AsyncGenerator[Duplex]:
    """Open one connection of a client for the body, which can be resumed where that is asked for and agreed to.

    Raises:
        NegotiationError: The server cannot be reached, or refuses, or no transport can be opened.
        ConnectionClosed: The WebSocket cannot be opened, where negotiation was skipped.
    """
    requests.tokens.forget()
    timeout = requests.options.connect_timeout
    target = ConnectTarget(base=requests.url, url=requests.url)
    started, transport = None, Transport.WEBSOCKETS
    failures: dict[str, ConnectionFailed] = {}
    with trio.move_on_after(timeout):
        if skip_negotiation:
            started = await start_websocket(requests, target)
        else:
            started, target, transport = await _start(requests, transfer_format, stateful_reconnect, failures)
    if started is None:
        kind = ConnectionClosed if skip_negotiation else NegotiationError
        raise kind(
            f"Cannot connect to {public_url(requests.url)} within {timeout:g} s.{_told(failures)}",
            failures=failures,
        )
    async with refreshing(requests, target), started as connection:
        connection.transport = transport
        yield connection


async def _start(
    requests: Requests, transfer_format: TransferFormat, stateful: bool, failures: dict[str, ConnectionFailed]
) -> tuple[AbstractAsyncContextManager[Duplex], ConnectTarget, Transport]:
    """Start the first of the server's transports that works, and note why others do not."""
    target = await negotiate(requests, requests.url, stateful_reconnect=stateful)
    tried = False
    for offered in target.transports:
        try:
            start = _choose(offered, requests.options, transfer_format)
            if tried:  # for what has failed has used the last one up
                target = await negotiate(requests, target.base, target.grant, stateful_reconnect=stateful)
            tried = True
            started = await start(requests, target)
            if target.stateful_reconnect and start is start_websocket:
                started = resuming(target, started, partial(start_websocket, requests, target))
            return started, target, Transport(offered.transport)
        except ConnectionFailed as error:
            failures[offered.transport] = error
    if not failures:
        raise NegotiationError(
            "None of the transports supported by the client are supported by the server.", retriable=False
        )
    raise NegotiationError(
        f"Unable to connect to the server with any of the available transports.{_told(failures)}",
        status=next((error.status for error in failures.values() if error.status is not None), None),
        retry_after=max(error.retry_after or 0.0 for error in failures.values()) or None,
        retriable=any(error.retriable for error in failures.values()),
        failures=failures,
    )


def _told(failures: Mapping[str, ConnectionFailed]) -> str:
    """Why transports were left out, or failed."""
    return "".join(f" ({name} failed: {error})" for name, error in failures.items())


def _choose(
    offered: AvailableTransport, options: ConnectionOptions, transfer_format: TransferFormat
) -> _Start:
    """How to start a transport that the server offers.

    Raises:
        ConnectionFailed: It is not to be started.
    """
    try:
        transport = Transport(offered.transport)
    except ValueError:
        raise ConnectionFailed("The transport is not supported by the client.", retriable=False) from None
    if transport not in options.transports:
        raise ConnectionFailed("The transport is disabled by the client.", retriable=False)
    if (
        transfer_format not in transport.transfer_formats
        or transfer_format.value not in offered.transfer_formats
    ):
        raise ConnectionFailed(
            f"The transport does not support the '{transfer_format.value}' transfer format.", retriable=False
        )
    return _STARTS[transport]
