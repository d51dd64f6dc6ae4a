"""A fleet over Redis, as ASP.NET Core's Redis backplane has it: its servers and ours may be of one fleet.

One connection carries all that a process publishes and hears, in order. While it is away, what is published waits
within a bound, and then fails; what others published meanwhile is lost, which is told as a gap.
"""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from random import uniform
from types import MappingProxyType
from typing import Any, cast

import anyio
import coredis
import coredis.exceptions
import trio
from coredis.connection import BaseConnection

from .errors import BackplaneError
from .fleet.backplane import FleetBackplane
from .fleet.bus import Bus, Gap, Hear
from .logs import get_logger
from .server.clients import C, HubClients
from .server.hub import Hub
from .server.hub_definition import proxy_maker
from .server.local_roster import LocalRoster
from .server.options import HubOptions
from .tasks import open_background

logger = get_logger(__name__)

PING_INTERVAL = 15.0
"""Seconds between the pings by which a dead connection is found out."""
REPLY_TIMEOUT = 5.0
"""Seconds that Redis may take to answer before the connection counts as dead."""
LONGEST_DELAY = 10.0
"""Seconds between two attempts to connect, at most; the first come after a tenth of a second, each with jitter."""

_TOGETHER = 500  # channels in one command
_LOST = (coredis.exceptions.RedisError, OSError)


