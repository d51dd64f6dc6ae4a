"""A Redis, or Valkey, for the tests that stand on one."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .conftest import absent


class RedisProcess:
    """A Redis, on a Unix socket and a port, which can be killed and started again.

    Attributes:
        url: Its address on the socket.
        address: Its host and port.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            absent("there is no redis-server")
        path = folder / "redis.sock"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"unix://{path}"
        self.address = f"127.0.0.1:{port}"
        self._command = [program, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path)]
        self._command += ["--save", "", "--dir", str(folder)]
        self._process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert any("accept connections" in line for line in self._process.stdout)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)
