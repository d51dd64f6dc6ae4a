"""A coroutine in a context of its own, in a task that has another: what it sets, the task's next one does not see."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any


class InContext:
    """Awaits a coroutine, each of whose steps runs in a context.

    Args:
        coroutine: What to await.
        context: Where to run it.
    """

    __slots__ = ("_coroutine", "_run")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine = coroutine
        self._run = context.run

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]  # as much of one as awaiting asks for

    def __next__(self) -> Any:
        return self._run(self._coroutine.send, None)

    def send(self, value: Any) -> Any:
        return self._run(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._run(self._coroutine.throw, *error)
