"""Whom a call is for, as data: it can be compared, logged, and carried to another process."""

from __future__ import annotations

from enum import Enum

import attrs

from ..connections.validators import check_kind


class Recipients(Enum):
    """What the names of an address stand for."""

    ALL = "all"
    GROUPS = "groups"
    USERS = "users"
    CONNECTIONS = "connections"


@attrs.frozen
class Address:
    """The clients that a call is for; those that do not exist are skipped.

    Attributes:
        recipients: What the names stand for.
        names: Groups, users or connection ids. A client is called once for each that stands for it.
        excluded: The ids of connections that are not called all the same.
    """

    recipients: Recipients
    names: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()

    @property
    def of_groups(self) -> tuple[str, ...]:
        """The groups that it is for, if it is for groups."""
        return self.names if self.recipients is Recipients.GROUPS else ()

    @classmethod
    def all(cls, *, excluded: tuple[str, ...] = ()) -> Address:
        """Every client."""
        return cls(Recipients.ALL, (), frozenset(excluded))

    @classmethod
    def groups(cls, *names: str, excluded: tuple[str, ...] = ()) -> Address:
        """The members of groups; a member of two is called twice, as in ASP.NET Core.

        Raises:
            TypeError: A name is no text.
        """
        check_groups(names)
        return cls(Recipients.GROUPS, names, frozenset(excluded))

    @classmethod
    def users(cls, *ids: str) -> Address:
        """Every client of each of some users."""
        return cls(Recipients.USERS, tuple(dict.fromkeys(ids)))

    @classmethod
    def connections(cls, *ids: str) -> Address:
        """The clients with some connection ids, each once."""
        return cls(Recipients.CONNECTIONS, tuple(dict.fromkeys(ids)))


def check_groups(names: tuple[str, ...]) -> None:
    """Refuse names of groups that are no texts: other servers could not be told of them.

    Raises:
        TypeError: One is none.
    """
    for name in names:
        check_kind(name, str, "a group's name")
