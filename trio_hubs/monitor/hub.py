"""The monitor's hub and its page, both for those alone who may see them.

What they show was made up by clients in part: names of users and of groups. It is data, and whoever shows it masks it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from functools import partial
from importlib.resources import files
from typing import Any, cast

import trio

from ..connections.http import Response
from ..connections.server.router import Pattern
from ..connections.users import Policy
from ..connections.users import authorize as authorized
from ..errors import HubException
from ..server.app import HubApp
from ..server.hub import Hub
from ..server.options import HubOptions
from .processes import SHORTEST, Processes
from .snapshot import Looks, Snapshot

LONGEST = 60.0
"""Seconds from one snapshot to the next that a viewer may choose, from :data:`.SHORTEST` on."""

HUB = "/hub"
"""Stands behind the monitor's path at its hub."""

_OPTIONS = HubOptions(maximum_streams=1, close_on_authentication_expiration=True)
_NOTICE = 1.0  # seconds until it is seen that the app has no other clients any more
_TAKEN = object()


class MonitorHub(Hub):
    """Tells what an app is doing.

    Args:
        processes: Those that serve it.
    """

    app: HubApp[Any]

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    async def watch(self, every: float) -> AsyncIterator[Snapshot]:
        """Give a snapshot now, and again and again, each when the viewer has said that it has the one before.

        So none is old when it comes, however slow the viewer is, or what lies between. It ends when the app runs empty
        and has no other clients any more, within a second, so that it keeps nothing waiting.

        Args:
            every: Seconds from one to the next.
        """
        if not SHORTEST <= every <= LONGEST:
            raise HubException(f"A snapshot can be had every {SHORTEST:g} to {LONGEST:g} seconds.")
        before: Looks = {}
        last = trio.current_time()
        while True:
            looks, expected = await self._processes.look()
            now = trio.current_time()
            taken = self.context.items[_TAKEN] = trio.Event()
            yield Snapshot.of(looks, before, now - last, expected)
            before, last = looks, now
            due = False
            while not due:
                if self.app.draining and not _others(self.app):
                    return
                with trio.move_on_after(_NOTICE):
                    await taken.wait()
                    await trio.sleep_until(now + every)
                    due = True

    def taken(self) -> None:
        """Say that the newest snapshot has come."""
        if _TAKEN in self.context.items:
            self.context.items[_TAKEN].set()


def add_monitor(app: HubApp[Any], path: str = "/monitor", *, authorize: Policy) -> None:
    """Let some users see what an app does: at a page, and in a terminal by ``trio-hubs top``.

    It tells of connections, groups, calls by method, and slow clients, with the ids of users and the names of groups.
    From now on calls are counted.

    Args:
        app: The app, before it is served.
        path: The page's path; the hub, with its method ``Watch``, is at ``{path}/hub``.
        authorize: Tells which users may see it; may be async. Requests of nobody get 401, those of others 403.

    Raises:
        TypeError: ``authorize`` is no policy.
        ValueError: The app has a monitor, something is at the path already, or it does not start with a slash.

    Example:
        ::

            add_monitor(app, authorize=lambda user: "admin" in user.claims.get("roles", ()))
    """
    if not callable(cast("object", authorize)):
        raise TypeError(
            "a monitor is for some users alone: authorize is a policy, which is called with the user and tells "
            f"whether they may see it, and {authorize!r} is none"
        )
    if any(issubclass(hub, MonitorHub) for hub, _ in app.site.hubs):
        raise ValueError("the app has a monitor already")
    if app.site.router.get(Pattern.parse(path)) is not None:  # before there is a hub without its page
        raise ValueError(f"there is something at '{path}' already")

    @authorized(partial(authorize))  # which is no handler, whatever its parameter is called
    class Monitor(MonitorHub):
        pass

    Monitor.__qualname__ = Monitor.__name__
    page = _page()
    processes: Processes
    app.add_hub(
        f"{path.rstrip('/')}{HUB}",
        Monitor,
        factory=lambda: Monitor(processes),
        options=_OPTIONS,
        alone=True,  # so that it can be seen, too, that the other processes cannot be reached
    )
    app.add_route(path, lambda _: page, authorize=authorize)
    processes = Processes(app)  # joins the fleet, so it comes when nothing can fail any more
    _ = app.figures  # which are counted from now on


def _others(app: HubApp[Any]) -> bool:
    """Whether an app's hubs have clients besides those that watch."""
    return any(served.sessions for hub, served in app.site.hubs if not issubclass(hub, MonitorHub))


def _page() -> Response:
    """The page, which may do nothing but what stands in it."""
    text = files("trio_hubs.monitor").joinpath("page.html").read_text(encoding="utf-8")
    script, style = (_digest(text, element) for element in ("script", "style"))
    return Response(
        text,
        content_type="text/html; charset=utf-8",
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",  # for a token may stand in its URL
            "X-Content-Type-Options": "nosniff",
        },
    )


def _digest(text: str, element: str) -> str:
    found = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    assert found is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"
