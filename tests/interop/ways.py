"""The ways of our client to a server: a protocol over a transport."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import attrs
import httpx2
import trio

from trio_hubs import HubConnection, HubConnectionOptions, Transport, open_hub_connection

PATIENCE = 20.0  # seconds; a busy machine takes some

Protocol = Literal["json", "messagepack"]
Way: TypeAlias = tuple[Protocol, Transport]

WAYS: list[Way] = [
    ("json", Transport.WEBSOCKETS),
    ("messagepack", Transport.WEBSOCKETS),
    ("json", Transport.SERVER_SENT_EVENTS),
    ("json", Transport.LONG_POLLING),
    ("messagepack", Transport.LONG_POLLING),
]


class Server:
    """A server with the conformance hubs, and what its methods saw."""

    def __init__(self, address: str, way: Way, patience: float = PATIENCE) -> None:
        self.address = address
        self._patience = patience
        self.protocol: Protocol = way[0]
        self.transport: Transport = way[1]

    @asynccontextmanager
    async def connect(self, path: str = "/conformance", **options: Any) -> AsyncIterator[HubConnection]:
        """A connection that no test keeps for long."""
        url = self.address + path
        chosen: HubConnectionOptions = options.pop("options", HubConnectionOptions())
        options.setdefault("naming", "dotnet")
        options["options"] = attrs.evolve(chosen, transports=[self.transport])
        with trio.fail_after(self._patience):
            async with open_hub_connection(url, protocol=self.protocol, **options) as connection:
                yield connection

    async def seen_becomes(self, key: str, pattern: str) -> None:
        """Wait until the log under a key is as it should be."""
        end = trio.current_time() + PATIENCE
        async with httpx2.AsyncClient() as http:
            url = f"{self.address}/seen?key={key}"
            while not re.fullmatch(pattern, now := (await http.get(url)).text):
                assert trio.current_time() < end, f"the server's log stayed at {now!r}, expected {pattern!r}"
                await trio.sleep(0.02)
