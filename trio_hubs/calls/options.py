"""What a session heeds: its side, and the options that users have chosen, under the names that they know."""

from __future__ import annotations

from enum import Enum, auto
from typing import Self

import attrs


class Role(Enum):
    """Which side of a connection a session is."""

    SERVER = auto()
    CLIENT = auto()


@attrs.frozen(kw_only=True)
class SessionOptions:
    """The limits and times of one connection, seconds and bytes; what each means stands with the side's options.

    A default is for a side that leaves users no choice.

    Attributes:
        role: Which side we are.
    """

    role: Role
    keep_alive_interval: float = 15.0
    client_timeout: float = 30.0
    server_timeout: float = 30.0
    send_timeout: float = 10.0
    acknowledgement_timeout: float = 5.0
    goodbye_timeout: float = 0.0
    maximum_message_size: int | None = None
    maximum_parallel_invocations: int = 1
    maximum_streams: int = 1
    stream_buffer_capacity: int = 1
    stream_buffer_size: int = 64 * 1024
    connection_buffer_size: int = 256 * 1024
    connection_buffer_limit: int = 4 * 1024 * 1024
    transport_buffer_size: int = 64 * 1024
    stateful_reconnect_buffer_size: int = 100_000

    @classmethod
    def of(cls, role: Role, options: attrs.AttrsInstance) -> Self:
        """The part of a side's options that its sessions heed."""
        names = {field.name for field in attrs.fields(cls)}
        chosen = {field.name for field in attrs.fields(type(options))}
        return cls(role=role, **{name: getattr(options, name) for name in names & chosen})
