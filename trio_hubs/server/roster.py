"""The connections of one hub, their groups and users, and the sending of one message to many of them.

A message to many is encoded once for each protocol and appended to each client's outbox; all that is sent in one pass
of the scheduler leaves together. Whoever is known here is known until its connection has ended; of a client that has
left nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any

import trio
from msgspec import Raw

from ..calls.channels import GIVE_WAY
from ..calls.outbox import HIGH_WATER, Batch, Outbox
from ..calls.session import Session
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Invocation
from .slow_clients import Conflate, Disconnect, DropOldest, SlowClientPolicy, Wait

logger = get_logger(__name__)


class Roster:
    """The open connections of one hub.

    Args:
        send_timeout: Seconds that a message may wait for its client where the policy names no other time.
        maximum_waiting: Bytes that may wait for a client before nothing more is queued for it.

    Attributes:
        sessions: By connection id.
    """

    def __init__(self, *, send_timeout: float, maximum_waiting: int) -> None:
        self.sessions: dict[str, Session] = {}
        self._refused = self._slow = self._dropped = 0  # of clients that have left
        self._send_timeout = send_timeout
        self._maximum_waiting = maximum_waiting
        self._groups: dict[str, dict[str, Session]] = {}
        self._users: dict[str, dict[str, Session]] = {}
        self._memberships: dict[str, set[str]] = {}  # the groups of each connection
        self._unflushed: dict[Outbox, None] = {}
        self._flush_asked = False
        self._sends = 0  # since the last flush, and their bytes
        self._bytes = 0

    def statistics(self) -> tuple[int, int, int]:
        """Calls refused, slow clients disconnected, and messages dropped, so far."""
        live = tuple(self.sessions.values())
        return (
            self._refused + sum(session.their_calls.refused for session in live),
            self._slow + sum(session.too_slow for session in live),
            self._dropped + sum(session.outbox.dropped for session in live),
        )

    # ---- who is there

    def add(self, id: str, session: Session, user_id: str | None) -> None:
        """A connection has opened."""
        self.sessions[id] = session
        self._memberships[id] = set()
        if user_id is not None:
            self._users.setdefault(user_id, {})[id] = session

    def remove(self, id: str, user_id: str | None) -> None:
        """A connection has ended: it leaves its groups, too."""
        session = self.sessions.pop(id)
        for group in self._memberships.pop(id):
            _discard(self._groups, group, id)
        if user_id is not None:
            _discard(self._users, user_id, id)
        self._slow += session.too_slow
        self._dropped += session.outbox.dropped
        self._refused += session.their_calls.refused

    def join(self, id: str, group: str) -> None:
        """Put a connection into a group; nothing happens when it has left or is in it already."""
        if id in self.sessions:
            self._memberships[id].add(group)
            self._groups.setdefault(group, {})[id] = self.sessions[id]

    def leave(self, id: str, group: str) -> None:
        """Take a connection out of a group, if it is in it."""
        if group in self._memberships.get(id, ()):
            self._memberships[id].remove(group)
            _discard(self._groups, group, id)

    # ---- whom to call

    def in_group(self, group: str) -> Iterable[Session]:
        """The connections in a group."""
        return self._groups.get(group, {}).values()

    def of_user(self, user_id: str) -> Iterable[Session]:
        """The connections of a user."""
        return self._users.get(user_id, {}).values()

    def with_ids(self, ids: Iterable[str]) -> Iterable[Session]:
        """The connections with some ids, each once."""
        return [self.sessions[id] for id in dict.fromkeys(ids) if id in self.sessions]

    # ---- calling them

    async def send(
        self,
        clients: Callable[[], Iterable[Session]],
        target: str,
        arguments: tuple[Any, ...],
        policy: SlowClientPolicy,
    ) -> None:
        """Queue a call for each client, to be sent as soon as this task waits for anything.

        Always a cancellation point; gives way at least every 64 calls, or 64 KiB. Waits for nobody, unless the policy
        says so.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        slow = self._put(clients(), target, arguments, policy)
        for session, data in slow:
            await session.outbox.wait_not_full()
            if not session.ended:
                session.outbox.put_now(data)
        if self._sends >= GIVE_WAY or self._bytes >= HIGH_WATER:
            self._send_out()
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _put(
        self, clients: Iterable[Session], target: str, arguments: tuple[Any, ...], policy: SlowClientPolicy
    ) -> list[tuple[Session, bytes]]:
        """Queue a call for all but those that it has to wait for."""
        members = tuple(clients)
        encoded: dict[HubProtocol, bytes] = {}
        for protocol in {session.protocol for session in members}:  # all of them, before anything is queued
            payload = Raw(protocol.payloads.dump_arguments(arguments))
            encoded[protocol] = protocol.encode(Invocation(target=target, arguments=payload))
        slow: list[tuple[Session, bytes]] = []
        waits, expendable = isinstance(policy, Wait), isinstance(policy, DropOldest)
        latest = (target, policy.key) if isinstance(policy, Conflate) else None
        overdue = inf
        if isinstance(policy, Disconnect):
            overdue = trio.current_time() + (policy.after or self._send_timeout)
        limit = inf if waits else self._maximum_waiting
        unflushed = self._unflushed
        for session in members:
            data = encoded[session.protocol]
            outbox = session.outbox
            if outbox.unheld > limit:
                session.end_slow()
            elif waits and outbox.full and not session.ended:
                slow.append((session, data))
            elif expendable:
                outbox.put_expendable(data)
            elif latest is not None:
                outbox.put_latest(latest, data)
            elif outbox.put_shared(data, overdue):
                unflushed[outbox] = None
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


def _discard(index: dict[str, dict[str, Session]], name: str, id: str) -> None:
    """Take a connection out of an index, and the index's entry with the last one."""
    with suppress(KeyError):
        del index[name][id]
        if not index[name]:
            del index[name]
