"""Access tokens: asked of the user when a request needs one, kept for a connection, asked for anew when refused."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeAlias

import trio

from ...errors import NegotiationError
from ..validators import check_kind
from .urls import is_header_text

_NO_HEADER = "The access token cannot stand in an HTTP header."


class TokenReason(StrEnum):
    """Why an access token is asked for."""

    FIRST = "first"
    """A connection begins."""
    REFUSED = "refused"
    """The server has answered the last one with 401."""
    EXPIRING = "expiring"
    """The last one is about to expire."""


AccessToken: TypeAlias = str | Callable[[TokenReason], str | Awaitable[str | None] | None]
"""A client's access token, or a function, sync or async, that is asked for one and told why."""


class Tokens:
    """The access tokens of one client.

    Args:
        source: Where they come from; ``None`` for no tokens.

    Raises:
        TypeError: It is nothing of this.
        ValueError: The token cannot be used.
    """

    def __init__(self, source: AccessToken | None) -> None:
        if not (source is None or isinstance(source, str) or callable(source)):
            kind = type(source).__name__
            raise TypeError(f"access_token must be a text, a function that gives one, or None, not {kind}")
        if isinstance(source, str) and not is_header_text(source):
            raise ValueError(_NO_HEADER)
        self._source = source
        self._token = source if isinstance(source, str) else None
        self._known = not callable(source)
        self._lock = trio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there can be another one."""
        return callable(self._source)

    def forget(self) -> None:
        """A new connection begins."""
        self._known = not self.renewable

    async def get(self) -> str | None:
        """The token of now.

        Raises:
            NegotiationError: There is no token to be had.
            TypeError: What is given is no text.
        """
        async with self._lock:
            if not self._known:
                await self._ask(TokenReason.FIRST)
            return self._token

    async def renew(self, refused: str | None) -> None:
        """Ask for another token than this, unless that has been done meanwhile.

        Raises:
            NegotiationError: There is no token to be had.
            TypeError: What is given is no text.
        """
        async with self._lock:
            if self._token == refused:
                await self._ask(TokenReason.REFUSED)

    async def next(self) -> str | None:
        """Ask for a token for when this one has expired; it is not used before :meth:`use`.

        Raises:
            NegotiationError: There is no token to be had.
            TypeError: What is given is no text.
        """
        return await self._asked(TokenReason.EXPIRING)

    def use(self, token: str | None) -> None:
        """From now on this is the token."""
        self._token = token

    async def _ask(self, reason: TokenReason) -> None:
        self._token = await self._asked(reason)
        self._known = True

    async def _asked(self, reason: TokenReason) -> str | None:
        assert callable(self._source)
        try:
            answer = self._source(reason)
            token = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise NegotiationError(f"There is no access token: {type(error).__name__}") from error
        if token is not None:
            check_kind(token, str, "what access_token gives")
        if token and not is_header_text(token):
            raise NegotiationError(_NO_HEADER, retriable=False)
        return token or None
