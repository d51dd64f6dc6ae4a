"""Renewing the user of a connection that goes on: by ``POST {path}/refresh``, or by a later request with a newer token.

Codes, and the order in which they are found, are those of ASP.NET Core 11. The user stays the same; what is known of
them may change, if the application agrees, and never goes back to an older token.
"""

from __future__ import annotations

import time
from math import inf

import msgspec

from ...logs import get_logger
from ...protocol.negotiate import encode_error
from ..http import Request, Response
from ..users import User, resolve
from .lease import Lease, Leases, LeaseState
from .options import EndpointOptions

logger = get_logger(__name__)

LONGEST = 2**31 - 1
"""What clients are told at most of how long a token lasts: they read 32 bits."""

REJECTED = Response(encode_error("permission_change_rejected"), status=403, content_type="application/json")
"""What a client gets whose new token the application does not accept."""


class Refresh:
    """Renews the users of a path's connections.

    Args:
        options: The path's options.
        leases: The path's connections.
    """

    def __init__(self, options: EndpointOptions, leases: Leases) -> None:
        self.enabled = options.authentication_refresh
        self._callback = options.on_authentication_refresh
        self._leases = leases

    async def answer(self, request: Request, user: User | None) -> Response:
        """Answer a request for a refresh."""
        if request.method != "POST":
            return Response(status=405, content_type="text/plain")
        token = request.query.get("id", "")
        if not token:
            return _refuse("missing_connection_token", 400)
        lease = self._leases.get(token)
        if lease is None or lease.state is LeaseState.ENDING:
            return _refuse("connection_not_found", 404)
        if lease.id == lease.token:
            return _refuse("unsupported_negotiate_version", 400)
        if not lease.owner.admits(user):
            return _changed(lease)
        if not await self.accepts(request, lease, user):
            return REJECTED
        if not lease.owner.admits(user):  # any more: meanwhile it was taken by another
            return _changed(lease)
        lease.refresh(user)
        lifetime = self.lifetime(user)
        document = {} if lifetime is None else {"tokenLifetimeSeconds": lifetime}
        return Response(msgspec.json.encode(document), content_type="application/json")

    async def accepts(self, request: Request, lease: Lease, user: User | None) -> bool:
        """Whether the application lets a connection have its user so from now on."""
        if self._callback is None or await resolve(self._callback(request, lease.id, lease.owner.user, user)):
            return True
        logger.info("connection %s: the renewal of its user was rejected", lease.id)
        return False

    def lifetime(self, user: User | None) -> int | None:
        """The seconds that clients are told a user's token is good for; ``None`` where they are told nothing."""
        if not self.enabled or user is None or user.expires_at in (None, inf):
            return None
        assert user.expires_at is not None
        seconds = user.expires_at - user.leeway - time.time()
        return max(1, int(min(seconds, LONGEST))) if seconds > 0 else None


def _changed(lease: Lease) -> Response:
    logger.warning("connection %s: another user's refresh was refused", lease.id)
    return _refuse("user_changed", 403)


def _refuse(code: str, status: int) -> Response:
    return Response(encode_error(code), status=status, content_type="application/json")
