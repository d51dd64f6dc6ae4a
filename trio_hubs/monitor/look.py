"""What one process is doing: what is there at one moment, and totals since it began to count.

It is bounded, whatever clients do: of groups and clients the largest are in it, and long names are cut. There are no
more methods than the app has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest
from typing import Any

import attrs
import trio

from ..calls.observer import Outcome
from ..calls.session import Session
from ..protocol.negotiate import Transport
from ..server.app import HubApp
from ..server.figures import HubFigures, MethodFigures
from ..server.statistics import Statistics

MAXIMUM_GROUPS = MAXIMUM_CLIENTS = 20
"""How many groups are told of, the largest, and how many clients, those that most waits for."""
MAXIMUM_NAME = 64
"""Characters of a name."""


@attrs.frozen
class MethodLook:
    """A method's calls: those that run, and totals of those that have ended.

    Attributes:
        hub: The name of the hub's class.
        method: The method's wire name.
        running: How many run.
        ended: How many have ended, or were refused.
        ran: How many of these have run.
        errors: How many of these have failed, or were refused.
        items: How many items were streamed to clients.
        seconds: What those that have ended took together.
    """

    hub: str
    method: str
    running: int
    ended: int
    ran: int
    errors: int
    items: int
    seconds: float

    @classmethod
    def of(cls, figures: MethodFigures) -> MethodLook:
        """Make it of a method's figures."""
        outcomes = figures.outcomes
        ended, refused = outcomes.total(), outcomes[Outcome.REFUSED]
        return cls(
            figures.hub,
            figures.method,
            len(figures.running),
            ended,
            ended - refused,
            outcomes[Outcome.FAILED] + refused,
            figures.items,
            figures.seconds,
        )


@attrs.frozen
class HubLook:
    """A hub's connections and groups, and totals of what its connections have carried.

    Attributes:
        hub: The name of the hub's class.
        websockets: How many there are, over WebSockets.
        server_sent_events: Over Server-Sent Events.
        long_polling: Over long polling.
        groups: How many groups have members.
        waiting_calls: Calls that wait for their turn.
        queued_bytes: What waits for clients to take it.
        received_bytes: What clients have sent.
        sent_bytes: What they were sent.
    """

    hub: str
    websockets: int
    server_sent_events: int
    long_polling: int
    groups: int
    waiting_calls: int
    queued_bytes: int
    received_bytes: int
    sent_bytes: int


@attrs.frozen
class GroupLook:
    """A group.

    Attributes:
        hub: The name of the hub's class.
        group: Its name, or the beginning of it.
        members: How many connections are in it.
    """

    hub: str
    group: str
    members: int


@attrs.frozen
class ClientLook:
    """A client that does not take what is being sent to it as fast as it comes.

    Attributes:
        hub: The name of the hub's class.
        id: Its connection's id.
        user: Its user's id, or the beginning of it; ``None`` for nobody known.
        transport: What carries its connection.
        queued_bytes: What waits for it.
        stuck_seconds: For how long it has taken nothing.
    """

    hub: str
    id: str
    user: str | None
    transport: str
    queued_bytes: int
    stuck_seconds: float


@attrs.frozen
class Look:
    """A process.

    Attributes:
        draining: Whether it is running empty, or will before long.
        statistics: What it has to do with its limits.
        methods: Those that were called.
        hubs: All.
        groups: The largest.
        clients: Those that most waits for.
    """

    draining: bool
    statistics: Statistics
    methods: list[MethodLook]
    hubs: list[HubLook]
    groups: list[GroupLook]
    clients: list[ClientLook]

    @classmethod
    def at(cls, app: HubApp[Any]) -> Look:
        """Look at an app."""
        figures = app.figures
        rosters = {served.roster: served.definition.hub.__qualname__ for _, served in app.site.hubs}
        sizes = [(hub, roster.group_sizes) for roster, hub in rosters.items()]
        numbers = Counter[str]()
        for hub, groups in sizes:
            numbers[hub] += len(groups)
        largest = nlargest(
            MAXIMUM_GROUPS,
            ((members, name, hub) for hub, groups in sizes for name, members in groups.items()),
        )
        return cls(
            app.draining,
            app.statistics(),
            list(map(MethodLook.of, figures.methods.values())),
            [_hub(app, each, numbers[each.hub]) for each in figures.hubs],
            largest_groups(GroupLook(hub, name, members) for members, name, hub in largest),
            most_queued(
                _client(served.definition.hub.__qualname__, session)
                for _, served in app.site.hubs
                for session in served.sessions
                if session.outbox.times.sending_since is not None
            ),
        )


def largest_groups(groups: Iterable[GroupLook]) -> list[GroupLook]:
    """The largest groups."""
    largest = nlargest(MAXIMUM_GROUPS, groups, key=lambda each: each.members)
    return [attrs.evolve(each, group=_short(each.group)) for each in largest]


def most_queued(clients: Iterable[ClientLook]) -> list[ClientLook]:
    """Those clients that most waits for."""
    return nlargest(MAXIMUM_CLIENTS, clients, key=lambda each: (each.queued_bytes, each.stuck_seconds))


def _hub(app: HubApp[Any], figures: HubFigures, groups: int) -> HubLook:
    ways = app.figures.ways
    websockets, events, polls = (
        ways[key].now if (key := (figures.hub, transport.value)) in ways else 0 for transport in Transport
    )
    return HubLook(
        figures.hub,
        websockets,
        events,
        polls,
        groups,
        figures.waiting_calls,
        figures.queued_bytes,
        figures.received_bytes,
        figures.sent_bytes,
    )


def _client(hub: str, session: Session) -> ClientLook:
    connection = session.connection
    user = None if connection.user is None else connection.user.id
    return ClientLook(
        hub,
        connection.id or "",
        None if user is None else _short(user),
        str(connection.transport or "memory"),
        session.outbox.size,
        session.outbox.times.stuck(trio.current_time()),
    )


def _short(name: str) -> str:
    """A name, or the beginning of it, as it can be sent."""
    text = name if len(name) <= MAXIMUM_NAME else f"{name[: MAXIMUM_NAME - 1]}…"
    return text.encode(errors="replace").decode()
