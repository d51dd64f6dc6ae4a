"""Filters: they run around a hub's invocations and around the begin and end of its connections.

The first filter is the outermost; those of an app are outside of those of a hub. Each decides whether and with what
the next is called, and what to do with its result; one that raises refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs

from ..connections.users import resolve
from .hub import Hub, HubCallerContext

InvocationNext: TypeAlias = "Callable[[HubInvocationContext], Awaitable[Any]]"
ConnectedNext: TypeAlias = "Callable[[HubLifetimeContext], Awaitable[None]]"
DisconnectedNext: TypeAlias = "Callable[[HubLifetimeContext, Exception | None], Awaitable[None]]"


@attrs.define
class HubInvocationContext:
    """An invocation on its way to its method.

    Attributes:
        context: The connection that it came by.
        hub: The instance that is to answer.
        method: The method that is to answer, bound to that instance.
        arguments: What it will be called with, uploads included; may be changed.
    """

    context: HubCallerContext
    hub: Hub[Any]
    method: Callable[..., Any]
    arguments: list[Any]


@attrs.frozen
class HubLifetimeContext:
    """A connection that begins or ends.

    Attributes:
        context: The connection.
        hub: The instance that is to be told.
    """

    context: HubCallerContext
    hub: Hub[Any]


class HubFilter:
    """Base class of filters; each method passes on as it is.

    Source:
        ASP.NET Core's ``IHubFilter``.
    """

    async def invoke(self, context: HubInvocationContext, next: InvocationNext) -> Any:
        """Runs around an invocation, once its user is allowed it and its arguments are of their types.

        Around a streaming method it sees the call that gives the stream, and may give another.

        Args:
            context: The invocation.
            next: Goes on, to the next filter or the method, and gives the result.

        Returns:
            What the client gets as the result.
        """
        return await next(context)

    async def on_connected(self, context: HubLifetimeContext, next: ConnectedNext) -> None:
        """Runs around :meth:`Hub.on_connected`; raising refuses the client."""
        await next(context)

    async def on_disconnected(
        self, context: HubLifetimeContext, error: Exception | None, next: DisconnectedNext
    ) -> None:
        """Runs around :meth:`Hub.on_disconnected`, within its time."""
        await next(context, error)


class FilterChain:
    """Filters, one in the other, around a hub.

    Args:
        filters: From the outermost to the innermost.
    """

    def __init__(self, filters: Sequence[HubFilter]) -> None:
        self.invoke: InvocationNext = _invoke
        self.on_connected: ConnectedNext = _connected
        self.on_disconnected: DisconnectedNext = _disconnected
        for each in reversed(filters):
            self.invoke = _around_invocation(each, self.invoke)
            self.on_connected = _around_connected(each, self.on_connected)
            self.on_disconnected = _around_disconnected(each, self.on_disconnected)


async def _invoke(context: HubInvocationContext) -> Any:
    return await resolve(context.method(*context.arguments))


async def _connected(context: HubLifetimeContext) -> None:
    done: Any = context.hub.on_connected()  # which may be plain
    await resolve(done)


async def _disconnected(context: HubLifetimeContext, error: Exception | None) -> None:
    done: Any = context.hub.on_disconnected(error)
    await resolve(done)


def _around_invocation(each: HubFilter, next: InvocationNext) -> InvocationNext:
    return lambda context: each.invoke(context, next)


def _around_connected(each: HubFilter, next: ConnectedNext) -> ConnectedNext:
    return lambda context: each.on_connected(context, next)


def _around_disconnected(each: HubFilter, next: DisconnectedNext) -> DisconnectedNext:
    return lambda context, error: each.on_disconnected(context, error, next)
