"""What joins one transport's requests to a connection: it answers them, and knows of their loss and end.

A request's carrier becomes its lease's when the connection is made, and answers all that follow.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import trio

from ...errors import ConnectionClosed
from ...logs import get_logger
from ...protocol.negotiate import Transport
from ..duplex import Duplex
from ..http import Request, Response
from ..users import User
from .admission import Admission
from .exchange import RouteAnswer
from .lease import UNOPENED, Lease, LeaseEvent
from .options import EndpointOptions

logger = get_logger(__name__)

D = TypeVar("D", bound=Duplex)

NOT_DELETED = Response(
    "Cannot terminate this connection using the DELETE endpoint.", status=400, content_type="text/plain"
)


@attrs.define
class Host:
    """What the carriers of a path share.

    Attributes:
        handle: Called with each new connection.
        options: The path's options.
        admission: The app's count of connections.
        nursery: Where handlers run that outlive single requests, while there may be any.
    """

    handle: Callable[[Duplex], Awaitable[None]]
    options: EndpointOptions
    admission: Admission
    nursery: trio.Nursery | None = None


class Carrier(abc.ABC, Generic[D]):
    """Carries one connection.

    Args:
        lease: What its requests name.
        host: What the path offers.

    Attributes:
        transport: The transport whose requests it answers.
        connection: The connection, once that is open.
    """

    transport: Transport
    connection: D

    def __init__(self, lease: Lease, host: Host) -> None:
        self._lease = lease
        self._host = host
        self._scope = trio.CancelScope()  # what the handler runs in

    # ---- requests

    @abc.abstractmethod
    def answer(self, request: Request, user: User | None) -> RouteAnswer:
        """Answer a request of the transport: its first, or a further one that has room."""

    @property
    def crowded(self) -> bool:
        """Whether there is no room for a further request beside those that are there."""
        return True

    @property
    def ended(self) -> bool:
        """Whether the client has ended the connection in good order, so that no request is of it any more."""
        return False

    async def replace(self, websocket: Duplex, user: User | None) -> None:
        """Go on over another WebSocket, where that is possible."""
        logger.debug("connection %s: another request was faster", self._lease.id)

    def delete(self) -> Response:
        """Answer a request to end the connection."""
        return NOT_DELETED

    # ---- loss and end

    def dispose(self, error: ConnectionClosed | None = None) -> None:
        """The client has ended the connection, or is not coming back."""
        self._lease.on(LeaseEvent.DISPOSED)

    def ask_to_end(self) -> None:
        """Have the connection end, so that its client reconnects."""
        (self.connection.on_end_asked or self._scope.cancel)()

    async def wait_told(self) -> None:
        """Wait until the requests that are there have been answered."""
        await trio.lowlevel.checkpoint()

    # ---- for the transports

    def _may_open(self, user: User | None) -> bool:
        """Whether a WebSocket still gets its connection, now that it has been accepted.

        Else two requests with one token raced, or two for the last place, and the other was faster.
        """
        lease = self._lease
        free = lease.state in UNOPENED and not lease.is_posted_to and lease.owner.admits(user)
        return free and not self._host.admission.refusal()

    def _open(self, connection: D, user: User | None) -> None:
        self.connection = connection
        connection.transport = self.transport
        self._lease.open(self, user)

    def _see(self, user: User | None) -> None:
        """A further request of an open connection has shown its user."""
        if not self._host.options.authentication_refresh:
            self._lease.renew(user)
        elif self._lease.owner.is_news(user):
            self._lease.refresh(user)

    async def _handle(self) -> None:
        """Have the connection handled; that its client has left comes out bare, as one exception."""
        try:
            await self._host.handle(self.connection)
        except ExceptionGroup as group:
            left, others = group.split(ConnectionClosed)
            if left is None or others is not None:
                raise
            raise ConnectionClosed("The client left.") from group
        finally:
            self.connection.let_go()

    async def _handle_here(self) -> None:
        """Have it handled in the task of its only request, whose end tells the client of it."""
        try:
            with self._scope:
                await self._handle()
        finally:
            self._lease.on(LeaseEvent.DISPOSED)
            self._lease.on(LeaseEvent.RETURNED)

    async def _handle_detached(self, close: Callable[[], None]) -> None:
        """Have it handled in a task that outlives its requests, and close it then."""
        try:
            with self._scope:
                await self._handle()
        except ConnectionClosed as error:
            logger.debug("connection %s broke: %s", self._lease.id, error)
        except Exception:
            logger.exception("connection %s failed", self._lease.id)
        finally:
            close()
            self._lease.on(LeaseEvent.RETURNED)
