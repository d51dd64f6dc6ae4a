"""The roster of a hub whose clients are connected to several servers.

Clients of this server are called at once, and never over the bus: what one task sends comes to each client, wherever
it is connected, in the order of sending. Nothing here waits for a client while the bus is heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from ..calls.session import Session
from ..errors import BackplaneError, ProtocolError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..server.address import Address, Recipients
from ..server.local_roster import LocalRoster
from ..server.members import Member
from ..server.options import HubOptions
from ..server.roster import ClientCall, ClientInfo, Roster
from ..server.slow_clients import SlowClientPolicy
from ..tasks import open_background
from .bus import Bus, Hear
from .call_from_elsewhere import CallFromElsewhere
from .channels import Channels
from .client_results import ClientResults
from .group_commands import GroupCommands
from .messages import FleetInvocation, GroupAction, decode, encode
from .policies import dump_policy, load_policy, without_waiting
from .queries import Queries

logger = get_logger(__name__)


class FleetRoster(Roster):
    """The clients of one hub, which may be connected to any server of a fleet.

    Args:
        local: Those of this server.
        bus: The way to the others.
        hub: The name that all servers have for the hub.
        protocols: What the clients of any server may speak, by name.
        options: The hub's options here; of them, its policy for slow clients is for calls that name none.
    """

    def __init__(
        self,
        local: LocalRoster,
        bus: Bus,
        hub: str,
        protocols: Mapping[str, HubProtocol],
        options: HubOptions,
    ) -> None:
        self._local = local
        self._bus = bus
        self._channels = Channels(hub)
        self._protocols = protocols
        self._policy = options.slow_clients
        self._results = ClientResults(
            bus, self._channels, local.members, protocols, options.client_result_timeout
        )
        self._commands = GroupCommands(bus, self._channels, self)
        self._queries = Queries(bus, self._channels, local)
        self._joining: Counter[str] = Counter()  # groups whose channels a client is about to need
        self._prepared: dict[str, str | None] = {}  # users of connections that are about to open
        self._unread: set[str] = set()  # protocols for which other servers send nothing

    @property
    def dropped(self) -> int:
        return self._local.dropped

    @property
    def group_sizes(self) -> Mapping[str, int]:
        return self._local.group_sizes

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Be one of the fleet for the body."""
        channels, bus = self._channels, self._bus
        heard: dict[str, Hear] = {
            channels.all: partial(self._hear, Address.all()),
            channels.group_commands: self._commands.hear_command,
            channels.acks(bus.server): self._commands.hear_ack,
            channels.completions(bus.server): self._results.hear_completion,
            channels.queries: self._queries.hear_query,
            channels.answers(bus.server): self._queries.hear_answer,
        }
        async with open_background() as nursery:
            self._commands.start(nursery)
            self._results.start(nursery)
            with bus.hearing(heard):
                yield

    async def run(self) -> None:
        await self._local.run()

    # ---- who is there

    async def prepare(self, connection_id: str, user_id: str | None) -> None:
        self._prepared[connection_id] = user_id
        try:
            await self._hear_calls(Address.connections(connection_id))
            if user_id is not None:
                await self._hear_calls(Address.users(user_id))
        except BaseException as error:
            self.remove(connection_id)
            if not isinstance(error, BackplaneError):
                raise

    async def add(self, connection_id: str, session: Session, user_id: str | None) -> None:
        await self._local.add(connection_id, session, user_id)
        try:
            await self._hear_calls(Address.connections(connection_id))
            if user_id is not None:
                await self._hear_calls(Address.users(user_id))
        except BaseException:
            self.remove(connection_id)
            raise

    async def _hear_calls(self, address: Address) -> None:
        """Hear what others send to an address of one name."""
        for channel in self._channels.of(address):  # none for a group or a user without a name
            self._bus.subscribe(channel, partial(self._hear, address))
            await self._bus.wait_subscribed(channel)

    def remove(self, connection_id: str) -> None:
        member = self._local.members.by_id.get(connection_id)
        prepared = self._prepared.pop(connection_id, None)
        if member is None:
            self._left_by(connection_id, prepared)
            return
        self._local.remove(connection_id)
        self._left_by(connection_id, member.user_id)
        for group in member.groups:
            self._left(group)

    def _left_by(self, connection_id: str, user_id: str | None) -> None:
        self._bus.unsubscribe(self._channels.connection(connection_id))
        if user_id and not self._local.members.of_user(user_id):
            self._bus.unsubscribe(self._channels.user(user_id))

    def has(self, connection_id: str) -> bool:
        """Whether a client is connected to this server."""
        return connection_id in self._local.members.by_id

    async def find(self, address: Address) -> Sequence[ClientInfo]:
        return await self._queries.find(address)

    async def users(self) -> frozenset[str]:
        clients = await self._queries.find(Address.all())
        return frozenset(
            client.user.id for client in clients if client.user is not None and client.user.id is not None
        )

    async def groups(self) -> frozenset[str]:
        clients = await self._queries.find(Address.all())
        return frozenset(group for client in clients for group in client.groups)

    async def abort(self, address: Address, reason: str) -> None:
        await self._queries.abort(address, reason)

    async def join(self, connection_id: str, *groups: str) -> None:
        if not self.has(connection_id):
            for group in groups:
                await self._commands.ask(GroupAction.ADD, connection_id, group)
            return
        # First the channels are heard, then it joins all of the groups at once.
        await trio.lowlevel.checkpoint()
        self._joining.update(groups)
        try:
            for group in groups:
                await self._hear_calls(Address.groups(group))
            self._local.join_now(connection_id, groups)
        finally:
            self._joining.subtract(groups)
            for group in groups:
                self._left(group)

    async def leave(self, connection_id: str, group: str) -> None:
        if not self.has(connection_id):
            await self._commands.ask(GroupAction.REMOVE, connection_id, group)
            return
        await self._local.leave(connection_id, group)
        self._left(group)

    def _left(self, group: str) -> None:
        if not self._joining[group]:
            del self._joining[group]
        if not self._local.members.in_group(group) and group not in self._joining:
            self._bus.unsubscribe(self._channels.group(group))

    # ---- calling them

    async def send(self, address: Address, call: ClientCall, policy: SlowClientPolicy) -> None:
        elsewhere = self._elsewhere(address)
        channels = self._channels.of(elsewhere)
        if channels:
            data = encode(
                FleetInvocation(
                    tuple(address.excluded),
                    {name: call.encoded(protocol) for name, protocol in self._protocols.items()},
                    sender=self._bus.server,
                    policy=dump_policy(policy),
                )
            )
            await self._bus.wait_room(*channels)
            # The last chance to call nobody: until the clients here are called, too, nothing gives way.
            await trio.lowlevel.checkpoint_if_cancelled()
            for channel in channels:
                self._bus.publish(channel, data)
        await self._local.send(address, call, policy)

    def _elsewhere(self, address: Address) -> Address:
        """The part of an address for which clients of other servers may stand."""
        if address.recipients is not Recipients.CONNECTIONS:
            return address
        here = self._local.members.by_id
        return attrs.evolve(address, names=tuple(id for id in address.names if id not in here))

    async def invoke(
        self, connection_id: str, target: str, arguments: tuple[Any, ...], result_type: Any
    ) -> Any:
        if self.has(connection_id):
            return await self._local.invoke(connection_id, target, arguments, result_type)
        return await self._results.ask(connection_id, target, arguments, result_type)

    # ---- what comes over the bus

    def _hear(self, address: Address, data: bytes) -> None:
        try:
            message = decode(FleetInvocation, data)
            if message.sender == self._bus.server:
                return
            if message.invocation_id and address.recipients is Recipients.CONNECTIONS:
                self._results.hear_question(address.names[0], message)
                return
            policy = load_policy(message.policy) or self._policy
            call = CallFromElsewhere(message, self._protocols)
            excluded = frozenset(message.excluded)
            members = self._local.members.at(attrs.evolve(address, excluded=excluded))
            readable = self._readable(members, message)
            self._local.call_now(readable, call, without_waiting(policy), address.of_groups)
        except ProtocolError as error:
            logger.warning("a message of another server cannot be read: %s", error)

    def _readable(self, members: tuple[Member, ...], message: FleetInvocation) -> tuple[Member, ...]:
        """Those for whose protocol another server has sent something."""
        if all(member.protocol.name in message.blobs for member in members):
            return members
        for name in {member.protocol.name for member in members} - message.blobs.keys() - self._unread:
            self._unread.add(name)
            logger.error("another server sends nothing for clients that speak %s: they miss its calls", name)
        return tuple(member for member in members if member.protocol.name in message.blobs)
