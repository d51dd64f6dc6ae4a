"""A socket that is read with one pass of the scheduler for each read, and written to, if it takes it, with none.

Trio's own stream first tries to read, which fails when requests and answers take turns, and lets other tasks
run after each write, which costs much when it is done for each of many small answers.
"""

from __future__ import annotations

import socket

import trio


class DirectSocketStream(trio.abc.Stream):
    """A trio socket stream, less what it does besides.

    Args:
        stream: The stream; from now on it is used and closed through this one only.

    Attributes:
        socket: The socket, to be watched and nothing else.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        # Another object on the same descriptor: only closing must not be done by both.
        near = stream.socket
        self.socket = socket.socket(near.family, near.type, near.proto, near.fileno())
        self.socket.setblocking(False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if self.socket.fileno() == -1:
                raise trio.ClosedResourceError("this socket was closed")
            await trio.lowlevel.wait_readable(self.socket)
            data = self.receive_nowait(max_bytes)
            if data is not None:  # else the kernel thought better of it
                return data

    def receive_nowait(self, max_bytes: int | None = None) -> bytes | None:
        """Receive what is there.

        Returns:
            ``b""`` when the peer has ended the stream, and ``None`` when there is nothing.

        Raises:
            trio.BrokenResourceError: The connection broke.
        """
        try:
            return self.socket.recv(max_bytes or 65536)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(f"socket connection broken: {error}") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the socket takes at once.

        Returns:
            How many bytes; 0 also when the socket is broken, which the next call that waits will tell.
        """
        try:
            return self.socket.send(data)
        except OSError:
            return 0

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    def close(self) -> None:
        """Close the socket; what is under way still leaves."""
        if self.socket.fileno() != -1:
            self.socket.detach()
        self._stream.socket.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


async def close_at_once(stream: trio.abc.Stream) -> None:
    """Close a stream without waiting for its peer, also while cancelled. Not a checkpoint where that needs none."""
    if isinstance(stream, DirectSocketStream):
        stream.close()
    else:
        await trio.aclose_forcefully(stream)
