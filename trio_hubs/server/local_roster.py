"""The roster of one process: a call of many is encoded once for each protocol and queued for each client.

All that is sent in one pass of the scheduler leaves together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import trio

from ..calls.channels import GIVE_WAY
from ..calls.outbox import TRANSPORT_BUFFER_SIZE, Batch, Outbox
from ..calls.policies import Conflate, DropOldest, Wait
from ..calls.session import Session
from ..errors import ConnectionClosed
from . import texts
from .address import Address
from .members import Member, Members
from .options import HubOptions
from .pace import Pace
from .roster import Aborted, ClientCall, ClientInfo, EncodedCall, Roster
from .slow_clients import Disconnect, SlowClientPolicy


class LocalRoster(Roster):
    """The clients of one hub, all of which are connected to this process.

    Args:
        send_timeout: Seconds that a message may wait for its client where the policy names no other time.
        maximum_waiting: Bytes that may wait for a client before nothing more is queued for it.

    Attributes:
        members: The clients.
    """

    def __init__(self, *, send_timeout: float, maximum_waiting: int) -> None:
        self.members = Members()
        self._pace = Pace(maximum_waiting)
        self._dropped = 0  # messages for clients that have left
        self._send_timeout = send_timeout
        self._maximum_waiting = maximum_waiting
        self._unflushed: dict[Outbox, None] = {}
        self._flush_asked = False
        self._sends = 0  # since the last flush, and their bytes
        self._bytes = 0

    @classmethod
    def of(cls, options: HubOptions) -> LocalRoster:
        """The roster of a hub with these options."""
        return cls(send_timeout=options.send_timeout, maximum_waiting=options.broadcast_buffer_limit)

    @property
    def dropped(self) -> int:
        return self._dropped + sum(member.backlog.dropped for member in self.members.by_id.values())

    @property
    def group_sizes(self) -> Mapping[str, int]:
        return self.members.group_sizes

    async def run(self) -> None:
        await self._pace.run()

    # ---- who is there

    async def add(self, connection_id: str, session: Session, user_id: str | None) -> None:
        self.members.add(Member(connection_id, session, user_id))

    def remove(self, connection_id: str) -> None:
        if (member := self.members.remove(connection_id)) is not None:
            self._pace.leave(member.backlog)
            self._dropped += member.backlog.dropped

    async def join(self, connection_id: str, *groups: str) -> None:
        await trio.lowlevel.checkpoint()
        self.join_now(connection_id, groups)

    def join_now(self, connection_id: str, groups: Sequence[str]) -> None:
        """Put a client into groups."""
        if (member := self.members.by_id.get(connection_id)) is not None:
            self._pace.release(member.backlog)  # which is older than what comes next
        for group in groups:
            self.members.join(connection_id, group)

    async def leave(self, connection_id: str, group: str) -> None:
        await trio.lowlevel.checkpoint()
        self.members.leave(connection_id, group)
        if (member := self.members.by_id.get(connection_id)) is not None:
            self._pace.drop(member.backlog, member.groups)

    async def find(self, address: Address) -> Sequence[ClientInfo]:
        await trio.lowlevel.checkpoint()
        return self.find_now(address)

    def find_now(self, address: Address) -> Sequence[ClientInfo]:
        """See :meth:`find`."""
        found = {member.id: member for member in self.members.at(address) if not member.session.ended}
        return tuple(map(_info, found.values()))

    async def users(self) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        return self.members.users

    async def groups(self) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        return self.members.groups

    async def abort(self, address: Address, reason: str) -> None:
        await trio.lowlevel.checkpoint()
        self.abort_now(address, reason)

    def abort_now(self, address: Address, reason: str) -> None:
        """See :meth:`abort`."""
        for member in self.members.at(address):
            member.session.end(Aborted(reason) if reason else None)

    # ---- calling them

    async def invoke(
        self, connection_id: str, target: str, arguments: tuple[Any, ...], result_type: Any
    ) -> Any:
        member = self.members.by_id.get(connection_id)
        if member is None:
            raise ConnectionClosed(texts.no_connection(connection_id))
        try:
            return await member.session.our_calls.invoke(target, arguments, result_type)
        except ConnectionClosed:
            raise ConnectionClosed(texts.disconnected(connection_id)) from None

    async def send(self, address: Address, call: ClientCall, policy: SlowClientPolicy) -> None:
        """Queue a call for each client, to be sent as soon as this task waits for anything.

        Always a cancellation point; gives way at least every 64 calls, or 64 KiB. Waits for nobody, unless the policy
        says so.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        slow = self.call_now(self.members.at(address), call, policy, address.of_groups)
        for session, data in slow:
            await session.outbox.wait_not_full()
            if not session.ended:
                session.outbox.put_now(data)
        if self._sends >= GIVE_WAY or self._bytes >= TRANSPORT_BUFFER_SIZE:
            self._send_out()
            await trio.lowlevel.cancel_shielded_checkpoint()

    def call_now(
        self,
        members: tuple[Member, ...],
        call: EncodedCall,
        policy: SlowClientPolicy,
        groups: tuple[str, ...],
    ) -> list[tuple[Session, bytes]]:
        """Queue a call for all of these but those that it has to wait for, which are given with their bytes.

        Args:
            members: The clients.
            call: The call.
            policy: What becomes of it where a client is slow.
            groups: The groups by which they are called, if they are.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        # For all protocols before anything is queued.
        encoded = {protocol: call.encoded(protocol) for protocol in {member.protocol for member in members}}
        slow: list[tuple[Session, bytes]] = []
        waits, expendable = isinstance(policy, Wait), isinstance(policy, DropOldest)
        latest, every = None, None
        if isinstance(policy, Conflate):
            latest, every = (call.target, policy.key), policy.every
        overdue = inf
        if isinstance(policy, Disconnect):
            overdue = trio.current_time() + (policy.after or self._send_timeout)
        limit = inf if waits else self._maximum_waiting
        unflushed = self._unflushed
        for member in members:
            data = encoded[member.protocol]
            outbox = member.outbox
            if outbox.unheld > limit:
                member.session.end_slow()
            elif waits and outbox.full and not member.session.ended:
                slow.append((member.session, data))
            elif expendable:
                member.backlog.put_expendable(data)
            elif latest is None:
                if outbox.put_later(data, overdue):
                    unflushed[outbox] = None
            elif every is None:
                member.backlog.put_latest(latest, data)
            else:
                self._pace.put(member.backlog, latest, data, every, groups)
        self._note_sent(max(map(len, encoded.values()), default=0))
        return slow

    def _note_sent(self, size: int) -> None:
        if self._unflushed and not self._flush_asked:
            # In the next pass of the scheduler, when every task that sends in this one has done so.
            self._flush_asked = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._flush)
        self._sends += 1
        self._bytes += size

    def _flush(self) -> None:
        self._flush_asked = False
        self._send_out()

    def _send_out(self) -> None:
        like: Batch = ([], b"", {})
        now = trio.current_time()
        for outbox in self._unflushed:
            like = outbox.flush(like, now)
        self._unflushed.clear()
        self._sends = self._bytes = 0


def _info(member: Member) -> ClientInfo:
    connection = member.session.connection
    return ClientInfo(
        id=member.id,
        user=connection.user,
        transport=connection.transport,
        since=datetime.fromtimestamp(member.since, UTC),
        groups=frozenset(member.groups),
    )
