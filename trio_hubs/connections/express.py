"""The express lane: a stream under trio-websocket that takes whole data frames out of its hands.

trio-websocket hands messages over one by one, through a task and a channel, which costs more than all of
SignalR. So it stands on this stream, which reads the socket itself, in the task that wants the data, and
delivers the payloads of data frames directly, all of a read in one piece and a large frame as it arrives. Where
one message ends and another begins means nothing here, so fragments are as good as whole messages, and text is
not looked at. Everything else is passed up to trio-websocket unchanged, which answers it as it should: pings and
pongs by themselves; anything that is not in order (a reserved bit, a wrong mask, an unknown opcode, a fragment out
of place) or ends the connection together with all that follows, which turns the lane off for good.
"""

from __future__ import annotations

import contextlib
from math import inf

import trio

from ..errors import ConnectionClosed
from .direct_socket import DirectSocketStream
from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame, mask

READ_SIZE = 65536

_CLOSE_WITHOUT_CODE = encode_frame(CLOSE, b"", masked=False)  # a server's
_NORMAL_CLOSE = encode_frame(CLOSE, (1000).to_bytes(2, "big"), masked=False)
_STARTS = frozenset((TEXT, BINARY, TEXT & 0x0F, BINARY & 0x0F))
_CONTINUES = frozenset((CONTINUATION, CONTINUATION | 0x80))


