"""What a connection token stands for, from negotiation to the end of its connection.

Without a transport a lease expires, so nothing is kept for clients that never come, or never come back.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from ..pipe import Pipe
from ..users import User
from .admission import Admission
from .options import EndpointOptions
from .owner import Owner
from .posts import EarlyPosts, Posts

if TYPE_CHECKING:
    from .carrier import Carrier


class LeaseState(enum.Enum):
    """Where a lease stands."""

    NEGOTIATED = enum.auto()
    """No transport has come yet."""
    EXPIRED = enum.auto()
    """None has come in time: no request finds it, but one that had found it before may still open it."""
    CARRIED = enum.auto()
    """Its transport is there."""
    AWAY = enum.auto()
    """Its transport is missing: torn, or between two polls."""
    ENDING = enum.auto()
    """Its client has ended it, or is not coming back; its handler has yet to return."""
    TELLING = enum.auto()
    """Its handler has returned, and its client is being told."""
    UNTOLD = enum.auto()
    """Its handler has returned, and its client has yet to ask."""
    GONE = enum.auto()
    """It is over, and nothing of it is kept."""


class LeaseEvent(enum.Enum):
    """What happens to a lease."""

    OPENED = enum.auto()
    """A first transport has come, and there is a connection."""
    CAME = enum.auto()
    """A further request carries it."""
    WENT = enum.auto()
    """No request carries it any more."""
    DISPOSED = enum.auto()
    """Its client has ended it, was told of its end, or cannot be told."""
    RETURNED = enum.auto()
    """Its handler has returned."""
    TIMED_OUT = enum.auto()
    """It has been without a transport for too long."""


_S, _E = LeaseState, LeaseEvent
TRANSITIONS: Mapping[LeaseState, Mapping[LeaseEvent, LeaseState]] = {
    _S.NEGOTIATED: {_E.OPENED: _S.CARRIED, _E.TIMED_OUT: _S.EXPIRED},
    _S.EXPIRED: {_E.OPENED: _S.CARRIED},
    _S.CARRIED: {
        _E.CAME: _S.CARRIED,
        _E.WENT: _S.AWAY,
        _E.DISPOSED: _S.ENDING,
        _E.RETURNED: _S.TELLING,
    },
    _S.AWAY: {
        _E.CAME: _S.CARRIED,
        _E.WENT: _S.AWAY,
        _E.DISPOSED: _S.ENDING,
        _E.RETURNED: _S.UNTOLD,
        _E.TIMED_OUT: _S.ENDING,
    },
    _S.ENDING: {
        _E.WENT: _S.ENDING,
        _E.DISPOSED: _S.ENDING,
        _E.RETURNED: _S.GONE,
        _E.TIMED_OUT: _S.ENDING,
    },
    _S.TELLING: {_E.CAME: _S.TELLING, _E.WENT: _S.UNTOLD, _E.DISPOSED: _S.GONE},
    _S.UNTOLD: {_E.CAME: _S.TELLING, _E.WENT: _S.UNTOLD, _E.DISPOSED: _S.GONE, _E.TIMED_OUT: _S.GONE},
    _S.GONE: {},
}
"""What becomes of a lease; an event that a state does not name comes too late, and changes nothing."""

UNOPENED = frozenset((_S.NEGOTIATED, _S.EXPIRED))
"""The states in which there has been no connection yet."""
EXPIRING = frozenset((_S.NEGOTIATED, _S.AWAY, _S.ENDING, _S.UNTOLD))
"""The states that last for the disconnect timeout, counted from the last event."""


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(16)


class Lease:
    """What one connection token stands for; made by :class:`Leases`.

    Attributes:
        id: The connection's public id.
        token: What its requests name.
        stateful: Whether it may be resumed when torn.
        owner: Whose it is.
        carrier: What carries it, once it is open.
        state: Where it stands.
        expires: When that times out, in trio's clock.
    """

    def __init__(self, leases: Leases, id: str, token: str, user: User | None, *, stateful: bool) -> None:
        self.id = id
        self.token = token
        self.stateful = stateful
        self.owner = Owner(user)
        self.carrier: Carrier[Any] | None = None
        self.state = LeaseState.NEGOTIATED
        self.expires = inf
        self._leases = leases
        self._posts: Posts | None = None  # until something is to be posted

    @property
    def posts(self) -> Posts:
        """What its client posts."""
        if self._posts is None:
            self._posts = self._leases.make_posts(opened=self.carrier is not None)
        return self._posts

    @property
    def has_posts(self) -> bool:
        """Whether something that was posted lies unread."""
        return self._posts is not None and bool(self._posts.incoming)

    @property
    def is_posted_to(self) -> bool:
        """Whether it has posts, or some are under way: no WebSocket would read them."""
        return self.has_posts or (self._posts is not None and bool(self._posts.turns))

    def open(self, carrier: Carrier[Any], user: User | None) -> None:
        """A transport has come, and made a connection."""
        self.carrier = carrier
        self.renew(user)
        self.on(LeaseEvent.OPENED)

    def renew(self, user: User | None) -> None:
        """Take over what a good request has shown of its user."""
        self.owner.renew(user)
        if self.carrier is not None:
            self.carrier.connection.user = user

    def refresh(self, user: User | None) -> None:
        """Renew the user, unless by an older token, and tell the handler of the connection."""
        if not self.owner.outdates(user):
            self.renew(user)
            if self.carrier is not None:
                self.carrier.connection.on_user_refreshed()

    def on(self, event: LeaseEvent) -> None:
        """Something has happened."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            return
        self.state = state
        self._leases.renew_expiry(self)
        if event is LeaseEvent.OPENED:
            self._leases.use(self)
            if self._posts is not None:
                self._posts.opened()
        elif state in (LeaseState.EXPIRED, LeaseState.GONE):
            self._leases.drop(self)
            if self._posts is not None:
                self._posts.close()


