"""What stands behind a hub's path: the handshake of a connection, its session, and the hub's side of its calls."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio

from ..calls.callee import Face
from ..calls.children import Children
from ..calls.methods import Method, Signature
from ..calls.session import Life, Session
from ..connections.background import open_background
from ..connections.connection import Connection
from ..errors import ConnectionClosed, HandshakeError, HubException, ProtocolError, UploadBroken
from ..protocol.handshake import (
    MAXIMUM_SIZE,
    HandshakeRequest,
    HandshakeResponse,
    encode_response,
    take_request,
)
from ..protocol.hub_protocol import HubProtocol
from ..protocol.json_protocol import JsonHubProtocol
from ..protocol.messagepack_protocol import MessagePackHubProtocol
from ..protocol.messages import Close
from .clients import HubCallerClients, Roster
from .hub import Hub, HubCallerContext, hub_methods
from .options import HubOptions

logger = logging.getLogger(__name__)


class HubEndpoint:
    """A hub at a path: serves its connections.

    Args:
        hub: The hub's class, which makes an instance for each invocation.
        make: Makes the instances, when the class itself does not.
        options: The hub's options.

    Raises:
        TypeError: A method's names clash or its annotations cannot be resolved.
    """

    def __init__(self, hub: type[Hub], make: Callable[[], Hub], options: HubOptions) -> None:
        self.options = options
        self.roster = Roster(options.broadcast_buffer_limit)
        self._make = make
        functions = {
            wire: (name, function, Signature.of(function, skip=1))
            for wire, (name, function) in hub_methods(hub).items()
        }
        self._protocols: dict[str, tuple[HubProtocol, dict[str, Method]]] = {}
        for protocol in (JsonHubProtocol(options.payloads), MessagePackHubProtocol(options.payloads)):
            methods = {wire: _method(hub, *parts, protocol) for wire, parts in functions.items()}
            self._protocols[protocol.name] = protocol, methods

    async def handle(self, connection: Connection) -> None:
        """Serve one connection until it ends; returns when all of its tasks have."""
        try:
            name, rest = await self._shake_hands(connection)
        except ConnectionClosed as error:
            logger.debug("connection %s ended before its handshake: %s", connection.id, error)
            return
        except HandshakeError as error:
            logger.warning("connection %s: handshake failed: %s", connection.id, error)
            with trio.move_on_after(self.options.send_timeout), suppress(ConnectionClosed):
                await connection.send(encode_response(HandshakeResponse(error=str(error))))
            return
        protocol, methods = self._protocols[name]
        connection.transfer_format = protocol.transfer_format
        assert connection.id is not None
        side = _HubSide(self, methods, connection.id)
        session = Session(connection, protocol, side, side, self.options.session_options())
        side.session = session
        session.outbox.put(encode_response(HandshakeResponse()))
        try:
            await session.run(rest)
        finally:
            self.roster.sessions.pop(connection.id, None)  # a refused connection is still there

    async def _shake_hands(self, connection: Connection) -> tuple[str, bytes]:
        """Agree on a protocol: its name, and the bytes behind the client's request."""
        received = b""
        maximum = self.options.maximum_message_size or MAXIMUM_SIZE
        try:
            with trio.fail_after(self.options.handshake_timeout):
                while (taken := take_request(received, maximum)) is None:
                    data = await connection.receive()
                    if not data:
                        raise ConnectionClosed("The client closed the connection.")
                    received += data
        except trio.TooSlowError:
            raise HandshakeError("Handshake was canceled.") from None
        except ProtocolError as error:
            base = "An unexpected error occurred during connection handshake."
            detail = f" {type(error).__name__}: {error}" if self.options.detailed_errors else ""
            raise HandshakeError(base + detail) from error
        request, rest = taken
        return self._choose(request, connection), rest

    def _choose(self, request: HandshakeRequest, connection: Connection) -> str:
        """The registered name of the protocol that a client asks for."""
        name = request.protocol.lower()
        if name not in self._protocols:
            raise HandshakeError(f"The protocol '{request.protocol}' is not supported.")
        protocol = self._protocols[name][0]
        if request.version > protocol.version:
            raise HandshakeError(
                f"The server does not support version {request.version} of the '{request.protocol}' protocol."
            )
        if protocol.transfer_format not in connection.transfer_formats:
            raise HandshakeError(
                f"Cannot use the '{request.protocol}' protocol on the current transport. "
                f"The transport does not support '{protocol.transfer_format}' transfer format."
            )
        return name

    def make(self, context: HubCallerContext, clients: HubCallerClients, children: Children) -> Hub:
        """Make the hub instance of one invocation."""
        hub = self._make()
        hub.context = context
        hub.clients = clients
        hub._children = children
        return hub


