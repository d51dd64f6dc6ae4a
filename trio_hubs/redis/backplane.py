"""What an app is given to be one of a fleet over Redis, and what a process that serves nobody sends by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import coredis

from ..fleet.backplane import FleetBackplane
from ..fleet.bus import Gap
from ..logs import get_logger
from ..server.clients import C, HubClients
from ..server.hub import Hub
from ..server.hub_definition import proxy_maker
from ..server.local_roster import LocalRoster
from ..server.options import HubOptions
from ..tasks import open_background
from .bus import RedisBus
from .nodes import RedisClient

logger = get_logger(__name__)


class RedisBackplane(FleetBackplane):
    """Joins the hubs of several servers by a Redis, or Valkey, of version 7 or later.

    Args:
        redis: Its URL (``redis://user:password@host:port``, ``rediss://`` for TLS, ``unix://path``), or a client of
            coredis that has not been entered: for Sentinel and Cluster, and for options of your own. In a URL, what
            has a meaning there is escaped by ``%``, and TLS checks the server's certificate and its name.
        channel_prefix: Stands before the name of every channel: the ``ChannelPrefix`` of ASP.NET Core's servers.
        hub_names: The names that all servers have for hubs, such as ``{Chat: "MyApp.Hubs.ChatHub"}``: a .NET class's
            full name. The module and class by default.
        publish_timeout: Seconds for which what is published may wait while Redis is away; then it fails with
            :exc:`BackplaneError`.
        publish_buffer_size: Bytes that may wait to be published over a connection before senders have to wait.
        maximum_message_size: Bytes that a message between servers may have. A larger one is refused here, and not heard
            from others.
        sharded: Use sharded pub/sub, by which each node of a Cluster has only the channels of its slots. ASP.NET
            Core's servers do not hear these, and what one task sends to different channels may change its order.
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
        redis: str | RedisClient,
        *,
        channel_prefix: str = "",
        hub_names: Mapping[type[Hub[Any]], str] = MappingProxyType({}),
        publish_timeout: float = 5.0,
        publish_buffer_size: int = 1024 * 1024,
        maximum_message_size: int = 16 * 1024 * 1024,
        sharded: bool = False,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        for name, value in (
            ("publish_timeout", publish_timeout),
            ("publish_buffer_size", publish_buffer_size),
            ("maximum_message_size", maximum_message_size),
        ):
            if value <= 0:
                raise ValueError(f"{name} must be above 0: {value}")
        client = client_of(redis) if isinstance(redis, str) else redis
        self._redis = RedisBus(
            client,
            channel_prefix,
            publish_timeout,
            publish_buffer_size,
            maximum_message_size,
            self.note_gap,
            sharded=sharded,
        )
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


def client_of(url: str) -> coredis.Redis[bytes]:
    """A client that connects to a URL.

    Raises:
        ValueError: It is none.
    """
    if not _is_url(url):  # nothing of it is told, as a password may be anywhere
        raise ValueError(
            "a URL of Redis is redis://host:port, rediss://host:port or unix:///path, with all else escaped by %"
        )
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs=none" not in parts.query:
        url += ("&" if parts.query else "?") + "ssl_check_hostname=true"  # unless it says otherwise before
    return coredis.Redis.from_url(url, decode_components=True)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it may be none
    except ValueError:
        return False
    if parts.scheme == "unix":
        return not parts.fragment
    known = parts.scheme in {"redis", "rediss"} and parts.hostname and not parts.fragment
    return bool(known) and (parts.path[1:] or "0").isdecimal()


@asynccontextmanager
async def open_hub_publisher(
    redis: str | RedisClient,
    hub: type[Hub[C]],
    *,
    options: HubOptions | None = None,
    channel_prefix: str = "",
    hub_name: str | None = None,
    sharded: bool = False,
) -> AsyncGenerator[HubClients[C]]:
    """Call the clients of a hub from a process that does not serve it.

    Args:
        redis: As for :class:`RedisBackplane`.
        hub: The hub's class.
        options: The hub's options; of them, the names on the wire matter here.
        channel_prefix: As for :class:`RedisBackplane`.
        hub_name: The name that the servers have for the hub; the module and class by default.
        sharded: As for :class:`RedisBackplane`.

    Yields:
        The clients. A send raises :exc:`BackplaneError` when Redis cannot be reached for 5 seconds.

    Example:
        ::

            async with open_hub_publisher("redis://localhost", Chat) as clients:
                await clients.group("room").send("ReceiveMessage", "job", "done")
    """
    options = options or HubOptions()
    backplane = RedisBackplane(
        redis,
        channel_prefix=channel_prefix,
        hub_names={} if hub_name is None else {hub: hub_name},
        sharded=sharded,
    )
    roster = backplane.roster(hub, LocalRoster.of(options), options)
    async with backplane.open():
        yield HubClients(roster, proxy_maker(hub), options.slow_clients, options.client_result_timeout)
        await backplane.bus.flush()
