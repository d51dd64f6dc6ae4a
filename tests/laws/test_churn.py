"""Law 7 over time: a thousand connections come and go while everything runs, and nothing of them is kept."""

import gc
import random
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import local_roster, members_of, no_task_left
from tests.messages import call as invocation
from tests.messages import cancel, close, ended, framed, item, result, stream
from tests.server.app_peer import PAIRS, AppClient, ServedApp, connect, open_app
from trio_hubs import (
    ChannelReader,
    ChannelWriter,
    Conflate,
    ConnectionClosed,
    Disconnect,
    DropOldest,
    Hub,
    HubApp,
    HubContext,
    HubException,
    HubOptions,
    User,
    Wait,
    open_channel,
)
from trio_hubs.calls.session import Session

AT_A_TIME = 25
GROUPS = [f"group {number}" for number in range(10)]
POLICIES = (Disconnect(), Disconnect(after=2.0), DropOldest(), Conflate("key"), Wait())


class World:
    """What a hub of this test leaves behind: nothing but these counts and references."""

    def __init__(self) -> None:
        self.connected = 0
        self.disconnected = 0
        self.running = 0
        self.sessions: list[weakref.ref[Session]] = []


class Market(Hub):
    """Streams, uploads, groups, broadcasts and questions."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def on_connected(self) -> None:
        self.world.connected += 1
        self.world.sessions.append(weakref.ref(self.context._session))
        await self.groups.add(self.context.connection_id, "everybody")
        if self.world.connected % 29 == 0:
            self.world.disconnected += 1  # which the hub will not be told
            raise HubException("not you")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.world.disconnected += 1
        await self.clients.others_in_group("everybody").send("Left", self.context.connection_id)

    async def join(self, name: str) -> None:
        await self.groups.add(self.context.connection_id, name)

    async def quit(self, name: str) -> None:
        await self.groups.remove(self.context.connection_id, name)

    async def tell(self, name: str, text: str) -> None:
        await self.clients.group(name).send("Told", text)

    def add(self, a: int, b: int) -> int:
        return a + b

    async def sleep(self) -> None:
        with self._running():
            await trio.sleep_forever()

    async def count(self, count: int) -> AsyncIterator[int]:
        with self._running():
            for number in range(count):
                yield number
                await trio.sleep(0.1)

    def channel(self, count: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=2)
        self.start_soon(self._write, writer, count)
        return reader

    async def _write(self, writer: ChannelWriter[int], count: int) -> None:
        with self._running():
            for number in range(count):
                await writer.write(number)
            writer.complete()

    async def total(self, items: ChannelReader[int]) -> int:
        with self._running():
            return sum([number async for number in items])

    async def ask(self) -> int:
        with self._running():
            answer: int = await self.clients.caller.invoke("Answer", result_type=int)
            return answer

    def abort(self) -> None:
        self.context.abort()

    def _running(self) -> Any:
        return _Running(self.world)


class _Running:
    """Counts what runs."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> None:
        self.world.running += 1

    def __exit__(self, *_: object) -> None:
        self.world.running -= 1


# ---- visitors


def something_to_do(chance: random.Random, number: int) -> list[dict[str, Any]]:
    """A few messages of a client."""
    id = f"{number}"
    match chance.randrange(10):
        case 0:
            return [invocation("Join", chance.choice(GROUPS))]
        case 1:
            return [invocation("Quit", chance.choice(GROUPS))]
        case 2:
            return [invocation("Tell", chance.choice(GROUPS), "x" * chance.choice((1, 100, 5000)))]
        case 3:
            return [invocation("Add", 1, 2, id=id), invocation("Add", 1, id=f"{id}b"), invocation("Unknown")]
        case 4:
            return [stream("Count", chance.randrange(50), id=id)]
        case 5:
            return [stream("Channel", chance.randrange(100), id=id), cancel(f"{number - 1}")]
        case 6:
            whole = [ended(f"u{id}")] if chance.random() < 0.5 else []
            items = [item(f"u{id}", n) for n in range(chance.randrange(30))]
            return [invocation("Total", id=id, uploads=(f"u{id}",)), *items, *whole]
        case 7:
            return [invocation("Ask", id=id)] + ([result("s1", 1)] if chance.random() < 0.5 else [])
        case 8:
            return [invocation("Sleep", id=id)] if chance.random() < 0.3 else [cancel(f"{number - 1}")]
        case _:
            return [invocation("Tell", "everybody", "hello")]


