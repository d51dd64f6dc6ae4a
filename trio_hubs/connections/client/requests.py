"""The HTTP requests of one client, all by one httpx2 client: one trust, one cookie jar, one proxy for all legs.

The user's headers, cookies and access token go to the origin that the user named, and to those that the user
trusts; other origins, where redirects may lead, get what negotiation gave for them and nothing else. Of no answer more
is read than is allowed, whatever it unpacks to.
"""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import CookieJar
from itertools import islice
from time import time
from urllib.parse import urljoin, urlsplit

import attrs
import httpx2
import trio

from ...errors import ConnectionFailed
from ...logs import masking, shown
from ...tasks import unwrapping
from ..http import public_url
from .options import ConnectionOptions
from .tokens import AccessToken, Tokens
from .urls import http_url, is_header_name, is_header_text, origin_of, user_of

MAXIMUM_REDIRECTS = 20
"""How often one request may be sent elsewhere."""
MAXIMUM_ANSWER = 256 * 1024
"""Bytes of an answer that is read as a whole."""
MAXIMUM_COOKIES = 300
"""How many cookies servers may set; those that have expired do not count."""
FAILURE_TIMEOUT = 0.5
"""Seconds that the body of an answer has to come which says that something failed."""

_LOGGERS = ("httpx2", *(f"httpcore2.{name}" for name in ("connection", "http11", "proxy", "socks")))
_HEADERS = {"X-Requested-With": "XMLHttpRequest", "User-Agent": "trio-hubs", "Accept-Encoding": "identity"}
_MOST_ADDRESSES = 4  # whose errors are told
_REFUSALS = frozenset((400, 401, 403, 405, 407, 410))  # which will be the same next time
_LASTING = frozenset((307, 308))
_REDIRECTS = frozenset((301, 302, 303)) | _LASTING


@attrs.define
class Grant:
    """An access token for the requests to one origin, in place of the user's; negotiation may give one."""

    token: str = attrs.field(repr=False)
    origin: tuple[str, str, int]


@attrs.frozen
class HttpAnswer:
    """An answer whose body is not read yet.

    Attributes:
        response: The answer.
        url: Where to ask the next time: where redirects that last have led.
        granted: Whether it was asked with a token that negotiation gave, and gives anew.
    """

    response: httpx2.Response
    url: str
    granted: bool

    async def read(self) -> bytes:
        """All of the body, of which the answer is then done with.

        Raises:
            ConnectionFailed: It is too large, or did not come.
        """
        body = bytearray()
        async with self.parts() as parts:
            async for part in parts:
                body += part
                if len(body) > MAXIMUM_ANSWER:
                    raise ConnectionFailed(f"its answer is larger than {MAXIMUM_ANSWER} bytes")
        return bytes(body)

    @asynccontextmanager
    async def parts(self) -> AsyncGenerator[AsyncGenerator[bytes]]:
        """The parts of the body as they come, for the body of ``async with``; then the answer is done with.

        Raises:
            ConnectionFailed: They did not come to their end.
        """
        parts = self.response.aiter_bytes()
        try:
            yield parts
        except httpx2.HTTPError as error:
            raise ConnectionFailed(reason_of(error)) from error
        finally:
            if not self.response.is_closed:  # it closes itself at its end
                await _end(parts)
                await self.response.aclose()

    async def failure(self) -> ConnectionFailed:
        """What the answer of a server that does not do what it was asked means; it is done with then."""
        response = self.response
        said = ""
        with suppress(ConnectionFailed), trio.move_on_after(FAILURE_TIMEOUT):
            said = shown((await self.read()).decode(errors="replace"))
        status = response.status_code
        return ConnectionFailed(
            f"it answered {status} ({shown(response.reason_phrase)})",
            status=status,
            retry_after=_retry_after(response),
            server_text=said,
            retriable=status not in _REFUSALS or (status == 401 and self.granted),
        )


