"""What passes between an ASGI server and an application, and the one way in which we send it.

A server may shield its sends from cancellation, as Hypercorn does, and a client that takes nothing would then hold up
whoever wants to give it up. So all is sent by a task of the request's own, for which only the server has to wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio

from ..errors import ConnectionClosed
from ..tasks import bare, open_tasks

Scope: TypeAlias = Mapping[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class ClientLeft(OSError):
    """What an application's sends raise when its client has left, as the specification has it."""


def is_of_a_client_that_left(error: BaseException) -> bool:
    """Whether an application's exception is the one that a send of it has raised, or has come of it."""
    at: BaseException | None = bare(error)
    while at is not None and not isinstance(at, ClientLeft):
        at = at.__cause__ or at.__context__
    return at is not None


class Outlet:
    """Sends one request's messages.

    Args:
        send: The server's.

    Attributes:
        cut: Whether a message is being sent, or was and was cut or failed, after which nothing more can be sent.
    """

    def __init__(self, send: Send) -> None:
        self.cut = False
        self._error: Exception | None = None
        self._send = send
        self._scope = trio.CancelScope(shield=True)  # as last words leave while all else is cancelled
        self._give, self._take = trio.open_memory_channel[tuple[dict[str, Any], trio.Event]](0)

    async def run(self) -> None:
        """Send what is given, until it is closed, or a send fails."""
        with self._scope:
            async for message, done in self._take:
                try:
                    await self._send(message)
                except Exception as error:  # noqa: BLE001 - it is the sender's
                    self._error = error
                    return
                finally:
                    done.set()
                self.cut = False

    def close(self) -> None:
        """Send nothing any more."""
        self._scope.cancel()

    async def send(self, type: str, **fields: Any) -> None:
        """Send a message. A checkpoint.

        A cancelled call may have sent it, and leaves the outlet unusable.

        Raises:
            ConnectionClosed: The client left, or did not take a message before.
            Exception: The server's own.
        """
        if not self.cut:
            self.cut = True
            done = trio.Event()
            await self._give.send(({"type": type, **fields}, done))
            await done.wait()
        if self._error is not None and not isinstance(self._error, OSError):
            raise self._error
        if self.cut:  # by OSError, as the specification has it
            raise ConnectionClosed("The client left.")


@asynccontextmanager
async def open_outlet(send: Send) -> AsyncGenerator[Outlet]:
    """Make an outlet for the body; the end waits for a server that does not let go of what it is sending."""
    outlet = Outlet(send)
    async with open_tasks() as nursery:
        nursery.start_soon(outlet.run)
        try:
            yield outlet
        finally:
            outlet.close()
