"""An answer whose body is made while it is sent: no part is made before the client has taken the one before.

Its maker is cancelled when the client leaves. What fails before the first part is an ordinary failure; behind that the
answer is cut off, so that nobody takes it for whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from functools import partial

import attrs
import trio

from ..http import Headers, Request
from .exchange import Deferred, Exchange


@attrs.frozen
class StreamedResponse:
    """An HTTP answer that is sent as it is made.

    The client has 30 seconds to take each part. When it leaves, what makes them is cancelled where it waits.

    Attributes:
        parts: Gives the body, part by part; text is sent as UTF-8. An async generator is closed in the end. The answer
            begins with the first part, which may be empty.
        status: The HTTP status code.
        content_type: The Content-Type header.
        headers: Further headers. Without a Content-Length the body has any length.
    """

    parts: AsyncIterable[bytes | str]
    status: int = attrs.field(default=200, kw_only=True)
    content_type: str = attrs.field(default="text/plain; charset=utf-8", kw_only=True)
    headers: Headers = attrs.field(factory=dict, kw_only=True)

    def deferred(self, request: Request) -> Deferred:
        """What answers the request."""
        scope = trio.CancelScope()
        return Deferred(serve=partial(self._serve, request, scope), left=scope.cancel)

    async def _serve(self, request: Request, scope: trio.CancelScope, exchange: Exchange) -> None:
        with scope:
            async with aclosing(self._encoded(wanted=request.method != "HEAD")) as parts:
                headers = {"Content-Type": self.content_type, **self.headers}
                await exchange.stream(headers, parts, status=self.status)

    async def _encoded(self, *, wanted: bool) -> AsyncGenerator[bytes]:
        try:
            if wanted:
                async for part in self.parts:
                    yield _bytes(part)
        finally:
            if isinstance(self.parts, AsyncGenerator):
                await self.parts.aclose()


def _bytes(part: bytes | str) -> bytes:
    kind: type = type(part)
    if not issubclass(kind, bytes | str):  # whatever the types say
        raise TypeError(f"a part of an answer is text or bytes, and no {kind.__name__}")
    return part.encode() if isinstance(part, str) else part
