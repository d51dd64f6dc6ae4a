"""The load generator's end of a Socket.IO connection over a WebSocket, in place of a hub connection.

A packet is a frame. What is asked for with an id is acknowledged, as an invocation is completed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.connection import WebSocketConnection
from benchmarks.wire import FrameInbox, client_text

EVENT: Final = b"42"
ACK: Final = b"43"
_PACKET: Final = re.compile(rb"(4[23])\d*(\[.*\])")


class PacketInbox(FrameInbox):
    """An inbox of packets; none but its end may have a bracket that closes."""

    __slots__ = ()

    separator = b"]"

    def parse(self, text: bytes) -> dict[str, Any]:
        """The packet in a hub message's words."""
        packet = _PACKET.search(text + self.separator)
        if packet is None:
            raise ConnectionError(f"not a packet: {text!r}")
        if packet[1] == ACK:
            return {"type": 3}
        target, *arguments = json.loads(packet[2])
        return {"type": 1, "target": target, "arguments": arguments}


class SocketIOConnection(WebSocketConnection):
    """A connection to the default namespace."""

    __slots__ = ()

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.inbox = PacketInbox()
        self.path = "/socket.io/?EIO=4&transport=websocket"

    def broadcast(self, text: str) -> bytes:
        return client_text(EVENT + b"1" + json.dumps(["Broadcast", text]).encode())

    def steps(self) -> Iterator[None]:
        self.ask_for_websocket()
        yield
        self.finish_upgrade()
        self.send(client_text(b"40"))
        yield
        answer = b""
        while b"40{" not in answer or not answer.endswith(b"}"):
            if not (data := self.socket.recv(4096)):
                raise ConnectionError(f"refused: {answer!r}")
            answer += data
        self.socket.settimeout(None)
