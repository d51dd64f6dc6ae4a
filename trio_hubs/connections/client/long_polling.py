"""Long polling as a client's transport: one request after another waits for what the server has to send.

A poll that brings nothing is followed by the next; the connection is over when one is answered with 204, or fails.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from ...errors import ConnectionClosed, ConnectionFailed
from ...logs import get_logger
from ...tasks import open_background
from ..duplex import Duplex
from ..http import public_url
from .negotiation import ConnectTarget
from .posts import PostingConnection
from .requests import Requests

logger = get_logger(__name__)

POLL_TIMEOUT = 120.0
"""Seconds after which a poll that was not answered is followed by another (the .NET client's HTTP timeout)."""
CLOSE_TIMEOUT = 5.0
"""Seconds that the server has to take our goodbye."""


class LongPollingConnection(PostingConnection):
    """A client's end of a connection over long polling."""

    inherent_keep_alive = True

    def __init__(self, requests: Requests, target: ConnectTarget) -> None:
        super().__init__(requests, target)
        self._requests = requests
        self._target = target

    def give_up(self) -> None:
        self._incoming.close()

    async def poll(self) -> bool:
        """Ask once for what there is, and take it in.

        Returns:
            Whether there may be more.

        Raises:
            ConnectionFailed: The server does not know the connection, or cannot be reached.
        """
        answer = None
        with trio.move_on_after(POLL_TIMEOUT):
            answer = await self._requests.send("GET", self._target.url, grant=self._target.grant)
        if answer is None:
            return True
        if answer.response.status_code == 204:
            await answer.response.aclose()
            return False
        if not answer.response.is_success:
            raise await answer.failure()
        async with answer.parts() as parts:
            async for part in parts:
                await self._incoming.put(part)
        return True

    async def poll_on(self) -> None:
        """Ask again and again, until the connection is over."""
        error = None
        try:
            while await self.poll():
                pass
        except ConnectionFailed as failure:
            error = failure.retold(ConnectionClosed, f"The server did not answer a poll: {failure}.")
        self._incoming.close(error)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Duplex]:
        """Poll for the body, then say goodbye."""
        try:
            async with open_background() as nursery:
                nursery.start_soon(self.poll_on)
                yield self
        finally:
            if not self._incoming.closed:
                self._incoming.close()
                with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                    await self._leave()

    async def _leave(self) -> None:
        try:
            answer = await self._requests.send("DELETE", self._target.url, grant=self._target.grant)
            await answer.response.aclose()
        except ConnectionFailed as error:
            logger.debug("connection %s: the server did not take our goodbye: %r", self.id, error)


async def start_long_polling(
    requests: Requests, target: ConnectTarget
) -> AbstractAsyncContextManager[Duplex]:
    """Make the first poll, which only begins the connection. A checkpoint.

    Returns:
        A context manager that gives the connection, and ends it in order.

    Raises:
        ConnectionClosed: The server does not answer it well.
    """
    connection = LongPollingConnection(requests, target)
    try:
        if not await connection.poll():
            raise ConnectionFailed("it ended the connection at once")
    except ConnectionFailed as error:
        raise error.retold(
            ConnectionClosed, f"The server does not answer polls at {public_url(target.url)}: {error}."
        ) from error.__cause__
    return connection.opened()
