"""A walk through all moments of a scenario: it is cancelled at the first, then at the second, until it ends by itself.

A moment is before or after a step of any of its tasks: what the task waited for has come, or it waits again.
"""

from collections.abc import Awaitable, Callable
from itertools import count

import trio

PATIENCE = 30.0
"""Seconds that a cancelled scenario may take to end: above the time of each goodbye."""


class _Canceller(trio.abc.Instrument):
    """Cancels a scope at a moment of the tasks below one.

    Attributes:
        moments: How many there have been.
    """

    def __init__(self, root: trio.lowlevel.Task, scope: trio.CancelScope, moment: int) -> None:
        self.moments = 0
        self._root = root
        self._scope = scope
        self._moment = moment

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        at: trio.lowlevel.Task | None = task
        while at is not None and at is not self._root:
            at = at.parent_nursery.parent_task if at.parent_nursery else None
        if at is None:
            return
        self.moments += 1
        if self.moments == self._moment:
            self._scope.cancel()


async def walk(
    scenario: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]], *, stride: int = 1
) -> int:
    """Cancel a scenario at each of its moments.

    Args:
        scenario: What is cancelled; run anew for each moment.
        check: Run after each, to assert what must hold then.
        stride: Take one of so many moments.

    Returns:
        How many moments there are.
    """
    for moment in count(1, stride):
        scope = trio.CancelScope()
        canceller = _Canceller(trio.lowlevel.current_task(), scope, moment)
        trio.lowlevel.add_instrument(canceller)
        began = trio.current_time()
        try:
            with scope:
                await scenario()
        finally:
            trio.lowlevel.remove_instrument(canceller)
        assert trio.current_time() - began < PATIENCE
        await check()
        if canceller.moments < moment:
            return canceller.moments
    raise AssertionError
