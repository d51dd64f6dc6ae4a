"""What can be chosen for a hub connection, with the official clients' defaults."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..calls.observer import AroundCall, Observer
from ..calls.options import Role, SessionOptions
from ..connections.client.options import ConnectionOptions
from ..connections.validators import non_negative, positive, positive_or_none


@attrs.frozen(kw_only=True)
class HubConnectionOptions(ConnectionOptions):
    """Options of a client's connection; times in seconds, sizes in bytes.

    Sources: the options of the .NET client's ``HubConnection`` and ``HttpConnection``, where a default stands in
    brackets; the rest is this project's own.
    """

    stateful_reconnect: bool = False
    """Whether a WebSocket that is torn shall be followed by another, without loss, if the server agrees [off]."""
    stateful_reconnect_buffer_size: int = attrs.field(default=100_000, validator=positive)
    """So much that the server has not acknowledged is kept to be sent again; then nothing more is sent [100,000]."""
    acknowledgement_timeout: float = attrs.field(default=5.0, validator=positive)
    """When the server keeps more from being sent by that for so long, the connection ends [5]."""
    handshake_timeout: float = attrs.field(default=15.0, validator=positive)
    """So long the server may take for the hub handshake [15]."""
    keep_alive_interval: float = attrs.field(default=15.0, validator=positive)
    """When nothing has been sent for so long, a ping is [15]."""
    server_timeout: float = attrs.field(default=30.0, validator=positive)
    """When the server has been silent for so long, the connection ends [30]."""
    send_timeout: float = attrs.field(default=10.0, validator=positive)
    """When the server takes nothing of what is sent for so long, the connection ends."""
    maximum_message_size: int | None = attrs.field(default=None, validator=positive_or_none)
    """A framed message of the server above this ends the connection; ``None`` allows any [any]."""
    maximum_parallel_invocations: int = attrs.field(default=1, validator=positive)
    """How many handlers may run at a time; further calls of the server's wait, in order."""
    ignore_extra_arguments: bool = False
    """Whether a call may have more arguments than its handler takes, as those of a newer server do."""
    stream_buffer_size: int = attrs.field(default=64 * 1024, validator=positive)
    """How many bytes of a stream may lie unread, however many items, before their sender has to wait; and more, while
    they are within the stream's capacity, or a task waits for the server."""
    connection_buffer_size: int = attrs.field(default=1024 * 1024, validator=positive)
    """The same for all unread streams and waiting calls of the connection."""
    connection_buffer_limit: int = attrs.field(default=16 * 1024 * 1024, validator=positive)
    """Where a waiting task keeps the reading on past this, further items make their stream fail."""

    stable_time: float = attrs.field(default=10.0, validator=non_negative)
    """When a connection that lasted so long is lost, the attempts to regain it are counted anew."""
    maximum_retry_after: float = attrs.field(default=300.0, validator=non_negative)
    """At most so long a server that asks for more time (``Retry-After``) is left alone between two attempts."""
    waiting_calls_buffer_size: int = attrs.field(default=1024 * 1024, validator=positive)
    """How many bytes of calls may wait, with ``wait_for_ready``, until a lost connection is regained; more raise at
    once. A call counts for its arguments as they are encoded, and 1 KiB."""
    around_calls: AroundCall | None = None
    """Held around each call: called with the method's name, gives headers of the message, as
    :func:`trio_hubs.otel.traced_calls` makes it. A stream with ``resume`` is one, however often it is called [none]."""

    observers: Sequence[Observer] = ()
    """Who hears of the server's calls of handlers, as :func:`trio_hubs.otel.traced_handlers` makes it [none]."""

    def session_options(self) -> SessionOptions:
        """The part of them that a connection's session heeds."""
        return SessionOptions.of(Role.CLIENT, self)
