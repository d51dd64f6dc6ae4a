"""A Redis, or Valkey, for the benchmarks, which never outlives its block."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Final

PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")


@dataclass(frozen=True)
class RedisServer:
    """A running Redis."""

    port: int
    process: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Open a connection, on which Redis speaks its older protocol."""
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def memory(self) -> int:
        """The bytes that it has in use."""
        with self.connect() as connection, connection.makefile("rb") as lines:
            connection.sendall(b"INFO memory\r\n")
            return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"used_memory:"))


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a Redis that keeps nothing, and end it when the block is left."""
    if PROGRAM is None:
        raise SystemExit("there is no redis-server, and no valkey-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        command = [PROGRAM, "--bind", "127.0.0.1", "--port", f"{port}", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if not any("accept connections" in line for line in process.stdout):
                    raise RuntimeError("Redis did not start")
                yield RedisServer(port, process.pid)
            finally:
                process.kill()
