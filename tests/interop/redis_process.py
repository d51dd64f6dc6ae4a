"""A Redis, or Valkey, for the tests that stand on one: alone, with Sentinel, or as a Cluster."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import coredis

from .conftest import absent

NODE_TIMEOUT = 2000  # milliseconds after which a cluster's node counts as dead


def free_port() -> int:
    """A port that nobody listens on, nor connects from: the system takes higher ones for that."""
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class RedisProcess:
    """A Redis, on a Unix socket and a port, which can be killed and started again.

    Args:
        folder: Where it keeps its files.
        options: Of the command, besides the usual ones.
        config: What its configuration file says.
        ready: Stands in the line that it prints when it has started.

    Attributes:
        url: Its address on the socket.
        port: Its port.
        address: Its host and port.
    """

    def __init__(
        self, folder: Path, *options: str, config: str = "", ready: str = "accept connections"
    ) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            absent("there is no redis-server")
        folder.mkdir(exist_ok=True)
        path = folder / "redis.sock"
        self.port = free_port()
        self.url = f"unix://{path}"
        self.address = f"127.0.0.1:{self.port}"
        self._ready = ready
        (folder / "redis.conf").write_text(f"dir {folder}\n{config}\n")  # which Sentinel rewrites
        self._command = [program, str(folder / "redis.conf"), "--bind", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--unixsocket", str(path), "--save", "", *options]
        self._process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if self._ready in line:
                return
        raise AssertionError("".join(said))

    def ask(self, *command: str) -> str:
        """What it answers to a command."""
        program = shutil.which("redis-cli") or shutil.which("valkey-cli")
        assert program is not None
        ask = [program, "-p", str(self.port), *command]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()

    def is_replica(self) -> bool:
        """Whether it is a replica, and has all that its primary has."""
        role = self.ask("role").split()
        return role[0] == "slave" and role[3] == "connected"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def channels(self) -> set[str]:
        """What anybody hears."""
        async with coredis.Redis.from_url(self.url, decode_responses=True) as client:
            return set(await client.pubsub_channels())

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class RedisClusterProcesses:
    """Three nodes, and a replica of the first.

    Attributes:
        nodes: The nodes; the replica is the last.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes = [
            RedisProcess(
                folder / str(number),
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                str(free_port()),
                "--cluster-node-timeout",
                str(NODE_TIMEOUT),
                "--repl-diskless-sync-delay",
                "0",
            )
            for number in range(4)
        ]
        first, second, third, replica = self.nodes
        addresses = [each.address for each in (first, second, third)]
        first.ask("--cluster", "create", *addresses, "--cluster-yes")
        id = first.ask("cluster", "myid")
        first.ask(
            "--cluster",
            "add-node",
            replica.address,
            first.address,
            "--cluster-slave",
            "--cluster-master-id",
            id,
        )

        while not replica.is_replica():
            time.sleep(0.05)

    def primary_and_replica(self) -> tuple[RedisProcess, RedisProcess]:
        """Those two of which one can take the other's place."""
        first, *_, last = self.nodes
        return (last, first) if first.is_replica() else (first, last)

    def kill(self) -> None:
        for each in self.nodes:
            each.kill()
