"""Hub connections over plain HTTP: Server-Sent Events and long polling, each on two sockets.

One socket brings what the server sends, the other takes the requests, each the body of a POST. Answers are
counted as frames are: an inbox walks lengths and chunks, and looks at no event and no record in them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from benchmarks.connection import HANDSHAKE, Connection
from benchmarks.wire import Inbox, record

CLOSE = record(type=7)
END_OF_HEAD = b"\r\n\r\n"


class HttpInbox(Inbox):
    """An inbox of HTTP answers.

    Attributes:
        answers: How many have ended.
    """

    __slots__ = ("_chunked", "_in_body", "answers")

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0
        self._in_body = False
        self._chunked = False

    def _walk(self, data: bytes | bytearray, size: int) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        at = 0
        while True:
            if self._left:
                end = min(at + self._left, size)
                self._left -= end - at
                if end > at:
                    spans.append((at, end))
                at = end
            if self._in_body and not self._chunked and not self._left:
                self._end_answer()
            if at == size:
                return spans
            start = self._enter_chunk(data, at, size) if self._in_body else self._read_head(data, at, size)
            if not start:
                self._begun = bytes(data[at:size])
                return spans
            at = start

    def _end_answer(self) -> None:
        self.answers += 1
        self._in_body = False

    def _read_head(self, data: bytes | bytearray, at: int, size: int) -> int:
        """Read an answer's head; return where its body begins, or 0 when the head is not all there."""
        end = data.find(END_OF_HEAD, at, size)
        if end < 0:
            return 0
        status, *lines = bytes(data[at:end]).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        self._chunked = headers.get("transfer-encoding") == "chunked"
        if not status.startswith("http/1.1 200 ") or not (self._chunked or "content-length" in headers):
            raise ConnectionError(f"answered {bytes(data[at : end + 200])!r}")
        self._left = int(headers.get("content-length", 0))
        self._in_body = True
        return end + len(END_OF_HEAD)

    def _enter_chunk(self, data: bytes | bytearray, at: int, size: int) -> int:
        """Read a chunk's size; return where the chunk begins, or 0 when its size is not all there."""
        # The line break that ends the chunk before is read with the next one's size.
        start = at + 2 if data[at] == 13 else at
        end = data.find(b"\r\n", start, size)
        if end < 0:
            return 0
        length = int(data[start:end], 16)
        if length:
            self._left = length
            return end + 2
        if end + 4 > size:
            return 0
        self._end_answer()
        return end + 4


class HttpConnection(Connection):
    """What the two transports share: negotiation, and requests by POST."""

    __slots__ = ("_answers", "_asked", "_posting", "_target", "sent_us")

    def __init__(self, url: str) -> None:
        self.sent_us = HttpInbox()
        super().__init__(url, self.sent_us)
        self._posting = self.open_socket()
        self._answers = HttpInbox()
        self._asked = 0
        self._target = ""

    def steps(self) -> Iterator[None]:
        self._request("POST", f"{self.path}/negotiate?negotiateVersion=1", b"")
        yield
        self._take_answer()
        self._target = f"{self.path}?id={json.loads(self._answers.first)['connectionToken']}"
        self.listen()
        yield
        self.send(HANDSHAKE)
        yield
        self.finish_handshake()

    def listen(self) -> None:
        """Ask for what the server sends."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        self._take_answer()
        self._request("POST", self._target, data)

    def _request(self, method: str, target: str, body: bytes) -> None:
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._posting.sendall(head.encode() + body)
        self._asked += 1

    def _take_answer(self) -> None:
        """Read the answer to the last request, which is there by now."""
        while self._answers.answers < self._asked:
            data = self._posting.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection that requests are made on")
            self._answers.feed(data, len(data))

    def leave(self) -> None:
        """Tell the server that this connection is over, which not every one sees by itself."""
        raise NotImplementedError

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._take_answer()
            self.leave()
            for one in (self._posting, self.socket):  # a server that cannot answer complains
                one.settimeout(0.5)
                one.recv(65536)
        super().close()
        self._posting.close()


class EventConnection(HttpConnection):
    """A connection over Server-Sent Events: one answer that does not end."""

    __slots__ = ()

    def listen(self) -> None:
        head = f"GET {self._target} HTTP/1.1\r\nHost: {self.host}\r\nAccept: text/event-stream\r\n\r\n"
        self.socket.sendall(head.encode())

    def leave(self) -> None:
        self._request("POST", self._target, CLOSE)


class PollingConnection(HttpConnection):
    """A connection over long polling: the next poll goes out when the last one's answer has ended."""

    __slots__ = ("_poll", "_polls")

    def listen(self) -> None:
        self._poll = f"GET {self._target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()
        self._polls = 1
        self.socket.sendall(self._poll)

    def receive(self) -> int:
        count = super().receive()
        if self.sent_us.answers == self._polls:
            self._polls += 1
            self.socket.sendall(self._poll)
        return count

    def leave(self) -> None:
        self._request("DELETE", self._target, b"")
