"""Where to connect: negotiation with the server, and its redirects, over HTTP."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from ...errors import ConnectionFailed, NegotiationError
from ...protocol.negotiate import AvailableTransport, NegotiateResponse, parse_response
from ..http import Request, public_url
from .requests import Grant, Requests, followed
from .urls import is_header_text, origin_of, with_query, without_query

MAXIMUM_REDIRECTS = 100
"""How often negotiation may be sent elsewhere (the .NET client's limit)."""


@attrs.frozen(kw_only=True)
class ConnectTarget:
    """Where and how to connect.

    Attributes:
        base: The URL that negotiated.
        url: The URL of the transport's requests.
        connection_id: The connection's public id; ``None`` without negotiation.
        connection_token: What the transport's requests say to be let in; "" without negotiation.
        transports: What the server offers, in its order.
        grant: The access token that negotiation gave, for all requests of the transport.
        token_lifetime: Seconds until the client's credentials expire, where they can be refreshed.
        stateful_reconnect: Whether a WebSocket that is torn may be followed by another.
    """

    base: str = attrs.field(repr=public_url)
    url: str = attrs.field(repr=public_url)
    connection_id: str | None = None
    connection_token: str = attrs.field(default="", repr=False)
    transports: tuple[AvailableTransport, ...] = ()
    grant: Grant | None = None
    token_lifetime: float | None = None
    stateful_reconnect: bool = False

    @property
    def request(self) -> Request:
        """What a connection shows as its request."""
        return Request(path=urlsplit(self.url).path)


async def negotiate(
    requests: Requests, url: str, grant: Grant | None = None, *, stateful_reconnect: bool = False
) -> ConnectTarget:
    """Ask a hub's server for a connection. A checkpoint.

    Args:
        requests: Makes the requests.
        url: The hub's URL.
        grant: The access token that an earlier negotiation gave for it.
        stateful_reconnect: Whether to ask for a connection that may be torn.

    Raises:
        NegotiationError: The server cannot be reached, or does not negotiate.
    """
    lifetime: float | None = None
    for _ in range(MAXIMUM_REDIRECTS):
        url, document = await _ask(requests, url, grant, stateful_reconnect)
        lifetime = document.token_lifetime or lifetime
        if not document.url:
            return ConnectTarget(
                base=url,
                url=with_query(url, "", id=document.connection_token),
                connection_id=document.connection_id,
                connection_token=document.connection_token,
                transports=document.available_transports,
                grant=grant,
                token_lifetime=lifetime,
                stateful_reconnect=stateful_reconnect and document.stateful_reconnect,
            )
        try:
            url = followed(url, document.url)
        except ConnectionFailed as error:
            raise error.retold(NegotiationError, f"Cannot negotiate: {error}.") from None
        grant = None
        if document.access_token:
            if not is_header_text(document.access_token):
                raise NegotiationError("The server's access token cannot stand in an HTTP header.")
            grant = Grant(document.access_token, origin_of(url))
    raise NegotiationError("Negotiate redirection limit exceeded.")


async def _ask(
    requests: Requests, url: str, grant: Grant | None, stateful_reconnect: bool
) -> tuple[str, NegotiateResponse]:
    """Ask once; gives the URL that was asked in the end, and the answer."""
    wishes = {"negotiateVersion": "1"} | ({"useStatefulReconnect": "true"} if stateful_reconnect else {})
    asked = with_query(url, "/negotiate", **wishes)
    try:
        answer = await requests.send("POST", asked, grant=grant)
        if not answer.response.is_success:
            raise await answer.failure()
        body = await answer.read()
    except ConnectionFailed as error:
        if isinstance(error, NegotiationError):
            raise
        hint = " Is there a hub at this URL?" if error.status == 404 else ""
        raise error.retold(
            NegotiationError, f"Cannot negotiate with {public_url(asked)}: {error}.{hint}"
        ) from error.__cause__
    if answer.url != asked:
        added = [name for name in wishes if name not in url]
        url = without_query(answer.url, "/negotiate", *added) or url
    return url, parse_response(body)
