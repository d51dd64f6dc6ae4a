"""HTTP/1.1 on a stream, as h11's events: requests one after another, and their answers.

A request's head is read here, so that its limit is the same however it is cut; h11 takes it apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import h11
import trio

from ...errors import ConnectionClosed
from ..direct_socket import DirectSocketStream
from .arrivals import Arrival, Arrivals
from .exchange import PART_SIZE

MAXIMUM_HEAD_SIZE = 16 * 1024
"""Bytes of a request's line and headers; above it the answer is 431."""
_GIVE_WAY = 64
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
_HEAD_END = re.compile(rb"\n\r?\n")


class HttpWire:
    """HTTP events on a stream.

    Args:
        stream: The socket.
        arrivals: What numbers the requests.
        rest: What has been read of the stream already.

    Attributes:
        http: The request under way, and its answer.
        cut: Whether an event is being sent, or was and was cut, after which nothing more can be sent.
        status: The status of the answer, once it has begun; 0 before.
    """

    def __init__(self, stream: trio.abc.Stream, arrivals: Arrivals, rest: bytes = b"") -> None:
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAXIMUM_HEAD_SIZE)
        self.cut = False
        self.status = 0
        self._stream = stream
        self._arrivals = arrivals
        self._arrival: Arrival | None = None  # of the next request
        self._head = b""  # of the request under way
        self._rest = rest  # what came behind the last event
        self._parts = 0
        self._watching = trio.CancelScope()

    async def next_request(self) -> h11.Event | type[h11.PAUSED] | None:
        """Wait for a request's head; empty lines ahead of it are nothing (RFC 9112, section 2.2).

        What comes behind the head is left for later. Gives ``None`` where nothing has come, and what will is another
        process's.

        Raises:
            h11.RemoteProtocolError: It is malformed.
        """
        self.status = 0
        self.expect()
        data = self.take_rest()
        if self.http.their_state is not h11.IDLE:
            self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAXIMUM_HEAD_SIZE)
        while True:
            data = data[_EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr]  # which always matches
            end = _HEAD_END.search(data)
            size = end.end() if end else len(data)
            if size > MAXIMUM_HEAD_SIZE:
                raise h11.RemoteProtocolError(
                    f"The request's head is above {MAXIMUM_HEAD_SIZE} bytes.", error_status_hint=431
                )
            if end or (data[:1] < b"!" and data not in (b"", b"\r")):  # which no request begins with
                break
            more = await self._receive_first()
            if more is None:
                if not data:
                    return None
                more = await self._receive(MAXIMUM_HEAD_SIZE)
            if not more:
                self.http.receive_data(data)
                self.http.receive_data(b"")
                return await self.next_event()
            data += more
        self.end()
        self._head, self._rest = data[:size], data[size:]
        self.http.receive_data(self._head)
        return await self.next_event()

    def expect(self) -> None:
        """The next request may come from now on: to be called before the client gets the end of an answer."""
        self._watching.cancel()  # for what it reads would be missing in the next request
        if self._arrival is None and isinstance(self._stream, DirectSocketStream):
            self._arrival = Arrival(self._arrivals, self._stream.socket)

    def end(self) -> None:
        """No request is expected any more."""
        if self._arrival is not None:
            self._arrival.take()
            self._arrival = None

    def take_rest(self) -> bytes:
        """What came behind the request; it is the caller's to use."""
        rest = self.http.trailing_data[0] + self._rest
        self._rest = b""
        return rest

    def drop_head(self) -> None:
        """The request is answered here: its bytes are kept no longer."""
        self._head = b""

    def take_back(self) -> bytes:
        """The request of which nothing but the head was taken, byte by byte, and what came behind."""
        return self._head + self.take_rest()

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """Wait for the next part of the request.

        Raises:
            h11.RemoteProtocolError: The client left, or broke the protocol.
        """
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                break
            if self._rest:
                data, self._rest = self._rest, b""
            else:
                if self.http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                data = await self._receive()
            self.http.receive_data(data)
        if isinstance(event, h11.Data):
            self._parts += 1
            if self._parts % _GIVE_WAY == 0:  # one read may hold thousands of tiny chunks
                await trio.lowlevel.checkpoint()
        return event  # type: ignore[return-value]  # the stub does not narrow sentinels

    async def _receive(self, size: int = PART_SIZE) -> bytes:
        try:
            return bytes(await self._stream.receive_some(size))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _receive_first(self) -> bytes | None:
        """Receive when it is this request's turn to be read; ``None`` where it is not for us to wait for."""
        if self._arrival is not None and isinstance(self._stream, DirectSocketStream):
            await self._arrival.wait()
            self.end()
            try:
                data = self._stream.receive_nowait(MAXIMUM_HEAD_SIZE)
            except trio.BrokenResourceError:
                return b""
            if data is not None or self._arrivals.leaving:
                return data
        return await self._receive(MAXIMUM_HEAD_SIZE)  # so that little lies there that is for later

    async def send(self, *events: h11.Event) -> None:
        """Send a part of the answer, in one piece.

        Raises:
            ConnectionClosed: The client left.
        """
        if isinstance(events[0], h11.Response):
            self.status = events[0].status_code
        data = b"".join(self.http.send(event) or b"" for event in events)
        if data:
            self.cut = True
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionClosed("The client left.") from None
            self.cut = False

    async def watch(self, left: Callable[[], None]) -> None:
        """Notice that the client leaves before its answer, while nothing is expected of it, or sends far too much."""
        with trio.CancelScope() as self._watching:
            room = MAXIMUM_HEAD_SIZE
            while room and (data := await self._receive(room)):
                room -= len(data)
                self._rest += data
        if not self._watching.cancelled_caught:
            left()
