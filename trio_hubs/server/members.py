"""Who is there: the connections of one hub to this process, by id, group and user.

A connection is known here until it has ended; of one that has left nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain

from ..calls.session import Session
from .address import Address, Recipients
from .backlog import Backlog


class Member:
    """One connection.

    Attributes:
        id: Its id.
        user_id: Its user's, if that has one.
        session: Its session.
        protocol: What it speaks.
        outbox: What waits to be sent to it.
        backlog: What of that may be dropped.
        groups: The groups that it is in.
        since: When it came, in Unix seconds.
    """

    __slots__ = ("backlog", "groups", "id", "outbox", "protocol", "session", "since", "user_id")

    def __init__(self, id: str, session: Session, user_id: str | None) -> None:
        self.id = id
        self.user_id = user_id
        self.session = session
        self.protocol = session.protocol
        self.outbox = session.outbox
        self.backlog = Backlog(session.outbox)
        self.groups: set[str] = set()
        self.since = time.time()


class Members:
    """The connections of one hub to this process.

    Attributes:
        by_id: All of them.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Member] = {}
        self._groups: dict[str, dict[str, Member]] = {}
        self._users: dict[str, dict[str, Member]] = {}

    def add(self, member: Member) -> None:
        """A connection has opened."""
        self.by_id[member.id] = member
        if member.user_id is not None:
            self._users.setdefault(member.user_id, {})[member.id] = member

    def remove(self, id: str) -> Member | None:
        """A connection has ended: it leaves its groups, too. Gives it, if it was there."""
        member = self.by_id.pop(id, None)
        if member is not None:
            for group in member.groups:
                _discard(self._groups, group, id)
            if member.user_id is not None:
                _discard(self._users, member.user_id, id)
        return member

    def join(self, id: str, group: str) -> None:
        """Put a connection into a group; nothing happens when it has left or is in it already."""
        if (member := self.by_id.get(id)) is not None:
            member.groups.add(group)
            self._groups.setdefault(group, {})[id] = member

    def leave(self, id: str, group: str) -> None:
        """Take a connection out of a group, if it is in it."""
        if (member := self.by_id.get(id)) is not None:
            member.groups.discard(group)
            _discard(self._groups, group, id)

    @property
    def groups(self) -> frozenset[str]:
        """The groups of those that are not about to end."""
        return _used(self._groups)

    @property
    def group_sizes(self) -> dict[str, int]:
        """How many there are in each group."""
        return {name: len(members) for name, members in self._groups.items()}

    @property
    def users(self) -> frozenset[str]:
        """The users of those that are not about to end."""
        return _used(self._users)

    def at(self, address: Address) -> tuple[Member, ...]:
        """The connections that an address stands for."""
        found: Iterable[Member]
        match address.recipients:
            case Recipients.ALL:
                found = self.by_id.values()
            case Recipients.CONNECTIONS:
                found = (self.by_id[id] for id in address.names if id in self.by_id)
            case Recipients.GROUPS:
                found = _of_each(self._groups, address.names)
            case Recipients.USERS:
                found = _of_each(self._users, address.names)
        if address.excluded:
            return tuple(member for member in found if member.id not in address.excluded)
        return tuple(found)

    def in_group(self, name: str) -> bool:
        """Whether a group has a member here."""
        return name in self._groups

    def of_user(self, id: str) -> bool:
        """Whether a user has a connection here."""
        return id in self._users


def _of_each(index: dict[str, dict[str, Member]], names: Iterable[str]) -> Iterable[Member]:
    return chain.from_iterable(index[name].values() for name in names if name in index)


def _used(index: dict[str, dict[str, Member]]) -> frozenset[str]:
    return frozenset(
        name
        for name, members in index.items()
        if any(not member.session.ended for member in members.values())
    )


def _discard(index: dict[str, dict[str, Member]], name: str, id: str) -> None:
    """Take a connection out of an index, and the index's entry with the last one."""
    with suppress(KeyError):
        del index[name][id]
        if not index[name]:
            del index[name]
