"""The documents of negotiate, as data: what a server answers and what a client makes of it.

A parsed answer is complete: it names another place to ask, or it has all that connecting takes.
"""

import re
from enum import StrEnum
from math import inf

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import NegotiationError
from .hub_protocol import TransferFormat

_LATEST_VERSION = 1


class Transport(StrEnum):
    """What can carry a connection, in a server's order of preference (TransportProtocols.md)."""

    WEBSOCKETS = "WebSockets"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"

    @property
    def transfer_formats(self) -> frozenset[TransferFormat]:
        """The formats that it can carry."""
        if self is Transport.SERVER_SENT_EVENTS:
            return frozenset((TransferFormat.TEXT,))
        return frozenset(TransferFormat)


class AvailableTransport(msgspec.Struct, frozen=True, rename="camel"):
    """A transport the server offers; a client may meet names it does not know."""

    transport: str
    transfer_formats: tuple[str, ...]


class NegotiateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to negotiate.

    Attributes:
        version: The version both sides follow from here.
        url: Where to negotiate instead, or "".
        access_token: The bearer token for that place, or "".
        connection_id: The connection's public id.
        connection_token: What connects to it; in version 0 that is the id.
        available_transports: What the server offers, in its order of preference.
        stateful_reconnect: Whether a torn connection may be taken up again.
        token_lifetime: Seconds until the client's credentials expire, where they can be refreshed.
    """

    version: int
    url: str = ""
    access_token: str = ""
    connection_id: str = ""
    connection_token: str = ""
    available_transports: tuple[AvailableTransport, ...] = ()
    stateful_reconnect: bool = False
    token_lifetime: float | None = None


class _Document(msgspec.Struct, rename="camel", kw_only=True):
    """The document; its keys in their order on the wire."""

    use_stateful_reconnect: bool | UnsetType | None = UNSET
    negotiate_version: int = 0
    url: str | UnsetType | None = UNSET
    access_token: str | UnsetType | None = UNSET
    connection_id: str | UnsetType | None = UNSET
    connection_token: str | UnsetType | None = UNSET
    token_lifetime_seconds: int | float | UnsetType | None = UNSET
    available_transports: tuple[AvailableTransport, ...] | UnsetType | None = UNSET
    error: str | UnsetType | None = UNSET
    asp_net_version: object = msgspec.field(default=UNSET, name="ProtocolVersion")


def negotiated_version(requested: str | None, minimum: int = 0) -> int | str:
    """The version to answer with, or the text of the error.

    Args:
        requested: The query's ``negotiateVersion``, or None if there is none.
        minimum: The lowest version the server still speaks.
    """
    text = "0" if requested is None else requested.strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or abs(int(text)) >= 2**31:
        return "The client requested a non-integer protocol version."
    version = int(text)
    if version < minimum:
        return f"The client requested version '{version}', but the server does not support this version."
    return min(version, _LATEST_VERSION)


def encode_response(response: NegotiateResponse) -> bytes:
    """The body of a successful answer."""
    answer = _Document(
        use_stateful_reconnect=response.stateful_reconnect or UNSET,
        negotiate_version=response.version,
        url=response.url or UNSET,
        access_token=response.access_token or UNSET,
        connection_id=response.connection_id or UNSET,
        connection_token=response.connection_token if response.version > 0 else UNSET,
        available_transports=response.available_transports,
        token_lifetime_seconds=UNSET if response.token_lifetime is None else response.token_lifetime,
    )
    return msgspec.json.encode(answer)


def encode_error(text: str) -> bytes:
    """The body of an answer that refuses."""
    return msgspec.json.encode({"error": text})


def parse_response(body: bytes) -> NegotiateResponse:
    """What a server answered.

    Raises:
        NegotiationError: If the server refuses, with its text, or if the answer is malformed or incomplete.
    """
    try:
        answer = msgspec.json.decode(body, type=_Document)
    except (ValueError, RecursionError) as problem:
        raise NegotiationError(_INVALID) from problem
    if answer.error:
        raise NegotiationError(answer.error)
    if answer.asp_net_version is not UNSET:
        raise NegotiationError(
            "Detected a connection attempt to an ASP.NET SignalR Server. "
            "This client only supports connecting to an ASP.NET Core SignalR Server. "
            "See https://aka.ms/signalr-core-differences for details."
        )
    connection_id = answer.connection_id or ""
    token = answer.connection_token or "" if answer.negotiate_version > 0 else connection_id
    transports = answer.available_transports
    lifetime = answer.token_lifetime_seconds
    if not answer.url and (not connection_id or not token or not isinstance(transports, tuple)):
        raise NegotiationError(_INVALID)
    return NegotiateResponse(
        version=answer.negotiate_version,
        url=answer.url or "",
        access_token=answer.access_token or "",
        connection_id=connection_id,
        connection_token=token,
        available_transports=transports or (),
        stateful_reconnect=answer.use_stateful_reconnect is True,
        token_lifetime=lifetime if lifetime and lifetime > 0 else None,
    )


class RefreshResponse(msgspec.Struct, frozen=True):
    """An answer to a refresh of the client's credentials.

    Attributes:
        token_lifetime: Seconds until they expire again, if the server said so.
        access_token: The token for all further requests of the transport, or "".
    """

    token_lifetime: float | None = None
    access_token: str = ""


def parse_refresh(body: bytes) -> RefreshResponse:
    """What a server answered to a refresh that it accepted; fields of other types count as absent.

    Raises:
        NegotiationError: If it is no JSON object.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (ValueError, RecursionError) as problem:
        raise NegotiationError("Invalid refresh response received.") from problem
    lifetime, token = fields.get("tokenLifetimeSeconds"), fields.get("accessToken")
    known = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and 0 < lifetime < inf
    return RefreshResponse(
        token_lifetime=lifetime if known else None,  # type: ignore[arg-type]  # a number, then
        access_token=token if isinstance(token, str) else "",
    )


_INVALID = "Invalid negotiation response received."
