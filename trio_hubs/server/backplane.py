"""What an app asks of a backplane, which joins its hubs with those of other servers."""

from __future__ import annotations

import abc
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any

from .hub import Hub
from .local_roster import LocalRoster
from .options import HubOptions
from .roster import Roster


class Backplane(abc.ABC):
    """Makes of the hubs of several servers one each. It serves one app."""

    @abc.abstractmethod
    def roster(self, hub: type[Hub[Any]], local: LocalRoster, options: HubOptions) -> Roster:
        """The roster of all servers for a hub.

        Args:
            hub: The hub's class.
            local: The clients of this server.
            options: The hub's options.
        """

    @abc.abstractmethod
    def open(self) -> AbstractAsyncContextManager[None]:
        """Be one of the fleet for the body, in which the app is served."""


default_backplane: ContextVar[Backplane | None] = ContextVar("default_backplane", default=None)
"""The backplane of apps that are made without one."""
