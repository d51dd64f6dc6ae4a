"""A link: one connection that was dialled, on which both sides shook hands, for the life of one session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from copy import copy
from typing import Any, TypeAlias

import trio

from ..calls.handshake import receive_handshake
from ..calls.heartbeat import beat, period_for
from ..calls.our_calls import OurCalls
from ..calls.session import Session
from ..connections.duplex import Duplex
from ..errors import ConnectionClosed, ConnectionFailed, HandshakeError, ProtocolError
from ..protocol.handshake import MAXIMUM_SIZE, HandshakeRequest, encode_request, take_response
from ..protocol.hub_protocol import HubProtocol, TransferFormat
from ..protocol.messages import Close, Ping
from ..tasks import open_background
from . import texts
from .calls import HubCalls
from .handlers import Handlers
from .options import HubConnectionOptions

Dial: TypeAlias = Callable[[TransferFormat], AbstractAsyncContextManager[Duplex]]
"""Opens a connection that can carry this format, for a block."""


class _Life:
    """What a client does and says when a link comes and goes."""

    waits = False

    def __init__(self, link: HubLink) -> None:
        self._link = link

    async def opened(self) -> None:
        pass

    async def closed(self, error: Exception | None) -> None:
        pass

    def resumed(self) -> None:
        self._link.on_resumed()

    def broken(self, error: ConnectionClosed) -> Exception:
        self._link._leave()
        return copy(error)

    def silence(self, seconds: float) -> Exception:
        return ConnectionClosed(texts.silence(seconds))

    def closed_by_peer(self, message: Close) -> Exception | None:
        return ConnectionClosed(
            texts.closed(message), server_text=message.error, retriable=message.allow_reconnect
        )

    def close_text(self, error: Exception) -> str:
        return ""


class HubLink(HubCalls):
    """One connection to a hub's server, from its handshake to its end, after which calls on it fail.

    A :class:`HubConnection` that reconnects has one after another.

    Attributes:
        on_resumed: Called when it was torn and goes on.
    """

    def __init__(
        self,
        connection: Duplex,
        protocol: HubProtocol,
        handlers: Handlers,
        options: HubConnectionOptions,
        credits: int,
    ) -> None:
        self._session = Session(
            connection, protocol, handlers, _Life(self), options.session_options(), credits
        )
        self._session.our_calls.around = options.around_calls
        if not connection.inherent_keep_alive:
            self._session.outbox.put(protocol.encode(Ping()), 0)  # tells the server that this client pings
        handlers.readers.move(self._session.reading)
        self._bodies: set[trio.CancelScope] = set()
        self.on_resumed: Callable[[], None] = lambda: None

    @property
    def connection_id(self) -> str | None:
        """Its public id; ``None`` when negotiation was skipped."""
        return self._session.connection.id

    @property
    def ended(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._session.ended

    @contextmanager
    def while_open(self) -> Iterator[None]:
        """Run the body of ``with`` for as long as this link lives.

        Its end cancels the body; a :exc:`ConnectionClosed` that the body raises then goes no further.
        """
        body = trio.CancelScope()
        if self.ended:
            body.cancel()
        self._bodies.add(body)
        try:
            with body:
                yield
        except BaseException as error:
            if not self.ended or not _is_closed(error):
                raise
        finally:
            self._bodies.remove(body)

    def _leave(self) -> None:
        for body in self._bodies:
            body.cancel()

    async def _ready(self, args: Sequence[Any] = (), *, wait: bool) -> OurCalls:
        if wait and self.ended:  # it never comes back
            raise self._session.reason.retold(ConnectionClosed, str(self._session.reason))
        return self._session.our_calls


def _is_closed(error: BaseException) -> bool:
    """Whether an exception tells of nothing but the end of connections."""
    rest = error.split(ConnectionClosed)[1] if isinstance(error, BaseExceptionGroup) else error
    return rest is None or isinstance(rest, ConnectionClosed)


async def run_link(
    dial: Dial,
    protocol: HubProtocol,
    handlers: Handlers,
    options: HubConnectionOptions,
    use: Callable[[HubLink], Awaitable[None]],
) -> ConnectionClosed:
    """Dial, shake hands, and live until the link ends, by whichever side; cancellation ends it in order.

    Args:
        dial: Opens the connection.
        protocol: What to speak.
        handlers: What the server can call.
        options: Times and limits.
        use: Called with the link in a task of its own, for as long as it lives.

    Returns:
        Why it ended.

    Raises:
        HandshakeError: The server does not speak the protocol, or took too long.
        Exception: Whatever ``use`` raised.
    """
    link: HubLink | None = None
    with trio.CancelScope() as whole:
        async with dial(protocol.transfer_format) as connection, open_background() as nursery:
            credits, rest = await _shake_hands(connection, protocol, options)
            connection.enable_resume()
            link = HubLink(connection, protocol, handlers, options, credits)
            session = link._session

            async def use_it(link: HubLink) -> None:
                with link.while_open():
                    await use(link)

            nursery.start_soon(
                beat,
                lambda: (session,),
                period_for(
                    options.keep_alive_interval, options.server_timeout, options.acknowledgement_timeout
                ),
            )
            nursery.start_soon(use_it, link)
            await session.run(rest)
            if session.unheard:  # nobody is there to close in order with
                connection.give_up()
                whole.cancel()
    assert link is not None
    return link._session.reason


async def _shake_hands(
    connection: Duplex, protocol: HubProtocol, options: HubConnectionOptions
) -> tuple[int, bytes]:
    """Agree with the server on the protocol; gives the server's credits, and the bytes behind its answer."""
    timeout, capacity = options.handshake_timeout, options.session_options().stream_buffer_capacity
    connection.transfer_format = protocol.transfer_format
    try:
        with trio.fail_after(timeout):
            version = 2 if connection.can_resume else 1  # as the official clients have it
            await connection.send(encode_request(HandshakeRequest(protocol.name, version, capacity)))
            taken = await receive_handshake(connection, take_response, MAXIMUM_SIZE)
    except trio.TooSlowError:
        raise HandshakeError(f"The server did not answer the handshake within {timeout:g} s.") from None
    except (ProtocolError, ConnectionClosed) as error:
        text = f"The handshake failed: {error}"
        raise (
            error.retold(HandshakeError, text)
            if isinstance(error, ConnectionFailed)
            else HandshakeError(text, retriable=False)
        ) from error
    if taken is None:
        raise HandshakeError(texts.NO_HANDSHAKE)
    response, rest = taken
    if response.error:
        raise HandshakeError(
            texts.handshake_refused(response.error), server_text=response.error, retriable=False
        )
    return response.stream_credits, rest
