"""What stands behind a hub's path: the handshake of a connection, its session, and the hub's side of its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, get_args, get_origin

import trio
from msgspec import Raw
from typing_extensions import TypeVar, get_original_bases

from ..calls.answers import Face
from ..calls.children import Children
from ..calls.handshake import receive_handshake
from ..calls.methods import Method, Signature
from ..calls.session import Life, Session
from ..connections.connection import Connection
from ..connections.users import Policy, meets
from ..errors import (
    ConnectionClosed,
    HandshakeError,
    HubException,
    ProtocolError,
    UploadBroken,
    text_of,
)
from ..logs import get_logger
from ..protocol.handshake import (
    MAXIMUM_SIZE,
    HandshakeRequest,
    HandshakeResponse,
    encode_response,
    take_request,
)
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Close, Invocation
from ..protocol.registry import PROTOCOLS
from ..tasks import open_background
from .clients import ClientProxy, Groups, HubCallerClients, HubClients
from .filters import FilterChain, HubFilter, HubInvocationContext, HubLifetimeContext
from .hub import Hub, HubCallerContext, HubMethod, hub_methods
from .options import HubOptions
from .roster import Roster
from .typed_clients import typed_proxy

logger = get_logger(__name__)


STATEFUL_VERSION = 2
"""The first version of the hub protocols that knows stateful reconnect."""


class HubEndpoint:
    """A hub at a path: serves its connections.

    Args:
        hub: The hub's class.
        make: Makes the instance for each invocation.
        options: The hub's options.
        filters: What stands around it, from the outermost to the innermost.
        roster: The hub's connections, where it is at another path already: then these are of one hub, and what is
            sent to them follows the options there.

    Attributes:
        clients: Its clients, for callers outside of it.
        groups: Their groups.
        roster: Its connections.
        transfer_formats: What its protocols need.

    Raises:
        TypeError: A method's names clash or its annotations cannot be resolved, or the client's interface has
            something that cannot be called.
    """

    def __init__(
        self,
        hub: type[Hub[Any]],
        make: Callable[[], Hub[Any]],
        options: HubOptions,
        filters: Sequence[HubFilter] = (),
        roster: Roster | None = None,
    ) -> None:
        self.options = options
        self.roster = roster or Roster(
            send_timeout=options.send_timeout, maximum_waiting=options.broadcast_buffer_limit
        )
        self.wrap = _proxy_maker(hub)
        self.clients = HubClients(self.roster, self.wrap, options.slow_clients, options.client_result_timeout)
        self.groups = Groups(self.roster)
        self._hub = hub
        self._make = make
        self.chain = FilterChain(filters)
        self._draining = False
        functions = {
            wire: (found, Signature.of(found.function, skip=1, owner=hub))
            for wire, found in hub_methods(hub).items()
        }
        self._protocols: dict[str, tuple[HubProtocol, dict[str, Method]]] = {}
        self._refreshed: dict[str, tuple[Method, Invocation]] = {}  # what to call when a user was renewed
        # Methods that filters or policies stand around; these may wait.
        self._guarded: dict[Method, tuple[Policy, ...]] = {}
        for name in options.supported_protocols:
            protocol = PROTOCOLS[name](options.payloads)
            methods: dict[str, Method] = {}
            for wire, (found, signature) in functions.items():
                method = methods[wire] = _method(hub, found, signature, protocol)
                if filters or found.policies:
                    method.inline = False
                    self._guarded[method] = found.policies
            self._protocols[name] = protocol, methods
            if hub.on_authentication_refreshed is not Hub.on_authentication_refreshed:
                self._refreshed[name] = _refreshed(hub, protocol)
        self.transfer_formats = frozenset(
            protocol.transfer_format for protocol, _ in self._protocols.values()
        )

    def drain(self) -> None:
        """End each connection, for its client to reconnect, as soon as none of its calls waits or runs."""
        self._draining = True
        for session in tuple(self.roster.sessions.values()):
            session.drain()

    async def handle(self, connection: Connection) -> None:
        """Serve one connection until it ends; returns when all of its tasks have."""
        try:
            request, rest = await self._shake_hands(connection)
        except ConnectionClosed as error:
            logger.debug("connection %s ended before its handshake: %s", connection.id, error)
            return
        except HandshakeError as error:
            logger.warning("connection %s: handshake failed: %r", connection.id, error)
            with trio.move_on_after(self.options.send_timeout), suppress(ConnectionClosed):
                await connection.send(encode_response(HandshakeResponse(error=str(error))))
            return
        protocol, methods = self._protocols[request.protocol.lower()]
        connection.transfer_format = protocol.transfer_format
        if request.version >= STATEFUL_VERSION:
            connection.enable_resume()
        assert connection.id is not None
        side = _HubSide(self, methods, connection.id)
        session = side.session = Session(connection, protocol, side, side, self.options.session_options())
        connection.on_end_asked = partial(session.end, allow_reconnect=True)
        session.outbox.put_control(encode_response(HandshakeResponse()))
        try:
            await session.run(rest)
        finally:
            side.gone()

    def opened(self, connection_id: str, session: Session, user_id: str | None) -> None:
        """A connection has opened."""
        self.roster.add(connection_id, session, user_id)
        if self._draining:
            session.drain()

    async def _shake_hands(self, connection: Connection) -> tuple[HandshakeRequest, bytes]:
        """Agree on a protocol: the client's request, and the bytes behind it."""
        maximum = self.options.maximum_message_size or MAXIMUM_SIZE
        try:
            with trio.fail_after(self.options.handshake_timeout):
                taken = await receive_handshake(connection, take_request, maximum)
        except trio.TooSlowError:
            raise HandshakeError("Handshake was canceled.") from None
        except ProtocolError as error:
            base = "An unexpected error occurred during connection handshake."
            raise HandshakeError(self.fault(base, error)) from error
        if taken is None:
            raise ConnectionClosed("The client closed the connection.")
        self._check(taken[0], connection)
        return taken

    def _check(self, request: HandshakeRequest, connection: Connection) -> None:
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

    def fault(self, base: str, error: Exception) -> str:
        """What a client is told of an error: a text, and the error's own where it may see that."""
        if isinstance(error, HubException) or self.options.detailed_errors:
            return f"{base} {type(error).__name__}: {text_of(error)}"
        return base

    def user_refreshed(self, session: Session) -> None:
        """The hub hears of a user that was renewed, in its turn."""
        if called := self._refreshed.get(session.protocol.name):
            session.their_calls.take(called[0], "", called[1])

    def make(self, side: _HubSide, children: Children) -> Hub[Any]:
        """Make the hub instance of one invocation."""
        hub = self._make()
        if not isinstance(hub, self._hub):
            raise TypeError(f"the factory of {self._hub.__qualname__} made a {type(hub).__qualname__}")
        # Not by assignment, which a hub may refuse, as a frozen dataclass does.
        vars(hub).update(context=side.context, clients=side.clients, groups=self.groups, _children=children)
        return hub

    def callable(self, method: Method, hub: Hub[Any]) -> Callable[..., Any]:
        """What to call for an invocation of a method: itself, or what stands around it."""
        if method in self._guarded:
            return partial(self._call_guarded, method, hub)
        return method.function.__get__(hub)  # type: ignore[no-any-return]

    async def _call_guarded(self, method: Method, hub: Hub[Any], *arguments: Any) -> Any:
        policies = self._guarded[method]
        user = hub.context.user
        if policies and (user is None or not await meets(user, policies)):
            raise _Unauthorized("the user may not call it")
        bound = method.function.__get__(hub)
        return await self.chain.invoke(HubInvocationContext(hub.context, hub, bound, list(arguments)))


