"""The servers that are compared: each a process of its own that never outlives its block."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A server: its name, the command that starts it, why it cannot be, if it cannot, and what it offers."""

    name: str
    command: tuple[str, ...]
    absent: str = ""
    only_websockets: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Start the server, and end it when the block is left."""
        with subprocess.Popen([*self.command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line.startswith("listening "):
                    raise RuntimeError(f"{self.name} did not start: {line!r}")
                yield Server(line.split()[1], process.pid, self.only_websockets)
            finally:
                process.kill()


@dataclass(frozen=True)
class Server:
    """A running peer."""

    url: str
    process: int
    only_websockets: bool


def peers() -> list[Peer]:
    """All that there are, trio_hubs first."""
    dotnet = os.environ.get("TRIO_HUBS_DOTNET_PEER", "")
    aiosignalr = importlib.util.find_spec("aiosignalr")
    return [
        Peer("trio_hubs", (sys.executable, "-m", "benchmarks.load_server")),
        Peer(
            "workers",  # two of ours
            (sys.executable, "-m", "trio_hubs", "serve", "benchmarks.load_server:make_app", "--workers", "2"),
        ),
        Peer(
            "aiosignalr",
            (sys.executable, "-m", "benchmarks.aiosignalr_server"),
            "" if aiosignalr else "not installed: it is in the dependency group 'bench'",
        ),
        Peer(
            "dotnet",
            (dotnet, "server"),
            "" if dotnet else "TRIO_HUBS_DOTNET_PEER does not name its executable",
        ),
        Peer("floor", (sys.executable, "-m", "benchmarks.floor_server"), only_websockets=True),
    ]
