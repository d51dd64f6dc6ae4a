"""The sleep of a task that watches deadlines: its own lateness counts for none of them."""

from __future__ import annotations

import trio


async def sleep_late(period: float) -> float:
    """Sleep; tasks that our own slowness has kept from running run first.

    Returns:
        By how much the sleep was longer than the period, if it took twice as long or more; else 0. No deadline of
        another should count that time; but what was due by then still comes, or it never would while we stay slow.
    """
    before = trio.current_time()
    await trio.sleep(period)
    if trio.current_time() - before < 2 * period:
        return 0.0
    await trio.lowlevel.checkpoint()
    return trio.current_time() - before - period
