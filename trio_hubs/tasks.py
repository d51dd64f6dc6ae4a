"""Nurseries that do not wrap exceptions into groups.

A plain nursery wraps the exceptions of its body and of its tasks into an exception group. Ours must not: a user's
exception leaves each of our blocks as it was raised, even if it is a group itself. A task's single exception leaves
without the groups of one that wrapped it. KeyboardInterrupt, SystemExit and a test's failure leave alone, even if
other exceptions were raised as well, so that ``except KeyboardInterrupt`` matches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import overload

import trio


def open_tasks() -> AbstractAsyncContextManager[trio.Nursery]:
    """Open a nursery whose tasks the end of the body waits for, as trio's does.

    Yields:
        The nursery.

    Raises:
        BaseException: The exception of the body or of a task, bare.
    """
    return _open(background=False)


def open_background() -> AbstractAsyncContextManager[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the body ends.

    Yields:
        The nursery.

    Raises:
        BaseException: The exception of the body or of a task, bare.
    """
    return _open(background=True)


@contextmanager
def unwrapping() -> Iterator[None]:
    """Unwrap the exceptions of a body that runs a library's code, with nurseries of its own."""
    try:
        yield
        return
    except BaseExceptionGroup as group:
        outcome = _outcome(group, None)
    try:
        raise outcome
    finally:
        del outcome


@overload
def bare(error: Exception) -> Exception: ...
@overload
def bare(error: BaseException) -> BaseException: ...
def bare(error: BaseException) -> BaseException:
    """The one exception that nurseries have wrapped, or the group where there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def _open(*, background: bool) -> AsyncGenerator[trio.Nursery]:
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                failure = error
                raise
            finally:
                if background:
                    nursery.cancel_scope.cancel()
        return
    except BaseExceptionGroup as group:
        outcome = _outcome(group, failure)
    try:
        raise outcome
    finally:
        del failure, outcome  # else the traceback and this frame keep each other alive


def _outcome(group: BaseExceptionGroup[BaseException], failure: BaseException | None) -> BaseException:
    """What shall come out of a nursery that ended with this group, and whose body failed so."""
    _, rest = group.split(trio.Cancelled)
    if rest is None:
        return next(_leaves(group))
    leaves = list(_leaves(rest))
    of_body = set(map(id, _leaves(failure))) if failure is not None else set[int]()
    if failure is not None and all(id(leaf) in of_body for leaf in leaves):
        return failure
    for leaf in leaves:
        if not isinstance(leaf, Exception):
            if len(leaves) > 1:
                leaf.__cause__ = rest
            return leaf
    return bare(rest)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of the groups in it; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
