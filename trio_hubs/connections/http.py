"""HTTP as data: requests, responses, and header and query names that match in any letter case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import msgspec

from ..errors import BadRequest

if TYPE_CHECKING:
    from .users import User

Headers: TypeAlias = Mapping[str, "str | Sequence[str]"]
"""Headers of an answer; several texts of one name have lines of their own."""

T = TypeVar("T")

_ENCODED_SLASH = re.compile("%2F", re.IGNORECASE)  # which parts no path


def public_url(url: str) -> str:
    """A URL as anybody may see it: without its query and its user, where secrets stand."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


class CaseInsensitive(Mapping[str, str]):
    """Names and texts, read-only; a name matches in any letter case.

    A name that occurs more than once has its texts joined with commas, as ASP.NET Core does. They are kept packed, and
    unpacked at each look: a connection keeps its request, and thousands of tiny fields would be large as objects.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        texts = [text for pair in pairs for text in pair]
        try:
            self._packed = msgspec.msgpack.encode(texts)
        except UnicodeEncodeError:  # of half a surrogate pair, which no request can bring
            self._packed = msgspec.msgpack.encode([text.encode(errors="replace").decode() for text in texts])

    def _pairs(self) -> Iterator[tuple[str, str]]:
        texts = _unpack(self._packed)
        return zip(texts[::2], texts[1::2], strict=True)

    def _texts(self, name: str) -> list[str]:
        wanted = name.lower()
        if wanted.isascii() and wanted.encode() not in self._packed.lower():  # as for most that is asked for
            return []
        return [text for known, text in self._pairs() if known.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        if texts := self._texts(name):
            return ",".join(texts)
        raise KeyError(name)

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | T) -> str | T: ...
    def get(self, key: str, /, default: str | T | None = None) -> str | T | None:
        # As usual, but absence, which is usual here, raises nothing on the way.
        return ",".join(texts) if (texts := self._texts(key)) else default

    def __iter__(self) -> Iterator[str]:
        names: dict[str, str] = {}
        for name, _ in self._pairs():
            names.setdefault(name.lower(), name)
        return iter(names.values())

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._pairs()})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


_unpack = msgspec.msgpack.Decoder(list[str]).decode


@attrs.frozen(kw_only=True)
class Request:
    """An HTTP request.

    Attributes:
        method: The verb, in capitals.
        path: The decoded path, without the query.
        query: The query's fields, decoded; names match in any letter case.
        raw_query: The query as it came, without the question mark.
        headers: The header fields; names match in any letter case.
        body: The whole body.
        scheme: ``https`` when it came by TLS to this server itself, or as a trusted proxy says; else ``http``.
        client: The client's IP address; where a trusted proxy is between, as that says. ``None`` on a Unix socket.
        user: Who makes it, as what brought it knows, or else as ``authenticate`` found out.
        app: The app that it was made to.
    """

    method: str = "GET"
    path: str = "/"
    query: Mapping[str, str] = attrs.field(factory=CaseInsensitive)
    headers: Mapping[str, str] = attrs.field(factory=CaseInsensitive)
    body: bytes = b""
    scheme: str = "http"
    raw_query: str = ""
    client: str | None = None
    user: User | None = None
    app: Any = attrs.field(default=None, eq=False, repr=False)
    _host: str | None = attrs.field(default=None, alias="host")

    @property
    def host(self) -> str:
        """The name, and perhaps the port, by which the client calls the server; "" where it does not say.

        It is that of the ``Host`` header, or what a trusted proxy says.
        """
        return self.headers.get("host", "") if self._host is None else self._host

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies, taken apart anew at each look; of several with one name the first, which fits the path best."""
        cookies: dict[str, str] = {}
        for entry in self.headers.get("cookie", "").split(";"):
            name, _, text = entry.strip().partition("=")
            quoted = len(text) > 1 and text[0] == text[-1] == '"'
            if name:
                cookies.setdefault(name.rstrip(), text[1:-1] if quoted else text.lstrip())
        return cookies

    def json(self) -> Any:
        """The body, read as JSON.

        Raises:
            BadRequest: It is none; a route that lets it pass answers 400.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequest(f"The body is no JSON: {error}") from error

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
        client: str | None = None,
        app: object = None,
    ) -> Request:
        """Make a request of the raw parts of an HTTP/1.1 message.

        Raises:
            ValueError: The target is malformed (RFC 9112, section 3.2).
        """
        path, _, query = target.decode("latin-1").partition("?")
        if not path.startswith("/") and method != b"CONNECT" and (method, path) != (b"OPTIONS", "*"):
            url = urlsplit(path)
            if url.scheme not in ("http", "https"):
                raise ValueError("the target is neither a path nor a URL")
            path = url.path
        return cls(
            method=method.decode("ascii").upper(),
            path=unquote(_ENCODED_SLASH.sub("%252F", path)),
            query=CaseInsensitive(parse_qsl(query, keep_blank_values=True)),
            raw_query=query,
            headers=CaseInsensitive(_with_one_cookie(headers)),
            body=body,
            scheme=scheme,
            client=client,
            app=app,
        )


def _with_one_cookie(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """A request's headers; cookies in lines of their own are one line with semicolons (RFC 9113, 8.2.3)."""
    cookies: list[str] = []
    for name, text in headers:
        if name.lower() == b"cookie":
            cookies.append(text.decode("latin-1"))
        else:
            yield name.decode("latin-1"), text.decode("latin-1")
    if cookies:
        yield "cookie", "; ".join(cookies)


def _body_bytes(body: bytes | str) -> bytes:
    class_: type = type(body)
    if not issubclass(class_, bytes | str):  # whatever the types say
        raise TypeError(
            f"an answer's body is text or bytes, and no {type(body).__name__}: make JSON of it first"
        )
    return body.encode() if isinstance(body, str) else body


@attrs.frozen
class Response:
    """An HTTP answer that is whole in memory.

    Attributes:
        body: What the answer says; text is sent as UTF-8.
        status: The HTTP status code.
        content_type: The Content-Type header.
        headers: Further headers; a Content-Type or Date among them replaces the usual one. A list of texts makes a
            line for each, as Set-Cookie needs it.
    """

    body: bytes = attrs.field(default=b"", converter=_body_bytes)
    status: int = attrs.field(default=200, kw_only=True)
    content_type: str = attrs.field(default="text/plain; charset=utf-8", kw_only=True)
    headers: Headers = attrs.field(factory=dict, kw_only=True)

    @classmethod
    def json(cls, value: object, *, status: int = 200, headers: Headers | None = None) -> Self:
        """An answer that says a value in JSON.

        Args:
            value: What msgspec can write: plain values, dates, UUIDs, dataclasses, attrs classes and the like.
            status: The HTTP status code.
            headers: Further headers.

        Raises:
            TypeError: The value cannot be written.
        """
        body = msgspec.json.encode(value)
        return cls(body, status=status, content_type="application/json", headers=headers or {})
