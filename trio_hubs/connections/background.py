"""A nursery for tasks that serve a body of code: they end with it, and its exceptions leave bare.

A plain nursery wraps what its body raises into an exception group. Code that opens a connection for
a user must not: the user's own exception has to come out as it went in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the body ends.

    The tasks must not raise: what goes wrong in them they record where the body will see it.

    Yields:
        The nursery.

    Raises:
        Exception: Whatever the body raised, bare.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure, *others = group.exceptions
        if others:  # besides the body's, our cancellation
            raise
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # else the traceback and this frame keep each other alive
