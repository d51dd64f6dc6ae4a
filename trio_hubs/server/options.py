"""What can be chosen for a hub, with ASP.NET Core's defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from ..calls.intake import IntakeLimits
from ..calls.session import SessionOptions

_positive_or_none: Callable[[Any, Any, Any], None] = attrs.validators.optional(attrs.validators.gt(0))
_positive: Callable[[Any, Any, Any], None] = attrs.validators.gt(0)


@attrs.frozen(kw_only=True)
class HubOptions:
    """Options of a hub; times in seconds, sizes in bytes.

    Sources: ASP.NET Core's ``HubOptions`` and ``HttpConnectionDispatcherOptions``, where a default stands in
    brackets; the rest is this project's own.
    """

    handshake_timeout: float = attrs.field(default=15.0, validator=_positive)
    """So long a client may take for the hub handshake; then it gets an error and is disconnected [15]."""
    negotiation_timeout: float = attrs.field(default=15.0, validator=_positive)
    """So long a negotiated connection waits for its WebSocket; then it is forgotten [15]."""
    maximum_negotiated: int = attrs.field(default=100_000, validator=_positive)
    """So many negotiated connections wait at a time; above it negotiation answers 503."""
    keep_alive_interval: float = attrs.field(default=15.0, validator=_positive)
    """After so long the server sends a ping [15]."""
    client_timeout: float = attrs.field(default=30.0, validator=_positive)
    """A client that has ever sent a ping and is then silent for so long is disconnected [30]."""
    send_timeout: float = attrs.field(default=10.0, validator=_positive)
    """A client that takes nothing of what is sent to it for so long is disconnected [10]."""
    disconnect_timeout: float = attrs.field(default=5.0, validator=_positive)
    """So long :meth:`Hub.on_disconnected` may run after a connection's end; then it is cancelled."""
    maximum_message_size: int | None = attrs.field(default=32 * 1024, validator=_positive_or_none)
    """A client's framed message above this closes its connection with an error; ``None`` allows any [32 KiB]."""
    maximum_parallel_invocations: int = attrs.field(default=1, validator=_positive)
    """So many invocations of one client run at a time; the rest wait. A stream counts until it has begun [1]."""
    maximum_streams: int = attrs.field(default=1000, validator=_positive)
    """So many streams, and invocations with uploads, of one client run or wait at a time; further ones get an error."""
    stream_buffer_capacity: int = attrs.field(default=10, validator=_positive)
    """So many unread items of an upload are never too many [10]."""
    stream_buffer_size: int = attrs.field(default=64 * 1024, validator=_positive)
    """While an upload has more unread bytes, the connection is not read, unless a method waits for its client."""
    connection_buffer_size: int = attrs.field(default=256 * 1024, validator=_positive)
    """The same for all unread uploads and waiting invocations of a connection."""
    connection_buffer_limit: int = attrs.field(default=4 * 1024 * 1024, validator=_positive)
    """Where a waiting method keeps the reading on past this, further invocations and items fail with an error."""
    broadcast_buffer_limit: int = attrs.field(default=1024 * 1024, validator=_positive)
    """A client that lets more than this wait when it is sent a broadcast is disconnected."""
    detailed_errors: bool = False
    """Whether clients see the texts of all exceptions; otherwise only of :exc:`HubException` [no]."""
    payloads: Literal["python", "dotnet"] = attrs.field(
        default="python", validator=attrs.validators.in_(("python", "dotnet"))
    )
    """Names of fields and enums on the wire: as in Python, or as .NET's defaults have them."""

    def session_options(self) -> SessionOptions:
        """The part of them that a connection's session heeds."""
        return SessionOptions(
            keep_alive_interval=self.keep_alive_interval,
            keep_alive_when_idle=False,
            peer_timeout=self.client_timeout,
            peer_must_ping=True,
            send_timeout=self.send_timeout,
            maximum_message_size=self.maximum_message_size,
            maximum_parallel=self.maximum_parallel_invocations,
            maximum_streams=self.maximum_streams,
            upload_capacity=self.stream_buffer_capacity,
            intake=IntakeLimits(
                stream_bytes=self.stream_buffer_size,
                connection_bytes=self.connection_buffer_size,
                hard_bytes=self.connection_buffer_limit,
            ),
        )
