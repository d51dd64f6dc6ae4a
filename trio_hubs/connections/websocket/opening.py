"""How a WebSocket is opened, as pure bytes: a client's request and a server's acceptance (RFC 6455, section 4)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping


def accept_key(key: str) -> bytes:
    """What a server proves with that it has read a client's key."""
    return base64.b64encode(
        hashlib.sha1(key.encode("latin-1") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    )


def acceptance(
    accepted: bytes, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """The answer that opens a WebSocket.

    Args:
        accepted: What :func:`accept_key` gives.
        subprotocol: What to name as the chosen subprotocol.
        headers: Further headers, which must be in order.
    """
    more = b"".join(b"%b: %b\r\n" % each for each in headers)
    chosen = b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("latin-1") if subprotocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b%b\r\n" % (accepted, chosen, more)
    )


def new_key() -> str:
    """A key that no client has used before."""
    return base64.b64encode(os.urandom(16)).decode()


def request_headers(key: str) -> dict[str, str]:
    """What a client asks for a WebSocket with."""
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
    }


def opens(headers: Mapping[str, str], key: str) -> bool:
    """Whether the headers of a server's 101 open what a client has asked for with this key.

    Args:
        headers: They match in any letter case.
        key: The client's.
    """
    upgrades = [each.strip() for each in headers.get("connection", "").lower().split(",")]
    return (
        headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in upgrades
        and headers.get("sec-websocket-accept", "").encode() == accept_key(key)
        and "sec-websocket-protocol" not in headers  # for none was asked for
        and "sec-websocket-extensions" not in headers
    )
