"""The posts of one connection: each has its turn, in the order in which their heads were read.

Clients post each message on a socket of its own, a hundred at once, and heads come before bodies. So a post takes its
place by its head, and a small body is read before its turn has come; larger ones wait unread, in their sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import trio

from ...errors import ConnectionClosed
from ..http import Request, Response
from ..pipe import Pipe
from .exchange import PART_SIZE, Deferred, Exchange


class EarlyPosts:
    """What is posted to connections that are not open yet, all of them together.

    Args:
        limit: Bytes that it may be; above it further posts wait, unread, until their connection is open.

    Attributes:
        size: How many bytes it is, or is to be.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.size = 0


class Posts:
    """The posts of a connection that wait, or whose turn it is.

    Args:
        incoming: Where their bodies go; as much is read ahead as it has room for.
        early: What is posted before connections are open.
    """

    def __init__(self, incoming: Pipe, early: EarlyPosts) -> None:
        self.incoming = incoming
        self.turns: deque[Turn] = deque()
        self.ahead = 0  # bytes that are read before their turn
        self._early = early
        self._early_size = 0  # of these posts
        self._opened = trio.Event()

    def opened(self) -> None:
        """There is a connection, or there will never be one: its posts count as early no longer."""
        self._opened.set()
        self._early.size -= self._early_size
        self._early_size = 0

    def close(self) -> None:
        """Nothing is taken any more."""
        self.incoming.close()
        self.opened()

    async def wait_admitted(self, size: int) -> None:
        """Wait until this many bytes may be posted. A checkpoint only when it has to wait."""
        if not self._opened.is_set():
            if self._early.size + size > self._early.limit:
                await self._opened.wait()
            else:
                self._early.size += size
                self._early_size += size

    def answer(self, turn: Turn, request: Request) -> Deferred:
        """Take what a request posts, in its turn."""
        return Deferred(serve=partial(self._serve, turn, body_size(request)), left=lambda: None)

    async def _serve(self, turn: Turn, size: int | None, exchange: Exchange) -> None:
        most = self.incoming.limit + PART_SIZE  # from then on it waits for room
        with turn:
            await self.wait_admitted(most if size is None else min(size, most))
            taken = await turn.take(size, exchange.read)
        await exchange.respond(Response(status=200 if taken else 404, content_type="text/plain"))

    def begin(self) -> Turn:
        """A place for a post; it must be left."""
        turn = Turn(self)
        self.turns.append(turn)
        return turn


class Turn:
    """A post's place among the others, left with its block."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._ahead = 0
        self._first = trio.Event()

    def reserve(self, size: int | None) -> bool:
        """Whether a body of this size, if that is known, may be read ahead of its turn."""
        posts = self._posts
        if size is None or size > posts.incoming.room - posts.ahead:
            return False
        posts.ahead += size
        self._ahead = size
        return True

    async def wait(self) -> None:
        """Wait for its turn; what was read ahead is to be put in then. A checkpoint only when it has to wait."""
        if self._posts.turns[0] is not self:
            await self._first.wait()
        self._give_back()

    async def take(self, size: int | None, read: Callable[[], Awaitable[bytes]]) -> bool:
        """Take a post's body in its turn; whether the connection has lived so long.

        Args:
            size: How many bytes the body has, if that is known.
            read: Gives the next part of it; ``b""`` at its end, and from then on.

        Raises:
            ConnectionClosed: Who posts has left, or sends nothing.
        """
        incoming = self._posts.incoming
        data = b""
        if self.reserve(size):
            while part := await read():
                data += part
        await self.wait()
        try:
            await incoming.put(data)
            while data := await read():
                await incoming.put(data)
        except ConnectionClosed:
            if not incoming.closed:
                raise
            return False
        return True

    def leave(self) -> None:
        """Let the next one have its turn."""
        self._give_back()
        turns = self._posts.turns
        turns.remove(self)
        if turns:
            turns[0]._first.set()

    def _give_back(self) -> None:
        self._posts.ahead -= self._ahead
        self._ahead = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def body_size(request: Request) -> int | None:
    """How many bytes a request's body has; ``None`` when that is still to be seen."""
    if "transfer-encoding" in request.headers:
        return None
    return int(request.headers.get("content-length", "0"))
