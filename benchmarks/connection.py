"""The load generator's end of a hub connection: a blocking socket, past its WebSocket and hub handshakes.

Many are opened together, each step for all of them before the next, so that the server never waits.
"""

from __future__ import annotations

import base64
import contextlib
import socket
from typing import Final
from urllib.parse import urlsplit

from benchmarks.wire import CLOSE, Inbox, client_text, record

PATIENCE: Final = 10.0  # seconds without a byte after which a load has failed
HANDSHAKE: Final = client_text(record(protocol="json", version=1))
_buffer: Final = bytearray(1 << 18)


class Connection:
    """A socket and its inbox."""

    __slots__ = ("inbox", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inbox = Inbox()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def receive(self) -> int:
        """Receive what is there, or wait for something; return how many records it ended."""
        size = self.socket.recv_into(_buffer)
        if not size:
            raise ConnectionError(f"the server closed the connection after {self.inbox.last!r}")
        return self.inbox.feed(_buffer, size)

    def finish_upgrade(self) -> None:
        """Read the answer to the WebSocket's upgrade."""
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            data = self.socket.recv(4096)
            if not data:
                break
            answer += data
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"no WebSocket: {answer!r}")

    def finish_handshake(self) -> None:
        """Read the answer to the hub's handshake, and make ready for the load."""
        while not self.receive():
            pass
        if self.inbox.first_record():
            raise ConnectionError(f"handshake refused: {self.inbox.first!r}")
        self.inbox = Inbox()
        self.socket.settimeout(None)

    def close(self) -> None:
        """Say goodbye and leave, without waiting for an answer."""
        with contextlib.suppress(OSError):
            self.send(CLOSE)
        self.socket.close()


def open_connections(url: str, count: int) -> list[Connection]:
    """Open `count` connections to the load hub of the server at `url`, past their handshakes."""
    where = urlsplit(url)
    address = (where.hostname or "127.0.0.1", where.port or 80)
    key = base64.b64encode(bytes(16)).decode()
    upgrade = (
        f"GET /hub HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()
    connections: list[Connection] = []
    for _ in range(count):
        connections.append(Connection(address))
        connections[-1].send(upgrade)
    for connection in connections:
        connection.finish_upgrade()
        connection.send(HANDSHAKE)
    for connection in connections:
        connection.finish_handshake()
    return connections
