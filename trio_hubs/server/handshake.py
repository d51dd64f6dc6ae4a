"""The server's part of the handshake: which protocol a connection speaks, or the text of the refusal."""

from __future__ import annotations

from contextlib import suppress

import trio

from ..calls.handshake import receive_handshake
from ..connections.duplex import Duplex
from ..errors import ConnectionClosed, HandshakeError, ProtocolError
from ..logs import get_logger
from ..protocol.handshake import (
    MAXIMUM_SIZE,
    HandshakeRequest,
    HandshakeResponse,
    encode_response,
    take_request,
)
from . import texts
from .hub_definition import HubDefinition
from .method_table import MethodTable

logger = get_logger(__name__)

STATEFUL_VERSION = 2
"""The first version of the hub protocols that knows stateful reconnect."""


async def shake_hands(connection: Duplex, definition: HubDefinition) -> tuple[MethodTable, int, bytes] | None:
    """Agree with a client on a protocol. A refusal is sent; the consent is left to the session.

    Returns:
        The hub's methods for the protocol, the client's credits, and the bytes behind its request; ``None`` without
        agreement.
    """
    try:
        request, rest = await _receive_request(connection, definition)
        table = _table_for(request, connection, definition)
    except ConnectionClosed as error:
        logger.debug("connection %s ended before its handshake: %s", connection.id, error)
        return None
    except HandshakeError as error:
        logger.warning("connection %s: handshake failed: %r", connection.id, error)
        with trio.move_on_after(definition.options.send_timeout), suppress(ConnectionClosed):
            await connection.send(encode_response(HandshakeResponse(error=str(error))))
        return None
    connection.transfer_format = table.protocol.transfer_format
    if request.version >= STATEFUL_VERSION:
        connection.enable_resume()
    return table, request.stream_credits, rest


async def _receive_request(connection: Duplex, definition: HubDefinition) -> tuple[HandshakeRequest, bytes]:
    options = definition.options
    try:
        with trio.fail_after(options.handshake_timeout):
            taken = await receive_handshake(
                connection, take_request, options.maximum_message_size or MAXIMUM_SIZE
            )
    except (trio.TooSlowError, HandshakeError):
        raise HandshakeError(texts.CANCELED_HANDSHAKE) from None
    except ProtocolError as error:
        raise HandshakeError(definition.fault(texts.BAD_HANDSHAKE, error)) from error
    if taken is None:
        raise ConnectionClosed("The client closed the connection.")
    return taken


def _table_for(request: HandshakeRequest, connection: Duplex, definition: HubDefinition) -> MethodTable:
    table = definition.tables.get(request.protocol.lower())
    if table is None:
        raise HandshakeError(texts.unknown_protocol(request.protocol))
    protocol = table.protocol
    if request.version > protocol.version:
        raise HandshakeError(texts.unknown_version(request.protocol, request.version))
    if protocol.transfer_format not in connection.transfer_formats:
        raise HandshakeError(texts.unfit_transport(request.protocol, protocol.transfer_format))
    return table
