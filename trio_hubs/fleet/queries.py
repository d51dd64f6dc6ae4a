"""What a server asks the others of their clients: who is there. Each answers for its own.

ASP.NET Core's servers know nothing of this: their clients are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import count
from math import ceil
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta, Struct

from ..connections.users import User
from ..errors import BackplaneError, ProtocolError
from ..logs import get_logger
from ..protocol.negotiate import Transport
from ..server.address import Address, Recipients
from ..server.local_roster import LocalRoster
from ..server.roster import ClientInfo
from .bus import Bus
from .channels import Channels
from .messages import decode

logger = get_logger(__name__)

ANSWER_TIMEOUT = 5.0
"""Seconds that the others may take to say who is there."""


class _Query(Struct, array_like=True):
    """A question, or with a reason the order to end connections."""

    id: int
    sender: str
    recipients: Recipients
    names: tuple[str, ...]
    excluded: frozenset[str]
    reason: str | None = None

    @property
    def address(self) -> Address:
        """Whom it is about."""
        return Address(self.recipients, self.names, self.excluded)


class _Client(Struct, array_like=True):
    """What another server says of a client."""

    id: str
    known: bool
    user_id: str | None
    claims: bytes  # empty where MessagePack cannot say them
    expires_at: float | None
    transport: Transport | None
    since: datetime
    groups: frozenset[str]

    @classmethod
    def of(cls, info: ClientInfo) -> _Client:
        user = info.user or User()
        known = info.user is not None
        return cls(
            info.id,
            known,
            user.id,
            _said(user.claims),
            user.expires_at,
            info.transport,
            info.since,
            info.groups,
        )

    def info(self) -> ClientInfo:
        try:
            claims = decode(dict[str, Any], self.claims)
        except ProtocolError:
            claims = {}
        user = User(self.user_id, claims=claims, expires_at=self.expires_at) if self.known else None
        return ClientInfo(
            id=self.id, user=user, transport=self.transport, since=self.since, groups=self.groups
        )


class _Answer(Struct, array_like=True):
    """Whom a server has, which may be one of several that the bus counts as one."""

    id: int
    clients: tuple[_Client, ...]
    sharing: Annotated[int, Meta(ge=1)] = 1


class _Asked:
    """A question that waits for answers."""

    def __init__(self) -> None:
        self.clients: list[_Client] = []
        self.answers = Fraction()
        self.changed = trio.lowlevel.ParkingLot()


class Queries:
    """Asks other servers, and answers them.

    Args:
        bus: The way to the others.
        channels: The hub's channels.
        local: The clients of this server.
    """

    def __init__(self, bus: Bus, channels: Channels, local: LocalRoster) -> None:
        self._bus = bus
        self._channels = channels
        self._local = local
        self._ids = count()
        self._asked: dict[int, _Asked] = {}

    async def find(self, address: Address) -> Sequence[ClientInfo]:
        """The clients of all servers that an address stands for. A checkpoint.

        Raises:
            BackplaneError: The others cannot be reached, or do not answer.
        """
        id = next(self._ids)
        asked = self._asked[id] = _Asked()
        query = _Query(id, self._bus.server, address.recipients, address.names, address.excluded)
        try:
            servers = await self._bus.publish_counted(self._channels.queries, _encode(query))
            with trio.move_on_after(ANSWER_TIMEOUT):
                while asked.answers < servers:
                    await asked.changed.park()
                return [client.info() for client in asked.clients]
        finally:
            del self._asked[id]
        raise BackplaneError(f"{ceil(servers - asked.answers)} servers did not say who is there.")

    async def abort(self, address: Address, reason: str) -> None:
        """Have all servers end connections. A checkpoint.

        Raises:
            BackplaneError: The others cannot be reached.
        """
        await self._bus.wait_room(self._channels.queries)
        order = _Query(
            next(self._ids),
            self._bus.server,
            address.recipients,
            address.names,
            address.excluded,
            reason,
        )
        self._bus.publish(self._channels.queries, _encode(order))
        await trio.lowlevel.cancel_shielded_checkpoint()

    # ---- what comes over the bus

    def hear_query(self, data: bytes) -> None:
        """A server, which may be this one, asks."""
        try:
            query = decode(_Query, data)
        except ProtocolError as error:
            logger.warning("a question of another server cannot be read: %s", error)
            return
        if query.reason is not None:
            self._local.abort_now(query.address, query.reason)
            return
        clients = tuple(map(_Client.of, self._local.find_now(query.address)))
        if unsaid := sum(not client.claims for client in clients):
            logger.error("the claims of %d users are not told to other servers: they cannot be", unsaid)
        answer = _Answer(query.id, clients, self._bus.sharing)
        try:
            self._bus.publish(self._channels.answers(query.sender), _encode(answer))
        except BackplaneError as error:
            logger.error("another server is not told who is here: %s", error)

    def hear_answer(self, data: bytes) -> None:
        """A server has answered."""
        try:
            answer = decode(_Answer, data)
        except ProtocolError as error:
            logger.warning("an answer of another server cannot be read: %s", error)
            return
        if (asked := self._asked.get(answer.id)) is not None:
            asked.clients += answer.clients
            asked.answers += Fraction(1, answer.sharing)
            asked.changed.unpark_all()


_encode = msgspec.msgpack.encode


def _said(claims: Mapping[str, Any]) -> bytes:
    """A user's claims, which may be anything; nothing where MessagePack cannot say them."""
    try:
        return msgspec.msgpack.encode(claims, enc_hook=str)
    except Exception:  # noqa: BLE001 - users' own classes may raise anything
        return b""
