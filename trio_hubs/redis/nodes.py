"""Where connections to Redis lead: to one server, to a primary that Sentinel knows, or to the nodes of a cluster.

coredis makes the connections. Its pools do not keep them: of one that is lost in use, they lose the place for good.
"""

from __future__ import annotations

import abc
import binascii
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import coredis
import coredis.exceptions
import trio
from coredis.connection import BaseConnection, SentinelManagedConnection, TCPLocation

from ..tasks import open_background

PING_INTERVAL = 15.0
"""Seconds between the pings by which a dead connection is found out."""
REPLY_TIMEOUT = 5.0
"""Seconds that Redis may take to answer before the connection counts as dead."""
CONNECT_TIMEOUT = 10.0
"""Seconds that an attempt to connect may take."""

LOST = (coredis.exceptions.RedisError, OSError, trio.TooSlowError)
"""What is raised when Redis cannot be reached."""
ASK_TIMEOUT = 2.0
"""Seconds that a node of a cluster may take to connect, and to answer each time it is asked for the others."""

RedisClient: TypeAlias = "coredis.Redis[Any] | coredis.RedisCluster[Any]"
"""A client of coredis, of which the options are used."""
Node: TypeAlias = TCPLocation | None
"""Where a connection leads; ``None`` where it does not matter."""

_SLOTS = 16384


class Nodes(abc.ABC):
    """The nodes of a Redis.

    Attributes:
        count_all: Whether a node knows all that have subscribed to a channel.
    """

    count_all = True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Be able to find nodes for the body."""
        yield

    async def look(self) -> None:
        """Find out which nodes there are now."""
        await trio.lowlevel.checkpoint()

    def of(self, name: bytes) -> Node:
        """The node that has a channel."""
        return None

    def has(self, node: Node) -> bool:
        """Whether there is such a node now."""
        return node is None

    def note_moved(self, node: Node, error: coredis.exceptions.MovedError) -> None:
        """A node has said that a slot is another's."""
        raise error

    async def count(self, name: bytes) -> int:
        """How many have subscribed to a channel, of all nodes."""
        raise NotImplementedError

    @asynccontextmanager
    async def connect(self, node: Node) -> AsyncGenerator[BaseConnection]:
        """Connect to a node for the body."""
        async with open_background() as nursery:
            with trio.fail_after(CONNECT_TIMEOUT):
                connection = await self.make_connection(node)
                await nursery.start(connection.run)
            yield connection

    @abc.abstractmethod
    async def make_connection(self, node: Node) -> BaseConnection:
        """Make a connection that is not there yet."""


def nodes_of(client: RedisClient, *, sharded: bool) -> Nodes:
    """The nodes that a client of coredis leads to."""
    if isinstance(client, coredis.RedisCluster):
        return ClusterNodes(client, sharded)
    pool = client.connection_pool
    return SentinelPrimary(pool) if isinstance(pool, coredis.SentinelConnectionPool) else Server(pool)


def slot_of(name: bytes) -> int:
    """The slot of a cluster that a channel is in: by its name, or by what stands in its first braces."""
    start = name.find(b"{")
    end = name.find(b"}", start + 1)
    return binascii.crc_hqx(name[start + 1 : end] if start >= 0 and end > start + 1 else name, 0) % _SLOTS


class Server(Nodes):
    """One server."""

    def __init__(self, pool: coredis.BaseConnectionPool[Any]) -> None:
        self._pool = pool

    async def make_connection(self, node: Node) -> BaseConnection:
        connection: BaseConnection = self._pool.connection_class(self._pool.location, **_options(self._pool))
        return connection


class SentinelPrimary(Nodes):
    """The primary of a service, which Sentinel knows."""

    def __init__(self, pool: coredis.SentinelConnectionPool) -> None:
        if not pool.is_primary:
            raise ValueError("a client of the primary is needed: what is published to a replica stays there")
        self._pool = pool

    async def make_connection(self, node: Node) -> BaseConnection:
        failures: list[Exception] = []
        sentinels = self._pool.sentinel_manager.sentinels
        for sentinel in sentinels:
            try:
                # One that is mute leaves the others their part of the time, and the primary.
                with trio.fail_after(CONNECT_TIMEOUT / (len(sentinels) + 1)):
                    async with Server(sentinel.connection_pool).connect(None) as connection:
                        found: Any = await connection.create_request(
                            b"SENTINEL GET-MASTER-ADDR-BY-NAME", self._pool.service_name
                        )
            except LOST as error:
                failures.append(error)
                continue
            if found:
                place = TCPLocation(found[0].decode(), int(found[1]))
                return SentinelManagedConnection(place, self._pool.service_name, True, **_options(self._pool))
        why = f": {reason_of(failures[-1])}" if failures else ""
        raise coredis.exceptions.PrimaryNotFoundError(
            f"No Sentinel knows a primary of {self._pool.service_name}{why}"
        )


class ClusterNodes(Nodes):
    """The nodes of a cluster, any of which will do, or each of which has the channels of its slots."""

    def __init__(self, client: coredis.RedisCluster[Any], sharded: bool) -> None:
        self.count_all = sharded
        self._client = client
        self._layout = client.connection_pool.cluster_layout
        asking = self._layout._discovery_service._connection_kwargs
        asking["connect_timeout"] = asking.get("connect_timeout") or ASK_TIMEOUT
        asking["stream_timeout"] = asking.get("stream_timeout") or ASK_TIMEOUT

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        with trio.fail_after(self._patience) as opening:
            async with self._client:
                opening.deadline = math.inf
                yield

    async def look(self) -> None:
        with trio.fail_after(self._patience):
            await self._layout.initialize()

    @property
    def _patience(self) -> float:
        """Seconds in which all nodes that may be known can be asked, of which coredis asks each three times."""
        return CONNECT_TIMEOUT * (len(self._layout.nodes) + len(self._client.connection_pool.startup_nodes))

    def of(self, name: bytes) -> Node:
        if not self.count_all or not self._layout.nodes:
            return None
        try:
            node = self._layout.node_for_slot(slot_of(name))
        except coredis.exceptions.RedisClusterError:  # none has it
            return None
        return TCPLocation(node.host, node.port)

    def has(self, node: Node) -> bool:
        if node is None:
            return not self.count_all
        return any(TCPLocation(each.host, each.port) == node for each in self._layout.primaries)

    def note_moved(self, node: Node, error: coredis.exceptions.MovedError) -> None:
        known = None if node is None else self._layout.node_for_location(node)
        if known is not None:
            self._layout.report_errors(known, error)

    async def count(self, name: bytes) -> int:
        try:
            return await self._count(name)
        except LOST:  # a node that is none any more, perhaps
            await self.look()
            return await self._count(name)

    async def _count(self, name: bytes) -> int:
        total = 0
        for node in self._layout.nodes:
            async with self._client.connection_pool.acquire(node) as connection:
                reply: Any = await connection.create_request(b"PUBSUB NUMSUB", name, timeout=REPLY_TIMEOUT)
                total += int(reply[1])
        return total

    async def make_connection(self, node: Node) -> BaseConnection:
        pool = self._client.connection_pool
        place = node or self._layout.random_node()
        return pool.connection_class(TCPLocation(place.host, place.port), **_options(pool))


def reason_of(error: BaseException) -> str:
    """What went wrong, in words."""
    return str(error) or type(error).__name__


def _options(pool: coredis.BaseConnectionPool[Any]) -> Any:
    return {**pool.connection_kwargs, "decode_responses": False}
