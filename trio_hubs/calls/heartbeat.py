"""One timer for the keep-alive and the timeouts of many connections, instead of a task each."""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio

from ..connections.timer import sleep_late
from .session import Session


async def beat(sessions: Callable[[], Collection[Session]], period: float) -> None:
    """Tick every session again and again; runs until cancelled.

    When this task itself comes late, our process was too busy to hear anybody: that counts for nobody's silence.

    Args:
        sessions: Gives the sessions of the moment.
        period: Seconds between ticks; timeouts may be noticed so much later.
    """
    while True:
        late = await sleep_late(period)
        _tick_all(tuple(sessions()), trio.current_time(), late)


def _tick_all(sessions: Collection[Session], now: float, late: float) -> None:
    """A function of its own, so that the last one is not kept in a variable while the beat sleeps."""
    for session in sessions:
        session.tick(now, late=late)


def period_for(*seconds: float) -> float:
    """The seconds between ticks for these intervals and timeouts: a quarter of the shortest, at most one."""
    return min(1.0, *(interval / 4 for interval in seconds))
