"""Whose a connection is: all of its requests come from one user, who negotiated, or else posted first or opened it.

So no request does anything in the name of who made another. What is known of the user may be renewed, and never goes
back to an older token.
"""

from __future__ import annotations

from math import inf

import trio

from ..users import User, is_same


class Owner:
    """The user of a connection.

    Args:
        user: Who negotiated it.

    Attributes:
        user: Who that is, as last seen.
        claimed: Whether more than negotiation has been done in their name; nobody may become somebody until then.
    """

    def __init__(self, user: User | None) -> None:
        self.user = user
        self.claimed = False
        self._expires = inf

    def admits(self, user: User | None) -> bool:
        """Whether a request of this user is one of theirs."""
        return (self.user is None and not self.claimed) or is_same(self.user, user)

    def claim(self, user: User | None) -> None:
        """Someone who is admitted has posted: from now on it is theirs."""
        self.claimed = True
        if self.user is None:
            self.user = user

    def renew(self, user: User | None) -> None:
        """Take over what a good request has shown of the user."""
        self.claimed = True
        self.user = user
        lifetime = None if user is None else user.lifetime
        self._expires = inf if lifetime is None else trio.current_time() + lifetime

    def outdates(self, user: User | None) -> bool:
        """Whether what is known of the user comes from a newer token than this."""
        known = None if self.user is None else self.user.expires_at
        shown = None if user is None else user.expires_at
        return known is not None and shown is not None and shown < known

    def is_news(self, user: User | None) -> bool:
        """Whether a request shows the user otherwise than they are known, and by no older token."""
        return user != self.user and not self.outdates(user)

    def take_expiry(self, now: float) -> bool:
        """Whether the user has expired since this was last asked."""
        if now < self._expires:
            return False
        self._expires = inf
        return True