class ExpressStream(trio.abc.Stream):
    """A stream for trio-websocket, with a way past it for data frames.

    Args:
        stream: The socket.
        client: Whether this end is the client: the other end's frames are then not masked.
        head: For a server, the request that trio-websocket shall read first.
        rest: For a server, what was read behind the request.
        express: Whether to use the lane at all.
    """

    cut: bool
    """Whether a frame is being sent, or was and was cut, after which nothing more can be sent."""
    last_progress: float
    """When the peer last took a part of a data frame, in trio's clock."""
    opened: bool
    """Whether the answer to the opening handshake is under way (a server's) or was read (a client's)."""
    opening: trio.CancelScope
    """To run trio-websocket's opening handshake in, which would wait for ever: cancelled when it has failed."""
    refusal: str
    """What the server did instead of opening the WebSocket."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        client: bool,
        head: bytes = b"",
        rest: bytes = b"",
        express: bool = True,
    ) -> None:
        self._stream = stream
        self._direct = stream if isinstance(stream, DirectSocketStream) else None
        self._mask_bit = 0 if client else 0x80
        self._express = express
        self._client = client
        self.opened = False
        # Bytes that trio-websocket shall read before anything else, and bytes whose frames we have yet to read.
        self._upward = bytearray(head)
        self._buffer = b""
        self._on = False
        self._changed = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()
        self._fragmented = False  # the message goes on in the next data frame
        self._remaining = 0  # of a data frame that has not arrived in full
        self._key = b""
        self._send_lock = trio.Lock()
        self.cut = False
        self._closing = False  # a close frame is out, so nothing more may be sent
        self.last_progress = -inf
        self._unsent = b""  # of a frame of which the socket has taken a part
        self.opening = trio.CancelScope()
        self.refusal = "it did not answer"
        if express and not client:
            self._on = True
            self._buffer = rest
        else:
            self._upward += rest

    # ---- the way past trio-websocket

    async def receive_payload(self) -> bytes | None:
        """Wait for the payload bytes of data frames.

        Returns:
            At least one byte; or ``None`` when the lane is off, and trio-websocket has what follows.
        """
        while self._on:
            if payload := self._parse():
                return payload
            if not self._on:
                break
            if len(self._upward) > READ_SIZE:  # pings, whose answers the peer does not take
                await self._taken.park()
                continue
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except trio.BrokenResourceError:
                data = b""
            if data:
                self._buffer += bytes(data)
            else:
                self._turn_off()
        return None

    def _parse(self) -> bytes:
        """Take the payloads of all data frames that have arrived, whole or in part."""
        buffer = self._buffer
        size = len(buffer)
        at = 0
        payloads: list[bytes] = []
        while at < size:
            if self._remaining:
                part = buffer[at : at + self._remaining]
                at += len(part)
                self._remaining -= len(part)
                if self._key:
                    payloads.append(mask(part, self._key))
                    turn = len(part) % 4
                    self._key = self._key[turn:] + self._key[:turn]
                else:
                    payloads.append(part)
                continue
            if size - at < 2:
                break
            first, second = buffer[at], buffer[at + 1]
            length = second & 0x7F
            start = at + 2
            is_data = first in (_CONTINUES if self._fragmented else _STARTS)
            if second & 0x80 != self._mask_bit or (length > 125 and not is_data):
                self._turn_off(at)
                break
            if length > 125:
                start += 2 if length == 126 else 8
                if size < start:
                    break
                smallest = 126 if length == 126 else 65536
                length = int.from_bytes(buffer[at + 2 : start], "big")
                if not smallest <= length < 1 << 63:
                    self._turn_off(at)
                    break
            if is_data:
                if self._mask_bit:
                    if size < start + 4:
                        break
                    self._key = buffer[start : start + 4]
                    start += 4
                at = start
                self._remaining = length
                self._fragmented = not first & 0x80
            elif first in (PING, PONG):
                end = start + length + (4 if self._mask_bit else 0)
                if size < end:
                    break
                self._upward += buffer[at:end]
                self._changed.unpark_all()
                at = end
            else:
                self._turn_off(at)
                break
        if self._on:
            self._buffer = buffer[at:]
        return b"".join(payloads)

    def _turn_off(self, at: int = 0) -> None:
        """Leave what is buffered from ``at``, and all that follows, to trio-websocket."""
        if self._fragmented:  # so that it knows, it is shown the beginning of a message
            self._upward += encode_frame(BINARY & 0x0F, b"", masked=not self._client)
        self._upward += self._buffer[at:]
        self._buffer = b""
        self._on = False
        self._changed.unpark_all()

    @property
    def unsent(self) -> bool:
        """Whether a part of a frame waits for :meth:`send_frame`."""
        return bool(self._unsent)

    def send_frame_nowait(self, frame: bytes) -> bool:
        """Send a data frame if that needs no waiting.

        Returns:
            Whether the frame is taken care of; a part of it may wait for the next :meth:`send_frame`.
        """
        if self._direct is None or self.cut or self._closing or self._unsent:
            return False
        sent = self._direct.send_nowait(frame)
        if sent == 0:
            return False
        if sent < len(frame):
            self._unsent = frame[sent:]
        return True

    async def send_frame(self, frame: bytes) -> None:
        """Send a whole data frame, and before it what another has left.

        Raises:
            ConnectionClosed: A close frame has gone out already, or the socket is closed or broken.
        """
        async with self._send_lock:
            if self.cut or self._closing:
                raise ConnectionClosed("The WebSocket is closing.")
            self.cut = True
            rest = memoryview(self._unsent + frame)
            self._unsent = b""
            try:
                while rest:
                    await self._stream.send_all(rest[:READ_SIZE])
                    rest = rest[READ_SIZE:]
                    self.last_progress = trio.current_time()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionClosed("The WebSocket broke.") from None
            self.cut = False

    # ---- trio-websocket's side

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while self._on and not self._upward:
            await self._changed.park()
        if self._upward:
            await trio.lowlevel.checkpoint()
            data = bytes(self._upward[:max_bytes])
            del self._upward[:max_bytes]
            self._taken.unpark_all()
            return data
        if self._client and not self.opened:
            return await self._receive_answer()
        return bytes(await self._stream.receive_some(max_bytes))

    async def _receive_answer(self) -> bytes:
        """A client's first read: the answer to its request, exactly, when it opens the WebSocket."""
        self.opened = True
        data = b""
        try:
            while b"\r\n\r\n" not in data and len(data) < READ_SIZE:
                more = await self._stream.receive_some()
                if not more:
                    self.refusal = "it closed the connection"
                    break
                data += bytes(more)
        except trio.BrokenResourceError as error:
            self.refusal = f"the connection broke: {error.__cause__ or error}"
        head, blank, rest = data.partition(b"\r\n\r\n")
        if data:
            line = head[:80].partition(b"\r\n")[0].decode("latin-1")
            self.refusal = f"it answered '{line}'"
        if not (blank and head.startswith(b"HTTP/1.1 101 ")):
            self.opening.cancel()
            return b""
        if self._express:
            self._on = True
            self._buffer = rest
        else:
            self._upward += rest
        return head + blank

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not (self._client or self.opened):
            # A refusal is not a whole one: our caller has a better.
            if data[:13] != b"HTTP/1.1 101 ":
                self.opening.cancel()
                return
            self.opened = True
        # What breaks on the way out shows on the way in, where trio-websocket is ready for it.
        async with self._send_lock:
            if not (self.cut or self._closing):
                closing = data[:1] == bytes((CLOSE,))
                if (
                    data == _CLOSE_WITHOUT_CODE and not self._client
                ):  # trio-websocket's answer to one such; ours is the real server's
                    data = _NORMAL_CLOSE
                self.cut = True
                data = self._unsent + data
                self._unsent = b""
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_all(data)
                    self.cut = False
                    self._closing = closing

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self._turn_off()
        self._taken.unpark_all()
        self.opening.cancel()
        if self._client or self.opened:
            await self._stream.aclose()