class _Unauthorized(HubException):
    """The user may not call the method."""


def _proxy_maker(hub: type[Hub[Any]]) -> Callable[[ClientProxy], Any]:
    """What makes of a proxy what users of a hub see: itself, or one of the client's interface."""
    interface = _interface(hub, {})
    if interface is None or interface is ClientProxy or isinstance(interface, TypeVar):
        return lambda proxy: proxy
    return typed_proxy(interface)


def _interface(hub: type, given: Mapping[Any, Any]) -> Any:
    """What a hub's bases have put for the parameter of :class:`Hub`, where its own parameters are so given."""
    for base in get_original_bases(hub):
        origin = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, Hub)):
            continue
        arguments = [given.get(argument, argument) for argument in get_args(base)]
        if origin is Hub:
            found = arguments[0] if arguments else None
        else:
            parameters = getattr(origin, "__parameters__", ())
            found = _interface(origin, dict(zip(parameters, arguments, strict=False)))
        if found is not None:
            return found
    return None


def _method(hub: type[Hub[Any]], found: HubMethod, signature: Signature, protocol: HubProtocol) -> Method:
    try:
        return Method(found.name, found.function, signature, protocol.payloads)
    except TypeError as error:
        raise TypeError(f"{hub.__qualname__}.{found.function.__name__}: {error}") from error


