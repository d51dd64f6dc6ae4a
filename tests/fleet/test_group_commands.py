"""Groups of clients elsewhere: who carries a command out, and what becomes of one that nobody does."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.errors import BackplaneError
from trio_hubs.fleet import group_commands
from trio_hubs.fleet.bus import Bus
from trio_hubs.fleet.channels import Channels
from trio_hubs.fleet.group_commands import ACK_TIMEOUT, GroupCommands
from trio_hubs.fleet.messages import GroupAck, GroupAction, GroupCommand, encode
from trio_hubs.tasks import open_background

from .memory_bus import MemoryBroker

CHANNELS = Channels("Hub")


class Keeper:
    """Writes down what it is told to do, and does it when it may."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids
        self.done: list[tuple[str, str, str]] = []
        self.may = trio.Event()
        self.may.set()

    def has(self, connection_id: str) -> bool:
        return connection_id in self.ids

    async def join(self, connection_id: str, *groups: str) -> None:
        await self.may.wait()
        self.done.extend(("join", connection_id, group) for group in groups)

    async def leave(self, connection_id: str, group: str) -> None:
        await self.may.wait()
        self.done.append(("leave", connection_id, group))


async def open_commands(stack: AsyncExitStack, bus: Bus, keeper: Keeper) -> GroupCommands:
    commands = GroupCommands(bus, CHANNELS, keeper)
    commands.start(await stack.enter_async_context(open_background()))
    bus.subscribe(CHANNELS.group_commands, commands.hear_command)
    bus.subscribe(CHANNELS.acks(bus.server), commands.hear_ack)
    for id in keeper.ids:
        bus.subscribe(CHANNELS.connection(id), lambda _: None)
    return commands


async def test_the_server_of_a_client_carries_commands_out(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        keepers = [Keeper(), Keeper("a"), Keeper("b")]
        asking, *_ = [await open_commands(stack, broker.open(), keeper) for keeper in keepers]
        await asking.ask(GroupAction.ADD, "a", "room")
        await asking.ask(GroupAction.REMOVE, "b", "room")
        assert [keeper.done for keeper in keepers] == [[], [("join", "a", "room")], [("leave", "b", "room")]]


async def test_the_asker_waits_until_it_is_done(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        broker = MemoryBroker()
        keeper = Keeper("a")
        keeper.may = trio.Event()
        asking = await open_commands(stack, broker.open(), Keeper())
        await open_commands(stack, broker.open(), keeper)
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(asking.ask, GroupAction.ADD, "a", "room")
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        keeper.may.set()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_client_that_is_nowhere_is_told_of_at_once(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        asking = await open_commands(stack, MemoryBroker().open(), Keeper())
        await asking.ask(GroupAction.ADD, "nobody", "room")
        assert trio.current_time() == 0


async def test_a_server_that_does_not_answer(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        bus = MemoryBroker().open()
        bus.subscribe(CHANNELS.connection("a"), lambda _: None)
        asking = await open_commands(stack, bus, Keeper())
        start = trio.current_time()
        with pytest.raises(BackplaneError, match="connection 'a' did not change its groups within 30 s"):
            await asking.ask(GroupAction.ADD, "a", "room")
        assert trio.current_time() - start == ACK_TIMEOUT
        assert not asking._waiting


async def test_a_bus_that_is_away_when_the_command_is_done(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        bus, keeper = MemoryBroker().open(), Keeper("a")
        commands = await open_commands(stack, bus, keeper)
        commands.hear_command(encode(GroupCommand(1, "other", GroupAction.ADD, "room", "a")))
        bus.away = True
        await wait_all_tasks_blocked()
        assert keeper.done
        assert "a group command of other is not carried out" in caplog.text


async def test_more_commands_than_can_be_carried_out(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commands, "MOST_COMMANDS", 2)
    async with AsyncExitStack() as stack:
        keeper = Keeper("a")
        keeper.may = trio.Event()
        commands = await open_commands(stack, MemoryBroker().open(), keeper)
        for number in range(3):
            commands.hear_command(encode(GroupCommand(number, "other", GroupAction.ADD, f"{number}", "a")))
        keeper.may.set()
        await wait_all_tasks_blocked()
        assert len(keeper.done) == 2
        assert "2 others are" in caplog.text
        commands.hear_command(encode(GroupCommand(4, "other", GroupAction.ADD, "room", "a")))
        await wait_all_tasks_blocked()
        assert len(keeper.done) == 3


@pytest.mark.parametrize("data", [b"", b"\x91\xa1x", b"\xff" * 10])
async def test_hostile_bytes(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        commands = await open_commands(stack, MemoryBroker().open(), Keeper("a"))
        commands.hear_ack(data)
        commands.hear_command(data)
        commands.hear_ack(encode(GroupAck(77)))  # which nobody waits for
        assert caplog.text.count("cannot be read") == 2