class Requests:
    """Makes the requests of one client, over all of its connections.

    Args:
        url: The URL that the user named.
        headers: The user's headers.
        access_token: The user's access token, or what gives it.
        ssl_context: Whom to trust; the system's defaults by default.
        http_client: The user's own HTTP client, which is left open.
        options: The client's options.

    Attributes:
        url: The URL, as requests have it.
        options: The client's options.
        tokens: The user's access tokens.

    Raises:
        ValueError: The URL, a header, the token or an option cannot be used, or two of them contradict each other.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        access_token: AccessToken | None,
        ssl_context: ssl.SSLContext | None,
        http_client: httpx2.AsyncClient | None,
        options: ConnectionOptions,
    ) -> None:
        try:
            self.url = http_url(url)
            httpx2.URL(self.url)
        except (ValueError, httpx2.InvalidURL):
            raise ValueError(
                f"'{public_url(url)}' is no URL of a hub, such as http://127.0.0.1:8000/chat"
            ) from None
        self.options = options
        self.tokens = Tokens(access_token)
        self._headers = httpx2.Headers(_checked(headers))
        if user := user_of(url):
            if access_token is not None or "Authorization" in self._headers:
                raise ValueError("the URL names a user, and there are other credentials besides")
            self._headers["Authorization"] = f"Basic {b64encode(':'.join(user).encode()).decode()}"
        self._cookie = self._headers.pop("Cookie", "")
        self._origins = {origin_of(self.url), *map(_origin, options.trusted_origins)}
        self._is_own = http_client is None
        if http_client is None:
            by_environment = options.proxy == "environment"
            try:
                http_client = httpx2.AsyncClient(
                    verify=ssl_context or default_trust(),
                    proxy=None if by_environment else options.proxy,
                    trust_env=by_environment,
                )
            except ImportError:
                raise ValueError("a SOCKS proxy needs one more package: pip install socksio") from None
        elif ssl_context is not None or options.proxy is not None:
            raise ValueError("a client of your own has its own trust and proxy")
        self._http = http_client
        self._timeout = httpx2.Timeout(
            None, connect=options.connect_timeout
        )  # others are those of trio's scopes

    async def aclose(self) -> None:
        """Close all sockets that are kept; call it when no request is under way."""
        if self._is_own:
            await self._http.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        grant: Grant | None = None,
    ) -> HttpAnswer:
        """Make a request, follow redirects, and ask for another access token when it is refused, once.

        Args:
            method: The verb.
            url: Where.
            headers: Headers that this request has, whatever the user's say.
            content: The body.
            grant: The token that negotiation has given.

        Returns:
            The answer, whatever its status.

        Raises:
            ConnectionFailed: There is none. The text goes on a sentence about the request.
        """
        lasting = url
        lasts = renewed = False
        redirects = 0
        while True:
            trusted = self.trusts(url)
            token = await self._token(url, trusted, grant)
            response = await self._send_once(method, url, headers or {}, content, token, trusted)
            if "Set-Cookie" in response.headers and len(self._http.cookies.jar) > MAXIMUM_COOKIES:
                await response.aclose()
                raise ConnectionFailed(f"it has set more than {MAXIMUM_COOKIES} cookies")
            status = response.status_code
            if status == 401 and trusted and grant is None and self.tokens.renewable and not renewed:
                renewed = True
                await response.aclose()
                await self.tokens.renew(token)
                continue
            if status not in _REDIRECTS or "Location" not in response.headers:
                return HttpAnswer(response, lasting, granted=grant is not None)
            await response.aclose()
            redirects += 1
            if redirects > MAXIMUM_REDIRECTS:
                raise ConnectionFailed("it redirects without end")
            url = followed(url, response.headers["Location"])
            lasts = status in _LASTING and (lasts or redirects == 1)
            if lasts:
                lasting = url
            if status not in _LASTING and method == "POST":
                method, content = "GET", b""

    def trusts(self, url: str) -> bool:
        """Whether the user's headers and token may go there."""
        origin = origin_of(url)
        scheme, host, port = origin
        return origin in self._origins or (
            (scheme, port) == ("https", 443) and ("http", host, 80) in self._origins
        )

    async def _token(self, url: str, trusted: bool, grant: Grant | None) -> str | None:
        if grant is not None:
            return grant.token if origin_of(url) == grant.origin else None
        return await self.tokens.get() if trusted else None

    async def _send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        token: str | None,
        trusted: bool,
    ) -> httpx2.Response:
        fields = httpx2.Headers(_HEADERS)
        if trusted:
            fields.update(self._headers)
        fields.update(headers)
        if token:
            fields["Authorization"] = f"Bearer {token}"
        try:
            with unwrapping(), masking(*_LOGGERS):
                if trusted and not self._is_own:  # the user's client may have headers and the like of its own
                    request = self._http.build_request(
                        method, url, headers=fields, content=content, timeout=self._timeout
                    )
                else:
                    request = httpx2.Request(
                        method,
                        url,
                        headers=fields,
                        cookies=_of_hosts(self._http.cookies.jar),
                        content=content,
                        extensions={"timeout": self._timeout.as_dict()},
                    )
                if not trusted:
                    return await self._http.send(request, stream=True, follow_redirects=False, auth=None)
                self._add_cookies(request)
                return await self._http.send(request, stream=True, follow_redirects=False)
        except httpx2.ConnectError as error:
            _, host, port = origin_of(url)
            raise ConnectionFailed(f"cannot connect to {host}:{port}: {reason_of(error)}") from error
        except httpx2.ConnectTimeout as error:
            _, host, port = origin_of(url)
            timeout = self.options.connect_timeout
            raise ConnectionFailed(f"cannot connect to {host}:{port} within {timeout:g} s") from error
        except httpx2.ProxyError as error:
            raise _refusal_of_proxy(reason_of(error)) from error
        except httpx2.RemoteProtocolError as error:
            raise ConnectionFailed(f"it did not answer in HTTP: {reason_of(error)}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
            raise ConnectionFailed(reason_of(error)) from error

    def _add_cookies(self, request: httpx2.Request) -> None:
        """Add the user's own cookies to those that servers have set, which win."""
        if self._cookie:
            kept = request.headers.get("Cookie", "")
            cookies = dict(_cookies(self._cookie)) | dict(_cookies(kept))
            request.headers["Cookie"] = "; ".join(cookies.values())


def reason_of(error: BaseException) -> str:
    """What the system said of an error, else the text of the nearest one behind it that has any; as it may be shown."""
    if said := dict.fromkeys(map(shown, islice(_said(error), _MOST_ADDRESSES))):
        return ", ".join(said)
    behind = error.__cause__ or error.__context__
    return shown(str(error)) or (reason_of(behind) if behind else type(error).__name__)


def _said(error: BaseException) -> Iterator[str]:
    """The system's errors behind one: of each address that was tried."""
    if isinstance(error, OSError) and error.errno:
        yield str(error)
    elif isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _said(member)
    elif cause := error.__cause__ or next((arg for arg in error.args if isinstance(arg, Exception)), None):
        yield from _said(cause)


def _refusal_of_proxy(text: str) -> ConnectionFailed:
    """What it means that a proxy does not let us through, which the HTTP client tells as a text only."""
    answer = re.fullmatch(r"(\d{3}) (.*)", text)
    if answer is None:
        return ConnectionFailed(f"the proxy does not let us through: {text}")
    status = int(answer[1])
    return ConnectionFailed(
        f"the proxy answered {status} ({answer[2]})", status=status, retriable=status not in _REFUSALS
    )


def followed(url: str, location: str) -> str:
    """Where a server sends us.

    Raises:
        ConnectionFailed: Nowhere.
    """
    try:
        target = http_url(location if urlsplit(location).scheme else urljoin(url, location))
        httpx2.URL(target)
    except (ValueError, httpx2.InvalidURL):
        raise ConnectionFailed(f"it redirects to what is no URL: '{shown(location)}'") from None
    return target


def default_trust() -> ssl.SSLContext:
    """Whom clients trust by default: the system's authorities, or those of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``."""
    return _trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)  # it takes 20 ms to read them
