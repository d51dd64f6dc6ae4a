"""The sleep of a task that looks after others' deadlines: when it comes late, that is no fault of theirs."""

from __future__ import annotations

import trio


async def sleep_late(period: float) -> float:
    """Sleep for so many seconds; those whom our own slowness has kept from running run first.

    Returns:
        By how much it was longer, where it has become twice as long, or more; else 0. Nobody's deadline should count
        that; but whatever was due by then still comes, for else it never would while we are always slow.
    """
    before = trio.current_time()
    await trio.sleep(period)
    if trio.current_time() - before < 2 * period:
        return 0.0
    await trio.lowlevel.checkpoint()
    return trio.current_time() - before - period
