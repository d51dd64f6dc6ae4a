"""Servers of a fleet that are killed, and a Redis that goes away under load, as real processes.

Nobody hangs, each loss is told, and what is left in the end is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import trio

from trio_hubs import ConnectionClosed, HubException
from trio_hubs.tasks import open_background

from .faults import PATIENCE, Client, running_app, stopped, two_clients, wait_until
from .redis_process import RedisProcess

LEARNS = 5.0
"""Seconds after which whoever asks a server that has died learns of it."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """One that a test may kill."""
    process = RedisProcess(tmp_path)
    yield process
    process.kill()


async def test_a_server_that_is_killed_while_others_wait_for_it(redis: RedisProcess) -> None:
    with running_app(redis.url) as asker, running_app(redis.url) as other:
        async with other.connect("ann") as client:
            await client.call("Add", 1, 2)
        await asker.wait_nobody()
        before = await asker.kept()
        ended = dict[str, Any]()

        async def ask(method: str, *arguments: object) -> None:
            ended[method] = await client.call(method, *arguments)

        asked = trio.Event()

        async def answer(_: str) -> str:
            asked.set()
            await trio.sleep_forever()
            return ""

        async with asker.connect("ann") as client, AsyncExitStack() as stack:
            # A client that was asked, and does not answer; a group command that is published, and not carried out.
            its = await stack.enter_async_context(other.connect("bob", handlers={"Answer": answer}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "AskConnection", its.id, "?")
                await asked.wait()
                with stopped(other.id):
                    nursery.start_soon(ask, "AddConnectionToGroup", its.id, "room")
                    await trio.sleep(0.1)
                    os.kill(other.id, SIGKILL)
                start = trio.current_time()
            assert trio.current_time() - start < LEARNS + PATIENCE / 4
            assert ended == {
                "AskConnection": f"error: Connection '{its.id}' disconnected.",
                "AddConnectionToGroup": None,
            }
            with pytest.raises(ConnectionClosed):
                await its.call("Add", 1, 2)
        await asker.wait_nobody()
        assert await asker.kept() == before


async def test_a_server_that_is_killed_while_it_waits_for_others(redis: RedisProcess) -> None:
    with running_app(redis.url) as other:
        async with other.connect("ann") as client:
            await client.call("Add", 1, 2)
        await other.wait_nobody()
        before, heard = await other.kept(), await redis.channels()
        asked, may_answer = trio.Event(), trio.Event()

        async def answer(_: str) -> str:
            asked.set()
            await may_answer.wait()
            return "too late"

        with running_app(redis.url) as asker:
            async with (
                other.connect("bob", handlers={"Answer": answer}) as its,
                asker.connect("ann") as client,
                open_background() as nursery,
            ):

                @nursery.start_soon
                async def _() -> None:
                    with pytest.raises(ConnectionClosed):
                        await client.call("AskConnection", its.id, "?")

                await asked.wait()
                os.kill(asker.id, SIGKILL)
                may_answer.set()
                await its.call("JoinGroup", "room")
                await its.call("CallGroup", "room", "goes on")
        await other.wait_nobody()
        assert await other.kept() == before
        assert await redis.channels() == heard


class Numbers:
    """A client calls all with numbers, one after another, as long as it may; and how many of them failed."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self.number = 0
        self.failed = 0

    async def call(self) -> None:
        while True:
            self.number += 1
            try:
                await self._client.call("CallAll", f"{self._name} {self.number}")
            except HubException:
                self.failed += 1
            await trio.sleep(0.001)

    async def heard_from_now_on(self, by: Client) -> None:
        """Wait until another client hears what is called from now on; what it hears is in order, and nothing twice."""
        now, last = self.number, 0
        with trio.fail_after(PATIENCE):
            while last <= now:
                name, number = (await by.told.receive()).split()
                if name == self._name:
                    assert int(number) > last
                    last = int(number)


async def test_a_redis_that_is_stopped_and_killed_under_load(redis: RedisProcess) -> None:
    with running_app(redis.url) as first, running_app(redis.url) as second:
        async with first.connect("ann") as ann, second.connect("bob") as bob, open_background() as nursery:
            senders = [Numbers(ann, "ann"), Numbers(bob, "bob")]
            for sender in senders:
                nursery.start_soon(sender.call)
            for gaps, (go, come) in enumerate([(redis.pause, redis.resume), (redis.kill, redis.start)]):
                await senders[0].heard_from_now_on(bob)
                await senders[1].heard_from_now_on(ann)
                go()
                await wait_until(partial(both_fail, senders, [sender.failed for sender in senders]))
                assert await ann.call("Add", 1, 2) == 3
                come()
                for client in (ann, bob):
                    await wait_until(partial(has_told_gaps, client, gaps + 1))
            await senders[0].heard_from_now_on(bob)
            await senders[1].heard_from_now_on(ann)
            await ann.call("AddConnectionToGroup", bob.id, "room")
            await ann.call("CallGroup", "room", "to the room")
            await bob.hear("to the room")
            for client in (ann, bob):
                assert len(await client.call("Gaps")) == 2
        await first.wait_nobody()


async def test_workers_whose_redis_is_killed_under_load(redis: RedisProcess) -> None:
    with running_app(redis.url, workers=2) as process:
        before = (await process.kept(2)).keys()
        async with AsyncExitStack() as stack:
            ann, bob = await two_clients(process, stack)
            async with open_background() as nursery:
                sender = Numbers(ann, "ann")
                nursery.start_soon(sender.call)
                await sender.heard_from_now_on(bob)
                redis.kill()
                await ann.hear(f"ann {sender.number + 100}")  # which its own clients hear, and bob does not
                redis.start()
                await sender.heard_from_now_on(bob)
            for worker in (ann, bob):
                assert len(await worker.call("Gaps")) == 1
            await ann.call("AddConnectionToGroup", bob.id, "room")
        await process.wait_nobody()
        assert (await process.kept(2)).keys() == before


async def both_fail(senders: list[Numbers], before: list[int]) -> bool:
    return all(sender.failed > failed for sender, failed in zip(senders, before, strict=True))


async def has_told_gaps(client: Client, count: int) -> bool:
    return len(await client.call("Gaps")) == count
