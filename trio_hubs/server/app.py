"""The app: hubs, raw connections and plain routes at their paths, and the server that offers them on one port."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Generic

import attrs
import trio

from ..calls.observer import Observer, Observers
from ..connections.connection import Connection
from ..connections.http import Request, Response
from ..connections.server.admission import Admission
from ..connections.server.endpoint import Endpoint
from ..connections.server.exchange import Route
from ..connections.server.http_server import HttpServer
from ..connections.server.listeners import AnyListener, address_of, open_listeners
from ..connections.server.options import EndpointOptions
from ..connections.server.router import FixedPlace, Router
from ..connections.users import Authenticate, policies_of, resolve
from ..connections.validators import check_kind
from ..logs import get_logger
from ..tasks import open_tasks
from .clients import C, Groups, HubClients
from .filters import HubFilter
from .hub import Hub
from .options import HubOptions
from .served_hub import ServedHub
from .statistics import LimitCounter, Statistics

logger = get_logger(__name__)

LAST_CLIENTS_TIMEOUT = 10.0
"""Seconds that connections have to end, once a drain's time is up."""


@attrs.frozen
class HubContext(Generic[C]):
    """A hub as seen from outside of it.

    Attributes:
        clients: Its clients, to be called.
        groups: Their groups.
    """

    clients: HubClients[C]
    groups: Groups


