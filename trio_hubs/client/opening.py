"""How a client's connection to a hub is opened: over what a server's URLs lead to, or over any dials."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Literal

import httpx2
from cattrs import Converter

from ..connections.client.opening import open_duplex
from ..connections.client.requests import Requests
from ..connections.client.tokens import AccessToken
from ..connections.validators import check_kind
from ..protocol.naming import Naming, NamingWord
from ..protocol.registry import PROTOCOLS
from .handlers import Handlers
from .hub_connection import HubConnection, Setup
from .link import Dial
from .options import HubConnectionOptions
from .reconnect import Backoff, ReconnectPolicy


@asynccontextmanager
async def open_hub_connection(
    url: str | Sequence[str],
    *,
    protocol: Literal["json", "messagepack"] = "json",
    naming: Naming | NamingWord = "python",
    converter: Converter | None = None,
    handlers: object = None,
    headers: Mapping[str, str] | None = None,
    access_token: AccessToken | None = None,
    skip_negotiation: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    http_client: httpx2.AsyncClient | None = None,
    reconnect: bool | ReconnectPolicy = False,
    retry_first: bool = False,
    setup: Setup | None = None,
    options: HubConnectionOptions | None = None,
) -> AsyncGenerator[HubConnection]:
    """Connect to a hub for the body of ``async with``.

    The connection ends in order with the body, and all of its tasks with it. An exception of the body comes out as
    it is; so does a :exc:`KeyboardInterrupt` or :exc:`SystemExit` of a handler or an upload. When the connection is
    lost, calls that wait for the server fail; the body goes on.

    Args:
        url: The hub's URL, such as ``http://127.0.0.1:8000/counter``; or several, of servers that are alike. Each
            attempt to connect tries them in a random order, each once.
        protocol: What to speak; both are understood by every SignalR server that has them installed.
        naming: Names of fields, enums and classes on the wire: ``"python"``, ``"dotnet"``, or a :class:`Naming`.
        converter: A cattrs converter, whose hooks are copied; of its settings, none are.
        handlers: Client methods, added before anything is received: by name, as for :meth:`HubConnection.on`; or an
            object whose public methods they are: ``receive_message`` is called as ``ReceiveMessage``, or as
            ``@hub_method`` names it.
        headers: Further headers for the HTTP requests.
        access_token: A bearer token for them, or a function that gives one; see :data:`AccessToken`.
        skip_negotiation: Connect by WebSocket at once; the connection then has no id.
        ssl_context: Whom to trust for ``https``; the system's defaults by default.
        http_client: An HTTP client of yours, for all requests; it is left open.
        reconnect: Whether to connect again when the connection is lost, and when: ``True`` for :class:`Backoff`'s
            times, or a policy. Never done where the server does not want it.
        retry_first: Whether that is done for the first connection, too.
        setup: Called with each new connection, before anything else is sent on it, to join groups or the like. Other
            calls wait until it returns, or fail, as while the connection is lost; handlers run meanwhile. The end of
            that connection cancels it. What it raises ends the block.
        options: Times, limits, transports and the like; the defaults by default.

    Yields:
        The connection.

    Raises:
        ValueError: The URL, a header, the token, the protocol or the naming cannot be used.
        TypeError: The options are of another kind, or the token is no text.
        NegotiationError: The server cannot be reached, or refuses, or no transport can be opened.
        ConnectionClosed: The connection was over at once, or could not be opened where negotiation was skipped.
        HandshakeError: The server does not speak the protocol, or took too long.

    Source:
        The .NET client's ``StartAsync`` and ``StopAsync``.
    """
    options = options or HubConnectionOptions()
    check_kind(options, HubConnectionOptions)
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ValueError("url must have one URL at least")
    async with AsyncExitStack() as stack:
        dials = []
        for each in urls:
            requests = Requests(
                each,
                headers=headers or {},
                access_token=access_token,
                ssl_context=ssl_context,
                http_client=http_client,
                options=options,
            )
            await stack.enter_async_context(aclosing(requests))
            dials.append(
                partial(
                    open_duplex,
                    requests,
                    skip_negotiation=skip_negotiation,
                    stateful_reconnect=options.stateful_reconnect,
                )
            )
        yield await stack.enter_async_context(
            open_over(
                dials,
                protocol=protocol,
                naming=naming,
                converter=converter,
                handlers=handlers,
                reconnect=reconnect,
                retry_first=retry_first,
                setup=setup,
                options=options,
            )
        )


@asynccontextmanager
async def open_over(
    dials: Sequence[Dial],
    *,
    protocol: Literal["json", "messagepack"] = "json",
    naming: Naming | NamingWord = "python",
    converter: Converter | None = None,
    handlers: object = None,
    reconnect: bool | ReconnectPolicy = False,
    retry_first: bool = False,
    setup: Setup | None = None,
    options: HubConnectionOptions | None = None,
) -> AsyncGenerator[HubConnection]:
    """Connect over whatever the dials open, for the body; all else is as :func:`open_hub_connection` has it."""
    options = options or HubConnectionOptions()
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    if converter is not None:
        check_kind(converter, Converter, "converter")
    speaks = PROTOCOLS[protocol](naming, converter)
    table = Handlers(
        speaks.payloads,
        ignore_extra_arguments=options.ignore_extra_arguments,
        observers=options.observers,
    )
    if handlers is not None:
        table.add_all(handlers)
    policy = Backoff() if reconnect is True else reconnect or None
    connection = HubConnection(
        speaks, table, options, dials, reconnect=policy, retry_first=retry_first, setup=setup
    )
    async with connection._opened():
        yield connection
