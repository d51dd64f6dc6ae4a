"""An HTTP server in memory, for the requests of a client: it answers each as a test says, and keeps them."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import trio

from trio_hubs import AccessToken, ConnectionOptions
from trio_hubs.connections.client.negotiation import ConnectTarget
from trio_hubs.connections.client.requests import Requests

Answer: TypeAlias = Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response]]

TARGET = ConnectTarget(base="http://server/hub", url="http://server/hub?id=token", connection_id="id")


class Body(httpx2.AsyncByteStream):
    """A body that comes in pieces.

    Args:
        pieces: They; an exception is raised in its turn.
        endless: Whether nothing comes after them, not even the end.
    """

    def __init__(self, pieces: Sequence[bytes | Exception], *, endless: bool = False) -> None:
        self._pieces = pieces
        self._endless = endless
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await trio.lowlevel.checkpoint()
            if isinstance(piece, Exception):
                raise piece
            yield piece
        if self._endless:
            await trio.sleep_forever()

    async def aclose(self) -> None:
        self.closed = True


class Endless(Body):
    """A body that never ends, and always has more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield self._pieces[0]  # type: ignore[misc]  # they are bytes


@asynccontextmanager
async def open_requests(
    answer: Answer,
    url: str = "http://server/hub",
    *,
    headers: Mapping[str, str] | None = None,
    access_token: AccessToken | None = None,
    **options: Any,
) -> AsyncGenerator[tuple[Requests, list[httpx2.Request]]]:
    """The requests of a client whose server answers so; and those that it has made."""
    made: list[httpx2.Request] = []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        made.append(request)
        answered = answer(request)
        return answered if isinstance(answered, httpx2.Response) else await answered

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as http_client:
        requests = Requests(
            url,
            headers=headers or {},
            access_token=access_token,
            ssl_context=None,
            http_client=http_client,
            options=ConnectionOptions(**options),
        )
        yield requests, made
