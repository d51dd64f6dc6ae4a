"""The child tasks of one invocation: they never outlive it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio


class Children:
    """Starts child tasks in an invocation's nursery.

    A method that runs without a task of its own has no nursery yet; its children, which could not start
    before it returns anyway, wait until there is one.
    """

    __slots__ = ("_nursery", "_over", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]] = []
        self._nursery: trio.Nursery | None = None
        self._over = False

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a child task.

        Raises:
            RuntimeError: The invocation is over.
        """
        if self._nursery is not None:
            self._nursery.start_soon(async_fn, *args)
        elif self._over:
            raise RuntimeError("The invocation is over; it can start no more tasks.")
        else:
            self.waiting.append((async_fn, args))

    def enter(self, nursery: trio.Nursery) -> None:
        """From now on children run in this nursery."""
        self._nursery = nursery
        for async_fn, args in self.waiting:
            nursery.start_soon(async_fn, *args)
        self.waiting.clear()

    def close(self) -> None:
        """The invocation is over, and had no children."""
        self._over = True
