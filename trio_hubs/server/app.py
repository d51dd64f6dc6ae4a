"""The app: hubs, raw connections and plain routes at their paths, to be served on one port."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast

import trio
from typing_extensions import TypeVar

from ..calls.observer import Observer
from ..connections.connection import Connection
from ..connections.http import Headers
from ..connections.server.exchange import MAXIMUM_BODY_SIZE
from ..connections.server.folder import Folder
from ..connections.server.listeners import AnyListener, address_of, open_listeners
from ..connections.server.options import EndpointOptions
from ..connections.server.origins import OriginPredicate
from ..connections.server.proxies import TrustedProxies
from ..connections.server.resource import RouteHandler
from ..connections.server.router import Pattern
from ..connections.users import Authenticate, Policy, User
from ..connections.validators import check_kind
from ..logs import get_logger
from ..tasks import open_tasks
from .app_life import AppLife
from .backplane import Backplane, default_backplane
from .clients import C
from .door import Door
from .figures import Figures
from .filters import HubFilter
from .hosting import Hosting
from .hub import Hub
from .hub_context import HubContext
from .local_roster import LocalRoster
from .options import HubOptions
from .roster import Roster
from .site import Site
from .statistics import Statistics
from .worker import current_worker

if TYPE_CHECKING:
    from ..asgi.fallback import Fallback

logger = get_logger(__name__)

S = TypeVar("S", default=Any)

AsgiApplication: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: called with a scope, ``receive`` and ``send``."""

Lifespan: TypeAlias = "Callable[[HubApp[Any]], AbstractAsyncContextManager[S]]"
"""Called with the app: what is held around serving it. What that yields is the app's state."""


