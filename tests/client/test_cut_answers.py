"""A server whose answers end at every byte, over events and polls: the client says so in its own words, soon."""

import errno
import json
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import BreakingStream, connecting_by
from tests.hub_peer import no_task_left
from tests.messages import PING, close, encode, ended, item, result
from trio_hubs import ConnectionClosed, HandshakeError, NegotiationError, Transport, open_hub_connection

from .test_hostile_servers import HANDSHAKE, converse

WORDS = b"".join(
    encode("json", message)
    for message in (PING, item("2", 5), result("1", 42), item("2", 6), ended("2"), close("over"))
)


class EndOfTalk(Exception):
    """The server says no more."""


class CutServer:
    """A server of one hub in memory, which after so many bytes of its answers is gone.

    Attributes:
        left: How many bytes it still has to say.
    """

    def __init__(self, nursery: trio.Nursery, transport: Transport, left: int, *, reset: bool) -> None:
        self.left = left
        self._nursery = nursery
        self._transport = transport
        self._reset = reset
        self._ends: list[tuple[BreakingStream, trio.abc.Stream]] = []
        self._posted = b""
        self._polls = iter((b"", HANDSHAKE, WORDS))
        self._heard = trio.lowlevel.ParkingLot()

    async def open(self, *_: object, **__: object) -> trio.abc.Stream:
        """What the client gets that connects."""
        await trio.lowlevel.checkpoint()
        if self.left <= 0:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        near, far = memory_stream_pair()
        stream = BreakingStream(near)
        self._ends.append((stream, far))
        self._nursery.start_soon(self._serve, far)
        return stream

    async def _serve(self, stream: trio.abc.Stream) -> None:
        data = b""
        with suppress(EndOfTalk, trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                while b"\r\n\r\n" not in data:
                    if not (more := await stream.receive_some()):
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                size = next(
                    (int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")),
                    0,
                )
                while len(data) < size:
                    data += await stream.receive_some()
                body, data = data[:size], data[size:]
                await self._answer(stream, head, body)

    async def _answer(self, stream: trio.abc.Stream, head: bytes, body: bytes) -> None:
        if b"/negotiate" in head:
            offer = {"transport": self._transport.value, "transferFormats": ["Text"]}
            document = {"connectionId": "a", "availableTransports": [offer]}
            await self._say(stream, _answered(200, json.dumps(document).encode()))
        elif head.startswith(b"POST"):
            self._posted += body
            self._heard.unpark_all()
            await self._say(stream, _answered(200))
        elif head.startswith(b"DELETE"):
            await self._say(stream, _answered(202))
        elif self._transport is Transport.LONG_POLLING:
            part = next(self._polls, None)
            await self._hear(part)
            await self._say(stream, _answered(204) if part is None else _answered(200, part))
        else:
            await self._say(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in (HANDSHAKE, WORDS):
                await self._hear(part)
                event = b"data: %b\r\n\r\n" % part
                await self._say(stream, b"%x\r\n%b\r\n" % (len(event), event))
            await self._say(stream, b"0\r\n\r\n")

    async def _hear(self, part: bytes | None) -> None:
        """Wait for what this part is the answer to: the handshake, or all calls."""
        calls = 3 if self._transport is Transport.LONG_POLLING else 4  # there is no ping
        records = {HANDSHAKE: 1, WORDS: calls}.get(part or b"", 0)
        while self._posted.count(b"\x1e") < records:
            await self._heard.park()

    async def _say(self, stream: trio.abc.Stream, data: bytes) -> None:
        part, self.left = data[: max(0, self.left)], self.left - len(data)
        if part:
            await stream.send_all(part)
        if self.left <= 0:
            await wait_all_tasks_blocked()
            for near, far in self._ends:
                if self._reset:
                    near.broken.set()
                await far.aclose()
            raise EndOfTalk


def _answered(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


PARTS = 4
"""In so many parts a test goes through all places, for it has many."""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_an_end_at_every_byte_of_a_servers_answers(
    autojump_clock: MockClock, transport: Transport, part: int
) -> None:
    place, kinds = part, set[str]()
    while (kind := await ends_at(place, transport, reset=place // PARTS % 2 == 0)) != "whole":
        kinds.add(kind)
        place += PARTS
    assert place > 300
    assert kinds == {"negotiation", "transport", "handshake", "calls"}


async def ends_at(place: int, transport: Transport, *, reset: bool) -> str:
    """How far a conversation comes whose server is gone after so many bytes of its answers."""
    with no_task_left():
        async with trio.open_nursery() as nursery:
            server = CutServer(nursery, transport, place, reset=reset)
            with connecting_by(server.open), trio.fail_after(5):
                kind = await _talk()
            nursery.cancel_scope.cancel()
    return "whole" if server.left > 0 else kind


async def _talk() -> str:
    try:
        async with open_hub_connection("http://raw/hub") as connection:
            got = await converse(connection)
            await connection.wait_closed()
    except NegotiationError as error:
        return "transport" if error.failures else "negotiation"
    except HandshakeError:
        return "handshake"
    assert {type(one) for one in got} <= {int, ConnectionClosed}
    return "calls"
