"""A connection as sessions and transports see it: with what its user need not know of, and each may leave out.

Each callback has one owner, the handler of the connection, which sets it; transports call it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf

from ..protocol.hub_protocol import TransferFormat
from .connection import Connection
from .http import Request


class Resumed(Exception):
    """A torn connection goes on: what was under way is lost."""


def _do_nothing() -> None:
    pass


class Duplex(Connection):
    """A connection, with the details of its transport.

    Attributes:
        transfer_formats: The formats that the transport can carry.
        inherent_keep_alive: The transport keeps itself alive, so that no pings are needed on it.
        can_resume: Whether its transport can be torn and go on.
        resumable: Whether it does so, which takes :meth:`enable_resume`; then :meth:`receive` may raise :exc:`Resumed`.
        away: Whether it is torn at this moment: nothing should be sent.
        on_resumed: Called when a torn connection goes on, before anything is sent or received on it.
        on_user_refreshed: Called when its user was renewed (ASP.NET Core 11).
        on_end_asked: Called when the connection should end for the server's sake, so that its client reconnects;
            without one, the handler is cancelled.
    """

    transfer_formats: frozenset[TransferFormat] = frozenset(TransferFormat)
    inherent_keep_alive = False
    can_resume = False
    resumable = False
    away = False

    def __init__(self, id: str | None, request: Request) -> None:
        super().__init__(id, request)
        self.on_resumed: Callable[[], None] = _do_nothing
        self.on_user_refreshed: Callable[[], None] = _do_nothing
        self.on_end_asked: Callable[[], None] | None = None

    def let_go(self) -> None:
        """Call nobody back any more: what handled it is over."""
        self.on_resumed = self.on_user_refreshed = _do_nothing
        self.on_end_asked = None

    def give_up(self) -> None:
        """Wait no more for the peer, which has been silent for too long: what closes this connection sends nothing."""

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        """Send all of the bytes if that needs no waiting.

        Args:
            data: The bytes.
            packed: What connections that sent the same bytes before have made of them, by kind, to be made only once.

        Returns:
            Whether they are taken care of. Where :attr:`unsent` is true then, :meth:`send` must be called to finish
            that, if only with no bytes.
        """
        return False

    @property
    def last_progress(self) -> float:
        """When the peer last took a part of what :meth:`send` is sending, in trio's clock; long ago where unknown."""
        return -inf

    @property
    def unsent(self) -> bool:
        """Whether something that :meth:`send_nowait` took waits for :meth:`send`."""
        return False

    def enable_resume(self) -> None:
        """From now on go on when torn, if the transport can; until then that is the end."""
        self.resumable = self.can_resume
