"""A session whose connection tears and goes on, and a client that goes on with it, in the tests' own words."""

from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import Message, ack, sequence
from trio_hubs.calls.heartbeat import beat
from trio_hubs.calls.options import Role, SessionOptions
from trio_hubs.calls.session import Session
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import MemoryConnection
from trio_hubs.connections.resumable import ResumableConnection

from .support import PROTOCOL, Diary, Peer, Table, decode, encode, session_options

COUNTED = (1, 2, 3, 4, 5)
"""The types of messages that count."""


class QuickConnection(MemoryConnection):
    """One that takes at once what there is room for, as a socket does."""

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        try:
            self._outgoing.send_nowait(data)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True


class TornSide:
    """A running session on a connection that goes on over one link after another.

    Attributes:
        link: Our end of the last link.
        peer: Whoever is at its other end.
        over: Set when the session's tasks have all ended.
    """

    link: MemoryConnection
    peer: Peer

    def __init__(
        self, nursery: trio.Nursery, options: SessionOptions, *, quick: bool, capacity: int, credits: int
    ) -> None:
        self.face = Table()
        self.method = self.face.method
        self.life = Diary()
        self.connection = ResumableConnection("torn", Request())
        self.connection.enable_resume()
        self.session = Session(self.connection, PROTOCOL, self.face, self.life, options, credits)
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self._nursery = nursery
        self._kind = QuickConnection if quick else MemoryConnection
        self._capacity = capacity

    async def run(self) -> None:
        try:
            with self.scope:
                await self.session.run()
        finally:
            self.connection.close()
            self.over.set()

    async def attach(self) -> Peer:
        """Go on over a new link; if there is still one, it is replaced."""
        to_us, from_peer = trio.open_memory_channel[bytes](self._capacity)
        to_peer, from_us = trio.open_memory_channel[bytes](self._capacity)
        self.link = self._kind("link", Request(), from_peer, to_peer)
        self.peer = Peer(MemoryConnection("peer", Request(), from_us, to_us))
        self._nursery.start_soon(self._carry, self.link)
        await wait_all_tasks_blocked()
        return self.peer

    async def _carry(self, link: MemoryConnection) -> None:
        """Have a link used, then close it as whoever made it does."""
        try:
            await self.connection.carry(link)
        finally:
            link.cut()

    async def tear(self) -> None:
        """Lose the link; what the peer has not received of it is not lost yet."""
        self.link.cut()
        await wait_all_tasks_blocked()

    async def resume(self, *messages: Message) -> Peer:
        """Go on over a new link, with these messages first."""
        peer = await self.attach()
        await peer.send(*messages)
        return peer


@asynccontextmanager
async def open_torn(
    *,
    quick: bool = False,
    capacity: int = 1000,
    credits: int = 0,
    prepare: Callable[[TornSide], None] | None = None,
    **changes: Any,
) -> AsyncGenerator[TornSide]:
    """Run a session with a heartbeat on its first link for the body; then all of it must end.

    Args:
        quick: Whether links take at once what there is room for.
        capacity: How many pieces may be under way on a link before a sender waits.
        credits: What the peer has offered.
        prepare: Called before the session runs.
        changes: Options of the session that differ from the server's defaults.
    """
    async with trio.open_nursery() as nursery:
        options = session_options(**{"role": Role.SERVER, **changes})
        side = TornSide(nursery, options, quick=quick, capacity=capacity, credits=credits)
        if prepare is not None:
            prepare(side)
        await side.attach()
        nursery.start_soon(side.run)
        nursery.start_soon(beat, lambda: [side.session], 1)
        await wait_all_tasks_blocked()
        try:
            yield side
        finally:
            side.session.end()
            side.session.outbox.give_up()  # a test that fails shall not hang in what it left unsent
            with trio.move_on_after(10, shield=True) as patience:
                await side.over.wait()
            nursery.cancel_scope.cancel()
        assert not patience.cancelled_caught, "the session does not end"


class StatefulPeer:
    """A client that resumes.

    Attributes:
        taken: The messages that it has acted on.
    """

    def __init__(self, side: TornSide) -> None:
        self.taken: list[Message] = []
        self._side = side
        self._sent: list[Message] = []
        self._acknowledged = 0  # by the server
        self._next = 1
        self._received = 0
        self._rest = b""

    async def send(self, *messages: Message, arriving: float = 1.0) -> None:
        """Send messages, of whose bytes only so large a part arrives."""
        self._sent += [message for message in messages if message["type"] in COUNTED]
        data = encode(*messages)
        if part := data[: int(len(data) * arriving)]:
            await self._side.peer.connection.send(part)
        await wait_all_tasks_blocked()

    async def acknowledge(self) -> None:
        await self._side.peer.send(ack(self._received))

    async def read(self, pieces: int = 1_000_000) -> None:
        """Act on so many of the pieces that have arrived."""
        for _ in range(pieces):
            piece = b""
            with trio.move_on_after(0.0001):
                piece = await self._side.peer.connection.receive()
            if not piece:
                return
            for message in decode(piece):
                self._take(message)

    def _take(self, message: Message) -> None:
        if message["type"] == 8:
            self._acknowledged = max(self._acknowledged, message["sequenceId"])
        elif message["type"] == 9:
            assert message["sequenceId"] <= self._next, "the server has left messages out"
            self._next = message["sequenceId"]
        elif message["type"] in COUNTED:
            if self._next > self._received:
                self._received = self._next
                self.taken.append(message)
            self._next += 1
        else:
            assert message["type"] == 6, message

    async def resume(self) -> None:
        """Go on over a new link, whatever became of the one before."""
        first = self._acknowledged + 1
        await self._side.attach()
        await self._side.peer.send(sequence(first), *self._sent[self._acknowledged :])

    @property
    def settled(self) -> bool:
        """Whether the server has acknowledged everything."""
        return self._acknowledged == len(self._sent)
