"""A socket that is read with one pass of the scheduler for each read, and written to, if it takes it, with none.

Trio's own stream first tries to read, which fails when requests and answers take turns, and lets other tasks
run after each write, which is dear when it is done for each of many small answers.
"""

from __future__ import annotations

import socket

import trio


class DirectSocketStream(trio.abc.Stream):
    """A trio socket stream, less what it does besides.

    Args:
        stream: The stream; from now on it is used and closed through this one only.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        # Another object on the same descriptor: only closing must not be done by both.
        self._socket = socket.socket(fileno=stream.socket.fileno())
        self._socket.setblocking(False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if self._socket.fileno() == -1:
                raise trio.ClosedResourceError("this socket was closed")
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes or 65536)
            except BlockingIOError:
                pass  # the kernel thought better of it
            except OSError as error:
                raise trio.BrokenResourceError(f"socket connection broken: {error}") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    def send_nowait(self, data: bytes) -> int:
        """Send what the socket takes at once.

        Returns:
            How many bytes; 0 also when the socket is broken, which the next call that waits will tell.
        """
        try:
            return self._socket.send(data)
        except OSError:
            return 0

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        if self._socket.fileno() != -1:
            self._socket.detach()
        await self._stream.aclose()
