"""What can be chosen for a hub, with ASP.NET Core's defaults."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from attrs.validators import instance_of, optional
from cattrs import Converter

from ..calls.options import Role, SessionOptions
from ..connections.server.options import EndpointOptions
from ..connections.validators import positive, positive_or_none
from ..protocol.naming import Naming, naming_of
from ..protocol.registry import PROTOCOLS
from .slow_clients import Disconnect, SlowClientPolicy, checked


def _protocols(names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    if unknown := chosen - set(PROTOCOLS):
        raise ValueError(f"no such protocol: {', '.join(sorted(unknown))}; there are {', '.join(PROTOCOLS)}")
    if not chosen:
        raise ValueError("a hub supports at least one protocol")
    return tuple(name for name in PROTOCOLS if name in chosen)


@attrs.frozen(kw_only=True)
class HubOptions(EndpointOptions):
    """Options of a hub, besides those of its path; times in seconds, sizes in bytes.

    Sources: ASP.NET Core's ``HubOptions``, where a default stands in brackets; the rest is this project's own.
    """

    supported_protocols: tuple[str, ...] = attrs.field(default=tuple(PROTOCOLS), converter=_protocols)
    """The hub protocols that clients may choose from [all]."""
    handshake_timeout: float = attrs.field(default=15.0, validator=positive)
    """Seconds that a client may take for the hub handshake; then it gets an error and is disconnected [15]."""
    keep_alive_interval: float = attrs.field(default=15.0, validator=positive)
    """Seconds between the pings that the server sends [15]."""
    client_timeout: float = attrs.field(default=30.0, validator=positive)
    """Seconds of silence after which a client that has ever sent a ping is disconnected [30]."""
    on_disconnected_timeout: float = attrs.field(default=5.0, validator=positive)
    """Seconds that :meth:`Hub.on_disconnected` may run after a connection's end; then it is cancelled."""
    goodbye_timeout: float = attrs.field(default=5.0, validator=positive)
    """Seconds that invocations without an id, which nobody can wait for, may go on after their client's goodbye."""
    client_result_timeout: float | None = attrs.field(default=60.0, validator=positive_or_none)
    """Seconds that a client may take to answer a call for a result; ``None`` for any time."""
    maximum_message_size: int | None = attrs.field(default=32 * 1024, validator=positive_or_none)
    """A client's framed message above this closes its connection with an error; ``None`` allows any [32 KiB]."""
    maximum_parallel_invocations: int = attrs.field(default=1, validator=positive)
    """How many invocations of one client run at a time; the rest wait. A stream counts until it has begun [1]."""
    maximum_streams: int = attrs.field(default=1000, validator=positive)
    """How many streams, and invocations with uploads, one client may have at a time; further ones get an error."""
    stream_buffer_capacity: int = attrs.field(default=10, validator=positive)
    """How many items of an upload may lie unread, however large, before their sender has to wait [10]."""
    stream_buffer_size: int = attrs.field(default=64 * 1024, validator=positive)
    """How many bytes of an upload may lie unread, however many items, before their sender has to wait; and more, while
    they are within the capacity, or a method waits for its client."""
    connection_buffer_size: int = attrs.field(default=256 * 1024, validator=positive)
    """The same for all unread uploads and waiting invocations of a connection."""
    connection_buffer_limit: int = attrs.field(default=4 * 1024 * 1024, validator=positive)
    """Where a waiting method keeps the reading on past this, further invocations and items fail with an error."""
    slow_clients: SlowClientPolicy = attrs.field(factory=Disconnect, converter=checked)
    """What happens to messages for clients, the caller excepted, that do not take them as fast as they come."""
    broadcast_buffer_limit: int = attrs.field(default=1024 * 1024, validator=positive)
    """A client that lets more than this wait when something is sent to it without waiting is disconnected."""
    stateful_reconnect_buffer_size: int = attrs.field(default=100_000, validator=positive)
    """How many bytes a client may leave unacknowledged before nothing more is sent to it [100,000]."""
    acknowledgement_timeout: float = attrs.field(default=5.0, validator=positive)
    """Seconds that a client may keep more from being sent by that; then it is disconnected, and may reconnect [5]."""
    detailed_errors: bool = False
    """Whether clients see the texts of all exceptions; otherwise only of :exc:`HubException` [no]."""
    naming: Naming = attrs.field(default=naming_of("python"), converter=naming_of)
    """Names of fields, enums and classes on the wire: ``"python"``, ``"dotnet"``, or a :class:`Naming`."""
    converter: Converter | None = attrs.field(default=None, validator=optional(instance_of(Converter)))
    """A cattrs converter, whose hooks are copied when the hub is added; of its settings, none are."""

    @property
    def watched(self) -> tuple[float, ...]:
        """The times for which a hub's timer looks after each connection."""
        return self.keep_alive_interval, self.client_timeout, self.send_timeout, self.acknowledgement_timeout

    def session_options(self) -> SessionOptions:
        """The part of them that a connection's session heeds."""
        return SessionOptions.of(Role.SERVER, self)
