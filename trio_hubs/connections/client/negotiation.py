"""Where to connect: negotiation with the server, and its redirects, over HTTP."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
import httpx2

from ...errors import NegotiationError
from ...protocol.negotiate import NegotiateResponse, parse_response
from ...tasks import unwrapping
from ..http import public_url

MAXIMUM_REDIRECTS = 100
"""How often negotiation may be sent elsewhere (the .NET client's limit)."""
HEADER_TEXT = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
"""What a header of ours may say; whatever else it is, it may be a secret, and is told by nobody's exception."""


@attrs.frozen
class ConnectTarget:
    """Where and how to connect.

    Attributes:
        url: The URL of the transport's request.
        connection_id: The connection's public id; ``None`` without negotiation.
        headers: The headers for the request.
    """

    url: str
    connection_id: str | None
    headers: Mapping[str, str]


async def negotiate(
    url: str, headers: Mapping[str, str], *, timeout: float, ssl_context: ssl.SSLContext | None
) -> ConnectTarget:
    """Ask a hub's server for a connection. A checkpoint.

    Args:
        url: The hub's ``http`` or ``https`` URL.
        headers: Headers for the requests.
        timeout: Seconds for each request.
        ssl_context: For ``https``; the system's defaults by default.

    Raises:
        NegotiationError: The server cannot be reached, does not negotiate, or offers no WebSockets.
    """
    headers = dict(headers)
    verify: ssl.SSLContext | bool = ssl_context or True
    async with httpx2.AsyncClient(
        verify=verify, timeout=timeout, follow_redirects=True, trust_env=False
    ) as http:
        for _ in range(MAXIMUM_REDIRECTS):
            document = await _ask(http, _with_query(url, "/negotiate", negotiateVersion="1"), headers)
            if not document.url:
                break
            url = document.url
            if document.access_token:
                if not HEADER_TEXT.fullmatch(document.access_token):
                    raise NegotiationError("The server's access token cannot stand in an HTTP header.")
                headers["Authorization"] = f"Bearer {document.access_token}"
        else:
            raise NegotiationError("Negotiate redirection limit exceeded.")
    offered = [transport.transport for transport in document.available_transports]
    if "WebSockets" not in offered:
        raise NegotiationError(
            f"The server at {public_url(url)} offers no WebSockets, only {', '.join(offered) or 'nothing'}; "
            "this client speaks no other transport."
        )
    return ConnectTarget(_with_query(url, "", id=document.connection_token), document.connection_id, headers)


async def _ask(http: httpx2.AsyncClient, url: str, headers: Mapping[str, str]) -> NegotiateResponse:
    try:
        with unwrapping():
            answer = await http.post(url, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NegotiationError(f"Cannot negotiate with {public_url(url)}: {_reason(error)}") from error
    if not answer.is_success:
        hint = " Is there a hub at this URL?" if answer.status_code == 404 else ""
        raise NegotiationError(
            f"Cannot negotiate with {public_url(url)}: it answered {answer.status_code} "
            f"({answer.reason_phrase}).{hint}"
        )
    return parse_response(answer.content)


def _reason(error: BaseException) -> str:
    """The text of an error, or of the nearest one behind it that has any."""
    behind = error.__cause__ or error.__context__
    return str(error) or (_reason(behind) if behind else type(error).__name__)


def _with_query(url: str, path: str, **fields: str) -> str:
    """Extend a URL's path, and its query with fields that it does not have yet."""
    parts = urlsplit(url)
    known = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = urlencode({name: text for name, text in fields.items() if name not in known})
    return urlunsplit(
        parts._replace(
            path=parts.path.rstrip("/") + path if path else parts.path,
            query="&".join(filter(None, (parts.query, query))),
        )
    )
