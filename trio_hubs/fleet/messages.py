"""What the servers of a fleet tell each other, as bytes: ASP.NET Core's Redis backplane, item by item.

Each message is one MessagePack array. Readers ignore items behind those they know, and there stand ours: which server
a call is from, and what becomes of it where a client is slow. A message that cannot be read is a ``ProtocolError``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ..errors import BindingError, ProtocolError


class GroupAction(IntEnum):
    """What a group command asks for."""

    ADD = 1
    REMOVE = 2


class FleetInvocation(Struct, array_like=True, frozen=True):
    """A call of clients, encoded for every protocol that a server of the fleet may speak.

    Attributes:
        excluded: The ids of connections that are not called.
        blobs: The whole framed message, by the protocol's name.
        invocation_id: The id of a call that wants a result; empty for others.
        return_channel: Where the result is awaited.
        sender: The server that it is from, where that is one of ours.
        policy: What becomes of it where a client is slow: the policy's name and arguments.
    """

    excluded: tuple[str, ...]
    blobs: dict[str, bytes]
    invocation_id: str = ""
    return_channel: str = ""
    sender: str = ""
    policy: tuple[Any, ...] = ()


class GroupCommand(Struct, array_like=True, frozen=True):
    """Asks the server that has a connection to put it into a group, or to take it out."""

    id: int
    sender: str
    action: GroupAction
    group: str
    connection_id: str


class GroupAck(Struct, array_like=True, frozen=True):
    """A group command has been carried out."""

    id: int


class FleetCompletion(Struct, array_like=True, frozen=True):
    """A client's answer: a whole framed completion of the protocol with this name."""

    protocol: str
    completion: bytes


FleetMessage = TypeVar("FleetMessage")

_encoder = msgspec.msgpack.Encoder()


def encode(message: Struct) -> bytes:
    """A message's bytes.

    Raises:
        BindingError: A policy's key is nothing that MessagePack can say.
    """
    try:
        return _encoder.encode(message)
    except (TypeError, OverflowError) as error:
        raise BindingError(f"The key of a Conflate policy cannot go to other servers: {error}") from error


def decode(kind: type[FleetMessage], data: bytes) -> FleetMessage:
    """Read a message.

    Raises:
        ProtocolError: It is something else.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{kind.__name__}: {error}") from error
