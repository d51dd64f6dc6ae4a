"""A nursery for tasks that serve a body of code: they end with it, and its exceptions leave bare.

A plain nursery wraps what its body raises into an exception group. Code that opens a connection for
a user must not: the user's own exception has to come out as it went in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
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
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:
                failure = error
                raise
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if failure is None:
            raise
        known = set(map(id, _leaves(failure)))
        if not all(id(error) in known or isinstance(error, trio.Cancelled) for error in _leaves(group)):
            raise
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # else the traceback and this frame keep each other alive


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of the groups in it; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