class HubApp(Generic[S]):
    """Hubs, raw connections and routes, to be served on one port.

    Args:
        lifespan: Called with the app each time that it is served: an async context manager that is held around all of
            that. Its nursery is the place for background tasks; one that fails ends the serving with its exception.
            Once it is left it has 10 seconds to end.
        authenticate: Finds out who makes a request, of every hub and raw connection; may be async. By default
            nobody is known.
        options: The options of hubs that are given none of their own.
        filters: The filters of every hub, from the outermost to the innermost.
        observers: Who hears of the connections and calls of every hub.
        maximum_connections: How many connections there may be at a time; further ones get 503.
        backplane: Joins the hubs with those of other servers.
        trusted_proxies: Whose word counts of who makes a request, and how; nobody's by default.
        fallback: An ASGI 3 application, such as Starlette's or FastAPI's, that answers at all other paths. Its lifespan
            is held within that of the app.

    Attributes:
        backplane: What joins the hubs with those of other processes.
        addresses: Where it is served, such as ``http://127.0.0.1:8000`` or ``unix:/run/chat.sock``; while it is.
        site: What it offers at its paths, for what brings requests there.
        life: When it runs, for the same.

    Example:
        ::

            app = HubApp()
            app.add_hub("/chat", Chat)
            trio.run(app.serve, "127.0.0.1", 8000)
    """

    def __init__(
        self,
        *,
        lifespan: Lifespan[S] | None = None,
        authenticate: Authenticate | None = None,
        options: HubOptions | None = None,
        filters: Sequence[HubFilter] = (),
        observers: Sequence[Observer] = (),
        maximum_connections: int = 100_000,
        backplane: Backplane | None = None,
        trusted_proxies: TrustedProxies | None = None,
        fallback: AsgiApplication | None = None,
    ) -> None:
        if lifespan is not None and not callable(lifespan):
            raise TypeError(f"lifespan is called with the app, which {lifespan!r} cannot be")
        if trusted_proxies is not None:
            check_kind(trusted_proxies, TrustedProxies, "trusted_proxies")
        self._lifespan = lifespan
        self.site = Site(self)
        self.site.router.proxies = trusted_proxies
        worker = current_worker.get()
        backplane = backplane or default_backplane.get()
        self.backplane = backplane if worker is None else worker.others.backplane(backplane)
        self._door = Door(self.site.router, worker)
        self._hosting = Hosting(
            self,
            authenticate=authenticate,
            options=options,
            filters=filters,
            observers=observers,
            maximum_connections=maximum_connections,
            token_prefix=self._door.token_prefix,
        )
        self.life = AppLife[S](self.site, self._hosting.admission)
        self.addresses: tuple[str, ...] = ()
        self._figures: Figures | None = None
        self._fallback: Fallback | None = None
        if fallback is not None:
            from ..asgi.fallback import Fallback  # noqa: PLC0415 - of the roof, for who asks for it

            self._fallback = Fallback(fallback)
            self.site.router.fallback = self._fallback.route

    # ---- what it offers

    def add_hub(
        self,
        path: str,
        hub: type[Hub[Any]],
        *,
        factory: Callable[[], Hub[Any]] | None = None,
        options: HubOptions | None = None,
        filters: Sequence[HubFilter] = (),
        alone: bool = False,
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
            alone: Whether its clients are those of this process alone, also where the app has a backplane.

        Raises:
            ValueError: Something is at the path already, it does not start with a slash, or it is a pattern.
            TypeError: The hub's methods cannot be called by clients as they are; says which and why.
        """
        served, endpoint = self._hosting.hub(
            hub, factory, options, filters, partial(self._roster, hub, alone)
        )
        self.site.add_endpoint(path, endpoint)
        self.site.hubs.append((hub, served))

    def _roster(self, hub: type[Hub[Any]], alone: bool, options: HubOptions) -> Roster:
        for known, served in self.site.hubs:
            if known is hub:
                return served.roster
        local = LocalRoster.of(options)
        return local if self.backplane is None or alone else self.backplane.roster(hub, local, options)

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
        self.site.add_endpoint(path, self._hosting.connections(handler, options))

    def add_route(
        self,
        path: str,
        handler: RouteHandler,
        *,
        methods: Collection[str] = ("GET",),
        authorize: bool | Policy = False,
        allowed_origins: Iterable[str] | OriginPredicate | None = None,
        maximum_body_size: int = MAXIMUM_BODY_SIZE,
    ) -> None:
        """Answer plain HTTP requests at a path.

        HEAD is answered with GET, OPTIONS by itself, and what nobody handles gets 405. Pages of foreign origins get
        403, as at hubs, but may link here.

        Args:
            path: Such as ``/health``, or ``/rooms/{name}``, whose parameters the handler gets by their names, as what
                its annotations say; where that cannot be, the answer has status 404. ``{name:path}`` is all the rest.
            handler: Called with each request; may be async. When it raises, the answer has status 500; with
                :exc:`.BadRequest`, as by :meth:`.Request.json`, 400.
            methods: The methods that it handles; others may have other handlers at the same path.
            authorize: Whether only users come in, or which; others get 401 and 403. ``@authorize`` above the
                handler does the same.
            allowed_origins: As in :class:`.HubOptions`; those of the app by default.
            maximum_body_size: Bytes of a request's body; above it the answer has status 413.

        Raises:
            ValueError: Something is at the path already, or it is not as it has to be.
            TypeError: The handler cannot be called so.
        """
        pattern = Pattern.parse(path)
        made = self._hosting.route(pattern, handler, authorize, allowed_origins, maximum_body_size)
        self.site.add_handler(pattern, methods, made)

    def add_static(
        self,
        path: str,
        folder: str | PathLike[str],
        *,
        authorize: bool | Policy = False,
        allowed_origins: Iterable[str] | OriginPredicate | None = None,
        headers: Headers | None = None,
        follow_symlinks: bool = False,
    ) -> None:
        """Offer the files of a folder below a path, and ``index.html`` for a folder itself.

        Files and folders whose names begin with a dot are not there, but for ``/.well-known/``. What is at a path of
        its own goes before.

        Args:
            path: Such as ``/static``, or ``/`` for the whole site.
            folder: The folder; also of those in it.
            authorize: As in :meth:`add_route`.
            allowed_origins: As in :meth:`add_route`.
            headers: Further headers of each file, such as ``Cache-Control``.
            follow_symlinks: Whether links in the folder may lead out of it.

        Raises:
            ValueError: There is no such folder, or something is at the path already.
        """
        files = Folder(folder, headers=headers or {}, follow_symlinks=follow_symlinks)
        base = path.rstrip("/")
        gate: Any = {"authorize": authorize, "allowed_origins": allowed_origins}
        self.add_route(f"{base}/{{path:path}}", files.answer, **gate)
        if base:
            self.add_route(base, files.redirect, **gate)

    # ---- from outside of hubs

    def hub(self, hub: type[Hub[C]]) -> HubContext[C]:
        """The clients and groups of a hub, to be called and asked for from anywhere in this process.

        Args:
            hub: The class that was given to :meth:`add_hub`; clients of all of its paths are included.

        Raises:
            LookupError: The app has no such hub.
        """
        for known, served in self.site.hubs:
            if known is hub:
                return HubContext(served.clients, served.groups, served.roster)
        raise LookupError(f"{hub.__qualname__} was not added to this app")

    def statistics(self) -> Statistics:
        """What the app has to do with its limits, at this moment and so far."""
        return Statistics(
            connections=self._hosting.admission.active,
            refused_connections=self._hosting.admission.refused,
            refused_calls=self._hosting.limits.refused_calls,
            slow_clients=self._hosting.limits.slow_clients,
            dropped_messages=sum(
                roster.dropped for roster in {served.roster for _, served in self.site.hubs}
            ),
        )

    def add_observer(self, observer: Observer) -> None:
        """Have one more observer hear of the connections and calls of every hub.

        Of calls it hears on connections that begin from now on.
        """
        self._hosting.observers.add(observer)

    @property
    def figures(self) -> Figures:
        """Figures by hub, method and transport, for monitors; they are counted from the first look on."""
        if self._figures is None:
            self._figures = Figures(self.site)
            self.add_observer(self._figures)
        return self._figures

    # ---- its life

    @property
    def state(self) -> S:
        """What its lifespan has yielded.

        Raises:
            RuntimeError: The app does not run, or its lifespan has not yielded yet.
        """
        return self.life.state

    @property
    def draining(self) -> bool:
        """Whether it is running empty, has, or will after its notice: for a route that tells a load balancer."""
        return self.life.draining

    @property
    def worker_number(self) -> int | None:
        """Which of the workers this process is, from 0 on; ``None`` where there are none."""
        return None if self._door.worker is None else self._door.worker.number

    @property
    def workers_up(self) -> tuple[int, ...]:
        """The numbers of the workers that serve at the moment, for a route that tells of their health."""
        return () if self._door.worker is None else self._door.worker.others.up

    def running(self) -> AbstractAsyncContextManager[trio.Nursery]:
        """Run the app without a door, for the body: its lifespan, its endpoints and hubs.

        :meth:`serve` stands on it, and so does whatever else brings requests. At the end, however it comes, all
        connections and requests end in order, and then the lifespan does.

        Yields:
            The nursery of doors, for what serves requests. Its tasks are cancelled at the end.

        Raises:
            RuntimeError: The app is being served already.
            BaseException: The exception of the body, or of the lifespan, bare.
        """
        backplane = nullcontext() if self.backplane is None else self.backplane.open()
        if self._lifespan is None:
            return self._run(nullcontext(cast("S", None)), backplane)
        lifespan = cast("Any", self._lifespan(self))
        if not isinstance(lifespan, AbstractAsyncContextManager):
            raise TypeError(
                f"a lifespan is an async context manager, which {lifespan!r} is not: decorate it with "
                "@asynccontextmanager"
            )
        return self._run(lifespan, backplane)

    def _run(
        self, lifespan: AbstractAsyncContextManager[S], backplane: AbstractAsyncContextManager[None]
    ) -> AbstractAsyncContextManager[trio.Nursery]:
        held = lifespan if self._fallback is None else self._fallback.within(lifespan)
        return self.life.run(held, backplane)

    def asgi(
        self, *, user: Callable[[Mapping[str, Any]], User | Awaitable[User | None] | None] | None = None
    ) -> AsgiApplication:
        """The app as an ASGI 3 application, over every transport, to be served by Hypercorn's trio worker.

        It can be mounted in an application of another framework, at any path. Where no lifespan reaches it then, as in
        Starlette's ``Mount``, the lifespan of the other one must hold :meth:`running`.

        Args:
            user: Finds out from an ASGI scope who makes its request; may be async. By default it is ``scope["user"]``,
                a :class:`User` or one of Starlette's. ``authenticate`` is asked where that is nobody.
        """
        from ..asgi.application import AsgiApp  # noqa: PLC0415 - of the roof, for who asks for it

        return AsgiApp(self, user)

    async def drain(self, seconds: float, *, notice: float = 0.0) -> None:
        """Let the app run empty: the way to stop it without tearing anybody's work.

        :attr:`draining` is true at once. After the notice new connections get 503, or are another worker's. Each
        connection ends, with leave to reconnect, as soon as none of its invocations and streams waits or runs; what
        still runs in the end is cancelled. Requests under way are answered meanwhile. :meth:`serve` goes on.

        Args:
            seconds: How long invocations and streams may still run, after the notice.
            notice: Seconds in which all goes on as before, until load balancers have seen that the app is not ready
                any more, and send new clients elsewhere.
        """
        deadline = trio.current_time() + notice + seconds
        self.life.draining = True
        await self._door.leave_to_others()
        await self.life.drain(seconds, notice)
        with trio.CancelScope(deadline=deadline):
            await self._door.wait_answered()

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
        of each disconnection, the lifespan ends, and so does every task. See :meth:`drain` for a gentler end. Ctrl-C
        ends it in the same order, with a bare :exc:`KeyboardInterrupt`.

        Args:
            host: The address to listen on, once the lifespan has yielded.
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
            BaseException: The lifespan's exception, bare.
        """
        async with (
            self.running() as doors,
            open_listeners(host, port, uds, fd, ssl_context, listeners) as everywhere,
        ):
            try:
                async with open_tasks() as nursery:
                    await nursery.start(self._door.open, everywhere, doors)
                    self.addresses = tuple(map(address_of, everywhere))
                    for address in self.addresses:
                        logger.info("listening on %s", address)
                    task_status.started(self.addresses[0])
            finally:
                self.addresses = ()
