"""URLs and header texts of a client: what may stand in them, and what is added to them."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_TEXT = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def is_header_name(name: str) -> bool:
    """Whether a header may have this name."""
    return _HEADER_NAME.fullmatch(name) is not None


def is_header_text(text: str) -> bool:
    """Whether a header may say this; whatever else it is, it may be a secret, and no exception shall tell it."""
    return _HEADER_TEXT.fullmatch(text) is not None


def http_url(url: str) -> str:
    """A URL as requests have it: of HTTP, and without its user and fragment.

    Raises:
        ValueError: It is no URL of a server.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.port == 0:
        raise ValueError("no URL of a server")
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], netloc=place, fragment=""))


def user_of(url: str) -> tuple[str, str] | None:
    """The name and the password that a URL has, decoded."""
    user, _, _ = urlsplit(url).netloc.rpartition("@")
    if not user:
        return None
    name, _, password = user.partition(":")
    return unquote(name), unquote(password)


def origin_of(url: str) -> tuple[str, str, int]:
    """The scheme, host and port of a URL as :func:`http_url` gives it."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]


def with_query(url: str, path: str, **fields: str) -> str:
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


def without_query(url: str, path: str, *names: str) -> str | None:
    """Undo :func:`with_query`; ``None`` when the path does not end so."""
    parts = urlsplit(url)
    if not parts.path.endswith(path):
        return None
    fields = [field for field in parts.query.split("&") if field.partition("=")[0] not in names]
    return urlunsplit(parts._replace(path=parts.path.removesuffix(path), query="&".join(fields)))
