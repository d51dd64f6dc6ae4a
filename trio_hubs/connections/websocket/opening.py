"""How a WebSocket is opened, as pure bytes: a client's request and a server's acceptance (RFC 6455, section 4)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping

import h11

from ...errors import ConnectionClosed

MAXIMUM_ANSWER = 64 * 1024
"""Bytes of a server's answer to a request for a WebSocket."""


def accept_key(key: str) -> bytes:
    """What a server proves with that it has read a client's key."""
    return base64.b64encode(
        hashlib.sha1(key.encode("latin-1") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    )


def acceptance(accepted: bytes, subprotocol: str | None = None) -> bytes:
    """The answer that opens a WebSocket."""
    chosen = b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("latin-1") if subprotocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accepted, chosen)
    )


class ClientOpening:
    """A client's side: makes the request, and reads the answer in any pieces.

    Args:
        host: The server's name and port.
        target: The path and query.
        headers: Further headers.

    Attributes:
        request: The request.
        rest: What came behind the answer, once it has been read.

    Raises:
        ValueError: The request cannot be written so.
    """

    def __init__(self, host: str, target: str, headers: Mapping[str, str]) -> None:
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAXIMUM_ANSWER)
        fields = [
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", self._key),
            ("Sec-WebSocket-Version", "13"),
            *headers.items(),
        ]
        try:
            self.request = self._http.send(h11.Request(method="GET", target=target, headers=fields))
        except h11.LocalProtocolError as error:
            raise ValueError(f"a request for a WebSocket cannot be written: {error}") from error
        self._start = b""
        self.rest = b""

    def feed(self, data: bytes) -> bool:
        """Take in what has arrived, or ``b""`` at the end; whether the WebSocket is open.

        Raises:
            ConnectionClosed: The server did not open it; says what it did instead.
        """
        self._start = (self._start + data[:80])[:80]
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                event = self._http.next_event()
        except h11.RemoteProtocolError:
            raise self._refused() from None
        if event is h11.NEED_DATA:
            return False
        if not (
            isinstance(event, h11.InformationalResponse)
            and event.http_version == b"1.1"
            and self._opens(event.headers)
        ):
            raise self._refused()
        self.rest, _ = self._http.trailing_data
        return True

    def _refused(self) -> ConnectionClosed:
        line = self._start.partition(b"\r\n")[0].decode("latin-1")
        return ConnectionClosed(f"it answered '{line}'" if line else "it closed the connection")

    def _opens(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        fields = {bytes(name): bytes(text) for name, text in headers}
        upgrades = fields.get(b"connection", b"").lower().split(b",")
        return (
            fields.get(b"upgrade", b"").lower() == b"websocket"
            and b"upgrade" in (each.strip() for each in upgrades)
            and fields.get(b"sec-websocket-accept") == accept_key(self._key)
            and b"sec-websocket-protocol" not in fields  # for none was asked for
            and b"sec-websocket-extensions" not in fields
        )
