"""The child tasks of one invocation: they never outlive it.

Most invocations have none, and a nursery is dear. So the first child brings a task that holds a nursery open
for all of them until the invocation ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import trio

from ..tasks import bare, open_tasks


class Children:
    """Starts an invocation's child tasks, and at the end of its ``async with`` block waits for them.

    When the block raises, they are cancelled first. When one of them raises, the invocation is cancelled.

    Args:
        nursery: Where to hold their nursery open.
        scope: The invocation's scope.

    Attributes:
        failure: What a child has raised.
    """

    __slots__ = ("_asked_for", "_ended", "_gone", "_nursery", "_outer", "_parent_left", "failure", "scope")

    def __init__(self, nursery: trio.Nursery, scope: trio.CancelScope | None = None) -> None:
        self.scope = scope
        self.failure: Exception | None = None
        self._outer = nursery
        self._nursery: trio.Nursery | None = None
        self._asked_for: list[Callable[[trio.Nursery], None]] | None = None
        self._ended = False

    @property
    def any(self) -> bool:
        """Whether a child was ever started."""
        return self._asked_for is not None

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a child task.

        Raises:
            RuntimeError: The invocation is over.
        """
        if self._ended:
            raise RuntimeError("The invocation is over; it can start no more tasks.")
        if self._nursery is not None:
            self._nursery.start_soon(async_fn, *args)
            return
        context = copy_context()  # of the task that asks: the nursery is opened by another

        def start(nursery: trio.Nursery) -> None:
            context.run(nursery.start_soon, async_fn, *args)

        if self._asked_for is not None:
            self._asked_for.append(start)
        else:
            self._asked_for = [start]
            self._parent_left = trio.Event()
            self._gone = trio.Event()
            self._outer.start_soon(self._hold)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.any:
            self._ended = True
            return
        self._parent_left.set()
        try:
            if error is None:
                await self._gone.wait()
        finally:
            self.cancel()
            with trio.CancelScope(shield=True):
                await self._gone.wait()

    def cancel(self) -> None:
        """Cancel the children, and start no more."""
        self._ended = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _hold(self) -> None:
        """Hold a nursery open for the children, until the last of them has ended."""
        assert self._asked_for is not None
        try:
            async with open_tasks() as nursery:
                self._nursery = nursery
                for start in self._asked_for:
                    start(nursery)
                if self._ended:
                    nursery.cancel_scope.cancel()
                await self._parent_left.wait()
        except* Exception as group:  # noqa: BLE001 - the border to hub methods
            self.failure = bare(group)
            if self.scope is not None:
                self.scope.cancel()
        finally:
            self._ended = True
            self._gone.set()
