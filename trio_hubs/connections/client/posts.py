"""What a client sends by requests of their own, where its transport only brings what the server sends."""

from __future__ import annotations

from ...errors import ConnectionClosed, ConnectionFailed
from ...protocol.hub_protocol import TransferFormat
from .negotiation import ConnectTarget
from .requests import Requests

_TYPES = {
    TransferFormat.TEXT: "text/plain;charset=UTF-8",
    TransferFormat.BINARY: "application/octet-stream",
}


class Posts:
    """Sends the bytes of one connection.

    Args:
        requests: Makes the requests.
        target: Where they go.
    """

    def __init__(self, requests: Requests, target: ConnectTarget) -> None:
        self._requests = requests
        self._target = target

    async def send(self, data: bytes, transfer_format: TransferFormat) -> None:
        """Send bytes, and wait until the server has taken them. A checkpoint.

        Raises:
            ConnectionClosed: It has not.
        """
        headers = {"Content-Type": _TYPES[transfer_format]}
        try:
            answer = await self._requests.send(
                "POST", self._target.url, headers=headers, content=bytes(data), grant=self._target.grant
            )
            if not answer.response.is_success:
                raise await answer.failure()
            await answer.read()
        except ConnectionFailed as error:
            raise error.retold(
                ConnectionClosed, f"The server did not take what was sent: {error}."
            ) from error.__cause__
