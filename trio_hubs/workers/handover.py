"""A client's socket, handed from one worker to another with what was read of it.

Each worker has a mailbox, from which only it takes. What lies there when it dies is its successor's, who answers that
it knows no such connection. What TLS has decrypted cannot be handed over: then the bytes are passed on, both ways.
"""

from __future__ import annotations

import array
import re
import socket
from collections.abc import Sequence

import msgspec
import trio
from msgspec import Struct

from ..connections.direct_socket import DirectSocketStream
from ..connections.server.elsewhere import Elsewhere
from ..connections.server.http_server import HttpServer
from ..logs import get_logger
from ..tasks import open_tasks

logger = get_logger(__name__)

HAND_OVER_TIMEOUT = 5.0
"""Seconds that a worker's mailbox may be full before a client that is for it gets 503."""
_LARGEST = 128 * 1024
_BUFFER_SIZE = 1024 * 1024
_PIECE = 64 * 1024
_TOKEN = re.compile(r"([0-9]{1,4})-")


class _Letter(Struct, array_like=True):
    """What goes with a socket.

    Attributes:
        data: What was read of it.
        scheme: ``http`` or ``https``.
        client: The client's address.
    """

    data: bytes
    scheme: str
    client: str | None


def make_mailbox() -> tuple[socket.socket, socket.socket]:
    """A worker's mailbox: where it takes, and where the others put. Whole letters come out, in the order of putting."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_SIZE)
        end.setblocking(False)
    return pair


class Mailboxes(Elsewhere):
    """The mailboxes of all workers, as one of them sees them.

    Args:
        number: The worker's number.
        inbox: Where it takes.
        outboxes: Where it puts, by the number of the other.
    """

    def __init__(self, number: int, inbox: socket.socket, outboxes: Sequence[socket.socket]) -> None:
        self.token_prefix = f"{number}-"
        self.number = number
        self._running = False
        self._inbox = trio.socket.from_stdlib_socket(inbox)
        self._outboxes = [trio.socket.from_stdlib_socket(each) for each in outboxes]

    def owner(self, token: str) -> int | None:
        match = _TOKEN.match(token)
        number = self.number if match is None else int(match[1])
        return None if number == self.number or number >= len(self._outboxes) else number

    async def hand_over(
        self, owner: int, stream: trio.abc.Stream, data: bytes, scheme: str, client: str | None
    ) -> bool:
        letter = msgspec.msgpack.encode(_Letter(data, scheme, client))
        if isinstance(stream, DirectSocketStream):
            return await self._put(owner, letter, stream.socket.fileno())
        ours, theirs = socket.socketpair()
        with theirs:
            near = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            async with near:
                if not await self._put(owner, letter, theirs.fileno()):
                    return False
                theirs.close()
                await _pass_on(stream, near)
        return True

    async def _put(self, owner: int, letter: bytes, fd: int) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]).tobytes())]
        try:
            with trio.fail_after(HAND_OVER_TIMEOUT, shield=True):  # as this process may be about to end
                await self._outboxes[owner].sendmsg([letter], rights)
        except (OSError, trio.TooSlowError) as error:
            logger.warning("worker %d takes no clients: %s", owner, error)
            return False
        return True

    async def run(self, server: HttpServer, nursery: trio.Nursery) -> None:
        """Serve the clients that others hand over, in a nursery; until cancelled, which closes the mailboxes.

        Raises:
            RuntimeError: It runs already, for another app.
        """
        if self._running:
            raise RuntimeError(
                "workers serve one app: make another in the lifespan of that, for each worker alone"
            )
        self._running = True
        try:
            while True:
                data, ancillary, _, _ = await self._inbox.recvmsg(_LARGEST, socket.CMSG_SPACE(4))
                for stream in _streams(ancillary):
                    try:
                        letter = msgspec.msgpack.decode(data, type=_Letter)
                    except msgspec.MsgspecError:
                        logger.error("another worker sent something else than a client")
                        await trio.aclose_forcefully(stream)
                        continue
                    nursery.start_soon(server.serve_stream, stream, letter.data, letter.scheme, letter.client)
        finally:
            self.close()

    def close(self) -> None:
        """Take and put no more."""
        for each in (self._inbox, *self._outboxes):
            each.close()


def _streams(ancillary: Sequence[tuple[int, int, bytes]]) -> list[trio.SocketStream]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return [trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=fd))) for fd in found]


async def _pass_on(client: trio.abc.Stream, worker: trio.SocketStream) -> None:
    """Pass on bytes both ways, until both sides have ended, or one is broken."""

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(_PIECE):
                await sink.send_all(data)
            if sink is worker:
                await worker.send_eof()
            else:
                nursery.cancel_scope.cancel()  # the worker has answered all that it will
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()

    async with open_tasks() as nursery:
        nursery.start_soon(pump, client, worker)
        nursery.start_soon(pump, worker, client)
