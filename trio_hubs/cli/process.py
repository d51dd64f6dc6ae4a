"""How a command runs and ends: always in order, and with an exit status that says which it was.

Signals are cancellation. Ctrl-C and SIGTERM cancel the command, so the peer is told; a server may first run empty
when it gets SIGTERM. Ctrl-C while it ends stops it at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..tasks import open_background

FAILED = 1
"""The exit status when the server answered with an error, or was lost."""
WRONG_INPUT = 2
"""The exit status when what the user asked for is not possible."""
INTERRUPTED = 128 + signal.SIGINT
READER_LEFT = 128 + 13
"""The exit status when standard output was closed, as in ``trio-hubs stream ... | head``: that of SIGPIPE."""


class Fault(Exception):
    """Wrong input; the text says what is wrong with it, in one line."""


def complain(text: str) -> None:
    """Write one line on standard error; all that cannot be printed becomes a space."""
    # What a server sends must not move the cursor or colour the terminal.
    visible = "".join(character if character.isprintable() else " " for character in text)
    print(f"trio-hubs: {' '.join(visible.split())}", file=sys.stderr)


def run(
    command: Callable[..., Awaitable[None]],
    *args: Any,
    on_terminate: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Run a command until it ends, or until a signal ends it in order.

    Args:
        command: What to run.
        *args: Its arguments.
        on_terminate: What to do at SIGTERM before the command is cancelled.

    Returns:
        0, or 128 and the signal's number.

    Raises:
        Exception: The command's exception, bare.
    """
    scope = trio.CancelScope()
    status = 0

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal status
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            received = await anext(signals)
            status = 128 + received
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if received == signal.SIGTERM and on_terminate is not None:
                await on_terminate()
            scope.cancel()
            async for _ in signals:
                pass  # it ends already

    async def watched() -> None:
        async with open_background() as nursery:
            await nursery.start(watch)
            with scope:
                await command(*args)

    trio.run(watched)
    return status
