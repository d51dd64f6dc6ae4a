"""What a monitor tells, live: on a terminal as a view that fills it, elsewhere each snapshot as a line of JSON.

It connects again when the connection is lost, for as long as it takes.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio
from rich.live import Live

from ..client.state import HubConnectionState, StateChange
from ..connections.http import public_url
from ..errors import ConnectionClosed, ConnectionFailed
from ..monitor.hub import HUB
from ..monitor.snapshot import Snapshot
from .client import Server, print_values, tell_change
from .demo import PipeConsole
from .monitor_view import MonitorView
from .process import Fault


async def top(server: Server, every: float, once: bool) -> None:
    """Show what a monitor tells, until cancelled.

    Args:
        server: Where the monitor is, by the URL of its page.
        every: Seconds from one snapshot to the next.
        once: Show one snapshot, the first with rates, and end; also when the connection is lost.

    Raises:
        Fault: There is no monitor, or none that lets us in.
        HubsError: The server answered with an error, or has gone for good.
    """
    parts = urlsplit(server.url)
    url = parts._replace(path=parts.path.rstrip("/") + HUB).geturl()
    hub = attrs.evolve(server, url=url, reconnect=not once)
    place = public_url(server.url)
    try:
        if not sys.stdout.isatty():
            await _watch(hub, every, once, hub.value_type, lambda told: print_values([told]), tell_change)
        elif once:
            await _watch(hub, every, once, Snapshot, _Paper(place).show, tell_change)
        else:
            with Live(console=PipeConsole(), screen=True, auto_refresh=False) as live:
                screen = _Screen(live, place)
                await _watch(hub, every, once, Snapshot, screen.show, screen.tell)
    except Fault as fault:
        if isinstance(fault.__cause__, ConnectionFailed) and fault.__cause__.status == 404:
            raise Fault(f"there is no monitor at {place}; an app has one by add_monitor") from fault
        raise


async def _watch(
    server: Server,
    every: float,
    once: bool,
    type_: Any,
    show: Callable[[Any], Awaitable[None]],
    tell: Callable[[StateChange], None],
) -> None:
    """Have each snapshot shown, and changes of the connection's state told."""
    async with server.connect({}, tell) as connection:
        while True:
            async with connection.stream(
                "Watch", every, item_type=type_, wait_for_ready=True, resume=lambda _: (every,)
            ) as snapshots:
                first, told = True, None
                async for told in snapshots:
                    with suppress(ConnectionClosed):  # which the stream itself gets over
                        await connection.send("Taken")
                    if not once:
                        await show(told)
                    elif not first:
                        break
                    first = False
            if once:
                await show(told)
                return
            await trio.sleep(every)  # the app runs empty, and another process may go on


class _Paper:
    """Draws one view."""

    def __init__(self, place: str) -> None:
        self._place = place

    async def show(self, told: Snapshot) -> None:
        view = MonitorView(self._place, told, datetime.now().astimezone(), whole=True)
        PipeConsole(highlight=False).print(view)


class _Screen:
    """Draws each view over the one before."""

    def __init__(self, live: Live, place: str) -> None:
        self._live = live
        self._place = place
        self._view: MonitorView | None = None

    async def show(self, told: Snapshot) -> None:
        self._draw(MonitorView(self._place, told, datetime.now().astimezone()))

    def tell(self, change: StateChange) -> None:
        if change.state is HubConnectionState.RECONNECTING and self._view is not None:
            self._draw(attrs.evolve(self._view, lost=f"lost, and tried again: {change.reason}"))

    def _draw(self, view: MonitorView) -> None:
        self._view = view
        self._live.update(view, refresh=True)
