"""From which origins' pages requests may come: a foreign page must not ride on a user's cookies.

Browsers send ``Origin`` with every request that a foreign page makes, also with a WebSocket's, for which nothing
else protects a server. So what comes from a foreign page is refused before anything looks at it, unless the page's
origin is allowed; whoever sends no ``Origin`` is no browser's page.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .http import Request, Response

_PORTS = {"http": 80, "https": 443}
_PREFLIGHT_AGE = "600"  # seconds


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is the server itself, by the name that the request calls it by."""
    try:
        parts = urlsplit(origin)
        here = urlsplit(f"{parts.scheme}://{host}")
        default = _PORTS.get(parts.scheme)
        return (
            bool(parts.hostname)
            and parts.hostname == here.hostname
            and (parts.port or default) == (here.port or default)
        )
    except ValueError:
        return False


class Origins:
    """The origins that may make requests besides the server's own.

    Args:
        allowed: Such as ``https://example.org``, in lower case.
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def headers(self, request: Request) -> Mapping[str, str] | None:
        """What an answer to the request says to the browser; ``None`` when there is to be no real answer."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        if origin.lower() in self._allowed:
            return {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Vary": "Origin",
            }
        return {} if _is_own(origin.lower(), request.headers.get("host", "").lower()) else None

    def preflight(self, request: Request, methods: str) -> Response | None:
        """The answer to a browser that asks whether it may make a request; ``None`` when it asks nothing.

        Source:
            The Fetch standard's CORS protocol.
        """
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        wanted = request.headers.get("access-control-request-headers")
        headers = {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Max-Age": _PREFLIGHT_AGE,
            **({"Access-Control-Allow-Headers": wanted} if wanted and wanted.isascii() else {}),
        }
        return Response(status=204, headers=headers)


REFUSAL = Response("The origin of this page is not among the allowed ones.", status=403)
"""What a foreign page gets."""
