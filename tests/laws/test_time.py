"""Law 9: timeouts wrap single awaits; our own slowness is never the peer's silence."""

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import members_of, open_client, served_hub
from tests.messages import PING, call, close, ended, item, result
from trio_hubs import ChannelReader, Hub

from .witness import CLOSED, witness


async def test_while_we_do_not_read_the_peers_silence_does_not_count(autojump_clock: MockClock) -> None:
    class Slow(Hub):
        async def slow(self, items: ChannelReader[str]) -> int:
            await trio.sleep(100)
            return len([item async for item in items])

    served = served_hub(Slow, stream_buffer_size=1000, client_timeout=30.0)
    async with open_client(served, beating=True) as client:
        await client.send(PING, call("Slow", id="1", uploads=("9",)))
        for _ in range(30):
            await client.send(item("9", "x" * 100))
        await client.send(ended("9"))
        messages = [await client.receive()]
        while messages[-1] == PING:
            messages.append(await client.receive())
        assert messages[-1] == result("1", 30)
        assert trio.current_time() == pytest.approx(100.0)
        assert [message for message in await client.rest() if message != PING] == [
            close(CLOSED, allow_reconnect=True)
        ]
        assert 130.0 <= trio.current_time() <= 132.0


async def test_a_busy_process_judges_nobodys_silence(autojump_clock: MockClock) -> None:
    async with open_client(witness([]), beating=True) as client:
        await client.send(PING)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(100)  # as if something had held the whole process up
        await client.send(call("Add", 1, 2, id="1"))
        messages = await client.arrived()
        assert result("1", 3) in messages
        assert [message for message in messages if message["type"] == 7] == []


async def test_a_process_that_is_always_busy_still_ends_the_silent_and_keeps_the_others(
    autojump_clock: MockClock,
) -> None:
    served = witness([], client_timeout=10.0)
    async with (
        open_client(served, id="silent", beating=True) as silent,
        open_client(served, id="alive") as alive,
    ):
        await silent.send(PING)
        for _ in range(40):
            await alive.send(PING)
            await trio.sleep(0.6)
            autojump_clock.jump(2.4)  # as if something held the whole process up, again and again
        assert "silent" not in members_of(served).by_id
        assert "alive" in members_of(served).by_id


async def test_a_method_may_take_longer_than_every_timeout(autojump_clock: MockClock) -> None:
    class Long(Hub):
        async def long(self) -> int:
            await trio.sleep(500)
            return 1

    async with open_client(Long, beating=True) as client:
        await client.send(call("Long", id="1"))
        message = PING
        while message == PING:
            message = await client.receive()
        assert message == result("1", 1)
