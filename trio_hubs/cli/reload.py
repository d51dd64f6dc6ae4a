"""``serve --reload``: the app is served by a process of its own, and by another one when a source has changed.

The sockets stay open here, so that whoever connects meanwhile waits instead of being refused. Sources are the Python
files of the current folder, looked at again and again: no watcher of the system's sees each folder that others mount.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import attrs
import trio

from ..connections.server.listeners import AnyListener, UnixListener
from ..tasks import open_background
from .log_lines import LogLines
from .process import complain
from .server import Doors

INTERVAL = 0.5
"""Seconds between two looks."""
PATIENCE = 15.0
"""Seconds that a process has to end after it has run empty."""

Sources: TypeAlias = dict[str, tuple[int, int]]

_NO_SOURCES = {"node_modules", "__pycache__"}


def sources(folder: Path) -> Sources:
    """The Python files of a folder, with what changes when they do; virtual environments and the like are left out."""
    found: Sources = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not (name.startswith(".") or name in _NO_SOURCES or Path(place, name, "pyvenv.cfg").exists())
        ]
        for name in files:
            if name.endswith(".py"):
                path = Path(place, name)
                try:
                    status = path.stat()
                except FileNotFoundError:  # it goes just now, or is a link to nothing
                    continue
                found[str(path.relative_to(folder))] = (status.st_mtime_ns, status.st_size)
    return found


async def wait_changed(folder: Path, before: Sources) -> list[str]:
    """Wait until the sources are others than they were.

    Returns:
        Which are.
    """
    while (now := sources(folder)) == before:  # noqa: ASYNC110  # the files have no event
        await trio.sleep(INTERVAL)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def words_of(options: Mapping[str, object]) -> list[str]:
    """What says this on a command line; an option that is off, or ``None``, is left out."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            words += [word for each in value for word in (option, str(each))]
        elif value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


async def serve_again(name: str, doors: Doors, drain: float, notice: float, log: LogLines) -> None:
    """Serve an app, and again after each change, until cancelled.

    Args:
        name: The app, as in :func:`.find_app`.
        doors: Where.
        drain: Seconds that each process may take to run empty.
        notice: Seconds before that in which all goes on.
        log: What each logs.
    """

    async def end(process: trio.Process) -> None:
        process.terminate()
        await trio.sleep(notice + drain + PATIENCE)
        process.kill()

    async def serve(command: list[str], descriptors: list[int]) -> None:
        done = await trio.run_process(
            command, stdin=None, check=False, pass_fds=descriptors, deliver_cancel=end
        )
        complain(f"the server has ended with status {done.returncode}, until a file changes")

    folder = Path.cwd()
    async with doors.open(tls=False) as listeners:
        descriptors = [_descriptor(listener) for listener in listeners]
        inner = attrs.evolve(doors, host=None, port=None, uds=None, fd=tuple(descriptors))
        options = {"drain": drain, "notice": notice, **_options(log), **_options(inner)}
        command = [sys.executable, "-m", "trio_hubs", "serve", name, *words_of(options)]
        while True:
            before = sources(folder)
            async with open_background() as nursery:
                nursery.start_soon(serve, command, descriptors)
                changed = await wait_changed(folder, before)
            complain(f"changed: {', '.join(changed[:3])}{' and more' if changed[3:] else ''}")


def _options(group: LogLines | Doors) -> dict[str, object]:
    return attrs.asdict(group, recurse=False)


def _descriptor(listener: AnyListener) -> int:
    assert isinstance(listener, trio.SocketListener | UnixListener)
    return listener.socket.fileno()
