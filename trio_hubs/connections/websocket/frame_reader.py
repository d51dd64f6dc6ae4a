"""Frames on their way in, as pure bytes: what is in order is taken apart here (RFC 6455, section 5).

Where one message ends and another begins means nothing to SignalR, so payloads come out as they arrive, a large
frame in parts, and fragments are as good as whole messages; text is not looked at. A ping is answered and a pong
dropped where it is read. What is not in order (a reserved bit, a wrong mask, an unknown opcode, a fragment out of
place) is left as it is, together with all that follows, for somebody who knows what to say to it.
"""

from __future__ import annotations

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame, mask

_STARTS = frozenset((TEXT, BINARY, TEXT & 0x0F, BINARY & 0x0F))
_CONTINUES = frozenset((CONTINUATION, CONTINUATION | 0x80))
_CONTROL = frozenset((PING, PONG, CLOSE))
_PLAIN_CODES = frozenset((*range(1000, 1004), *range(1007, 1012), *range(3000, 5000)))


class FrameReader:
    """Takes the frames of one direction apart.

    Args:
        masked: Whether they must be masked, as a client's are; then ours are not.

    Attributes:
        masked: The same.
        pongs: Frames that answer the pings that have come, for the sender to take.
        closed: The code and the reason of the close frame that has come; the code is 1005 where it named none.
        odd: Whether something came that is not in order, after which nothing is read here.
        fragmented: Whether a message goes on in the next data frame.
        rest: What is left of what came: the beginning of a frame, or all that follows the end.
    """

    __slots__ = ("_key", "_remaining", "closed", "fragmented", "masked", "odd", "pongs", "rest")

    def __init__(self, *, masked: bool) -> None:
        self.masked = masked
        self._remaining = 0  # of a data frame that has not arrived in full
        self._key = b""
        self.pongs = b""
        self.closed: tuple[int, str] | None = None
        self.odd = False
        self.fragmented = False
        self.rest = b""

    @property
    def ended(self) -> bool:
        """Whether nothing more is read here: a close frame or something odd has come."""
        return self.odd or self.closed is not None

    def feed(self, data: bytes) -> bytes:
        """Take in what has arrived; gives the payloads of all data frames in it, whole or in part."""
        if self.rest:
            data = self.rest + data
            self.rest = b""
        size, at = len(data), 0
        payloads: list[bytes] = []
        masked = self.masked
        while at < size:
            if self._remaining:
                part = data[at : at + self._remaining]
                at += len(part)
                self._remaining -= len(part)
                if masked:
                    payloads.append(mask(part, self._key))
                    turn = len(part) % 4
                    self._key = self._key[turn:] + self._key[:turn]
                else:
                    payloads.append(part)
                continue
            if size - at < 2:
                break
            first, second = data[at], data[at + 1]
            if (second >= 0x80) is not masked:
                self.odd = True
                break
            length = second & 0x7F
            start = at + 2
            is_data = first in (_CONTINUES if self.fragmented else _STARTS)
            if not is_data and (first not in _CONTROL or length > 125):
                self.odd = True
                break
            if length > 125:
                start += 2 if length == 126 else 8
                if size < start:
                    break
                smallest = 126 if length == 126 else 65536
                length = int.from_bytes(data[at + 2 : start], "big")
                if not smallest <= length < 1 << 63:
                    self.odd = True
                    break
            if masked:
                start += 4
            if is_data:
                if size < start:
                    break
                self.fragmented = first < 0x80
                part = data[start : start + length]
                at = start + len(part)
                key = data[start - 4 : start]
                payloads.append(mask(part, key) if masked else part)
                if len(part) < length:
                    self._remaining = length - len(part)
                    self._key = key[len(part) % 4 :] + key[: len(part) % 4]
                continue
            end = start + length
            if size < end:
                break
            payload = mask(data[start:end], data[start - 4 : start]) if masked else data[start:end]
            if first == PING:
                self.pongs += encode_frame(PONG, payload, masked=not masked)
            elif first == CLOSE:
                self.closed = _closed(payload)
                self.odd = self.closed is None
                if self.odd:
                    break
                at = end
                break
            at = end
        self.rest = data[at:]
        return payloads[0] if len(payloads) == 1 else b"".join(payloads)


def _closed(payload: bytes) -> tuple[int, str] | None:
    """What a close frame says; ``None`` where that is not in order."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _PLAIN_CODES:
        return None
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        return None