async def leave(chance: random.Random, client: AppClient, served: ServedApp) -> None:
    """Go, in some way."""
    match chance.randrange(6):
        case 0:
            await client.send(close())
        case 1:
            await client.send_bytes(b"{oops}\x1e" if client.protocol == "json" else framed(b"\xc1"))
        case 2:
            await client.send(invocation("Abort"))
        case 3:
            chance.choice(served.narrows).room = 0  # somebody takes nothing any more
        case _:
            pass


async def listen(client: AppClient) -> None:
    """Take what comes."""
    with suppress(trio.EndOfChannel, ConnectionClosed, trio.ClosedResourceError):
        while True:
            await client.receive()


async def visit_once(served: ServedApp, seed: int) -> None:
    """Come, do this and that, and go."""
    chance = random.Random(seed)
    await trio.sleep(chance.random())
    ((transport, protocol),) = chance.choices(PAIRS, weights=(5, 5, 2, 1, 1))  # the last ones are dear
    headers = {"Authorization": f"Bearer user{chance.randrange(20)}"}
    with suppress(ConnectionClosed, trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
        with trio.move_on_after(chance.uniform(0.2, 20) if chance.random() < 0.1 else 30):
            if chance.random() < 0.05:
                await served.negotiate("/hub", **headers)  # and never comes
                return
            client = await connect(served, "/hub", transport, protocol, **headers)
            if chance.random() < 0.05:
                client.leave()  # before its handshake
                return
            try:
                await client.shake_hands(*something_to_do(chance, 0))
                async with trio.open_nursery() as nursery:
                    if chance.random() < 0.9:
                        nursery.start_soon(listen, client)
                    for number in range(1, chance.randrange(7)):
                        await client.send(*something_to_do(chance, number))
                        await trio.sleep(chance.choice((0, 0, 0.1, 1)))
                    await leave(chance, client, served)
                    nursery.cancel_scope.cancel()
            finally:
                client.leave()


async def visit_many(served: ServedApp, seeds: Iterator[int]) -> None:
    """Visit one time after the other."""
    for seed in seeds:
        try:
            await visit_once(served, seed)
        except BaseExceptionGroup as group:
            ended_so = (
                ConnectionClosed,
                trio.EndOfChannel,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
            )
            if group.split(ended_so)[1] is not None:
                raise


async def broadcast(market: HubContext[Any], seed: int) -> None:
    """Talk to all, to groups and to users, for ever."""
    chance = random.Random(seed)
    while True:
        clients = market.clients.when_slow(chance.choice(POLICIES))
        with trio.move_on_after(5):
            for proxy in (clients.all, clients.groups(*GROUPS[:3]), clients.users("user1", "user2")):
                await proxy.send("News", "x" * chance.choice((10, 1000)))
        await trio.sleep(chance.choice((0.1, 1, 3)))


async def churn(served: ServedApp, seeds: range) -> None:
    """Have so many visitors, some at a time, while everybody is talked to; until all are gone."""
    left = iter(seeds)
    async with trio.open_nursery() as talk:
        for seed in range(2):
            talk.start_soon(broadcast, served.app.hub(Market), seed)
        async with trio.open_nursery() as nursery:
            for _ in range(AT_A_TIME):
                nursery.start_soon(visit_many, served, left)
        talk.cancel_scope.cancel()
    with trio.fail_after(120):
        await served.app._hosting.admission.wait_empty()
    await trio.sleep(20)  # so long those last that were negotiated only
    served.narrows.clear()
    await wait_all_tasks_blocked()


def objects() -> int:
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects())


async def test_nothing_is_left_of_a_thousand_connections(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")  # records hold tracebacks, and these hold what is to be gone
    world = World()
    app = HubApp(authenticate=lambda request: User(request.bearer_token))
    options = HubOptions(stateful_reconnect=True, maximum_parallel_invocations=3)
    app.add_hub("/hub", Market, factory=lambda: Market(world), options=options)
    with no_task_left():
        async with open_app(app) as served:
            idle = trio.lowlevel.current_statistics().tasks_living
            await churn(served, range(300))
            before = objects()
            await churn(served, range(300, 1000))
            gained = objects() - before

            hub = app.site.hubs[0][1]
            assert world.connected > 800
            assert world.disconnected == world.connected
            assert world.running == 0
            assert not hub.sessions
            assert not members_of(hub).by_id
            assert not members_of(hub)._groups
            assert not members_of(hub)._users
            assert not local_roster(hub)._unflushed
            assert served.leases() == 0
            assert all(not endpoint._leases.unused for endpoint in app.site.endpoints)
            assert app.statistics().connections == 0
            assert trio.lowlevel.current_statistics().tasks_living == idle
            assert [ref() for ref in world.sessions if ref() is not None] == []
            assert gained < 2000 + 2 * (world.connected - 200)  # what the test itself keeps: a reference each
