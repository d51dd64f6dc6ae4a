"""The Counter sample: a hub that streams numbers, and an app that offers it beside a page.

The end of each stream is seen, however it ends: the hub reports it here and to the client that called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.resources import files

import trio

from ..connections.http import Response
from ..errors import HubException
from ..server.app import HubApp
from ..server.hub import Hub

HUB_PATH = "/counter"

Report = Callable[[str, str], None]
"""Called with a connection's id and with what the server saw of its stream."""


class Counter(Hub):
    """Streams numbers.

    Args:
        report: Called with each thing that happens to a stream, too.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    async def counter(self, count: int, delay: float) -> AsyncIterator[int]:
        """Count from 0, with a delay in milliseconds after each number."""
        if count < 0 or delay < 0:
            raise HubException("Neither the count nor the delay can be negative.")
        ending = "cancelled"
        try:
            await self._saw("started")
            for number in range(count):
                await self._saw(f"item {number}")
                yield number
                await trio.sleep(delay / 1000)
            ending = "completed"
        finally:
            # A cancelled method may still do what is short: nothing in here is cancelled for a second.
            with trio.move_on_after(1, shield=True):
                await self._saw(ending)

    async def _saw(self, what: str) -> None:
        self._report(self.context.connection_id, what)
        await self.clients.caller.send("Saw", what)


def counter_app(report: Report) -> HubApp:
    """Make an app with the counter's page at ``/`` and its hub beside it.

    Args:
        report: Called with each thing that happens to a stream.
    """
    page = Response(
        files("trio_hubs.demo").joinpath("page.html").read_bytes(), content_type="text/html; charset=utf-8"
    )
    app = HubApp()
    app.add_hub(HUB_PATH, Counter, factory=lambda: Counter(report))
    app.add_route("/", lambda _: page)
    return app
