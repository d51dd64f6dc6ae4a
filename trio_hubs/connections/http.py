"""HTTP as data: requests, responses, and header and query names that match in any letter case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

_ENCODED_SLASH = re.compile("%2F", re.IGNORECASE)  # which parts no path


def public_url(url: str) -> str:
    """A URL as anybody may see it: without its query and its user, where secrets stand."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


class CaseInsensitive(Mapping[str, str]):
    """Names and texts, read-only; a name matches in any letter case.

    A name that occurs more than once has its texts joined with commas, as ASP.NET Core does.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, text in pairs:
            known = self._items.get(name.lower())
            self._items[name.lower()] = (name, text) if known is None else (known[0], f"{known[1]},{text}")

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


@attrs.frozen(kw_only=True)
class Request:
    """An HTTP request.

    Attributes:
        method: The verb, in capitals.
        path: The decoded path, without the query.
        query: The query's fields, decoded; names match in any letter case.
        headers: The header fields; names match in any letter case.
        body: The whole body.
        scheme: ``https`` when it came by TLS to this server itself, else ``http``.
    """

    method: str = "GET"
    path: str = "/"
    query: Mapping[str, str] = attrs.field(factory=CaseInsensitive)
    headers: Mapping[str, str] = attrs.field(factory=CaseInsensitive)
    body: bytes = b""
    scheme: str = "http"

    @property
    def bearer_token(self) -> str | None:
        """The token of ``Authorization: Bearer``, else of ``?access_token=``, which browsers need; or ``None``."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip() or None
        return self.query.get("access_token") or None

    @classmethod
    def parse(
        cls,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        scheme: str = "http",
    ) -> Request:
        """Make a request of the raw parts of an HTTP/1.1 message.

        Raises:
            ValueError: The target is none (RFC 9112, section 3.2).
        """
        path, _, query = target.decode("latin-1").partition("?")
        if not path.startswith("/") and method not in (b"CONNECT", b"OPTIONS"):
            url = urlsplit(path)
            if url.scheme not in ("http", "https"):
                raise ValueError("the target is neither a path nor a URL")
            path = url.path
        return cls(
            method=method.decode("ascii").upper(),
            path=unquote(_ENCODED_SLASH.sub("%252F", path)),
            query=CaseInsensitive(parse_qsl(query, keep_blank_values=True)),
            headers=CaseInsensitive(
                (name.decode("latin-1"), text.decode("latin-1")) for name, text in headers
            ),
            body=body,
            scheme=scheme,
        )


def _body_bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


@attrs.frozen
class Response:
    """An HTTP answer that is whole in memory.

    Attributes:
        body: What the answer says; text is sent as UTF-8.
        status: The HTTP status code.
        content_type: The Content-Type header.
        headers: Further headers.
    """

    body: bytes = attrs.field(default=b"", converter=_body_bytes)
    status: int = attrs.field(default=200, kw_only=True)
    content_type: str = attrs.field(default="text/plain; charset=utf-8", kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
