"""What answers a request: a route, which knows the request, an exchange, and the WebSocket that it may become.

Where requests come from is no matter of it: each door, such as HTTP/1.1 on a socket, finds a request's route in the
:class:`.Router`, reads the body as the route wants it, and sends what it answers.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Protocol, TypeAlias

import attrs
import trio

from ...errors import ConnectionClosed
from ..duplex import Duplex
from ..http import Headers, Request, Response

PART_SIZE = 64 * 1024
"""The most bytes of a body that are read, or sent, at once."""
PART_TIMEOUT = 30.0
"""Seconds that a client has to take each part of a streamed answer."""
MAXIMUM_BODY_SIZE = 64 * 1024
"""Bytes of a request's body that is read whole, unless its route says otherwise."""


class Exchange(abc.ABC):
    """One request's body and its answer, for as long as they take."""

    @abc.abstractmethod
    async def read(self) -> bytes:
        """The next part of the request's body; ``b""`` at its end, and from then on.

        Raises:
            ConnectionClosed: The client left, or sent nothing for too long.
            Exception: The body is malformed; an error of the door's own, which it will answer.
        """

    @abc.abstractmethod
    async def respond(self, response: Response, *, timeout: float | None = None) -> None:
        """Send a whole answer.

        Args:
            response: The answer.
            timeout: Seconds in which the client has to take each part of it; by default the door's own.

        Raises:
            ConnectionClosed: The client did not take it in time, or left.
        """

    @abc.abstractmethod
    async def start(self, headers: Headers, *, status: int = 200) -> None:
        """Begin an answer whose body follows by :meth:`write`, as long as its Content-Length says if there is one, and
        ends by :meth:`finish`.

        Raises:
            ConnectionClosed: The client left.
        """

    @abc.abstractmethod
    async def write(self, data: bytes) -> None:
        """Send a part of the body.

        Raises:
            ConnectionClosed: The client left.
        """

    @abc.abstractmethod
    async def finish(self) -> None:
        """End a body that :meth:`start` began.

        Raises:
            ConnectionClosed: The client left, or a part of the body was cut off.
        """

    async def stream(self, headers: Headers, parts: AsyncIterable[bytes], *, status: int = 200) -> None:
        """Send an answer in parts, each of which is asked for when the client has taken the one before.

        It begins with the first part, which may be empty. The client has :data:`PART_TIMEOUT` for each.

        Raises:
            ConnectionClosed: The client did not take a part in time, or left.
        """
        started = False
        async for part in parts:
            if not started:
                await _in_time(self.start(headers, status=status))
                started = True
            for at in range(0, len(part), PART_SIZE):
                await _in_time(self.write(part[at : at + PART_SIZE]))
        if not started:
            await _in_time(self.start(headers, status=status))
        await _in_time(self.finish())


async def _in_time(sending: Awaitable[None]) -> None:
    try:
        with trio.fail_after(PART_TIMEOUT):
            await sending
    except trio.TooSlowError:
        raise ConnectionClosed(f"The client took nothing of its answer for {PART_TIMEOUT:g} s.") from None


@attrs.frozen(kw_only=True)
class Upgrade:
    """An answer that turns the request into a WebSocket.

    Attributes:
        id: The connection's public id.
        serve: What to do with the open WebSocket, which is closed when it returns.
        close_timeout: Seconds that the client has to answer our close frame.
        subprotocol: What to name as the chosen subprotocol, if anything.
        headers: Further headers of the answer that accepts it.
    """

    id: str
    serve: Callable[[Duplex], Awaitable[None]]
    close_timeout: float
    subprotocol: str | None = None
    headers: Headers = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Deferred:
    """An answer that takes its time, or whose request's body does.

    Attributes:
        serve: Answers by the exchange.
        left: Called when the client leaves meanwhile.
        headers: Further headers of the answer.
    """

    serve: Callable[[Exchange], Awaitable[None]]
    left: Callable[[], None]
    headers: Headers = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Takeover:
    """What answers a good request for a WebSocket by itself, on the door's own stream.

    Attributes:
        serve: Called with the stream, which is closed when it returns, and what was read of it behind the request.
    """

    serve: Callable[[trio.abc.Stream, bytes], Awaitable[None]]


RouteAnswer: TypeAlias = Response | Upgrade | Deferred


class Answering(Protocol):
    """Answers a request."""

    async def __call__(self, request: Request, /) -> RouteAnswer | Takeover: ...


@attrs.frozen
class Route:
    """What answers a request, and what becomes of the request's body before.

    Attributes:
        answer: Answers it.
        maximum_body_size: Bytes of a body, which is read whole; above it the answer is 413.
        unread: The methods whose body is left unread, for a :class:`Deferred` to read.
        tokens: Whether requests may bear a connection's token, and are answered where that was made.
    """

    answer: Answering
    maximum_body_size: int = attrs.field(default=MAXIMUM_BODY_SIZE, kw_only=True)
    unread: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    tokens: bool = attrs.field(default=False, kw_only=True)


FAILED = Response("The handler failed.", status=500)
"""What a client gets where a route raises."""


def nothing_at(request: Request) -> Response:
    """What a client gets where there is no route."""
    return Response(f"Nothing is served at {request.path}", status=404)


def too_large(maximum: int) -> Response:
    """What a client gets whose request has a body above so many bytes."""
    return Response(f"The body is above {maximum} bytes.", status=413)


def is_websocket_request(request: Request) -> bool:
    """Whether a request asks for a WebSocket, perhaps among other things."""
    return request.method == "GET" and "websocket" in list_header(request, "upgrade")


def list_header(request: Request, name: str) -> list[str]:
    """The entries of a header that is a list, in lower case."""
    return [entry.strip() for entry in request.headers.get(name, "").lower().split(",")]
