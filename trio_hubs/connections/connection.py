"""What a connection is: a duplex of bytes with an id. Message boundaries mean nothing on it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable
from math import inf

from ..protocol.hub_protocol import TransferFormat
from .http import Request
from .users import User


class Resumed(Exception):
    """A torn connection goes on: what was under way is lost."""


def _do_nothing() -> None:
    pass


class Connection(abc.ABC):
    """One client's connection, whatever carries it.

    Bytes may be received and sent by one task each at the same time. Whoever made the connection closes
    it; its users only receive and send.

    Attributes:
        id: The public connection id; ``None`` on a client that skipped negotiation.
        request: The HTTP request that made the connection.
        user: Who the client is, as last seen; ``None`` for nobody known.
        transfer_format: How :meth:`send` marks its bytes where the transport tells text from binary.
        transfer_formats: The formats that the transport can carry.
        inherent_keep_alive: The transport keeps itself alive, so that nobody need ping on it.
        can_resume: Whether its transport can be torn and go on.
        resumable: Whether it does so, which takes :meth:`enable_resume`; then :meth:`receive` may raise :exc:`Resumed`.
        away: Whether it is torn at this moment: nothing should be sent.
        on_resumed: Called when a torn connection goes on, before anything is sent or received on it.
        on_user_refreshed: Called when its user was renewed (ASP.NET Core 11).
        on_end_asked: Called when the connection should end for the server's sake, so that its client reconnects.
    """

    transfer_formats: frozenset[TransferFormat] = frozenset(TransferFormat)
    inherent_keep_alive = False
    can_resume = False
    resumable = False
    away = False

    def __init__(self, id: str | None, request: Request) -> None:
        self.id = id
        self.request = request
        self.user: User | None = None
        self.transfer_format = TransferFormat.TEXT
        self.on_resumed: Callable[[], None] = _do_nothing
        self.on_user_refreshed: Callable[[], None] = _do_nothing
        self.on_end_asked: Callable[[], None] = _do_nothing

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes of the peer.

        A cancelled call loses nothing. Always a checkpoint, or at least every 64 KiB.

        Returns:
            At least one byte, or ``b""`` when the peer has ended the connection in good order.

        Raises:
            ConnectionClosed: The connection broke.
            Resumed: It was torn, and goes on; only where it is :attr:`resumable`.
        """

    @abc.abstractmethod
    async def send(self, data: bytes) -> None:
        """Send all of the bytes. A checkpoint.

        A cancelled call may have sent a part, and leaves the connection unusable.

        Raises:
            ConnectionClosed: The connection is over.
        """

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
