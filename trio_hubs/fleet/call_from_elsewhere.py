"""A call that another server has encoded; of it, nothing is decoded that need not be."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ProtocolError
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Invocation, Message
from .messages import FleetInvocation


class CallFromElsewhere:
    """A call of clients here, by another server.

    Args:
        message: What that has sent.
        protocols: The protocols that are known here, by name.
    """

    __slots__ = ("_blobs", "_protocols")

    def __init__(self, message: FleetInvocation, protocols: Mapping[str, HubProtocol]) -> None:
        self._blobs = message.blobs
        self._protocols = protocols

    @property
    def target(self) -> str:
        """The method's wire name.

        Raises:
            ProtocolError: The call is malformed.
        """
        for name in self._blobs.keys() & self._protocols.keys():
            return invocation_in(self._blobs[name], self._protocols[name]).target
        raise ProtocolError("a call of no protocol that is known here")

    def encoded(self, protocol: HubProtocol) -> bytes:
        """The call as a whole framed message."""
        return self._blobs[protocol.name]


def message_in(blob: bytes, protocol: HubProtocol) -> Message:
    """The one message that a blob is.

    Raises:
        ProtocolError: It is malformed.
    """
    parser = protocol.parser(None)
    messages = [message for batch in parser.feed(blob) for message in batch]
    if len(messages) != 1 or parser.pending:
        raise ProtocolError(f"{len(messages)} messages in place of one")
    return messages[0]


def invocation_in(blob: bytes, protocol: HubProtocol) -> Invocation:
    """The invocation that a blob is.

    Raises:
        ProtocolError: It is something else.
    """
    message = message_in(blob, protocol)
    if not isinstance(message, Invocation):
        raise ProtocolError(f"a {type(message).__name__} in place of an invocation")
    return message
