"""Groups of clients that are connected elsewhere: a command goes to every server, and the one that it concerns answers.

A command is carried out, with the subscription that it may need, before it is acknowledged.
"""

from __future__ import annotations

from itertools import count
from typing import Protocol

import trio

from ..errors import BackplaneError, ProtocolError
from ..logs import get_logger
from .bus import Bus
from .channels import Channels
from .messages import GroupAck, GroupAction, GroupCommand, decode, encode

logger = get_logger(__name__)

ACK_TIMEOUT = 30.0
"""Seconds that a server has to carry out a group command of another."""
MOST_COMMANDS = 10_000
"""Commands of other servers that are carried out at a time; further ones are logged, and not acknowledged."""


class GroupKeeper(Protocol):
    """Who carries commands out for the clients of this server."""

    def has(self, connection_id: str) -> bool:
        """Whether a client is connected to this server."""
        ...

    async def join(self, connection_id: str, *groups: str) -> None:
        """Put a client into groups."""
        ...

    async def leave(self, connection_id: str, group: str) -> None:
        """Take a client out of a group."""
        ...


class GroupCommands:
    """Gives commands to other servers, and carries out theirs.

    Args:
        bus: The way to the others.
        channels: The hub's channels.
        keeper: Carries out what concerns clients here.
    """

    def __init__(self, bus: Bus, channels: Channels, keeper: GroupKeeper) -> None:
        self._bus = bus
        self._channels = channels
        self._keeper = keeper
        self._ids = count(1)
        self._waiting: dict[int, trio.Event] = {}
        self._running = 0
        self._nursery: trio.Nursery

    def start(self, nursery: trio.Nursery) -> None:
        """From now on commands of others are carried out, in this nursery."""
        self._nursery = nursery

    async def ask(self, action: GroupAction, connection_id: str, group: str) -> None:
        """Have the server of a client put it into a group or take it out; nothing happens when there is none.

        A checkpoint. When this returns, all that is sent to the group heeds it.

        Raises:
            BackplaneError: The others cannot be reached, or the client's server did not answer.
        """
        id = next(self._ids)
        channel = self._channels.connection(connection_id)
        command = GroupCommand(id, self._bus.server, action, group, connection_id)
        done = self._waiting[id] = trio.Event()
        try:
            if not await self._bus.subscribers(channel):
                return
            await self._bus.wait_room(self._channels.group_commands)
            self._bus.publish(self._channels.group_commands, encode(command))
            with trio.move_on_after(ACK_TIMEOUT):
                await self._bus.wait_answer(done, channel)
                return
        finally:
            del self._waiting[id]
        raise BackplaneError(
            f"The server of connection '{connection_id}' did not change its groups within {ACK_TIMEOUT:g} s."
        )

    # ---- what comes over the bus

    def hear_ack(self, data: bytes) -> None:
        """A server has carried out a command."""
        try:
            ack = decode(GroupAck, data)
        except ProtocolError as error:
            logger.warning("an acknowledgement of another server cannot be read: %s", error)
            return
        if (done := self._waiting.get(ack.id)) is not None:
            done.set()

    def hear_command(self, data: bytes) -> None:
        """A server, which may be this one, has given a command."""
        try:
            command = decode(GroupCommand, data)
        except ProtocolError as error:
            logger.warning("a group command of another server cannot be read: %s", error)
            return
        if not self._keeper.has(command.connection_id):
            return
        if self._running >= MOST_COMMANDS:
            logger.error(
                "a group command of %s is not carried out: %d others are", command.sender, self._running
            )
            return
        self._running += 1
        self._nursery.start_soon(self._obey, command)

    async def _obey(self, command: GroupCommand) -> None:
        try:
            change = self._keeper.join if command.action is GroupAction.ADD else self._keeper.leave
            await change(command.connection_id, command.group)
            acks = self._channels.acks(command.sender)
            await self._bus.wait_room(acks)
            self._bus.publish(acks, encode(GroupAck(command.id)))
        except BackplaneError as error:
            logger.warning("a group command of %s is not carried out: %s", command.sender, error)
        finally:
            self._running -= 1
