"""What can be chosen for a client's connection, whatever its bytes mean."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from ...protocol.negotiate import Transport
from ..validators import positive, positive_or_none


def _transports(chosen: Collection[Transport]) -> frozenset[Transport]:
    if not chosen:
        raise ValueError("transports: at least one is needed")
    return frozenset(map(Transport, chosen))


def _origins(origins: Collection[str]) -> tuple[str, ...]:
    if isinstance(origins, str):
        raise TypeError("trusted_origins is a collection of origins, not one")
    return tuple(origins)


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """Options of a client's connection; times in seconds, sizes in bytes.

    Sources: .NET's ``HttpConnectionOptions`` and ``AuthenticationRefreshOptions``, where a default stands in brackets;
    the rest is this project's own.
    """

    transports: Collection[Transport] = attrs.field(default=tuple(Transport), converter=_transports)
    """The transports that may be used; which of them is tried first is the server's choice [all]."""
    connect_timeout: float = attrs.field(default=30.0, validator=positive)
    """So long all of connecting may take: negotiation, redirects, and the transports that are tried."""
    proxy: str | None = attrs.field(default=None, repr=False)
    """The URL of the proxy for all requests; ``"environment"`` takes what ``HTTP_PROXY``, ``HTTPS_PROXY``,
    ``ALL_PROXY`` and ``NO_PROXY`` say."""
    trusted_origins: Collection[str] = attrs.field(default=(), converter=_origins)
    """Origins, such as ``https://other.example``, to which redirects may take the user's headers and token."""
    refresh_before_expiration: float | None = attrs.field(default=300.0, validator=positive_or_none)
    """So long before the access token expires a new one is asked for and sent to the server, if that offers it
    (ASP.NET Core 11, trio-hubs); ``None`` leaves it out [300]."""