def _refreshed(hub: type[Hub[Any]], protocol: HubProtocol) -> tuple[Method, Invocation]:
    """A hub's ``on_authentication_refreshed``, and a call of it."""
    function = hub.on_authentication_refreshed
    found = HubMethod(function.__name__, function, ())
    method = _method(hub, found, Signature.of(function, skip=1), protocol)
    method.inline = False  # for it is a request's task that calls it
    return method, Invocation(target=method.name, arguments=Raw(protocol.payloads.dump_arguments(())))


class _HubSide(Face, Life):
    """The hub's side of one connection."""

    session: Session
    context: HubCallerContext
    clients: HubCallerClients[Any]

    def __init__(self, endpoint: HubEndpoint, methods: dict[str, Method], connection_id: str) -> None:
        self._endpoint = endpoint
        self._methods = methods
        self._connection_id = connection_id
        self._user_id: str | None = None

    # ---- calls

    def find(self, target: str) -> Sequence[Method]:
        method = self._methods.get(target.lower())
        return (method,) if method is not None else ()

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        return self._endpoint.callable(method, self._endpoint.make(self, children))

    def unknown_fault(self, target: str) -> str:
        return self.binding_fault(target, HubException("Method does not exist."))

    def binding_fault(self, target: str, error: Exception) -> str:
        return self._endpoint.fault(f"Failed to invoke '{target}' due to an error on the server.", error)

    def invocation_fault(self, target: str, error: Exception) -> str:
        if isinstance(error, _Unauthorized):
            return f"Failed to invoke '{target}' because user is unauthorized"
        return self._endpoint.fault(f"An unexpected error occurred invoking '{target}' on the server.", error)

    def stream_fault(self, error: Exception) -> str:
        return self._endpoint.fault("An error occurred on the server while streaming results.", error)

    # ---- life

    async def opened(self) -> None:
        endpoint, options = self._endpoint, self._endpoint.options
        connection = self.session.connection
        self.context = HubCallerContext(self.session, self._connection_id, connection.user, {})
        connection.on_user_refreshed = self._user_refreshed
        self.clients = HubCallerClients(
            self.session,
            self._connection_id,
            endpoint.roster,
            endpoint.wrap,
            options.slow_clients,
            options.client_result_timeout,
        )
        self._user_id = self.context.user_id
        endpoint.opened(self._connection_id, self.session, self._user_id)
        try:
            await self._run_hook(endpoint.chain.on_connected)
        except BaseException:
            self.gone()  # so that who is refused hears nothing that others are told meanwhile
            raise

    def _user_refreshed(self) -> None:
        """What begins from now on sees the user so; what runs goes on with the user that it began with."""
        session, before = self.session, self.context
        if not session.ended:
            user = session.connection.user
            self.context = HubCallerContext(session, before.connection_id, user, before.items)
            self._endpoint.user_refreshed(session)

    async def closed(self, error: Exception | None) -> None:
        options = self._endpoint.options
        reason = None if isinstance(error, ConnectionClosed) else error
        grace = trio.CancelScope(shield=True, deadline=trio.current_time() + options.on_disconnected_timeout)
        try:
            with grace:
                await self._run_hook(self._endpoint.chain.on_disconnected, reason)
        except Exception:
            logger.exception("connection %s: on_disconnected failed", self._connection_id)
        if grace.cancelled_caught:
            logger.error(
                "connection %s: on_disconnected was cancelled after %g s",
                self._connection_id,
                options.on_disconnected_timeout,
            )
        self.gone()

    def gone(self) -> None:
        """The connection leaves the roster, if it is there."""
        if self._connection_id in self._endpoint.roster.sessions:
            self._endpoint.roster.remove(self._connection_id, self._user_id)

    async def _run_hook(self, hook: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run what a hub does when a connection comes or goes, with its child tasks."""
        async with open_background() as nursery, Children(nursery, nursery.cancel_scope) as children:
            hub = self._endpoint.make(self, children)
            await hook(HubLifetimeContext(self.context, hub), *args)
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
        return self._endpoint.fault("Connection closed with an error.", error)