class HubApp:
    """Hubs, raw connections and routes, to be served on one port.

    Args:
        authenticate: Finds out who makes a request, of every hub and raw connection; may be async. By default
            nobody is known.
        options: The options of hubs that are given none of their own.
        filters: The filters of every hub, from the outermost to the innermost.
        observers: Who hears of the connections and calls of every hub.
        maximum_connections: How many connections there may be at a time; further ones get 503.

    Attributes:
        addresses: Where it is served, such as ``http://127.0.0.1:8000`` or ``unix:/run/chat.sock``; while it is.

    Example:
        ::

            app = HubApp()
            app.add_hub("/chat", Chat)
            trio.run(app.serve, "127.0.0.1", 8000)
    """

    def __init__(
        self,
        *,
        authenticate: Authenticate | None = None,
        options: HubOptions | None = None,
        filters: Sequence[HubFilter] = (),
        observers: Sequence[Observer] = (),
        maximum_connections: int = 100_000,
    ) -> None:
        if authenticate is not None and not callable(authenticate):
            raise TypeError(f"authenticate is called with each request, which {authenticate!r} cannot be")
        if maximum_connections < 1:
            raise ValueError(f"maximum_connections must be above 0: {maximum_connections}")
        _check_options(options)
        _check_filters(filters)
        self._authenticate = authenticate
        self._options = options or HubOptions()
        self._filters = tuple(filters)
        self._limits = LimitCounter()
        self._observers = Observers((self._limits, *observers))
        self._admission = Admission(maximum_connections)
        self._router = Router()
        self._hubs: list[tuple[type[Hub[Any]], ServedHub]] = []
        self._endpoints: list[Endpoint] = []
        self._serving = False
        self.addresses: tuple[str, ...] = ()

    # ---- what it offers

    def add_hub(
        self,
        path: str,
        hub: type[Hub[Any]],
        *,
        factory: Callable[[], Hub[Any]] | None = None,
        options: HubOptions | None = None,
        filters: Sequence[HubFilter] = (),
    ) -> None:
        """Offer a hub at a path, and its negotiation at ``{path}/negotiate``.

        A hub at several paths is one hub: its clients, groups and users are shared. What is sent to many of them
        follows the options of its first path.

        Args:
            path: Where clients connect, such as ``/chat``.
            hub: The hub's class.
            factory: Makes the instance for each invocation, where the class needs arguments.
            options: The hub's options; the app's by default.
            filters: The filters of this hub, within those of the app.

        Raises:
            ValueError: Something is at the path already, it does not start with a slash, or it is a pattern.
            TypeError: The hub's methods cannot be called by clients as they are; says which and why.
        """
        _check_hub(hub)
        _check_options(options)
        _check_filters(filters)
        if factory is None:
            try:
                inspect.signature(hub).bind()
            except TypeError as error:
                raise TypeError(f"{hub.__qualname__} cannot be made: {error}; give a factory") from error
        elif isinstance(factory, type) and not issubclass(factory, hub):
            raise TypeError(f"the factory of {hub.__qualname__} makes a {factory.__qualname__}")
        rosters = [served.roster for known, served in self._hubs if known is hub]
        served = ServedHub(
            hub,
            factory or hub,
            options or self._options,
            (*self._filters, *filters),
            rosters[0] if rosters else None,
            self._observers,
        )
        self._add_endpoint(
            path,
            Endpoint(
                served.handle,
                served.options,
                admission=self._admission,
                authenticate=self._authenticate,
                policies=policies_of(hub),
                transfer_formats=served.definition.transfer_formats,
            ),
        )
        self._hubs.append((hub, served))

    def add_connection_handler(
        self,
        path: str,
        handler: Callable[[Connection], Awaitable[None]],
        *,
        options: EndpointOptions | None = None,
    ) -> None:
        """Offer raw connections at a path, over every transport: bytes both ways, and no hub.

        Args:
            path: Where clients connect.
            handler: Called with each connection, which ends when it returns; cancelled at shutdown.
            options: The path's options; those of the app by default.

        Raises:
            ValueError: Something is at the path already, it does not start with a slash, or it is a pattern.
            TypeError: The handler is not an async function, or the options are of another kind.

        Source:
            ASP.NET Core's ``MapConnectionHandler``.
        """
        if isinstance(handler, type) or not callable(handler):
            raise TypeError(f"a connection's handler is an async function, which {handler!r} is not")
        if options is not None:
            check_kind(options, EndpointOptions)
        endpoint = Endpoint(
            handler,
            options or self._options,
            admission=self._admission,
            authenticate=self._authenticate,
            policies=policies_of(handler),
        )
        self._add_endpoint(path, endpoint)

    def add_route(self, path: str, handler: Callable[[Request], Response | Awaitable[Response]]) -> None:
        """Answer plain HTTP requests at a path, of any method.

        Args:
            path: The exact path, such as ``/health``.
            handler: Called with each request; may be async. When it raises, the answer has status 500.

        Raises:
            ValueError: Something is at the path already, it does not start with a slash, or it is a pattern.
        """

        async def answer(request: Request) -> Response:
            return await resolve(handler(request))

        self._add({path: Route(answer)})

    def _add_endpoint(self, path: str, endpoint: Endpoint) -> None:
        if set(path) & set("{}?"):
            raise ValueError(
                f"the path of a hub is matched as it is: '{path}' has braces or a query, which mean nothing"
            )
        self._add(endpoint.routes(path))
        self._endpoints.append(endpoint)

    def _add(self, routes: Mapping[str, Route]) -> None:
        if self._serving:
            raise RuntimeError("add everything before the app is served")
        self._router.add({path: FixedPlace(route) for path, route in routes.items()})

    # ---- from outside of hubs

    def hub(self, hub: type[Hub[C]]) -> HubContext[C]:
        """The clients and groups of a hub, to be called from anywhere in this process.

        Args:
            hub: The class that was given to :meth:`add_hub`; clients of all of its paths are included.

        Raises:
            LookupError: The app has no such hub.
        """
        for known, served in self._hubs:
            if known is hub:
                return HubContext(served.clients, served.groups)
        raise LookupError(f"{hub.__qualname__} was not added to this app")

    def statistics(self) -> Statistics:
        """What the app has to do with its limits, at this moment and so far."""
        return Statistics(
            connections=self._admission.active,
            refused_connections=self._admission.refused,
            refused_calls=self._limits.refused_calls,
            slow_clients=self._limits.slow_clients,
            dropped_messages=sum(roster.dropped for roster in {served.roster for _, served in self._hubs}),
        )

    # ---- its life

    async def drain(self, seconds: float) -> None:
        """Let the app run empty: the way to stop it without tearing anybody's work.

        New connections get 503 from now on. Each connection ends, with leave to reconnect, as soon as none of its
        invocations and streams waits or runs; what still runs in the end is cancelled. :meth:`serve` goes on.

        Args:
            seconds: How long invocations and streams may still run.
        """
        self._admission.draining = True
        for _, served in self._hubs:
            served.drain()
        with trio.move_on_after(seconds):
            await self._admission.wait_empty()
        if not self._admission.active:
            return
        logger.warning("%d connections are ended before they are done", self._admission.active)
        for endpoint in self._endpoints:
            endpoint.ask_all_to_end()
        with trio.move_on_after(LAST_CLIENTS_TIMEOUT):
            await self._admission.wait_empty()

    async def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        uds: str | PathLike[str] | None = None,
        fd: int | None = None,
        listeners: Sequence[AnyListener] = (),
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, at all the places that are given.

        Cancelling shuts down in order: connections are told, their invocations are cancelled and awaited, hubs hear
        of each disconnection, and every task ends. See :meth:`drain` for a gentler end. Ctrl-C ends it in the same
        order, with a bare :exc:`KeyboardInterrupt`.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.
            uds: The path of a Unix socket to listen on; its file is removed in the end.
            fd: The descriptor of a socket that was opened before, as by systemd; closed in the end.
            listeners: What else is open already, such as ``trio.open_ssl_over_tcp_listeners`` gives; closed in the end.
            ssl_context: Serve ``https`` and ``wss`` with it, but at ``listeners``, which are served as they are.
            task_status: Its started value is the first of :attr:`addresses`, such as ``http://127.0.0.1:8000``.

        Raises:
            OSError: An address cannot be bound, or a descriptor is no socket.
            RuntimeError: The app is being served already.
            ValueError: No place is given.
        """
        if self._serving:
            raise RuntimeError("the app is being served already")
        self._serving = True
        try:
            async with open_listeners(host, port, uds, fd, ssl_context, listeners) as everywhere:
                await self._serve(everywhere, task_status)
        finally:
            self._serving = False
            self.addresses = ()

    async def _serve(self, listeners: list[AnyListener], task_status: trio.TaskStatus[str]) -> None:
        server = HttpServer(self._router)
        all_ended = trio.Event()
        async with open_tasks() as outer:
            doors = await outer.start(_hold_doors, all_ended)
            await doors.start(server.arrivals.run)
            doors.cancel_scope.shield = True
            try:
                async with open_tasks() as nursery:
                    for endpoint in self._endpoints:
                        await nursery.start(endpoint.run)
                    for _, served in self._hubs:
                        nursery.start_soon(served.watch)
                    await nursery.start(
                        partial(trio.serve_listeners, server.serve_stream, listeners, handler_nursery=doors)
                    )
                    self.addresses = tuple(map(address_of, listeners))
                    for address in self.addresses:
                        logger.info("listening on %s", address)
                    task_status.started(self.addresses[0])
            finally:
                all_ended.set()


def _check_hub(hub: object) -> None:
    if not (isinstance(hub, type) and issubclass(hub, Hub)):
        raise TypeError(f"add_hub takes a hub's class, a subclass of Hub, which {hub!r} is not")


def _check_options(options: object) -> None:
    if options is not None and not isinstance(options, HubOptions):
        raise TypeError(f"a hub's options are HubOptions, which {type(options).__qualname__} is not")


def _check_filters(filters: Sequence[object]) -> None:
    for each in filters:
        if not isinstance(each, HubFilter):
            raise TypeError(f"a filter is an instance of HubFilter, which {each!r} is not")


async def _hold_doors(
    all_ended: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
) -> None:
    """Hold the nursery of clients' requests, which go on until the connections that they carry have ended."""
    async with open_tasks() as doors:
        task_status.started(doors)
        await all_ended.wait()
        doors.cancel_scope.cancel()