class Leases:
    """The leases of a path.

    Args:
        options: The path's options.
        admission: The app's count of connections.
        token_prefix: Stands before each token.

    Attributes:
        early: What is posted to those that are not open yet.
        judged_until: What expires by then has expired, though it be later: our own lateness is no client's.
    """

    def __init__(self, options: EndpointOptions, admission: Admission, token_prefix: str = "") -> None:
        self.early = EarlyPosts(options.early_posts_buffer_size)
        self.judged_until = inf
        self._timeout = options.disconnect_timeout
        self._buffer_size = options.application_buffer_size
        self._admission = admission
        self._token_prefix = token_prefix
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

    def make(self, user: User | None, *, secret: bool = True, stateful: bool = False) -> Lease:
        """A new lease, not kept yet.

        Args:
            user: Who asks for it.
            secret: Whether its token is another one than its public id.
            stateful: Whether its connection may be resumed when torn.
        """
        token = self._token_prefix + new_id()
        return Lease(self, new_id() if secret else token, token, user, stateful=stateful)

    def make_posts(self, *, opened: bool) -> Posts:
        """The posts of a lease."""
        posts = Posts(Pipe(self._buffer_size), self.early)
        if opened:
            posts.opened()
        return posts

    def add(self, lease: Lease) -> None:
        """Keep a new lease until it is used, or expires."""
        self._all[lease.token] = self._unused[lease.token] = lease
        self.renew_expiry(lease)

    def get(self, token: str) -> Lease | None:
        """The lease of a token, if there is one."""
        self.drop_unused()
        return self._all.get(token)

    def renew_expiry(self, lease: Lease) -> None:
        """A lease has come to its state."""
        lease.expires = trio.current_time() + self._timeout if lease.state in EXPIRING else inf

    def use(self, lease: Lease) -> None:
        """A lease has a connection, which counts from now on."""
        self._all[lease.token] = lease
        self._unused.pop(lease.token, None)
        self._admission.enter()

    def drop(self, lease: Lease) -> None:
        """A lease is over, and so is its connection, if it had one."""
        self._unused.pop(lease.token, None)
        del self._all[lease.token]
        if lease.carrier is not None:
            lease.carrier = None  # which knows the lease
            self._admission.leave()

    def drop_unused(self) -> None:
        """Drop those that have expired without ever being used."""
        now = min(trio.current_time(), self.judged_until)
        while self._unused and (oldest := next(iter(self._unused.values()))).expires <= now:
            oldest.on(LeaseEvent.TIMED_OUT)
