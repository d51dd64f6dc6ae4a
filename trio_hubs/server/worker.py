"""One of several processes that serve an app together, as the app sees it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

import attrs
import trio

from ..connections.server.elsewhere import Elsewhere
from ..connections.server.http_server import HttpServer
from .backplane import Backplane


class OtherWorkers(Elsewhere, Protocol):
    """The way to the others."""

    @property
    def up(self) -> tuple[int, ...]:
        """The numbers of the workers that serve and do not run empty, this one's included."""
        ...

    async def run(self, server: HttpServer, nursery: trio.Nursery) -> None:
        """Serve the clients that others hand over, in a nursery; until cancelled."""
        ...

    async def leave(self) -> None:
        """This worker runs empty: what is new goes to others from now on. A checkpoint."""
        ...

    def backplane(self, own: Backplane | None) -> Backplane:
        """What joins the hubs of all workers, in place of an app's own backplane."""
        ...


@attrs.frozen
class Worker:
    """A worker.

    Attributes:
        number: Its number, from 0 on; its successor has the same.
        others: The way to the others.
    """

    number: int
    others: OtherWorkers


current_worker: ContextVar[Worker | None] = ContextVar("current_worker", default=None)
"""What apps that are made in this process are part of."""
