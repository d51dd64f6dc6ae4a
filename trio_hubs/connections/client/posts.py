"""What a client sends by requests of their own, where its transport only brings what the server sends."""

from __future__ import annotations

import trio

from ...errors import ConnectionClosed, ConnectionFailed
from ...protocol.hub_protocol import TransferFormat
from ..duplex import Duplex
from ..pipe import Pipe
from .negotiation import ConnectTarget
from .requests import Requests

BUFFER_SIZE = 64 * 1024
"""Bytes that have come and were not received, from which on nothing more is asked for."""
LAST_WORD_TIMEOUT = 1.0
"""Seconds that a server which takes nothing any more has to say why, where it can still be heard."""

_TYPES = {
    TransferFormat.TEXT: "text/plain;charset=UTF-8",
    TransferFormat.BINARY: "application/octet-stream",
}


class Posts:
    """Sends the bytes of one connection.

    Args:
        requests: Makes the requests.
        target: Where they go.
        incoming: What the server sends.
    """

    def __init__(self, requests: Requests, target: ConnectTarget, incoming: Pipe) -> None:
        self._requests = requests
        self._target = target
        self._incoming = incoming

    async def send(self, data: bytes, transfer_format: TransferFormat) -> None:
        """Send bytes, and wait until the server has taken them. A checkpoint.

        Raises:
            ConnectionClosed: It has not; and whatever it still had to say has been received, or was waited for.
        """
        if self._incoming.closed:
            await self._hear_out()
            raise ConnectionClosed("The connection is over.")
        if not data:
            await trio.lowlevel.checkpoint()
            return
        headers = {"Content-Type": _TYPES[transfer_format]}
        try:
            answer = await self._requests.send(
                "POST", self._target.url, headers=headers, content=bytes(data), grant=self._target.grant
            )
            if not answer.response.is_success:
                raise await answer.failure()
            await answer.read()
        except ConnectionFailed as error:
            await self._hear_out()
            raise error.retold(
                ConnectionClosed, f"The server did not take what was sent: {error}."
            ) from error.__cause__

    async def _hear_out(self) -> None:
        """Wait, for a time, until all that the server sent is received: it may say why it ended the connection."""
        with trio.move_on_after(LAST_WORD_TIMEOUT):
            await self._incoming.wait_over()


class PostingConnection(Duplex):
    """A client's end of a connection whose transport only brings what the server sends."""

    def __init__(self, requests: Requests, target: ConnectTarget) -> None:
        super().__init__(target.connection_id, target.request)
        self._incoming = Pipe(BUFFER_SIZE)
        self._posts = Posts(requests, target, self._incoming)

    async def receive(self) -> bytes:
        return await self._incoming.take()

    async def send(self, data: bytes) -> None:
        await self._posts.send(data, self.transfer_format)
