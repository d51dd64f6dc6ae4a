"""A client that is connected to a hub: what its calls run as, and what the hub hears of its coming and going."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from ..calls.answers import Face
from ..calls.children import Children
from ..calls.methods import Method
from ..calls.observer import ObservedConnection
from ..calls.refusals import CallFailed, Refusal
from ..calls.session import Life, Session
from ..connections.connection import Connection
from ..errors import ConnectionClosed, HubException, UploadBroken
from ..logs import get_logger
from ..protocol.messages import Close
from ..tasks import open_background
from . import texts
from .clients import HubCallerClients
from .filters import HubLifetimeContext
from .hub import HubCallerContext
from .hub_definition import Unauthorized
from .method_table import MethodTable
from .roster import Aborted

if TYPE_CHECKING:
    from .served_hub import ServedHub

logger = get_logger(__name__)


class ConnectedClient(Face, Life):
    """One connection as its hub sees it.

    Args:
        served: The hub.
        table: The hub's methods for the protocol that the client speaks.
        connection: What carries it.
        connection_id: Its id.

    Attributes:
        observed: What observers see of it.
        session: The connection's session, which is made with this.
    """

    session: Session
    _context: HubCallerContext

    def __init__(
        self, served: ServedHub, table: MethodTable, connection: Connection, connection_id: str
    ) -> None:
        user_id = None if connection.user is None else connection.user.id
        self.observed = ObservedConnection(
            connection_id,
            connection.request,
            user_id,
            served.definition.hub.__qualname__,
            connection.transport,
        )
        self.observers = served.observers
        self._served = served
        self._definition = served.definition
        self._table = table
        self.waits = "on_connected" in served.definition.hooks
        self._connection_id = connection_id
        self._attributes: dict[str, Any] = {}  # of its hub instances

    # ---- calls

    def find(self, target: str) -> Sequence[Method]:
        method = self._table.methods.get(target.lower())
        return (method,) if method is not None else ()

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        hub = self._definition.instance(self._attributes, children)
        return self._definition.bound(self._table, method, hub)

    def text(self, refusal: Refusal) -> str:
        if isinstance(refusal, CallFailed) and isinstance(refusal.error, Unauthorized):
            return texts.unauthorized(refusal.target)
        return texts.refused(refusal, self._definition.fault)

    # ---- life

    async def opened(self) -> None:
        options = self._definition.options
        connection = self.session.connection
        self._context = HubCallerContext(self.session, self._connection_id, connection.user, {})
        connection.on_user_refreshed = self._user_refreshed
        clients = HubCallerClients(
            self.session,
            self._connection_id,
            self._served.roster,
            self._definition.proxy,
            options.slow_clients,
            options.client_result_timeout,
        )
        self._attributes = {
            "app": self._served.app,
            "context": self._context,
            "clients": clients,
            "groups": self._served.groups,
        }
        await self._served.roster.add(self._connection_id, self.session, self._context.user_id)
        try:
            await self._run_hook("on_connected")
        except BaseException as error:
            self.leave()  # so that a client that is refused hears nothing that others are told meanwhile
            if isinstance(error, Exception):
                self.observed.error = error
            raise

    def _user_refreshed(self) -> None:
        """What begins from now on sees the user so; what runs goes on with the user that it began with."""
        session, before = self.session, self._context
        if session.ended:
            return
        user = session.connection.user
        self._context = HubCallerContext(session, before.connection_id, user, before.items)
        self._attributes = self._attributes | {"context": self._context}
        if self._table.refreshed is not None:
            method, message = self._table.refreshed
            session.their_calls.take(method, "", message)  # in its turn among the client's calls

    async def closed(self, error: Exception | None) -> None:
        self.observed.error = error
        if "on_disconnected" in self._definition.hooks or self.observers.hear_hooks:
            await self._tell_closed(error)
        self.leave()

    async def _tell_closed(self, error: Exception | None) -> None:
        options = self._definition.options
        reason = None if isinstance(error, ConnectionClosed) else error
        grace = trio.CancelScope(shield=True, deadline=trio.current_time() + options.on_disconnected_timeout)
        try:
            with grace:
                await self._run_hook("on_disconnected", reason)
        except Exception:
            logger.exception("connection %s: on_disconnected failed", self._connection_id)
        if grace.cancelled_caught:
            logger.error(
                "connection %s: on_disconnected was cancelled after %g s",
                self._connection_id,
                options.on_disconnected_timeout,
            )

    def leave(self) -> None:
        """The connection leaves the roster, if it is there still."""
        self._served.roster.remove(self._connection_id)
        self._served.sessions.discard(self.session)
        self._served.leaving.add(self.session)

    def let_go(self) -> None:
        """Hold no longer what holds this, so that it goes with its last user rather than with the garbage."""
        self._attributes = {}
        del self.session
        vars(self).pop("_context", None)  # for it may never have opened

    async def _run_hook(self, name: str, *args: Any) -> None:
        """Run what a hub does when a connection comes or goes, with its child tasks."""
        observed = self.observers.hook_began(self._connection_id, name)
        failure: Exception | None = None
        cancelled = True
        try:
            if name in self._definition.hooks:
                await self._run(getattr(self._definition.filters, name), *args)
            cancelled = False
        except Exception as error:
            failure, cancelled = error, False
            raise
        finally:
            self.observers.hook_ended(observed, failure, cancelled=cancelled)

    async def _run(self, hook: Callable[..., Awaitable[None]], *args: Any) -> None:
        async with open_background() as nursery, Children(nursery, nursery.cancel_scope) as children:
            await hook(
                HubLifetimeContext(self._context, self._definition.instance(self._attributes, children)),
                *args,
            )
        if children.failure is not None:
            raise children.failure

    def broken(self, error: ConnectionClosed) -> Exception:
        return UploadBroken(texts.BROKEN)

    def silence(self, seconds: float) -> Exception:
        return TimeoutError(texts.SILENT)

    def closed_by_peer(self, message: Close) -> Exception | None:
        return HubException(message.error) if message.error else None

    def close_text(self, error: Exception) -> str:
        if isinstance(error, ConnectionClosed):
            return ""
        if isinstance(error, Aborted):
            return str(error)
        return self._definition.fault(texts.CLOSED, error)
