"""From which origins' pages requests may come: a foreign page must not ride on a user's cookies.

Browsers send ``Origin`` with all that a foreign page's scripts and forms send, also with a WebSocket's request, for
which nothing else protects a server; with the GET of an image or a link they do not, but say by ``Sec-Fetch-Site`` or
``Referer`` where it comes from. So what comes from a foreign page is refused before anything looks at it, unless the
page's origin is allowed; a client that sends none of these is no browser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from ..http import Request, Response

OriginPredicate: TypeAlias = Callable[[str], bool]
"""Whether pages of an origin may make requests; it is called with ``null``, or with what ``https://example.org:8000``
looks like, in lower case.
"""
AllowedOrigins: TypeAlias = "frozenset[str] | OriginPredicate"

_WRITTEN = re.compile(r"null|[a-z][a-z0-9+.-]*://(\*\.)?[^/?#@*\s]+(?<!:)(:\*)?")  # as an allowed origin is
_SENT = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#@,\\\s]+")  # as browsers send one
_PORTS = {"http": 80, "https": 443}
_PREFLIGHT_AGE = "600"  # seconds


def checked_origins(origins: Iterable[str] | OriginPredicate) -> AllowedOrigins:
    """Check the origins that a user allows.

    Args:
        origins: Each such as ``https://example.org``, ``https://*.example.org`` for all names below that one,
            ``http://localhost:*`` for any port, or ``null``; or a predicate.

    Raises:
        TypeError: It is one text.
        ValueError: One is no origin.
    """
    if callable(origins):
        return origins
    if isinstance(origins, str):
        raise TypeError("allowed_origins is a collection of origins, not one")
    allowed = frozenset(origin.lower() for origin in origins)
    for origin in allowed:
        if not _WRITTEN.fullmatch(origin):
            raise ValueError(
                f"'{origin}' is no origin: name each one, such as 'https://example.org' or 'https://*.example.org', or "
                "give a function that says which"
            )
    return frozenset(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin) for origin in allowed)


def _predicate(allowed: AllowedOrigins) -> OriginPredicate:
    if callable(allowed):
        return allowed
    exact = frozenset(origin for origin in allowed if "*" not in origin)
    wild = re.compile(
        "|".join(
            re.escape(origin).replace(r"://\*\.", r"://[^:\[\]]+\.").replace(r":\*", r"(:\d+)?")
            for origin in allowed - exact
        )
    )
    return lambda origin: origin in exact or wild.fullmatch(origin) is not None


class Origins:
    """The origins that may make requests besides the server's own.

    Args:
        allowed: As :func:`checked_origins` gives them.
        own_scheme: The scheme of the server's own pages; by default ``https`` for what came by TLS, else either.
        check_gets: Whether a GET without ``Origin`` is judged, too, by what browsers send with it.
    """

    def __init__(
        self, allowed: AllowedOrigins, *, own_scheme: str | None = None, check_gets: bool = True
    ) -> None:
        self._predicate = _predicate(allowed)
        self._own_scheme = own_scheme
        self._check_gets = check_gets

    def headers(self, request: Request) -> Mapping[str, str] | None:
        """What an answer to the request says to the browser; ``None`` when there is to be no real answer."""
        origin = request.headers.get("origin")
        if origin is not None and self._allows(origin.lower()):
            return {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Vary": "Origin",
            }
        if origin is not None and not self._is_own(origin, request):
            return None
        foreign = self._check_gets and request.method == "GET" and self._is_foreign_get(request)
        return None if foreign else {}

    def page_of(self, request: Request) -> str:
        """What a browser says of the page that a request comes from, for the log."""
        headers = request.headers
        page = headers.get("origin") or _origin_of(headers.get("referer", ""))
        return page or f"a {headers.get('sec-fetch-site', 'foreign')} page"

    def _allows(self, origin: str) -> bool:
        return _SENT.fullmatch(origin) is not None and bool(self._predicate(origin))

    def _is_foreign_get(self, request: Request) -> bool:
        """Whether a browser makes this GET for a foreign page, by any of its headers; its ``Origin`` is in order."""
        headers = request.headers
        site = headers.get("sec-fetch-site")
        if site in ("same-origin", "none"):  # none is the user, who has typed it
            return False
        referer = headers.get("referer")
        if site is None and (not referer or "origin" in headers):
            return False
        page = _origin_of(referer or "")
        return not self._allows(page) and (site is not None or not self._is_own(page, request))

    def _is_own(self, origin: str, request: Request) -> bool:
        """Whether an origin is the server itself, by the name that the request calls it by."""
        scheme = self._own_scheme or ("https" if request.scheme == "https" else None)
        try:
            parts = urlsplit(origin.lower())
            default = _PORTS.get(parts.scheme)
            here = urlsplit(f"{parts.scheme}://{request.host.lower()}")
            return (
                default is not None
                and scheme in (None, parts.scheme)
                and bool(parts.hostname)
                and parts.hostname == here.hostname
                and (parts.port or default) == (here.port or default)
            )
        except ValueError:
            return False

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


def _origin_of(url: str) -> str:
    """The origin of a page's URL, as in ``Origin``; nothing where it is no URL."""
    try:
        parts = urlsplit(url.lower())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
