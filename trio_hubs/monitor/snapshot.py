"""What a viewer is told: the looks at all processes as one, with rates since the looks before.

A process counts for rates from its second look on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import attrs

from ..server.statistics import Statistics
from .look import ClientLook, GroupLook, HubLook, Look, MethodLook, largest_groups, most_queued

MAXIMUM_METHODS = 100
"""How many methods are told of: those that were called most."""

Looks: TypeAlias = Mapping[str, Look]
"""Looks by the names of their processes."""

Row = TypeVar("Row", MethodLook, HubLook, GroupLook)
_Key: TypeAlias = tuple[str, ...]


@attrs.frozen(kw_only=True)
class MethodLine:
    """A method.

    Attributes:
        hub: The name of the hub's class.
        method: The method's wire name; ``other`` stands for all that there are not.
        calls_per_second: Calls that have ended, or were refused.
        running: Calls that run.
        mean_seconds: How long those have run that have ended since the snapshot before; ``None`` where none has.
        errors: Calls that have failed, or were refused, so far.
        items_per_second: Items that were streamed to clients.
    """

    hub: str
    method: str
    calls_per_second: float | None
    running: int
    mean_seconds: float | None
    errors: int
    items_per_second: float | None


@attrs.frozen(kw_only=True)
class HubLine:
    """A hub.

    Attributes:
        hub: The name of its class.
        websockets: How many connections there are over WebSockets.
        server_sent_events: Over Server-Sent Events.
        long_polling: Over long polling.
        groups: How many groups have members; one with members at several processes counts for each.
        waiting_calls: Calls that wait for their turn.
        queued_bytes: What waits for clients to take it.
        received_per_second: Bytes that clients have sent.
        sent_per_second: Bytes that they were sent.
    """

    hub: str
    websockets: int
    server_sent_events: int
    long_polling: int
    groups: int
    waiting_calls: int
    queued_bytes: int
    received_per_second: float | None
    sent_per_second: float | None


@attrs.frozen(kw_only=True)
class Snapshot:
    """What an app is doing. Rates are ``None`` in the first one.

    Attributes:
        processes: How many processes it is of.
        expected: How many there are; ``None`` where the others cannot be reached.
        draining: How many of these are running empty, or will before long.
        statistics: What they have to do with their limits.
        methods: Those that were called most, from the most on.
        more_methods: How many others were called.
        hubs: All.
        groups: The largest, from the largest on.
        clients: Those that most waits for, from the most on.
    """

    processes: int
    expected: int | None
    draining: int
    statistics: Statistics
    methods: list[MethodLine]
    more_methods: int
    hubs: list[HubLine]
    groups: list[GroupLook]
    clients: list[ClientLook]

    @classmethod
    def of(cls, looks: Looks, before: Looks, seconds: float, expected: int | None) -> Snapshot:
        """Make one.

        Args:
            looks: What the processes are doing.
            before: What they were doing before.
            seconds: How long ago that was.
            expected: How many processes there are.
        """
        both = [name for name in looks if name in before]
        growth = _Growth([looks[name] for name in both], [before[name] for name in both], seconds)
        every = looks.values()
        methods = sorted(_summed(look.methods for look in every).values(), key=_called, reverse=True)
        return cls(
            processes=len(looks),
            expected=expected,
            draining=sum(look.draining for look in every),
            statistics=Statistics(
                **{
                    each.name: sum(getattr(look.statistics, each.name) for look in every)
                    for each in attrs.fields(Statistics)
                }
            ),
            methods=[_method(each, growth) for each in methods[:MAXIMUM_METHODS]],
            more_methods=max(0, len(methods) - MAXIMUM_METHODS),
            hubs=[_hub(each, growth) for each in _summed(look.hubs for look in every).values()],
            groups=largest_groups(_summed(look.groups for look in every).values()),
            clients=most_queued(client for look in every for client in look.clients),
        )


class _Growth:
    """What has grown between two looks at the same processes."""

    def __init__(self, now: list[Look], before: list[Look], seconds: float) -> None:
        self._seconds = seconds if now else None
        self._now, self._before = _rows(now), _rows(before)

    def __call__(self, key: _Key, name: str) -> float | None:
        """How much something of a row has grown; ``None`` where nothing is known of before."""
        if self._seconds is None:
            return None
        now, before = self._now.get(key), self._before.get(key)
        return float(getattr(now, name, 0) - getattr(before, name, 0))

    def rate(self, key: _Key, name: str) -> float | None:
        """The same a second."""
        grown = self(key, name)
        return None if grown is None or self._seconds is None else grown / self._seconds


def _rows(looks: list[Look]) -> Mapping[_Key, Any]:
    return {**_summed(look.methods for look in looks), **_summed(look.hubs for look in looks)}


def _summed(rows: Iterable[Iterable[Row]]) -> dict[_Key, Row]:
    """The rows of all processes, by their texts: those about the same are one, whose numbers are the sums."""
    found: dict[_Key, Row] = {}
    for row in chain.from_iterable(rows):
        fields = attrs.asdict(row, recurse=False)
        key = tuple(value for value in fields.values() if isinstance(value, str))
        known = found.get(key)
        numbers = {name: value for name, value in fields.items() if not isinstance(value, str)}
        sums = {name: value + getattr(known, name, 0) for name, value in numbers.items()}
        found[key] = attrs.evolve(row, **sums)
    return found


def _called(method: MethodLook) -> int:
    return method.ended + method.running


def _method(method: MethodLook, growth: _Growth) -> MethodLine:
    key = method.hub, method.method
    ran, seconds = growth(key, "ran"), growth(key, "seconds")
    return MethodLine(
        hub=method.hub,
        method=method.method,
        calls_per_second=growth.rate(key, "ended"),
        running=method.running,
        mean_seconds=seconds / ran if ran and seconds is not None else None,
        errors=method.errors,
        items_per_second=growth.rate(key, "items"),
    )


def _hub(hub: HubLook, growth: _Growth) -> HubLine:
    return HubLine(
        hub=hub.hub,
        websockets=hub.websockets,
        server_sent_events=hub.server_sent_events,
        long_polling=hub.long_polling,
        groups=hub.groups,
        waiting_calls=hub.waiting_calls,
        queued_bytes=hub.queued_bytes,
        received_per_second=growth.rate((hub.hub,), "received_bytes"),
        sent_per_second=growth.rate((hub.hub,), "sent_bytes"),
    )
