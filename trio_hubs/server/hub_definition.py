"""All that is known of a hub at a path before anybody connects; nothing of it changes afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args, get_origin

import attrs
from typing_extensions import TypeVar, get_original_bases

from ..calls.children import Children
from ..calls.methods import Method
from ..calls.typed_proxies import client_proxy
from ..connections.users import Policy, meets
from ..errors import HubException, text_of
from ..logs import get_logger
from ..protocol.hub_protocol import TransferFormat
from ..protocol.registry import PROTOCOLS
from .clients import ClientProxy
from .filters import FilterChain, HubFilter, HubInvocationContext
from .hub import Hub
from .method_table import MethodTable
from .options import HubOptions

logger = get_logger(__name__)


class Unauthorized(HubException):
    """The user may not call the method."""


@attrs.frozen
class HubDefinition:
    """A hub as a path offers it.

    Attributes:
        hub: Its class.
        factory: Makes the instance for each invocation.
        options: Its options.
        filters: Its filters, and the app's around them.
        hooks: Which of ``on_connected`` and ``on_disconnected`` it, or a filter, may have something to do in.
        tables: Its methods, by the name of each protocol that it supports.
        proxy: Makes of an untyped proxy what its users see.
    """

    hub: type[Hub[Any]]
    factory: Callable[[], Hub[Any]]
    options: HubOptions
    filters: FilterChain
    hooks: frozenset[str]
    tables: Mapping[str, MethodTable]
    proxy: Callable[[ClientProxy], Any]

    @classmethod
    def of(
        cls,
        hub: type[Hub[Any]],
        factory: Callable[[], Hub[Any]],
        options: HubOptions,
        filters: Sequence[HubFilter],
    ) -> HubDefinition:
        """Define a hub.

        Raises:
            TypeError: A method's names clash or its annotations cannot be resolved, or the client's interface has
                something that cannot be called.
        """
        tables = {
            name: MethodTable.of(
                hub, PROTOCOLS[name](options.naming, options.converter), filtered=bool(filters)
            )
            for name in options.supported_protocols
        }
        hooks = _hooks(hub, factory, filters)
        return cls(hub, factory, options, FilterChain(filters), hooks, tables, proxy_maker(hub))

    @property
    def transfer_formats(self) -> frozenset[TransferFormat]:
        """What its protocols need."""
        return frozenset(table.protocol.transfer_format for table in self.tables.values())

    def instance(self, attributes: Mapping[str, Any], children: Children) -> Hub[Any]:
        """Make the hub instance of one invocation.

        Args:
            attributes: What the instances of one connection have in common.
            children: Starts the invocation's child tasks.
        """
        hub = self.factory()
        if not isinstance(hub, self.hub):
            raise TypeError(f"the factory of {self.hub.__qualname__} made a {type(hub).__qualname__}")
        own = vars(hub)  # for a hub may refuse assignments, as a frozen dataclass does
        own.update(attributes)
        own["_children"] = children
        return hub

    def bound(self, table: MethodTable, method: Method, hub: Hub[Any]) -> Callable[..., Any]:
        """What to call for an invocation of a method: itself, or what guards it."""
        bound: Callable[..., Any] = method.function.__get__(hub)
        policies = table.guarded.get(method)
        return bound if policies is None else partial(self._call_guarded, policies, bound, hub)

    async def _call_guarded(
        self, policies: tuple[Policy, ...], bound: Callable[..., Any], hub: Hub[Any], *arguments: Any
    ) -> Any:
        user = hub.context.user
        if policies and (user is None or not await meets(user, policies)):
            name = bound.__name__
            logger.info("connection %s: its user may not call '%s'", hub.context.connection_id, name)
            raise Unauthorized("the user may not call it")
        return await self.filters.invoke(HubInvocationContext(hub.context, hub, bound, list(arguments)))

    def fault(self, base: str, error: Exception) -> str:
        """What a client is told of an error: a text, and the error's own where it may see that."""
        if isinstance(error, HubException) or self.options.detailed_errors:
            return f"{base} {type(error).__name__}: {text_of(error)}"
        return base


def _hooks(
    hub: type[Hub[Any]], factory: Callable[[], Hub[Any]], filters: Sequence[HubFilter]
) -> frozenset[str]:
    return frozenset(
        name
        for name in ("on_connected", "on_disconnected")
        if factory is not hub  # it may make instances of a class of its own
        or getattr(hub, name) is not getattr(Hub, name)
        or any(
            getattr(getattr(each, name), "__func__", None) is not getattr(HubFilter, name) for each in filters
        )
    )


def proxy_maker(hub: type[Hub[Any]]) -> Callable[[ClientProxy], Any]:
    """What makes of a proxy what users of a hub see: itself, or one of the client's interface."""
    interface = _interface(hub, {})
    if interface is None or interface is ClientProxy or isinstance(interface, TypeVar):
        return lambda proxy: proxy
    return client_proxy(interface)


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
