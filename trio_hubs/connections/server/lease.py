"""Who may use a connection token, for what, and for how long.

A lease begins with negotiation and ends with its connection. Without a transport it expires, so nothing is kept
for clients that never come, or never come back. It is one user's: who negotiated it, or, where that was nobody, who
made the first post or opened the transport. So no request does anything in the name of who made another.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from math import inf

import trio

from ...protocol.negotiate import Transport
from ..duplex import Duplex
from ..pipe import Pipe
from ..users import User, is_same
from .posts import Posts


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(16)


class Lease:
    """What one connection token stands for.

    Attributes:
        id: The connection's public id.
        token: What its requests name.
        user: Who must make all of its requests, as last seen; nobody may still become somebody as long as no more than
            negotiation has been.
        posted: Whether it was posted to.
        stateful: Whether it may be resumed when torn.
        incoming: What its client has posted.
        posts: The posts whose bodies go there, in their order.
        early: How many bytes were to be posted before it was settled.
        settled: Whether it has a connection, or will never have one.
        transport: What carries it, once that is known.
        connection: The connection, once there is one.
        expires: When it is over unless a transport comes, in trio's clock.
        scope: What its handler runs in.
        over: Whether its handler has returned.
        disposed: Whether its client has ended it, was told of its end, or has been away for too long.
    """

    def __init__(self, id: str, token: str, user: User | None, *, stateful: bool, buffer_size: int) -> None:
        self.id = id
        self.token = token
        self.user = user
        self.posted = False
        self.stateful = stateful
        self.incoming = Pipe(buffer_size)
        self.posts = Posts(self.incoming)
        self.early = 0
        self.settled = False
        self.transport: Transport | None = None
        self.connection: Duplex | None = None
        self.expires = inf
        self.scope = trio.CancelScope()
        self.over = False
        self.disposed = False
        self._user_expires = inf
        self._settling: trio.Event | None = None  # for those that wait for it

    async def wait_settled(self) -> None:
        """Wait until it is settled, which it is not yet. A checkpoint."""
        if self._settling is None:
            self._settling = trio.Event()
        await self._settling.wait()

    def settle(self) -> None:
        """It has a connection, or will never have one."""
        self.settled = True
        self.early = 0
        if self._settling is not None:
            self._settling.set()

    def admits(self, user: User | None) -> bool:
        """Whether a request of this user may use it; who negotiated as nobody may go on as somebody."""
        untouched = self.user is None and self.transport is None and not self.posted
        return untouched or is_same(self.user, user)

    def renew(self, user: User | None) -> None:
        """Take over what a good request has shown of its user."""
        self.user = user
        lifetime = None if user is None else user.lifetime
        self._user_expires = inf if lifetime is None else trio.current_time() + lifetime
        if self.connection is not None:
            self.connection.user = user

    def is_news(self, user: User | None) -> bool:
        """Whether a request shows its user otherwise than they are known, and by no older token."""
        return user != self.user and not self._outdates(user)

    def refresh(self, user: User | None) -> None:
        """Renew the user, unless by an older token, and tell whoever handles the connection."""
        if not self._outdates(user):
            self.renew(user)
            if self.connection is not None:
                self.connection.on_user_refreshed()

    def _outdates(self, user: User | None) -> bool:
        """Whether what is known of the user comes from a newer token than this."""
        known = None if self.user is None else self.user.expires_at
        shown = None if user is None else user.expires_at
        return known is not None and shown is not None and shown < known

    def ask_to_end(self) -> None:
        """Have the connection end, so that its client reconnects."""
        assert self.connection is not None
        (self.connection.on_end_asked or self.scope.cancel)()

    def take_expiry(self, now: float) -> bool:
        """Whether its user has expired since this was last asked."""
        if now < self._user_expires:
            return False
        self._user_expires = inf
        return True


class Leases:
    """The leases of a path.

    Args:
        timeout: Seconds that one lasts without a transport.
        early_limit: Bytes that may be posted, to all of them together, before their transports come.

    Attributes:
        early: How many are, or are to be.
    """

    def __init__(self, timeout: float, early_limit: float = inf) -> None:
        self._timeout = timeout
        self._early_limit = early_limit
        self.early = 0
        self._all: dict[str, Lease] = {}
        self._unused: dict[str, Lease] = {}  # those without a connection, oldest first

    def __iter__(self) -> Iterator[Lease]:
        return iter(tuple(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def unused(self) -> int:
        """How many wait for their first transport."""
        self.drop_unused()
        return len(self._unused)

    def add(self, lease: Lease) -> None:
        """Keep a new lease until it is used, or expires."""
        self._all[lease.token] = self._unused[lease.token] = lease
        self.expire(lease)

    def get(self, token: str) -> Lease | None:
        """The lease of a token, if there is one."""
        self.drop_unused()
        return self._all.get(token)

    def use(self, lease: Lease, connection: Duplex) -> None:
        """A lease has its connection."""
        self._all[lease.token] = lease
        self._unused.pop(lease.token, None)
        self._settle(lease)
        lease.connection = connection
        lease.expires = inf

    def expire(self, lease: Lease) -> None:
        """A lease has no transport; it expires if it gets none."""
        lease.expires = trio.current_time() + self._timeout

    def remove(self, lease: Lease) -> bool:
        """A lease is over, and posts to it wait no longer; whether it was there."""
        lease.incoming.close()
        self._settle(lease)
        self._unused.pop(lease.token, None)
        return self._all.pop(lease.token, None) is not None

    async def reserve(self, lease: Lease, size: int) -> None:
        """Count what is about to be posted; a lease without a transport waits for it when that would be too much."""
        if not lease.settled:
            if self.early + size > self._early_limit:
                await lease.wait_settled()
            else:
                self.early += size
                lease.early += size

    def _settle(self, lease: Lease) -> None:
        self.early -= lease.early
        lease.settle()

    def drop_unused(self) -> None:
        """Drop those that have expired without ever being used."""
        now = trio.current_time()
        while self._unused and (oldest := next(iter(self._unused.values()))).expires <= now:
            self.remove(oldest)
