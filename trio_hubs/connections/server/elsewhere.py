"""Requests of connections that another process on the same port has: which it is, and how it gets them."""

from __future__ import annotations

from typing import Protocol

import trio


class Elsewhere(Protocol):
    """The other processes.

    Attributes:
        token_prefix: Stands before each token of this process, so that others know whose it is.
    """

    token_prefix: str

    @property
    def heir(self) -> int | None:
        """The number of a process that takes new clients; ``None`` as long as this one does, or where no other is."""
        ...

    def owner(self, token: str) -> int | None:
        """The number of the process that has made a token; ``None`` for this one, and for what nobody has made."""
        ...

    async def hand_over(
        self, owner: int, stream: trio.abc.Stream, data: bytes, scheme: str, client: str | None
    ) -> bool:
        """Have another process serve a client from here on. A checkpoint.

        Args:
            owner: The process.
            stream: The client's stream, to be closed by the caller.
            data: What has been read of it: a request from its first byte on, and what lies behind.
            scheme: ``http`` or ``https``.
            client: The client's address.

        Returns:
            Whether it will; if not, nothing was done.
        """
        ...
