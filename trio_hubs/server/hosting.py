"""What all that an app offers has in common: who may come and how many, with which options, and who hears of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..calls.observer import ObservedConnection, Observer, Observers
from ..connections.connection import Connection
from ..connections.server.admission import Admission
from ..connections.server.endpoint import Endpoint
from ..connections.server.gate import Gate
from ..connections.server.options import EndpointOptions
from ..connections.server.origins import OriginPredicate, Origins, checked_origins
from ..connections.server.resource import Handler, RouteHandler
from ..connections.server.router import Pattern
from ..connections.users import Authenticate, Policy, policies_for, policies_of
from ..connections.validators import check_kind
from .filters import HubFilter
from .hub import Hub
from .options import HubOptions
from .roster import Roster
from .served_hub import ServedHub
from .statistics import LimitCounter

if TYPE_CHECKING:
    from .app import HubApp


class Hosting:
    """Makes what answers at the paths of an app.

    Args:
        app: The app.
        authenticate: Finds out who makes a request.
        options: The options of hubs that are given none of their own.
        filters: The filters of every hub.
        observers: Who hears of connections and calls.
        maximum_connections: How many connections there may be at a time.
        token_prefix: Stands before the tokens of connections.

    Attributes:
        options: The options of hubs that are given none of their own.
        admission: The count of the connections.
        limits: The count of what limits have done.
        observers: Who hears of connections and calls.

    Raises:
        TypeError: Something is of another kind than it has to be.
        ValueError: No connection could come in.
    """

    def __init__(
        self,
        app: HubApp[Any],
        *,
        authenticate: Authenticate | None,
        options: HubOptions | None,
        filters: Sequence[HubFilter],
        observers: Sequence[Observer],
        maximum_connections: int,
        token_prefix: str,
    ) -> None:
        if authenticate is not None and not callable(authenticate):
            raise TypeError(f"authenticate is called with each request, which {authenticate!r} cannot be")
        if maximum_connections < 1:
            raise ValueError(f"maximum_connections must be above 0: {maximum_connections}")
        _check_options(options)
        _check_filters(filters)
        self.options = options or HubOptions()
        self.admission = Admission(maximum_connections)
        self.limits = LimitCounter()
        self._app = app
        self._authenticate = authenticate
        self._filters = tuple(filters)
        self.observers = Observers((self.limits, *observers))
        self._token_prefix = token_prefix

    def hub(
        self,
        hub: type[Hub[Any]],
        factory: Callable[[], Hub[Any]] | None,
        options: HubOptions | None,
        filters: Sequence[HubFilter],
        roster: Callable[[HubOptions], Roster],
    ) -> tuple[ServedHub, Endpoint]:
        """Make what handles a hub's connections, and what makes them; see :meth:`HubApp.add_hub`."""
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
        options = options or self.options
        served = ServedHub(
            hub,
            factory or hub,
            options,
            (*self._filters, *filters),
            roster(options),
            self.observers,
            self._app,
        )
        endpoint = Endpoint(
            served.handle,
            options,
            admission=self.admission,
            authenticate=self._authenticate,
            policies=policies_of(hub),
            transfer_formats=served.definition.transfer_formats,
            token_prefix=self._token_prefix,
        )
        return served, endpoint

    def connections(
        self, handler: Callable[[Connection], Awaitable[None]], options: EndpointOptions | None
    ) -> Endpoint:
        """Make what makes connections for a handler; see :meth:`HubApp.add_connection_handler`."""
        if isinstance(handler, type) or not callable(handler):
            raise TypeError(f"a connection's handler is an async function, which {handler!r} is not")
        if options is not None:
            check_kind(options, EndpointOptions)
        return Endpoint(
            partial(self._handle_raw, handler),
            options or self.options,
            admission=self.admission,
            authenticate=self._authenticate,
            policies=policies_of(handler),
            token_prefix=self._token_prefix,
        )

    async def _handle_raw(
        self, handler: Callable[[Connection], Awaitable[None]], connection: Connection
    ) -> None:
        assert connection.id is not None
        user_id = None if connection.user is None else connection.user.id
        observed = ObservedConnection(
            connection.id, connection.request, user_id, transport=connection.transport
        )
        self.observers.connection_opened(observed)
        try:
            await handler(connection)
        except Exception as error:
            observed.error = error
            raise
        finally:
            self.observers.connection_closed(observed)

    def route(
        self,
        pattern: Pattern,
        handler: RouteHandler,
        authorize: bool | Policy,
        allowed_origins: Iterable[str] | OriginPredicate | None,
        maximum_body_size: int,
    ) -> Handler:
        """Make what answers plain requests; see :meth:`HubApp.add_route`."""
        origins = Origins(
            self.options.allowed_origins if allowed_origins is None else checked_origins(allowed_origins),
            own_scheme=self.options.own_scheme,
            check_gets=False,
        )
        policies = [*policies_of(handler), *policies_for(authorize)]
        return Handler(
            handler,
            pattern,
            gate=Gate(origins, self._authenticate, policies),
            hall=Gate(origins),
            maximum_body_size=maximum_body_size,
        )


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