def _method(
    hub: type[Hub], name: str, function: Callable[..., Any], signature: Signature, protocol: HubProtocol
) -> Method:
    try:
        return Method(name, function, signature, protocol.payloads)
    except TypeError as error:
        raise TypeError(f"{hub.__qualname__}.{function.__name__}: {error}") from error


class _HubSide(Face, Life):
    """The hub's side of one connection."""

    session: Session

    def __init__(self, endpoint: HubEndpoint, methods: dict[str, Method], connection_id: str) -> None:
        self._endpoint = endpoint
        self._methods = methods
        self._connection_id = connection_id

    def _detailed(self, base: str, error: Exception) -> str:
        if isinstance(error, HubException) or self._endpoint.options.detailed_errors:
            return f"{base} {type(error).__name__}: {error}"
        return base

    # ---- calls

    def find(self, target: str) -> Sequence[Method]:
        method = self._methods.get(target.lower())
        return (method,) if method is not None else ()

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        hub = self._endpoint.make(self._context, self._clients, children)
        return method.function.__get__(hub)  # type: ignore[no-any-return]

    def unknown_fault(self, target: str) -> str:
        return self.binding_fault(target, HubException("Method does not exist."))

    def binding_fault(self, target: str, error: Exception) -> str:
        return self._detailed(f"Failed to invoke '{target}' due to an error on the server.", error)

    def invocation_fault(self, target: str, error: Exception) -> str:
        return self._detailed(f"An unexpected error occurred invoking '{target}' on the server.", error)

    def stream_fault(self, error: Exception) -> str:
        return self._detailed("An error occurred on the server while streaming results.", error)

    # ---- life

    async def opened(self) -> None:
        self._context = HubCallerContext(self.session, self._connection_id)
        self._clients = HubCallerClients(self.session, self._endpoint.roster)
        self._endpoint.roster.sessions[self._connection_id] = self.session
        await self._run_hook(Hub.on_connected)

    async def closed(self, error: Exception | None) -> None:
        options = self._endpoint.options
        reason = None if isinstance(error, ConnectionClosed) else error
        with trio.move_on_after(options.disconnect_timeout, shield=True) as grace:
            try:
                await self._run_hook(Hub.on_disconnected, reason)
            except Exception:
                logger.exception("connection %s: on_disconnected failed", self._connection_id)
        if grace.cancelled_caught:
            logger.error(
                "connection %s: on_disconnected was cancelled after %g s",
                self._connection_id,
                options.disconnect_timeout,
            )
        del self._endpoint.roster.sessions[self._connection_id]

    async def _run_hook(self, hook: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run what a hub does when a connection comes or goes, with its child tasks."""
        async with open_background() as nursery, Children(nursery, nursery.cancel_scope) as children:
            hub = self._endpoint.make(self._context, self._clients, children)
            await getattr(hub, hook.__name__)(*args)
        if children.failure is not None:
            raise children.failure

    def broken(self, error: ConnectionClosed) -> Exception:
        return UploadBroken("The underlying connection was closed.")

    def silence(self, seconds: float) -> Exception:
        return TimeoutError("Client hasn't sent a message/ping within the configured ClientTimeoutInterval.")

    def closed_by_peer(self, message: Close) -> Exception | None:
        return HubException(message.error) if message.error else None

    def close_text(self, error: Exception) -> str:
        if isinstance(error, ConnectionClosed):
            return ""
        return self._detailed("Connection closed with an error.", error)
