"""The first thing a client asks: what is offered here, and a token by which to have it."""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.hub_protocol import TransferFormat
from ...protocol.negotiate import (
    AvailableTransport,
    NegotiateResponse,
    Transport,
    encode_error,
    encode_response,
    negotiated_version,
)
from ..http import Request, Response
from ..users import User
from .lease import Leases
from .options import EndpointOptions
from .refresh import Refresh


class Negotiation:
    """Answers ``POST {path}/negotiate``.

    Args:
        options: The path's options.
        transfer_formats: What the handler's bytes may be.
        leases: The path's leases.
        refresh: Tells how long a user lasts.
        refusal: The answer where there is no room for another connection.

    Raises:
        ValueError: There is no transport for these formats.
    """

    def __init__(
        self,
        options: EndpointOptions,
        transfer_formats: frozenset[TransferFormat],
        *,
        leases: Leases,
        refresh: Refresh,
        refusal: Callable[[Request], Response | None],
    ) -> None:
        self._options = options
        self._refusal = refusal
        self._leases = leases
        self._refresh = refresh
        offered = [
            AvailableTransport(
                name, tuple(f for f in TransferFormat if f in name.transfer_formats & transfer_formats)
            )
            for name in options.transports
        ]
        self._offered = tuple(transport for transport in offered if transport.transfer_formats)
        if not self._offered:
            raise ValueError("none of the transports can carry what the hub protocols need")
        self._resumable = options.stateful_reconnect and Transport.WEBSOCKETS in options.transports

    def offers(self, transport: Transport) -> bool:
        """Whether a transport is offered here."""
        return any(transport == offered.transport for offered in self._offered)

    def answer(self, request: Request, user: User | None) -> Response:
        """Answer a request to negotiate."""
        if request.method != "POST":
            return Response(status=405, content_type="text/plain")
        version = negotiated_version(
            request.query.get("negotiateVersion"), self._options.minimum_negotiate_version
        )
        if isinstance(version, str):
            return Response(encode_error(version), content_type="application/json")
        if refusal := self._refusal(request):
            return refusal
        wanted = request.query.get("useStatefulReconnect", "").strip().lower() == "true"
        lease = self._leases.make(user, secret=version > 0, stateful=wanted and self._resumable)
        self._leases.add(lease)
        document = NegotiateResponse(
            version=version,
            connection_id=lease.id,
            connection_token=lease.token,
            available_transports=self._offered,
            stateful_reconnect=lease.stateful,
            token_lifetime=self._refresh.lifetime(user) if version else None,
        )
        return Response(encode_response(document), content_type="application/json")
