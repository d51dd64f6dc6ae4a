"""A hub as seen from outside of it: who is there, whom to call, and whom to send away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from .address import Address
from .clients import C, Groups, HubClients
from .roster import ClientInfo, Roster


class HubContext(Generic[C]):
    """A hub as seen from outside of it.

    What it tells of clients holds when the call returns, and may change with the next ``await``. A client is there
    from before its ``on_connected`` until its connection begins to end, so no longer in ``on_disconnected``.

    Args:
        clients: Its clients.
        groups: Their groups.
        roster: Who they are.

    Attributes:
        clients: Its clients, to be called.
        groups: Their groups.
    """

    def __init__(self, clients: HubClients[C], groups: Groups, roster: Roster) -> None:
        self.clients = clients
        self.groups = groups
        self._roster = roster

    async def connections(self, *, user: str | None = None) -> Sequence[ClientInfo]:
        """The clients that are there, or those of a user. A checkpoint."""
        return await self._roster.find(Address.all() if user is None else Address.users(user))

    async def members(self, group: str) -> Sequence[ClientInfo]:
        """The clients that are in a group. A checkpoint."""
        return await self._roster.find(Address.groups(group))

    async def users(self) -> frozenset[str]:
        """The ids of the users that are there. A checkpoint."""
        return await self._roster.users()

    async def abort(self, connection_id: str, reason: str = "") -> None:
        """End a client's connection, if it is there, as :meth:`HubCallerContext.abort` does.

        A checkpoint; does not wait for the end.
        """
        await self._roster.abort(Address.connections(connection_id), reason)

    async def abort_user(self, user_id: str, reason: str = "") -> None:
        """End all connections of a user that are there, as :meth:`abort` does. Nothing keeps them from new ones."""
        await self._roster.abort(Address.users(user_id), reason)
