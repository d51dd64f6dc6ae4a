"""The load generator's end of a hub connection: a blocking socket, past its hub handshake.

Many are opened together, each step for all of them before the next, so that the server never waits.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar
from urllib.parse import urlsplit

from benchmarks.wire import CLOSE, FrameInbox, Inbox, client_text, record

PATIENCE: Final = 10.0  # seconds without a byte after which a load has failed
HANDSHAKE: Final = record(protocol="json", version=1)
KEY: Final = base64.b64encode(bytes(16)).decode()
END: Final = object()
_buffer: Final = bytearray(1 << 18)


class Connection:
    """A socket and its inbox; a subclass knows the transport.

    Args:
        url: Where the hub is.
    """

    __slots__ = ("address", "host", "inbox", "path", "socket")

    def __init__(self, url: str, inbox: Inbox) -> None:
        where = urlsplit(url)
        self.host = where.netloc
        self.path = where.path
        self.address = (where.hostname or "127.0.0.1", where.port or 80)
        self.socket = self.open_socket()
        self.inbox = inbox

    def open_socket(self) -> socket.socket:
        """Open a socket to the server."""
        opened = socket.create_connection(self.address, PATIENCE)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def steps(self) -> Iterator[None]:
        """Open the connection, and pause wherever it is the server's turn."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send a request."""
        self.socket.sendall(data)

    def receive(self) -> int:
        """Receive what is there, or wait for something; return how many records it ended."""
        size = self.socket.recv_into(_buffer)
        if not size:
            raise ConnectionError(f"the server closed the connection after {self.inbox.last!r}")
        return self.inbox.feed(_buffer, size)

    def receive_nowait(self) -> None:
        """Receive what is there, if anything is and the socket does not block."""
        with contextlib.suppress(BlockingIOError):
            self.receive()

    def finish_handshake(self) -> None:
        """Read the answer to the hub's handshake, and make ready for the load."""
        while not self.inbox.records:
            self.receive()
        if self.inbox.first_record():
            raise ConnectionError(f"handshake refused: {self.inbox.first!r}")
        self.inbox.forget()
        self.socket.settimeout(None)

    def close(self) -> None:
        """Leave, without waiting for an answer."""
        self.socket.close()


class WebSocketConnection(Connection):
    """A connection over a WebSocket, without negotiation; what it sends are frames."""

    __slots__ = ()

    def __init__(self, url: str) -> None:
        super().__init__(url, FrameInbox())

    def broadcast(self, text: str) -> bytes:
        """What has a text sent to all."""
        return client_text(record(type=1, invocationId="1", target="Broadcast", arguments=[text]))

    def steps(self) -> Iterator[None]:
        self.ask_for_websocket()
        yield
        self.finish_upgrade()
        self.send(client_text(HANDSHAKE))
        yield
        self.finish_handshake()

    def ask_for_websocket(self) -> None:
        """Send the request that opens the WebSocket."""
        self.send(
            f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
        )

    def finish_upgrade(self) -> None:
        """Read the answer to that; a hub says nothing behind it before the handshake."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.socket.recv(4096)
            if not data:
                break
            answer += data
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"no WebSocket: {answer!r}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.send(CLOSE)
        super().close()


Connected = TypeVar("Connected", bound=Connection)


def open_connections(urls: Sequence[str], count: int, kind: Callable[[str], Connected]) -> list[Connected]:
    """Open `count` connections to the load hub of the servers at `urls`, in turn, past their handshakes."""
    connections = [kind(f"{url}/hub") for url in itertools.islice(itertools.cycle(urls), count)]
    under_way = [connection.steps() for connection in connections]
    while under_way:
        under_way = [steps for steps in under_way if next(steps, END) is not END]
    return connections
