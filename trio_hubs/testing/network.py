"""A network in memory, for a test to disturb: its streams hold what sockets hold, and can be cut and stalled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

import trio

BUFFER_SIZE = 64 * 1024


class Network:
    """What lies between an app under test and a client, or several, for the test to disturb.

    Args:
        buffer_size: Bytes that may be under way in each direction of a connection before its sender waits.

    Attributes:
        buffer_size: As given.

    Raises:
        ValueError: It is below 1.
    """

    def __init__(self, *, buffer_size: int = BUFFER_SIZE) -> None:
        if buffer_size < 1:
            raise ValueError("buffer_size must be above 0")
        self.buffer_size = buffer_size
        self._wires: set[Wire] = set()
        self._stalled = False
        self._down = False

    def cut(self) -> None:
        """Break all connections, at once and without a word; what is under way is lost. New ones can be made."""
        for wire in tuple(self._wires):
            wire.cut()

    def stall(self) -> None:
        """Let nothing through, either way, until :meth:`resume`. Nothing is lost by that, and nobody is told."""
        self._stalled = True

    def resume(self) -> None:
        """Let everything through again, what :meth:`stall` has held up first."""
        self._stalled = False
        for wire in self._wires:
            wire.wake()

    def down(self) -> None:
        """Break all connections, and refuse new ones until :meth:`up`."""
        self._down = True
        self.cut()

    def up(self) -> None:
        """Let connections be made again, after :meth:`down`."""
        self._down = False

    # ---- for clients

    @property
    def stalled(self) -> bool:
        """Whether nothing gets through."""
        return self._stalled

    def wire(self) -> Wire:
        """Connect a client.

        Raises:
            OSError: The network is down.
        """
        if self._down:
            raise OSError("the network is down")
        wire = Wire(self)
        self._wires.add(wire)
        return wire

    def forget(self, wire: Wire) -> None:
        """A connection is over."""
        self._wires.discard(wire)


class Wire:
    """One connection, and its two ends.

    Attributes:
        client: The client's end.
        server: The server's end.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        there, back = self._ways = _Way(network), _Way(network)
        self.client = End(self, back, there)
        self.server = End(self, there, back)

    def cut(self) -> None:
        """Break it, for both ends."""
        for way in self._ways:
            way.broken = True
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again."""
        for way in self._ways:
            way.changed.unpark_all()

    def end_closed(self) -> None:
        """An end was closed."""
        self.wake()
        if self.client.closed.is_set() and self.server.closed.is_set():
            self._network.forget(self)


class _Way:
    """One direction of a connection."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.data = bytearray()
        self.ended = False  # by its sender, in order
        self.broken = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def readable(self) -> bool:
        return self.broken or (not self.network.stalled and (bool(self.data) or self.ended))


class End(trio.abc.Stream):
    """One end of a connection, as a stream.

    Attributes:
        closed: Set when it is.
    """

    def __init__(self, wire: Wire, incoming: _Way, outgoing: _Way) -> None:
        self.closed = trio.Event()
        self._wire = wire
        self._incoming = incoming
        self._outgoing = outgoing
        self._used: set[_Way] = set()

    @property
    def readable(self) -> bool:
        """Whether receiving would not wait."""
        return self._incoming.readable

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be above 0")
        way = self._incoming
        with self._using(way):
            await trio.lowlevel.checkpoint()
            while not way.readable:
                await way.changed.park()
            self._check(way)
            data = bytes(way.data[:max_bytes])
            del way.data[:max_bytes]
            way.changed.unpark_all()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        way = self._outgoing
        with self._using(way):
            await trio.lowlevel.checkpoint()
            rest = bytes(data)
            while True:
                self._check(way)
                room = way.network.buffer_size - len(way.data)
                way.data += rest[:room]
                rest = rest[room:]
                way.changed.unpark_all()
                if not rest:
                    break
                await way.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        with self._using(self._outgoing):
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self._outgoing.ended = True
            self._incoming.broken = True  # for the other end, which sends in vain
            self._wire.end_closed()
        await trio.lowlevel.checkpoint()

    @contextmanager
    def _using(self, way: _Way) -> Iterator[None]:
        """Use a direction, in one task at a time."""
        if way in self._used:
            raise trio.BusyResourceError("another task is using this end")
        self._check(way)
        self._used.add(way)
        try:
            yield
        finally:
            self._used.remove(way)

    def _check(self, way: _Way) -> None:
        if self.closed.is_set():
            raise trio.ClosedResourceError("this end was closed")
        if way.broken:
            raise trio.BrokenResourceError("the connection is broken")
