"""`python -m tests.interop.cutting_proxy URL`: gates before a server, whose passers are cut off when a test says so.

A gate is a port that forwards each connection to the server, byte for byte. It never ends a connection by itself:
only the two sides do, or a request to the control, whose address is printed as `listening http://127.0.0.1:N`:

    POST /open              a new gate; the answer is its address
    POST /cut?port=N        the gate's connections are reset on both sides
    POST /cut?port=N&after=B,B   not at once, but when so many bytes have passed: of those there are, of the next, ...
    POST /silence?port=N    whatever its connections send from now on is swallowed, their ends too; later ones work
    POST /half-close?port=N&side=client   the client's side of its connections, or the server's, is told the end; what
                            comes for it is swallowed, and the other direction goes on
    POST /delay?port=N&seconds=S   from now on each piece is held for so long, whichever way it goes
    POST /split?port=N      from now on each byte is sent by itself
    POST /refuse?port=N     a cut, and later connections are reset as well, until
    POST /heal?port=N       they are let through again

A request is answered once it is done. Each test opens its own gate, so none cuts off another.
"""

import argparse
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from urllib.parse import parse_qs, urlsplit

import attrs
import trio

ABORTIVE = struct.pack("ii", 1, 0)


def reset(stream: trio.SocketStream) -> None:
    """End a connection with a reset, as a network does that forgets it."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
    stream.socket.close()


@attrs.define(eq=False)
class Passage:
    """One connection through a gate."""

    gate: "Gate"
    near: trio.SocketStream
    far: trio.SocketStream
    silent: bool = False
    ended: trio.SocketStream | None = None  # that was told the end
    left: float = inf  # bytes until it is cut

    async def run(self) -> None:
        """Forward both ways until either side ends the connection."""
        async with self.near, self.far, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, self.near, self.far, nursery.cancel_scope)
            nursery.start_soon(self._forward, self.far, self.near, nursery.cancel_scope)

    async def _forward(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                if self.left < len(data):
                    await sink.send_all(data[: int(self.left)])
                    self.cut()
                self.left -= len(data)
                if self._lets_through(sink):
                    await self.gate.send(data, sink)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if self._lets_through(sink):
            both.cancel()

    def _lets_through(self, sink: trio.SocketStream) -> bool:
        return not self.silent and sink is not self.ended

    def half_close(self, side: str) -> None:
        """Tell one side the end."""
        self.ended = self.near if side == "client" else self.far
        self.ended.socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Reset both sides."""
        for stream in (self.near, self.far):
            if stream.socket.fileno() >= 0:
                reset(stream)


@attrs.define
class Gate:
    """A port of its own before the server."""

    host: str
    port: int
    passages: set[Passage] = attrs.field(factory=set)
    refusing: bool = False
    delay: float = 0.0  # seconds
    split: bool = False
    cuts: deque[int] = attrs.field(factory=deque)  # after how many bytes those to come are cut

    async def let_in(self, near: trio.SocketStream) -> None:
        """Forward one connection, from its beginning to its end."""
        if self.refusing:
            return reset(near)
        try:
            far = await trio.open_tcp_stream(self.host, self.port)
        except OSError:
            return reset(near)
        passage = Passage(self, near, far, left=self.cuts.popleft() if self.cuts else inf)
        self.passages.add(passage)
        try:
            await passage.run()
        finally:
            self.passages.discard(passage)

    async def send(self, data: bytes | bytearray, sink: trio.SocketStream) -> None:
        """Forward a piece."""
        await trio.sleep(self.delay)
        size = 1 if self.split else len(data)
        for start in range(0, len(data), size):
            await sink.send_all(data[start : start + size])

    def cut(self) -> None:
        """Reset the connections there are."""
        for passage in self.passages:
            passage.cut()

    def cut_after(self, sizes: Sequence[int]) -> None:
        """Reset the connections there are after so many bytes, and those to come, one after another."""
        first, *later = sizes
        self.cuts = deque(later)
        for passage in self.passages:
            passage.left = first

    def silence(self) -> None:
        """Let nothing more of them through."""
        for passage in self.passages:
            passage.silent = True

    def half_close(self, side: str) -> None:
        """Tell one side of them the end."""
        for passage in self.passages:
            passage.half_close(side)

    def set_delay(self, seconds: float) -> None:
        """Hold each piece for so long."""
        self.delay = seconds

    def set_split(self) -> None:
        """Send each byte by itself."""
        self.split = True

    def refuse(self) -> None:
        """Reset the connections there are, and those to come."""
        self.refusing = True
        self.cut()

    def heal(self) -> None:
        """Let new connections through again."""
        self.refusing = False


@attrs.define
class Control:
    """The gates, and what requests have done to them."""

    host: str
    port: int
    nursery: trio.Nursery
    gates: dict[int, Gate] = attrs.field(factory=dict)

    async def answer(self, stream: trio.SocketStream) -> None:
        """One request, one answer, and the connection is over."""
        request = b""
        while b"\r\n\r\n" not in request:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError:
                return
            if not data:
                return
            request += data
        target = urlsplit(request.split(b" ", 2)[1].decode())
        if target.path == "/open":
            text = await self.open()
        else:
            query = parse_qs(target.query)
            gate = self.gates[int(query["port"][0])]
            sizes = [int(size) for size in query.get("after", [""])[0].split(",") if size]
            seconds = float(query.get("seconds", ["0"])[0])
            side = query.get("side", [""])[0]
            commands: dict[str, Callable[[], None]] = {
                "/cut": partial(gate.cut_after, sizes) if sizes else gate.cut,
                "/silence": gate.silence,
                "/half-close": partial(gate.half_close, side),
                "/delay": partial(gate.set_delay, seconds),
                "/split": gate.set_split,
                "/refuse": gate.refuse,
                "/heal": gate.heal,
            }
            commands[target.path]()
            text = ""
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        with suppress(trio.BrokenResourceError):
            await stream.send_all((head + text).encode())

    async def open(self) -> str:
        """A new gate's address."""
        gate = Gate(self.host, self.port)
        port = await listen(self.nursery, gate.let_in)
        self.gates[port] = gate
        return f"http://127.0.0.1:{port}"


async def listen(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[object]]) -> int:
    """Serve a free port; answers which."""
    serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
    listeners: list[trio.SocketListener] = await nursery.start(serve)
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def main(server: str) -> None:
    """Serve until the process is ended."""
    address = urlsplit(server)
    assert address.hostname
    assert address.port
    async with trio.open_nursery() as nursery:
        control = Control(address.hostname, address.port, nursery)
        print(f"listening http://127.0.0.1:{await listen(nursery, control.answer)}", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cut off connections to a server when told to.")
    parser.add_argument("server", metavar="URL")
    trio.run(main, parser.parse_args().server)
