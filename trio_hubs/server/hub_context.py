"""A hub as seen from outside of it."""

from __future__ import annotations

from typing import Generic

import attrs

from .clients import C, Groups, HubClients


@attrs.frozen
class HubContext(Generic[C]):
    """A hub as seen from outside of it.

    Attributes:
        clients: Its clients, to be called.
        groups: Their groups.
    """

    clients: HubClients[C]
    groups: Groups