class RedisBackplane(FleetBackplane):
    """Joins the hubs of several servers by a Redis, or Valkey, of version 7 or later.

    Args:
        redis: Its URL (``redis://user:password@host:port``, ``rediss://`` for TLS, ``unix://path``), or a client of
            coredis that has not been entered: for Sentinel and Cluster, and for options of your own.
        channel_prefix: Stands before the name of every channel: the ``ChannelPrefix`` of ASP.NET Core's servers.
        hub_names: The names that all servers have for hubs, such as ``{Chat: "MyApp.Hubs.ChatHub"}``: a .NET class's
            full name. The module and class by default.
        publish_timeout: Seconds for which what is published may wait while Redis is away; then it fails with
            :exc:`BackplaneError`.
        publish_buffer_size: Bytes that may wait to be published before senders have to wait.
        on_gap: Hears that this server was cut off from the others. Must not block, nor raise.

    Attributes:
        gaps: How often this server was cut off.

    Example:
        ::

            app = HubApp(backplane=RedisBackplane("redis://localhost"))

    Source:
        ``Microsoft.AspNetCore.SignalR.StackExchangeRedis``.
    """

    def __init__(
        self,
        redis: str | coredis.Redis[Any] | coredis.RedisCluster[Any],
        *,
        channel_prefix: str = "",
        hub_names: Mapping[type[Hub[Any]], str] = MappingProxyType({}),
        publish_timeout: float = 5.0,
        publish_buffer_size: int = 1024 * 1024,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        for name, value in (
            ("publish_timeout", publish_timeout),
            ("publish_buffer_size", publish_buffer_size),
        ):
            if value <= 0:
                raise ValueError(f"{name} must be above 0: {value}")
        client = coredis.Redis.from_url(redis) if isinstance(redis, str) else redis
        self._redis = RedisBus(client, channel_prefix, publish_timeout, publish_buffer_size, self.note_gap)
        super().__init__(self._redis, hub_names, on_gap)

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[None]:
        async with open_background() as nursery:
            nursery.start_soon(self._redis.run)
            yield

    def note_gap(self, gap: Gap) -> None:
        logger.warning(
            "Redis was away for %.1f s: %d messages may be lost, and others'", gap.seconds, gap.unsent
        )
        super().note_gap(gap)


@asynccontextmanager
async def open_hub_publisher(
    redis: str | coredis.Redis[Any] | coredis.RedisCluster[Any],
    hub: type[Hub[C]],
    *,
    options: HubOptions | None = None,
    channel_prefix: str = "",
    hub_name: str | None = None,
) -> AsyncGenerator[HubClients[C]]:
    """Call the clients of a hub from a process that does not serve it.

    Args:
        redis: As for :class:`RedisBackplane`.
        hub: The hub's class.
        options: The hub's options; of them, the names on the wire matter here.
        channel_prefix: As for :class:`RedisBackplane`.
        hub_name: The name that the servers have for the hub; the module and class by default.

    Yields:
        The clients. A send raises :exc:`BackplaneError` when Redis cannot be reached for 5 seconds.

    Example:
        ::

            async with open_hub_publisher("redis://localhost", Chat) as clients:
                await clients.group("room").send("ReceiveMessage", "job", "done")
    """
    options = options or HubOptions()
    backplane = RedisBackplane(
        redis, channel_prefix=channel_prefix, hub_names={} if hub_name is None else {hub: hub_name}
    )
    roster = backplane.roster(hub, LocalRoster.of(options), options)
    async with backplane.open():
        yield HubClients(roster, proxy_maker(hub), options.slow_clients, options.client_result_timeout)
        await backplane.bus.flush()


class _Publication:
    """A message that waits to be published, and who waits for its count; to coredis, a command of a batch."""

    __slots__ = ("channel", "counted", "data", "outcome")

    name = b"PUBLISH"
    decode = False

    def __init__(self, channel: bytes, data: bytes, counted: trio.Event | None) -> None:
        self.channel = channel
        self.data = data
        self.counted = counted
        self.outcome: int | Exception = 0

    @property
    def serialized_arguments(self) -> tuple[bytes, bytes]:
        return self.channel, self.data

    def settle(self, outcome: int | Exception) -> None:
        self.outcome = outcome
        if self.counted is not None:
            self.counted.set()


class RedisBus(Bus):
    """One process's way to the others, over one connection at a time.

    Args:
        client: Makes the connections.
        prefix: Stands before the name of every channel.
        timeout: Seconds for which anything may wait while Redis is away.
        buffer_size: Bytes that may wait to be published before senders have to wait.
        on_gap: Hears that the connection was lost and is there again.
    """

    def __init__(
        self,
        client: coredis.Redis[Any] | coredis.RedisCluster[Any],
        prefix: str,
        timeout: float,
        buffer_size: int,
        on_gap: Callable[[Gap], None],
    ) -> None:
        self.server = f"{socket.gethostname()}_{uuid.uuid4().hex}"
        self._client = client
        self._prefix = prefix
        self._timeout = timeout
        self._buffer_size = buffer_size
        self._on_gap = on_gap
        self._counts = isinstance(client, coredis.Redis)  # a cluster's node knows its own subscribers only
        self._heard: dict[bytes, Hear] = {}
        self._unconfirmed: Counter[bytes] = Counter()
        self._queue: list[_Publication] = []
        self._queued = 0  # bytes, of the batch that is on its way, too
        self._unsent = 0  # since the connection was lost
        self._work = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._link: BaseConnection | None = None

    # ---- what servers do

    async def wait_room(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._link is None or self._queued >= self._buffer_size:
            await self._wait_until(lambda: self._link is not None and self._queued < self._buffer_size)

    def publish(self, channel: str, data: bytes) -> None:
        self._put(_Publication(self._name(channel), data, None))

    async def publish_counted(self, channel: str, data: bytes) -> int:
        await self.wait_room()
        publication = _Publication(self._name(channel), data, trio.Event())
        self._put(publication)
        assert publication.counted is not None
        await publication.counted.wait()
        if isinstance(publication.outcome, Exception):
            raise BackplaneError("What was published may be lost.") from publication.outcome
        return publication.outcome if self._counts else 1

    async def subscribers(self, channel: str) -> int:
        await self._wait_until(lambda: self._link is not None)
        assert self._link is not None
        if not self._counts:
            return 1
        try:
            reply = await self._link.create_request(
                b"PUBSUB NUMSUB", self._name(channel), timeout=REPLY_TIMEOUT
            )
        except _LOST as error:
            raise BackplaneError("Redis did not answer.") from error
        assert isinstance(reply, list)
        return int(reply[1])

    def subscribe(self, channel: str, hear: Hear) -> None:
        name = self._name(channel)
        if name not in self._heard:
            self._heard[name] = hear
            self._ask_for(name)

    async def wait_subscribed(self, channel: str) -> None:
        name = self._name(channel)
        await self._wait_until(lambda: self._link is not None and name not in self._unconfirmed)

    def unsubscribe(self, channel: str) -> None:
        name = self._name(channel)
        if self._heard.pop(name, None) is not None and self._link is not None and self._link.usable:
            self._link.send_command(b"UNSUBSCRIBE", name)

    async def flush(self) -> None:
        await self._wait_until(lambda: not self._queued)

    # ---- the connection

    async def run(self) -> None:
        """Keep the bus going, until cancelled."""
        lost: float | None = None
        delay = 0.0
        async with self._client:
            while True:
                with self._telling_of_failure():
                    async with self._client.connection_pool.acquire() as link:
                        if lost is not None:
                            self._on_gap(Gap(trio.current_time() - lost, self._unsent))
                        self._unsent, lost, delay = 0, None, 0.0
                        try:
                            await self._serve(link)
                        finally:
                            lost = trio.current_time()
                            self._lose(link)
                delay = min(2 * delay or 0.1, LONGEST_DELAY)
                await trio.sleep(uniform(delay / 2, delay))

    @contextmanager
    def _telling_of_failure(self) -> Iterator[None]:
        try:
            yield
        except* _LOST as lost:  # of several tasks at a time
            logger.warning("the connection to Redis failed, and is tried again: %s", lost.exceptions[0])

    async def _serve(self, link: BaseConnection) -> None:
        """Publish and hear over a connection, until that is lost."""
        async with open_background() as nursery:
            nursery.start_soon(self._hear, link)
            nursery.start_soon(self._ping, link)
            self._link = link
            self._ask_for(*self._heard)
            self._changed.unpark_all()
            await self._publish_all(link)

    def _lose(self, link: BaseConnection) -> None:
        link.invalidate()  # it is subscribed, and so of no use to others
        self._link = None
        self._unconfirmed.clear()
        self._unsent += len(self._queue)
        queue, self._queue = self._queue, []
        for publication in queue:
            publication.settle(BackplaneError("The connection to Redis was lost."))
        self._queued = 0

    def _ask_for(self, *names: bytes) -> None:
        if self._link is not None and self._link.usable:
            self._unconfirmed.update(names)
            for start in range(0, len(names), _TOGETHER):
                self._link.send_command(b"SUBSCRIBE", *names[start : start + _TOGETHER])

    async def _hear(self, link: BaseConnection) -> None:
        # All that has come is taken in each pass, so that no more lies in the library's queue than it reads at a time.
        arrived = link._push_message_buffer_out
        async for push in link.push_messages:
            self._take(push)
            with suppress(anyio.WouldBlock):
                while True:
                    self._take(arrived.receive_nowait())
            self._changed.unpark_all()  # for those whose subscriptions were confirmed

    def _take(self, push: list[Any]) -> None:
        match push:
            case [b"message", name, data]:
                if (hear := self._heard.get(name)) is not None:
                    hear(data)
            case [b"subscribe", name, _]:
                self._unconfirmed[name] -= 1
                if self._unconfirmed[name] <= 0:
                    del self._unconfirmed[name]
            case _:
                pass  # of unsubscribing

    async def _ping(self, link: BaseConnection) -> None:
        while True:
            await trio.sleep(PING_INTERVAL)
            await link.create_request(b"PING", timeout=REPLY_TIMEOUT)

    async def _publish_all(self, link: BaseConnection) -> None:
        while True:
            while not self._queue:
                await self._work.park()
            batch, self._queue = self._queue, []
            done = 0
            try:
                # One request for all of them: one for each took 40 % of the time of a send.
                outcomes = await link.create_request_batch(cast("Any", batch), timeout=REPLY_TIMEOUT)
                outcome: Any
                for publication, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, (coredis.exceptions.ConnectionError, TimeoutError)):
                        raise outcome
                    if isinstance(outcome, Exception):
                        logger.error("Redis refuses what is published: %s", outcome)
                    publication.settle(outcome)
                    self._queued -= len(publication.data)
                    done += 1
            finally:
                self._queue[:0] = batch[done:]
            self._changed.unpark_all()

    # ---- what waits

    def _name(self, channel: str) -> bytes:
        return f"{self._prefix}{channel}".encode()

    def _put(self, publication: _Publication) -> None:
        self._queue.append(publication)
        self._queued += len(publication.data)
        self._work.unpark_all()

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until something is as it should be. A checkpoint.

        Raises:
            BackplaneError: It took too long.
        """
        with trio.move_on_after(self._timeout):
            await trio.lowlevel.checkpoint()
            while not ready():
                await self._changed.park()
            return
        raise BackplaneError(f"Redis cannot be reached, for {self._timeout:g} s.")
