"""The standard streams of the command: what is written goes out whole, or it is said that it does not.

They may be closed, full, not blocking, or a pipe that nobody reads any more. What standard output does not take is
kept by nobody, so that it does not fail once more at the exit. Complaints go to standard error or nowhere.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import trio

from ..tasks import open_background
from .process import Fault

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_IN, _OUT, _ERROR = range(3)
_PLUGS = {_IN: os.O_RDONLY, _OUT: os.O_RDONLY, _ERROR: os.O_WRONLY}


def prepare() -> None:
    """Take over the standard streams of this process; before anything can be opened in the place of a closed one."""
    for descriptor, flags in _PLUGS.items():  # upwards, for each takes the lowest place that is free
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # writing to closed output goes on to fail
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(sys.stdout, _OUT, _write_out)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(sys.stderr, _ERROR, _write_error)


async def print_data(data: bytes) -> None:
    """Write to standard output, while everything else goes on; may be cancelled.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        Fault: It takes no more.
    """
    await trio.to_thread.run_sync(_write_out, data, abandon_on_cancel=True)


@asynccontextmanager
async def while_read() -> AsyncGenerator[None]:
    """Cancel the body when nobody reads standard output any more, if it is a pipe.

    Raises:
        BrokenPipeError: Nobody does.
    """
    left = False

    async def watch() -> None:
        nonlocal left
        if stat.S_ISFIFO(os.fstat(_OUT).st_mode):
            await trio.lowlevel.wait_readable(_OUT)  # which this end of a pipe is once the other is closed
            left = True
            nursery.cancel_scope.cancel()

    async with open_background() as nursery:
        nursery.start_soon(watch)
        yield
    if left:
        raise BrokenPipeError


class _Raw(io.RawIOBase):
    """A descriptor that takes all of what is written, at once."""

    def __init__(self, descriptor: int, write: Callable[[ReadableBuffer], None]) -> None:
        self._descriptor = descriptor
        self._write = write

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer) -> int:
        self._write(data)
        return memoryview(data).nbytes


def _text(known: TextIO | None, descriptor: int, write: Callable[[ReadableBuffer], None]) -> TextIO:
    raw = _Raw(descriptor, write)
    encoding, errors = (known.encoding, known.errors) if known is not None else ("utf-8", None)
    return io.TextIOWrapper(raw, encoding, errors, write_through=True)  # type: ignore[type-var]  # raw, and whole


def _write_out(data: ReadableBuffer) -> None:
    try:
        _write(_OUT, data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Fault(f"cannot write to standard output: {error.strerror}") from error


def _write_error(data: ReadableBuffer) -> None:
    with suppress(OSError):
        _write(_ERROR, data)


def _write(descriptor: int, data: ReadableBuffer) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())
