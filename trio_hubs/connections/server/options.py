"""What can be chosen for a path at which connections are made, with ASP.NET Core's defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import attrs

from ...protocol.negotiate import Transport
from ..http import Headers, Request
from ..users import User
from ..validators import positive
from .origins import AllowedOrigins, checked_origins

AnswerHeaders: TypeAlias = Callable[[Request], Headers]
"""Gives further headers of the answer to a request."""

OnAuthenticationRefresh: TypeAlias = Callable[
    [Request, str, "User | None", "User | None"], "bool | Awaitable[bool]"
]
"""Called with the request, the connection's id, its user so far, and the same user as the request shows them."""


def _transports(names: Iterable[str]) -> tuple[Transport, ...]:
    chosen = {Transport(name) for name in names}
    return tuple(transport for transport in Transport if transport in chosen)


@attrs.frozen(kw_only=True)
class EndpointOptions:
    """Options of a path at which connections are made; times in seconds, sizes in bytes.

    Sources: ASP.NET Core's ``HttpConnectionDispatcherOptions`` and ``ConnectionOptions``, where a default stands
    in brackets; the rest is this project's own.
    """

    transports: tuple[Transport, ...] = attrs.field(
        default=tuple(Transport), converter=_transports, validator=attrs.validators.min_len(1)
    )
    """What may carry connections [WebSockets, Server-Sent Events, long polling]."""
    allowed_origins: AllowedOrigins = attrs.field(default=frozenset(), converter=checked_origins)
    """Origins, such as ``https://example.org``, whose pages may connect besides the server's own; with credentials.
    ``https://*.example.org``, ``http://localhost:*`` and ``null`` are some, too; or a function tells of each."""
    own_scheme: Literal["http", "https"] | None = attrs.field(
        default=None, validator=attrs.validators.in_(("http", "https", None))
    )
    """The scheme of the server's own pages; by default ``https`` where it speaks TLS itself, else either."""
    check_browser_gets: bool = True
    """Whether a GET by which a browser connects must come from such a page, too, also one without ``Origin``."""
    minimum_negotiate_version: int = attrs.field(default=0, validator=attrs.validators.in_((0, 1)))
    """The lowest version of negotiation that is still answered [0]."""
    maximum_negotiated: int = attrs.field(default=100_000, validator=positive)
    """How many negotiated connections may wait for their transport; above it negotiation answers 503."""
    disconnect_timeout: float = attrs.field(default=15.0, validator=positive)
    """How long a connection lasts without a transport: negotiated and unused, between polls, or torn [15]."""
    send_timeout: float = attrs.field(default=10.0, validator=positive)
    """How long a client may take nothing of what is sent to it before it is disconnected [10]."""
    poll_timeout: float = attrs.field(default=90.0, validator=positive)
    """How long a poll waits for data; then it is answered empty [90]."""
    close_timeout: float = attrs.field(default=5.0, validator=positive)
    """How long a client may take to answer the close of its WebSocket [5]."""
    application_buffer_size: int = attrs.field(default=64 * 1024, validator=positive)
    """Posted bytes that may lie unread before further posts wait; what fits in is read ahead [64 KiB]."""
    early_posts_buffer_size: int = attrs.field(default=1024 * 1024, validator=positive)
    """Bytes that may be posted to connections without a transport, together; further such posts wait, unread."""
    transport_buffer_size: int = attrs.field(default=64 * 1024, validator=positive)
    """Bytes that may wait for a client before sending to it waits [64 KiB]."""
    stateful_reconnect: bool = False
    """Whether clients may come back to a torn connection with a new WebSocket and lose nothing [no]."""
    close_on_authentication_expiration: bool = False
    """Whether a connection ends, for its client to reconnect, when its user expires [no]."""
    authentication_refresh: bool = False
    """Whether ``POST {path}/refresh`` renews a connection's user (ASP.NET Core 11) [no]."""
    on_authentication_refresh: OnAuthenticationRefresh | None = None
    """Whether a connection may have its user so from now on; may be async. Without it, always [always]."""
    answer_headers: AnswerHeaders | None = None
    """Gives further headers of the answer to each request that comes in, such as a cookie for the proxy [none]."""
    websocket_subprotocol: Callable[[Sequence[str]], str | None] | None = None
    """Chooses from the WebSocket subprotocols that a client offers; none by default [none]."""
