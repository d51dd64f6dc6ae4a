"""One process's way to the others, over Redis."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Sequence

import trio

from ..errors import BackplaneError
from ..fleet.bus import Bus, Gap, Hear
from .commands import PLAIN, SHARDED
from .links import Links
from .nodes import LOST, REPLY_TIMEOUT, RedisClient, nodes_of
from .publications import Publication


class RedisBus(Bus):
    """Channels of a Redis.

    Args:
        client: Says where it is, and how to connect.
        prefix: Stands before the name of every channel.
        timeout: Seconds for which anything may wait while Redis is away.
        buffer_size: Bytes that may wait to be published over a connection before senders have to wait.
        maximum: Bytes that a message may have.
        on_gap: Hears that a connection was lost and is there again.
        sharded: Whether each node of a cluster has the channels of its slots alone.
    """

    def __init__(
        self,
        client: RedisClient,
        prefix: str,
        timeout: float,
        buffer_size: int,
        maximum: int,
        on_gap: Callable[[Gap], None],
        *,
        sharded: bool = False,
    ) -> None:
        self.server = f"{socket.gethostname()}_{uuid.uuid4().hex}"
        self._prefix = prefix
        self._timeout = timeout
        self._buffer_size = buffer_size
        self._maximum = maximum
        self._commands = SHARDED if sharded else PLAIN
        self._nodes = nodes_of(client, sharded=sharded)
        self._links = Links(self._nodes, self._commands, timeout, buffer_size, maximum, on_gap)

    async def run(self) -> None:
        """Keep the bus going, until cancelled."""
        await self._links.run()

    async def wait_room(self, *channels: str) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._has_room(channels):
            await self._wait_until(channels, lambda: self._has_room(channels))

    def publish(self, channel: str, data: bytes) -> None:
        self._put(channel, data)

    async def publish_counted(self, channel: str, data: bytes) -> int:
        await self.wait_room(channel)
        counted = trio.Event()
        publication = self._put(channel, data, counted)
        await counted.wait()
        if isinstance(publication.outcome, Exception):
            raise publication.outcome
        return publication.outcome if self._nodes.count_all else await self.subscribers(channel)

    async def subscribers(self, channel: str) -> int:
        name = self._name(channel)
        await self._wait_until([channel], lambda: self._links.of(name).connection is not None)
        connection = self._links.of(name).connection
        assert connection is not None
        try:
            if not self._nodes.count_all:
                return await self._nodes.count(name)
            reply = await connection.create_request(self._commands.count, name, timeout=REPLY_TIMEOUT)
        except LOST as error:
            raise BackplaneError(f"Redis does not say who hears a channel: {error}") from error
        assert isinstance(reply, list)
        return int(reply[1])

    def subscribe(self, channel: str, hear: Hear) -> None:
        self._links.subscribe(self._name(channel), hear)

    async def wait_subscribed(self, channel: str) -> None:
        name = self._name(channel)
        await self._wait_until([channel], lambda: self._links.subscriptions(name).is_confirmed(name))
        if (refusal := self._links.subscriptions(name).refused.get(name)) is not None:
            raise BackplaneError(f"Redis refuses to let this server hear a channel: {refusal}") from refusal

    def unsubscribe(self, channel: str) -> None:
        self._links.unsubscribe(self._name(channel))

    async def flush(self) -> None:
        await self._wait_until([], lambda: not any(link.publications.bytes for link in self._links))

    def _put(self, channel: str, data: bytes, counted: trio.Event | None = None) -> Publication:
        if len(data) > self._maximum:
            raise BackplaneError(f"{len(data)} bytes are more than other servers can be sent.")
        name = self._name(channel)
        publication = Publication(self._commands.publish, name, data, counted)
        self._links.publish(publication)
        return publication

    def _name(self, channel: str) -> bytes:
        return f"{self._prefix}{channel}".encode()

    def _has_room(self, channels: Sequence[str]) -> bool:
        for channel in channels:
            link = self._links.of(self._name(channel))
            if link.connection is None or link.publications.bytes >= self._buffer_size:
                return False
        return True

    async def _wait_until(self, channels: Sequence[str], ready: Callable[[], bool]) -> None:
        """Wait until something is as it should be. A checkpoint.

        Raises:
            BackplaneError: It took too long.
        """
        with trio.move_on_after(self._timeout):
            await trio.lowlevel.checkpoint()
            while not ready():
                await self._links.changed.park()
            return
        links = [self._links.of(self._name(channel)) for channel in channels]
        why = next((f": {link.failure}" for link in links if link.connection is None and link.failure), ".")
        raise BackplaneError(f"Redis cannot be reached, for {self._timeout:g} s{why}")
