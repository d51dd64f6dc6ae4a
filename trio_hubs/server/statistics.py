"""What an app counts: an observer of what its limits have done."""

from __future__ import annotations

import attrs

from ..calls.observer import ObservedCall, ObservedConnection, Observer
from ..calls.refusals import TooManyCalls, TooManyStreams


@attrs.frozen(kw_only=True)
class Statistics:
    """What an app has to do with its limits.

    Attributes:
        connections: How many connections there are.
        refused_connections: How many were turned away, for a limit's sake or while draining.
        refused_calls: How many calls were answered with an error for a limit's sake.
        slow_clients: How many clients were disconnected for being too slow.
        dropped_messages: How many messages were dropped or replaced, as their senders had asked.
    """

    connections: int
    refused_connections: int
    refused_calls: int
    slow_clients: int
    dropped_messages: int


class LimitCounter(Observer):
    """Counts what limits have done.

    Attributes:
        refused_calls: How many calls were answered with an error for a limit's sake.
        slow_clients: How many clients were disconnected for being too slow.
    """

    def __init__(self) -> None:
        self.refused_calls = self.slow_clients = 0

    def connection_closed(self, connection: ObservedConnection) -> None:
        self.slow_clients += connection.too_slow

    def call_refused(self, call: ObservedCall) -> None:
        self.refused_calls += isinstance(call.error, TooManyCalls | TooManyStreams)
