"""What may go on for a call of the peer's while it waits for the peer itself, so that they never wait for each other.

The context of such a call says it, so that the functions that it waits in need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TypeAlias

Meanwhile: TypeAlias = Callable[[], AbstractContextManager[None]]

MEANWHILE: ContextVar[Meanwhile] = ContextVar("meanwhile", default=nullcontext)
"""Held open while a task waits for the peer."""
