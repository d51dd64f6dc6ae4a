"""A link: one connection that was dialled, on which both sides shook hands, for the life of one session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import TypeAlias

import trio

from ..calls.answers import Face
from ..calls.handshake import receive_handshake
from ..calls.heartbeat import beat, period_for
from ..calls.session import Session
from ..connections.duplex import Duplex
from ..errors import ConnectionClosed, HandshakeError, ProtocolError
from ..protocol.handshake import MAXIMUM_SIZE, HandshakeRequest, encode_request, take_response
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Close, Ping
from ..tasks import open_background
from . import texts
from .options import HubConnectionOptions

Dial: TypeAlias = Callable[[], AbstractAsyncContextManager[Duplex]]
"""Opens a connection for a block."""


class _Life:
    """What a client does and says when a link comes and goes."""

    waits = False

    def __init__(self, opened: Callable[[], None]) -> None:
        self._opened = opened

    async def opened(self) -> None:
        self._opened()

    async def closed(self, error: Exception | None) -> None:
        pass

    def broken(self, error: ConnectionClosed) -> Exception:
        return copy(error)

    def silence(self, seconds: float) -> Exception:
        return ConnectionClosed(texts.silence(seconds))

    def closed_by_peer(self, message: Close) -> Exception | None:
        return ConnectionClosed(texts.closed(message))

    def close_text(self, error: Exception) -> str:
        return ""


async def run_link(
    dial: Dial,
    protocol: HubProtocol,
    face: Face,
    options: HubConnectionOptions,
    *,
    made: Callable[[Session], None],
    opened: Callable[[], None],
) -> ConnectionClosed:
    """Dial, shake hands, and live until the link ends, by whichever side; cancellation ends it in order.

    Args:
        dial: Opens the connection.
        protocol: What to speak.
        face: What the server can call.
        options: Times and limits.
        made: Told of the session before anything happens on it.
        opened: Called when calls can be made.

    Returns:
        Why it ended.

    Raises:
        HandshakeError: The server does not speak the protocol, or took too long.
    """
    async with dial() as connection, open_background() as nursery:
        rest = await _shake_hands(connection, protocol, options.handshake_timeout)
        session = Session(connection, protocol, face, _Life(opened), options.session_options())
        session.outbox.put(protocol.encode(Ping()))  # tells the server that this client pings
        made(session)
        nursery.start_soon(
            beat, lambda: (session,), period_for(options.keep_alive_interval, options.server_timeout)
        )
        await session.run(rest)
    return session.reason


async def _shake_hands(connection: Duplex, protocol: HubProtocol, timeout: float) -> bytes:
    """Agree with the server on the protocol; gives the bytes behind its answer."""
    connection.transfer_format = protocol.transfer_format
    try:
        with trio.fail_after(timeout):
            await connection.send(encode_request(HandshakeRequest(protocol.name, 1)))
            taken = await receive_handshake(connection, take_response, MAXIMUM_SIZE)
    except trio.TooSlowError:
        raise HandshakeError(f"The server did not answer the handshake within {timeout:g} s.") from None
    except (ProtocolError, ConnectionClosed) as error:
        raise HandshakeError(f"The handshake failed: {error}") from error
    if taken is None:
        raise HandshakeError(texts.NO_HANDSHAKE)
    response, rest = taken
    if response.error:
        raise HandshakeError(texts.handshake_refused(response.error))
    return rest
