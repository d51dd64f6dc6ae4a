"""A hub that is served at a path: each of its connections, from the handshake to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..calls.heartbeat import beat, period_for
from ..calls.observer import NOBODY, Observers
from ..calls.session import Session
from ..connections.duplex import Duplex
from ..logs import bind
from ..protocol.handshake import HandshakeResponse, encode_response
from .clients import Groups, HubClients
from .connected_client import ConnectedClient
from .filters import HubFilter
from .handshake import shake_hands
from .hub import Hub
from .hub_definition import HubDefinition
from .local_roster import LocalRoster
from .options import HubOptions
from .roster import Roster

if TYPE_CHECKING:
    from .app import HubApp


class ServedHub:
    """Serves the connections of a hub at a path.

    Args:
        hub: The hub's class.
        factory: Makes the instance for each invocation.
        options: The hub's options.
        filters: Its filters, from the outermost to the innermost.
        roster: The hub's connections, where it is at another path already: then these are of one hub, and what is
            sent to them follows the options there.
        observers: Who hears of its connections and calls.
        app: The app that offers it.

    Attributes:
        app: The app that offers it.
        options: The hub's options.
        observers: Who hears of its connections and calls.
        definition: All that is known of the hub.
        roster: Its connections.
        clients: Its clients, for callers outside of it.
        groups: Their groups.
        sessions: Those of its connections that came by this path, until their hub has heard of their end.
        leaving: The same from then on, until the last bytes have gone out.

    Raises:
        TypeError: A method's names clash or its annotations cannot be resolved, or the client's interface has
            something that cannot be called.
    """

    def __init__(
        self,
        hub: type[Hub[Any]],
        factory: Callable[[], Hub[Any]],
        options: HubOptions,
        filters: Sequence[HubFilter] = (),
        roster: Roster | None = None,
        observers: Observers = NOBODY,
        app: HubApp[Any] | None = None,
    ) -> None:
        self.app = app
        self.options = options
        self.observers = observers
        self._session_options = options.session_options()
        self.definition = HubDefinition.of(hub, factory, options, filters)
        self.roster: Roster = roster or LocalRoster.of(options)
        self.clients = HubClients(
            self.roster, self.definition.proxy, options.slow_clients, options.client_result_timeout
        )
        self.groups = Groups(self.roster)
        self.sessions: set[Session] = set()
        self.leaving: set[Session] = set()
        self._draining = False

    def drain(self) -> None:
        """End each connection, for its client to reconnect, as soon as none of its calls waits or runs."""
        self._draining = True
        for session in tuple(self.sessions):
            session.drain()

    async def watch(self) -> None:
        """Look after the connections, for pings, silence and slow clients; runs until cancelled."""
        await beat(lambda: self.sessions, period_for(*self.options.watched))

    async def handle(self, connection: Duplex) -> None:
        """Serve one connection until it ends; returns when all of its tasks have."""
        bind(
            connection_id=connection.id, hub=self.definition.hub.__qualname__, transport=connection.transport
        )
        agreed = await shake_hands(connection, self.definition)
        if agreed is None:
            return
        table, credits, rest = agreed
        assert connection.id is not None
        user = connection.user
        await self.roster.prepare(connection.id, None if user is None else user.id)
        client = ConnectedClient(self, table, connection, connection.id)
        session = client.session = Session(
            connection, table.protocol, client, client, self._session_options, credits
        )
        connection.on_end_asked = partial(session.end, allow_reconnect=True)
        if self._draining:
            session.drain()
        consent = HandshakeResponse(stream_credits=self.options.stream_buffer_capacity if credits else 0)
        session.outbox.put_control(encode_response(consent))
        self.sessions.add(session)
        self.observers.connection_opened(client.observed)
        try:
            await session.run(rest)
        finally:
            client.leave()
            self.leaving.discard(session)
            client.observed.too_slow = session.too_slow
            client.observed.received_bytes = session.received_bytes
            client.observed.sent_bytes = session.outbox.sent_bytes
            self.observers.connection_closed(client.observed)
            client.let_go()
