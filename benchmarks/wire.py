"""Hub messages as the load generator makes and counts them: exactly, and with as little work as can be.

Requests are made once and sent many times; a frame's mask key is zero, so the payload stands in it as it is.
Answers are never parsed as they come: an inbox walks what carries them, counts the record separators in the
payloads and keeps only the first and the last records, which are looked at when the load is over.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

SEPARATOR: Final = b"\x1e"
KEPT: Final = 512  # bytes of the payload's beginning and end that an inbox remembers

_FIELD: Final = re.compile(rb"(?:\r\n)+data: ")


def record(**message: Any) -> bytes:
    """One hub message as JSON, with its separator."""
    return json.dumps(message, separators=(",", ":")).encode() + SEPARATOR


def header(first: int, length: int, mask: int = 0) -> bytes:
    """A frame's header: its first byte, and its length in the shortest form."""
    if length < 126:
        return bytes((first, mask | length))
    if length < 65536:
        return bytes((first, mask | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask | 127)) + length.to_bytes(8, "big")


def client_text(payload: bytes) -> bytes:
    """A text frame from a client, masked with zero."""
    return header(0x81, len(payload), 0x80) + bytes(4) + payload


def server_text(payload: bytes) -> bytes:
    """A text frame from a server."""
    return header(0x81, len(payload)) + payload


CLOSE: Final = header(0x88, 2, 0x80) + bytes(4) + (1000).to_bytes(2, "big")


class Inbox:
    """What one connection has received: the number of records, the first of them and the last.

    A subclass knows what carries them; nothing but records may have a separator's byte in it.
    """

    __slots__ = ("_begun", "_left", "first", "last", "records")

    separator = SEPARATOR

    def __init__(self) -> None:
        self._left = 0  # bytes that the piece of payload under way still has
        self._begun = b""
        self.forget()

    def forget(self) -> None:
        """Count anew, in the middle of what carries the records."""
        self.records = 0
        self.first = b""
        self.last = b""

    def feed(self, data: bytes | bytearray, size: int) -> int:
        """Take the first `size` bytes of `data`; return how many records they ended."""
        if self._begun:
            data = self._begun + data[:size]
            size = len(data)
            self._begun = b""
        spans = self._walk(data, size)
        count = 0
        for start, end in spans:
            count += data.count(self.separator, start, end)
        for start, end in spans:
            if len(self.first) == KEPT:
                break
            self.first += data[start : min(end, start + KEPT - len(self.first))]
        last = b""
        for start, end in reversed(spans):
            last = bytes(data[max(start, end - KEPT + len(last)) : end]) + last
            if len(last) == KEPT:
                break
        self.last = (self.last + last)[-KEPT:]
        self.records += count
        return count

    def _walk(self, data: bytes | bytearray, size: int) -> list[tuple[int, int]]:
        """Where payload stands; sets aside what has begun and is not yet payload."""
        raise NotImplementedError

    def first_record(self) -> dict[str, Any]:
        """The first record, parsed."""
        return self.parse(self.first.split(self.separator)[0])

    def last_records(self, count: int) -> list[dict[str, Any]]:
        """The last records, parsed."""
        texts = self.last.split(self.separator)[:-1]
        return [self.parse(text) for text in texts[len(texts) - count :]]

    def parse(self, text: bytes) -> dict[str, Any]:
        """A record without its separator, and with what carries it."""
        whole = _FIELD.sub(b"", text)  # events may begin in front of it, and in it
        try:
            message: dict[str, Any] = json.loads(whole[whole.find(b"{") :])
        except ValueError:
            raise ConnectionError(f"not a hub message: {text!r}") from None
        return message


class FrameInbox(Inbox):
    """An inbox of WebSocket frames."""

    __slots__ = ()

    def _walk(self, data: bytes | bytearray, size: int) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        at = min(self._left, size)
        self._left -= at
        if at:
            spans.append((0, at))
        while at < size:
            start = at + 2
            length = data[at + 1] if start <= size else 0
            if length > 125:
                start += 2 if length == 126 else 8
            if start > size:
                self._begun = bytes(data[at:size])
                break
            if length > 125:
                length = int.from_bytes(data[at + 2 : start], "big")
            if data[at] & 8:
                raise ConnectionError(
                    f"a control frame in the middle of the load: {bytes(data[at : start + length])!r}"
                )
            at = min(start + length, size)
            self._left = start + length - at
            spans.append((start, at))
        return spans
