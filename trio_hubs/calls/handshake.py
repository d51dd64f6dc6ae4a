"""The wait for the peer's part of the handshake, the same for both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from ..connections.connection import Connection

T = TypeVar("T")

Take: TypeAlias = Callable[[bytes, int], tuple[T, bytes] | None]


async def receive_handshake(
    connection: Connection, take: Take[T], maximum_size: int
) -> tuple[T, bytes] | None:
    """Receive the peer's handshake. A checkpoint.

    Args:
        connection: Where to receive it; nothing else has been received on it.
        take: Splits it from the bytes behind it, as :func:`.protocol.handshake.take_request` does.
        maximum_size: Bytes that it may have.

    Returns:
        The handshake and the bytes behind it; ``None`` when the peer ended the connection before it was whole.

    Raises:
        ProtocolError: It is malformed.
        HandshakeError: It is too large.
        ConnectionClosed: The connection broke.
    """
    received = b""
    while (taken := take(received, maximum_size)) is None:
        data = await connection.receive()
        if not data:
            return None
        received += data
    return taken