def _trust(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in headers.items():
        if not is_header_name(name) or not is_header_text(text):
            raise ValueError(
                f"a header is no HTTP header; names are tokens, and texts are in ASCII, without spaces around: {name!r}"
            )
    return headers


def _origin(text: str) -> tuple[str, str, int]:
    try:
        return origin_of(http_url(text))
    except ValueError:
        raise ValueError(f"'{public_url(text)}' is no origin, such as https://other.example") from None


def _cookies(header: str) -> list[tuple[str, str]]:
    """The names in a header, each with its whole field."""
    return [(field.partition("=")[0].strip(), field.strip()) for field in header.split(";") if field.strip()]


def _of_hosts(cookies: CookieJar) -> CookieJar:
    """Those that belong to a host; others are of the user's own client, and would go anywhere."""
    jar = CookieJar()
    for cookie in cookies:
        if cookie.domain:
            jar.set_cookie(cookie)
    return jar


def _retry_after(response: httpx2.Response) -> float | None:
    """What ``Retry-After`` says, in seconds from now."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, OverflowError):
        return None


_MOST_PARTS = 20_000  # of an answer, in what is read of a socket at a time; each takes six bytes at least


async def _end(parts: AsyncGenerator[bytes]) -> None:
    """End a generator with those inside of it, which its own ``aclose`` would leave as they are."""
    with trio.CancelScope() as scope, suppress(httpx2.HTTPError, StopAsyncIteration):
        scope.cancel()
        for _ in range(_MOST_PARTS):  # what has been read already comes first
            await anext(parts)
    await parts.aclose()
