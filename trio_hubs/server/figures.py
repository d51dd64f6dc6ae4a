"""Figures of an app, by hub and method and by connection: what monitors of any kind read.

They are an observer, which counts what has been, and looks at the sessions for what is. Names that clients made up are
one: ``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import inf

import attrs
import trio

from ..calls.observer import ObservedCall, ObservedConnection, Observer, Outcome
from .site import Site

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, inf)
"""The classes of calls' durations: seconds up to which each goes."""

OTHER = "other"
"""Stands for all methods that there are not."""


@attrs.define
class MethodFigures:
    """The calls of a method.

    Attributes:
        hub: The name of the hub's class.
        method: The method's wire name.
        outcomes: How many have ended so, by outcome; or were refused.
        durations: How many have ended within each of :data:`BOUNDS`, and above the one before.
        seconds: What those have taken together.
        argument_bytes: The size of all arguments.
        ended_items: What was streamed by those that have ended.
        running: Those that run.
    """

    hub: str
    method: str
    outcomes: Counter[Outcome] = attrs.field(factory=Counter[Outcome])
    durations: list[int] = attrs.field(factory=lambda: [0] * len(BOUNDS))
    seconds: float = 0.0
    argument_bytes: int = 0
    ended_items: int = 0
    running: set[ObservedCall] = attrs.field(factory=set[ObservedCall])

    @property
    def items(self) -> int:
        """How many items have been streamed to clients."""
        return self.ended_items + sum(call.items for call in self.running)


@attrs.define
class WayFigures:
    """The connections of a hub by one transport.

    Attributes:
        hub: The name of the hub's class.
        transport: What carries them; ``memory`` where nothing does.
        now: How many there are.
        opened: How many there have been.
        failed: How many of them have ended by an error.
    """

    hub: str
    transport: str
    now: int = 0
    opened: int = 0
    failed: int = 0


@attrs.define
class HubFigures:
    """What the connections of a hub keep at this moment, and have carried.

    Attributes:
        hub: The name of the hub's class.
        queued_bytes: What waits for clients to take it.
        waiting_calls: Calls that wait for their turn.
        received_bytes: What clients have sent, from the hub protocol on.
        sent_bytes: What they were sent.
    """

    hub: str
    queued_bytes: int = 0
    waiting_calls: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class Figures(Observer):
    """Figures of an app, from when it was added on.

    Args:
        site: What the app offers.

    Attributes:
        methods: By the names of hubs and methods.
        ways: By the names of hubs and transports.
    """

    def __init__(self, site: Site) -> None:
        self.methods: dict[tuple[str, str], MethodFigures] = {}
        self.ways: dict[tuple[str, str], WayFigures] = {}
        self._site = site
        self._hubs: dict[str | None, str] = {}  # of the connections that are open
        self._received: Counter[str] = Counter()  # bytes, by those that are not
        self._sent: Counter[str] = Counter()

    def connection_opened(self, connection: ObservedConnection) -> None:
        self._hubs[connection.id] = connection.hub
        way = self._way(connection)
        way.now += 1
        way.opened += 1

    def connection_closed(self, connection: ObservedConnection) -> None:
        self._received[connection.hub] += connection.received_bytes
        self._sent[connection.hub] += connection.sent_bytes
        if self._hubs.pop(connection.id, None) is None:
            return
        way = self._way(connection)
        way.now -= 1
        way.failed += connection.error is not None or connection.too_slow

    def call_began(self, call: ObservedCall) -> None:
        figures = self._method(call)
        figures.running.add(call)
        figures.argument_bytes += call.argument_bytes

    def call_ended(self, call: ObservedCall) -> None:
        figures = self._method(call)
        if call not in figures.running:
            return
        figures.running.remove(call)
        assert call.outcome is not None
        seconds = trio.current_time() - call.began_at
        figures.outcomes[call.outcome] += 1
        figures.durations[bisect_left(BOUNDS, seconds)] += 1
        figures.seconds += seconds
        figures.ended_items += call.items

    def call_refused(self, call: ObservedCall) -> None:
        self._method(call).outcomes[Outcome.REFUSED] += 1

    @property
    def hubs(self) -> Sequence[HubFigures]:
        """What the connections of each hub keep, and have carried."""
        found: dict[str, HubFigures] = {}
        for _, served in self._site.hubs:
            name = served.definition.hub.__qualname__
            figures = found.get(name)
            if figures is None:
                figures = found[name] = HubFigures(name, 0, 0, self._received[name], self._sent[name])
            for session in chain(served.sessions, served.leaving):
                figures.queued_bytes += session.outbox.size
                figures.waiting_calls += session.their_calls.waiting
                figures.received_bytes += session.received_bytes
                figures.sent_bytes += session.outbox.sent_bytes
        return list(found.values())

    def _known(self, hub: str, target: str) -> str:
        """The name of a hub's method that a client has written so, or what stands for all others."""
        for _, served in self._site.hubs:
            if served.definition.hub.__qualname__ == hub:
                for table in served.definition.tables.values():
                    if (method := table.methods.get(target.lower())) is not None:
                        return method.name
        return OTHER

    def _way(self, connection: ObservedConnection) -> WayFigures:
        key = connection.hub, str(connection.transport or "memory")
        return self.ways.setdefault(key, WayFigures(*key))

    def _method(self, call: ObservedCall) -> MethodFigures:
        hub = self._hubs.get(call.connection_id, OTHER)
        target = (
            self._known(hub, call.target) if call.outcome is Outcome.REFUSED or hub is OTHER else call.target
        )
        figures = self.methods.get((hub, target))
        if figures is None:
            figures = self.methods[hub, target] = MethodFigures(hub, target)
        return figures
