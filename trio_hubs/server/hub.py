"""Hubs: the classes whose methods clients call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVarTuple

from ..calls.children import Children
from ..calls.names import given_name, wire_name
from ..calls.session import Session
from ..connections.http import Request
from ..connections.users import Policy, User, policies_of_method
from ..protocol.negotiate import Transport
from .clients import C, Groups, HubCallerClients
from .roster import Aborted

if TYPE_CHECKING:
    from .app import HubApp

Ts = TypeVarTuple("Ts")


class HubCallerContext:
    """The connection that an invocation came by.

    Attributes:
        connection_id: Its public id, which the client knows, too.
        user: Who the client is, as known when the invocation began; ``None`` for nobody known.
        items: Whatever the application keeps for this connection; it lives as long as the connection.
    """

    def __init__(
        self, session: Session, connection_id: str, user: User | None, items: dict[Any, Any]
    ) -> None:
        self._session = session
        self.connection_id = connection_id
        self.user = user
        self.items = items

    @property
    def request(self) -> Request:
        """The HTTP request that made the connection: its path, query and headers."""
        return self._session.connection.request

    @property
    def user_id(self) -> str | None:
        """The user's id, by which ``clients.user`` calls all of their connections."""
        return None if self.user is None else self.user.id

    @property
    def transport(self) -> Transport | None:
        """What carries the connection; ``None`` where that is memory."""
        return self._session.connection.transport

    def abort(self, reason: str = "") -> None:
        """End the connection; its invocations, this one included, are cancelled. The client is not to reconnect.

        Args:
            reason: What the client is told, as its connection's error. ``on_disconnected`` gets it as a
                :exc:`HubException`.
        """
        self._session.end(Aborted(reason) if reason else None)


class Hub(Generic[C]):
    """Base class of hubs. Clients call the public methods that subclasses define.

    ``Hub[ChatClient]`` types what can be called of clients: ``ChatClient`` is a ``Protocol`` with a method for each.

    There is a new instance for each invocation, so what should live longer is kept in ``self.context.items`` or
    outside. A method may be plain or async; it streams to its client when it is an async generator or is annotated to
    return a :class:`ChannelReader` or an async iterator, and takes uploads by parameters annotated so.
    ``send_message`` answers to ``send_message`` and ``SendMessage`` in any letter case.

    Every invocation is cancelled when its client cancels it or leaves, and at shutdown; what a method must
    still do then stands in ``finally``.

    Attributes:
        app: The app that offers the hub; ``app: HubApp[State]`` in a subclass types its state.
        context: The connection that the invocation came by.
        clients: The clients that can be called.
        groups: The groups of clients.
    """

    app: HubApp[Any]
    context: HubCallerContext
    clients: HubCallerClients[C]
    groups: Groups
    _children: Children

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hub_methods(cls)  # a clash of names is an error here, where it is made

    def start_soon(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start a child task of this invocation.

        The answer of a plain method waits for its children; the end of a stream, however it comes, cancels them.
        A child that raises makes the invocation fail.

        Raises:
            RuntimeError: The invocation is over.
        """
        self._children.start_soon(async_fn, *args)

    async def on_connected(self) -> None:
        """Called when a client has connected; its invocations wait until this returns.

        Raising refuses the client: it is disconnected with an error, and :meth:`on_disconnected` is not called.
        """

    async def on_authentication_refreshed(self) -> None:
        """Called when the client has renewed its user (ASP.NET Core 11), as ``self.context.user`` has it now.

        It has its turn among the client's invocations, and no filter runs around it. Raising is logged, and no more.
        """

    async def on_disconnected(self, error: Exception | None) -> None:
        """Called when a client has left whose :meth:`on_connected` had returned, and all of its invocations have ended.

        Runs shielded from cancellation, for at most ``HubOptions.on_disconnected_timeout`` seconds.

        Args:
            error: What ended the connection, or ``None`` when it ended in order or was lost.
        """


_NO_METHODS = (classmethod, staticmethod, functools.partialmethod, type(functools.lru_cache(len)))


class HubMethod(NamedTuple):
    """A method of a hub's that clients can call: its registered wire name, its function, and who may call it."""

    name: str
    function: Callable[..., Any]
    policies: tuple[Policy, ...]


def hub_methods(hub: type[Hub[Any]]) -> Mapping[str, HubMethod]:
    """Find the methods of a hub that clients can call.

    Returns:
        By lower-case wire name.

    Raises:
        TypeError: Two methods answer to the same name, or something is made like a method that clients cannot call.
    """
    methods: dict[str, HubMethod] = {}
    for attribute in dir(hub):
        function = inspect.getattr_static(hub, attribute)
        if attribute.startswith("_") or hasattr(Hub, attribute):
            continue
        if not inspect.isfunction(function):
            if isinstance(function, _NO_METHODS):
                raise TypeError(
                    f"{hub.__qualname__}.{attribute} is a {type(function).__name__}, which clients cannot call: "
                    "make it a method, or begin its name with an underscore"
                )
            continue
        registered = wire_name(hub, attribute)
        names = (
            {registered.lower()} if given_name(hub, attribute) else {registered.lower(), attribute.lower()}
        )
        for wire in names:
            if wire in methods:
                raise TypeError(
                    f"{hub.__qualname__}.{attribute} and .{methods[wire].function.__name__} both answer to the wire "
                    f"name '{wire}'; rename one, or give it a name with @hub_method"
                )
            methods[wire] = HubMethod(registered, function, policies_of_method(hub, attribute))
    return methods
