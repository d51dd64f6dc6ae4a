"""What a connection is: a duplex of bytes with an id. Message boundaries mean nothing on it."""

from __future__ import annotations

import abc

from ..protocol.hub_protocol import TransferFormat
from ..protocol.negotiate import Transport
from .http import Request
from .users import User


class Connection(abc.ABC):
    """One client's connection, whatever carries it.

    Bytes may be received and sent by one task each at the same time. It is not closed by its user: it ends when the
    handler that was given it returns.

    Attributes:
        id: The public connection id; ``None`` on a client that skipped negotiation.
        request: The HTTP request that made the connection.
        user: Who the client is, as last seen; ``None`` for nobody known.
        transport: What carries it; ``None`` where that is memory.
        transfer_format: How :meth:`send` marks its bytes where the transport tells text from binary.
    """

    def __init__(self, id: str | None, request: Request) -> None:
        self.id = id
        self.request = request
        self.user: User | None = None
        self.transport: Transport | None = None
        self.transfer_format = TransferFormat.TEXT

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes of the peer.

        A cancelled call loses nothing. Always a checkpoint, or at least every 64 KiB.

        Returns:
            At least one byte, or ``b""`` when the peer has ended the connection in good order.

        Raises:
            ConnectionClosed: The connection broke.
        """

    @abc.abstractmethod
    async def send(self, data: bytes) -> None:
        """Send all of the bytes. A checkpoint.

        A cancelled call may have sent a part, and leaves the connection unusable.

        Raises:
            ConnectionClosed: The connection is over.
        """
