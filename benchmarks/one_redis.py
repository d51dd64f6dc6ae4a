"""What one Redis holds: messages a second, servers, groups; a part of `python -m benchmarks.fleet`.

What is published are bytes made beforehand, as fast as Redis takes them, and the servers only count bytes: so the
rates are those of Redis. What a server of ours takes to publish and to hear a message stands beside them.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from statistics import median
from typing import Final

import trio

from benchmarks.compare import print_row, short
from benchmarks.processes import processor_seconds, resident
from benchmarks.redis_server import RedisServer, running_redis
from benchmarks.scenarios import TEXT
from trio_hubs import BackplaneError, Hub, HubOptions
from trio_hubs.fleet.messages import FleetInvocation, encode
from trio_hubs.protocol.registry import PROTOCOLS
from trio_hubs.redis import RedisBackplane, open_hub_publisher
from trio_hubs.server.local_roster import LocalRoster
from trio_hubs.server.roster import ClientCall

SERVERS: Final = (1, 2, 4, 8, 16)
GROUPS: Final = (1_000, 10_000, 100_000)
TOGETHER: Final = (100, 1)  # messages in one write
UNDER_WAY: Final = 4  # writes that Redis has not answered
HEARD: Final = 10_000  # messages that a server of ours hears; Redis keeps so many for one that is slow
GROUP: Final = "room"


class LoadHub(Hub):
    """A hub whose clients are called."""


OPTIONS: Final = HubOptions()
ALL: Final = f"{LoadHub.__module__}.{LoadHub.__qualname__}:all"


def message() -> bytes:
    """A broadcast as servers of ours publish it, but for the length of their names."""
    call = ClientCall("message", (TEXT,), "")
    blobs = {name: call.encoded(protocol(OPTIONS.naming)) for name, protocol in PROTOCOLS.items()}
    return encode(FleetInvocation((), blobs, sender="s" * 40, policy=("disconnect", None)))


def publish(channel: str, data: bytes) -> bytes:
    """The command."""
    parts = (b"PUBLISH", channel.encode(), data)
    return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def pass_on(redis: RedisServer, servers: int, together: int, seconds: float) -> tuple[float, float]:
    """Messages a second from one to some servers, and the microseconds of Redis's processor time for one."""
    batch = publish("news", message()) * together
    buffer = bytearray(1 << 20)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(servers):
            subscriber = stack.enter_context(redis.connect())
            subscriber.sendall(b"SUBSCRIBE news\r\n")
            subscriber.recv(1000)
            selector.register(subscriber, selectors.EVENT_READ)
        publisher = stack.enter_context(redis.connect())
        selector.register(publisher, selectors.EVENT_READ)
        answered = 0
        began, spent = time.perf_counter(), processor_seconds([redis.process])
        for _ in range(UNDER_WAY):
            publisher.sendall(batch)
        sent = UNDER_WAY * together
        while (taken := time.perf_counter() - began) < seconds:
            for key, _ in selector.select():
                connection = key.fileobj
                size = connection.recv_into(buffer)  # type: ignore[union-attr]
                if connection is publisher:
                    answered += buffer.count(b"\n", 0, size)
                    while sent - answered <= (UNDER_WAY - 1) * together:
                        publisher.sendall(batch)
                        sent += together
        return answered / taken, (processor_seconds([redis.process]) - spent) / answered * 1e6


async def publish_on(redis: RedisServer, seconds: float) -> tuple[float, float]:
    """Messages a second that a process of ours sends to a group, and the microseconds that one takes it."""
    async with open_hub_publisher(redis.url, LoadHub) as clients:
        group = clients.group(GROUP)
        await group.send("message", TEXT)
        began, spent, sent = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < seconds:
            for _ in range(100):
                await group.send("message", TEXT)
            sent += 100
    # Leaving the block waits for all of them.
    return sent / (time.perf_counter() - began), (time.process_time() - spent) / sent * 1e6


@asynccontextmanager
async def open_server(redis: RedisServer) -> AsyncGenerator[RedisBackplane]:
    """A server of ours, as far as Redis is concerned."""
    backplane = RedisBackplane(redis.url)
    backplane.roster(LoadHub, LocalRoster.of(OPTIONS), OPTIONS)
    async with backplane.open():
        await backplane.bus.wait_subscribed(ALL)
        yield backplane


async def hear_on(redis: RedisServer) -> tuple[float, float]:
    """Messages a second that a server of ours without clients hears, and the microseconds that one takes it."""
    async with open_server(redis) as server:
        heard = trio.Event()
        server.bus.subscribe("end", lambda _: heard.set())
        await server.bus.wait_subscribed("end")
        with redis.connect() as publisher:
            publisher.sendall(publish(ALL, message()) * HEARD + publish("end", b""))
            began, spent = time.perf_counter(), time.process_time()
            await heard.wait()
            return HEARD / (time.perf_counter() - began), (time.process_time() - spent) / HEARD * 1e6


async def keep_groups(redis: RedisServer, count: int) -> tuple[float, float, float]:
    """Bytes of a group in Redis and in a server that has members of it; seconds until all of them are heard."""
    async with open_server(redis) as server:
        before, here = redis.memory(), resident(os.getpid()) or 0
        began = time.perf_counter()
        for number in range(count):
            server.bus.subscribe(f"{LoadHub.__module__}.LoadHub:group:room-{number:06}", print)
        await wait_heard(server, f"{LoadHub.__module__}.LoadHub:group:room-{count - 1:06}")
        taken = time.perf_counter() - began
        return (redis.memory() - before) / count, ((resident(os.getpid()) or 0) - here) / count, taken


async def wait_heard(server: RedisBackplane, channel: str) -> None:
    """Wait for a subscription, longer than a server would."""
    for _ in range(20):
        try:
            return await server.bus.wait_subscribed(channel)
        except BackplaneError:
            continue
    raise RuntimeError(f"{channel} is not heard")


def measure_all(rounds: int, seconds: float) -> None:
    """Print what one Redis holds."""
    loads = [(together, servers) for together in TOGETHER for servers in SERVERS]
    passed: dict[tuple[int, int], list[tuple[float, float]]] = {load: [] for load in loads}
    published, heard = [], []
    with running_redis() as redis:
        for _ in range(rounds):
            for together, servers in loads:
                passed[together, servers].append(pass_on(redis, servers, together, seconds / 2))
            published.append(trio.run(publish_on, redis, seconds))
            heard.append(trio.run(hear_on, redis))
        kept = {count: trio.run(keep_groups, redis, count) for count in GROUPS}
    print(f"\n## What one Redis holds; a message has {len(message())} bytes\n")
    print_row("at a time", "servers that hear it", "messages/s", "us of CPU")
    print_row(*["---"] * 4)
    for (together, servers), figures in passed.items():
        rate, cost = map(median, zip(*figures, strict=True))
        print_row(f"{together}", f"{servers}", short(rate), f"{cost:.2g}")
    print()
    print_row("a server of ours", "messages/s", "us of CPU")
    print_row(*["---"] * 3)
    for title, figures in (("publishes", published), ("hears", heard)):
        rate, cost = map(median, zip(*figures, strict=True))
        print_row(title, short(rate), f"{cost:.2g}")
    print()
    print_row("groups of a server", "bytes in Redis", "bytes there", "s to subscribe")
    print_row(*["---"] * 4)
    for count, (there, here, taken) in kept.items():
        print_row(f"{count}", f"{there:.0f}", f"{here:.0f}", f"{taken:.2f}")
