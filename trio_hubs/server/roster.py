"""What a roster is: the clients of one hub, wherever they are connected.

Addresses and calls go in, and data comes out, but no connection: so the clients may be those of other processes, too.
Whatever may have to ask these is async.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import attrs
from msgspec import UNSET, Raw

from ..calls.observer import headers_here
from ..calls.session import Session
from ..connections.users import User
from ..errors import HubException
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Invocation
from ..protocol.negotiate import Transport
from .address import Address
from .slow_clients import SlowClientPolicy


class EncodedCall(Protocol):
    """A call of a method of clients, as bytes."""

    @property
    def target(self) -> str:
        """The method's wire name."""
        ...

    def encoded(self, protocol: HubProtocol) -> bytes:
        """The call as a whole framed message.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        ...


class ClientCall:
    """A call of a method of clients, which is encoded once for each protocol.

    Args:
        target: The method's wire name.
        arguments: What to call it with.
        invocation_id: The id of a call whose result another server awaits.

    Attributes:
        target: The method's wire name.
        arguments: What to call it with.
    """

    __slots__ = ("_encoded", "_invocation_id", "arguments", "target")

    def __init__(self, target: str, arguments: tuple[Any, ...], invocation_id: str = "") -> None:
        self.target = target
        self.arguments = arguments
        self._invocation_id = invocation_id
        self._encoded: dict[HubProtocol, bytes] = {}

    def encoded(self, protocol: HubProtocol) -> bytes:
        """The call as a whole framed message.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        data = self._encoded.get(protocol)
        if data is None:
            arguments = Raw(protocol.payloads.dump_arguments(self.arguments))
            data = self._encoded[protocol] = protocol.encode(
                Invocation(
                    target=self.target,
                    arguments=arguments,
                    invocation_id=self._invocation_id,
                    headers=headers_here() if self._invocation_id else UNSET,
                )
            )
        return data


@attrs.frozen(kw_only=True)
class ClientInfo:
    """A client as it was when somebody asked.

    Attributes:
        id: Its connection's id.
        user: Who it is; ``None`` for nobody known.
        transport: What carries its connection; ``None`` where that is memory.
        since: When it connected, in UTC.
        groups: The groups that it is in.
    """

    id: str
    user: User | None
    transport: Transport | None
    since: datetime
    groups: frozenset[str]


class Aborted(HubException):
    """A hub ended a connection, for a reason that its client is told as it is."""


class Roster(abc.ABC):
    """The clients of one hub: who is there, and how to call them."""

    @abc.abstractmethod
    async def run(self) -> None:
        """Do what has to be done in time, as long as the app runs; runs until cancelled."""

    # ---- connections to this process

    async def prepare(self, connection_id: str, user_id: str | None) -> None:
        """A connection is about to open: once its client knows that, it is within reach of other processes, too.

        What could not be prepared is left to :meth:`add`.
        """
        return

    @abc.abstractmethod
    async def add(self, connection_id: str, session: Session, user_id: str | None) -> None:
        """A connection has opened; when this returns, all that is sent to it reaches it."""

    @abc.abstractmethod
    def remove(self, connection_id: str) -> None:
        """A connection has ended, or will in a moment: it leaves its groups. Nothing happens when it is not there."""

    @property
    @abc.abstractmethod
    def dropped(self) -> int:
        """How many messages for these were dropped or replaced so far, as their senders had asked."""

    @property
    @abc.abstractmethod
    def group_sizes(self) -> Mapping[str, int]:
        """How many of these are in each of their groups."""

    # ---- clients anywhere

    @abc.abstractmethod
    async def join(self, connection_id: str, *groups: str) -> None:
        """Put a client into groups, all at once; nothing happens when it has left or is in them already. A checkpoint.

        When this returns, all that is sent to the groups reaches the client; where that is connected to this process,
        nothing has been sent to it between its joining and the return.
        """

    @abc.abstractmethod
    async def leave(self, connection_id: str, group: str) -> None:
        """Take a client out of a group, if it is in it. A checkpoint."""

    @abc.abstractmethod
    async def find(self, address: Address) -> Sequence[ClientInfo]:
        """The clients that an address stands for, each once, without those that are about to end. A checkpoint.

        It is what the roster knows when this returns.
        """

    @abc.abstractmethod
    async def users(self) -> frozenset[str]:
        """The ids of all users that have a client, as :meth:`find` knows them. A checkpoint."""

    @abc.abstractmethod
    async def groups(self) -> frozenset[str]:
        """The groups that have a member, as :meth:`find` knows them. A checkpoint."""

    @abc.abstractmethod
    async def abort(self, address: Address, reason: str) -> None:
        """Begin to end connections, without leave to reconnect, and tell the clients why. A checkpoint."""

    @abc.abstractmethod
    async def send(self, address: Address, call: ClientCall, policy: SlowClientPolicy) -> None:
        """Call clients without waiting for them, unless the policy says so.

        Always a cancellation point. What one task sends comes to each client in the order of sending.

        Raises:
            BindingError: An argument cannot be encoded; then nobody is called.
        """

    @abc.abstractmethod
    async def invoke(
        self, connection_id: str, target: str, arguments: tuple[Any, ...], result_type: Any
    ) -> Any:
        """Call one client and wait for its result. A checkpoint; cancelling tells the client nothing.

        Raises:
            BindingError: An argument cannot be encoded, or the result is of another type.
            HubException: The client answered with an error.
            ConnectionClosed: There is no such client, or it left.
        """
