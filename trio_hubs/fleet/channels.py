"""The names of a hub's channels, as ASP.NET Core's Redis backplane has them."""

from __future__ import annotations

import attrs

from ..server.address import Address, Recipients


@attrs.frozen
class Channels:
    """The channels of one hub.

    Attributes:
        hub: The name that all servers have for it.
    """

    hub: str

    @property
    def all(self) -> str:
        """Calls of every client."""
        return f"{self.hub}:all"

    @property
    def group_commands(self) -> str:
        """Heard by every server."""
        return f"{self.hub}:internal:groups"

    def acks(self, server: str) -> str:
        """Where a server awaits that its group commands have been carried out."""
        return f"{self.hub}:internal:ack:{server}"

    def completions(self, server: str) -> str:
        """Where a server awaits the results of clients elsewhere."""
        return f"{self.hub}:internal:return:{server}"

    @property
    def queries(self) -> str:
        """Heard by every server of ours."""
        return f"{self.hub}:internal:queries"

    def answers(self, server: str) -> str:
        """Where a server awaits what others say of their clients."""
        return f"{self.hub}:internal:answers:{server}"

    def group(self, name: str) -> str:
        """Calls of a group; heard by servers that have a member."""
        return f"{self.hub}:group:{name}"

    def user(self, id: str) -> str:
        """Calls of a user; heard by servers that have a connection of that user."""
        return f"{self.hub}:user:{id}"

    def connection(self, id: str) -> str:
        """Calls of a connection; heard by the server that has it."""
        return f"{self.hub}:connection:{id}"

    def of(self, address: Address) -> list[str]:
        """Where to publish a call of this address."""
        match address.recipients:
            case Recipients.ALL:
                return [self.all]
            case Recipients.GROUPS:
                return [self.group(name) for name in address.names if name]
            case Recipients.USERS:
                return [self.user(id) for id in address.names if id]
            case Recipients.CONNECTIONS:
                return [self.connection(id) for id in address.names]
