"""A client's WebSocket that is torn is followed by another, with the same token: stateful reconnect's lower half.

The server keeps what it has of the connection for some seconds, so that is tried at once, and again while it may still
help. An end in good order is final.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import trio

from ...errors import ConnectionFailed
from ...logs import get_logger
from ...tasks import open_background
from ..duplex import Duplex
from ..resumable import ResumableConnection, ResumableState
from .negotiation import ConnectTarget

logger = get_logger(__name__)

TIME_TO_COME_BACK = 15.0
"""Seconds that a torn connection is tried for: ASP.NET Core's ``DisconnectTimeout``."""
PAUSE = 1.0
"""Seconds between two attempts."""
UNKNOWN = 404
"""The status of a server that has forgotten the connection."""

Started: TypeAlias = AbstractAsyncContextManager[Duplex]


@asynccontextmanager
async def resuming(
    target: ConnectTarget, first: Started, again: Callable[[], Awaitable[Started]]
) -> AsyncGenerator[Duplex]:
    """Go on over one WebSocket after another for the body, once that is enabled.

    Args:
        target: Where the WebSockets are opened.
        first: The first one.
        again: Opens another one.
    """
    connection = ResumableConnection(target.connection_id, target.request)
    async with open_background() as nursery:
        await nursery.start(_carry, connection, first, again)
        try:
            yield connection
        finally:
            connection.close()


async def _carry(
    connection: ResumableConnection,
    first: Started,
    again: Callable[[], Awaitable[Started]],
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    async with first as websocket:
        task_status.started()
        await connection.carry(websocket)
    while connection.resumable and connection.state is ResumableState.TORN:
        following = await _come_back(connection.id, again)
        if following is None:
            break
        async with following as websocket:
            await connection.carry(websocket)
    connection.close()


async def _come_back(id: str | None, again: Callable[[], Awaitable[Started]]) -> Started | None:
    """Open another WebSocket; ``None`` where that does not help any more."""
    with trio.move_on_after(TIME_TO_COME_BACK):
        while True:
            try:
                return await again()
            except ConnectionFailed as error:
                logger.info("connection %s was torn, and is not taken up again yet: %s", id, error)
                if error.status == UNKNOWN or not error.retriable:
                    break
            await trio.sleep(PAUSE)
    return None
