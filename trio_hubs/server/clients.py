"""Whom a hub can call: proxies that send to one client or to many, and the groups they are in."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeAlias

import trio
from typing_extensions import TypeVar

from ..calls.policies import Wait
from ..calls.session import Session
from ..errors import BindingError
from . import texts
from .address import Address, check_groups
from .roster import ClientCall, Roster
from .slow_clients import SlowClientPolicy, checked

_EVERY_CLIENT = Address.all()

Asking: TypeAlias = Callable[[], AbstractContextManager[None]]


class ClientProxy:
    """One client, or many.

    Args:
        roster: The hub's connections.
        address: Whom to call.
        policy: What happens to calls of slow clients.
        id: The connection's id, where it is one client.
        result_timeout: Seconds that a client may take to answer; ``None`` for any time.
        asking: Held open while a client's answer is awaited.
    """

    def __init__(
        self,
        roster: Roster,
        address: Address,
        policy: SlowClientPolicy,
        *,
        id: str | None = None,
        result_timeout: float | None = None,
        asking: Asking = nullcontext,
    ) -> None:
        self._roster = roster
        self._address = address
        self._policy = policy
        self._id = id
        self._result_timeout = result_timeout
        self._asking = asking

    async def send(self, method: str, /, *args: Any) -> None:
        """Call a method of each client, without waiting for it.

        It is on its way as soon as this task waits for anything. Always a cancellation point; gives way at least every
        64 calls. What it does about slow clients is the hub's policy, or that of :meth:`HubClients.when_slow`.

        Args:
            method: The clients' name for it.
            *args: What to call it with.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        self._check(method, args)
        await self._roster.send(self._address, ClientCall(method, args), self._policy)

    async def invoke(self, method: str, /, *args: Any, result_type: Any = Any) -> Any:
        """Call a method of one client and wait for its result. A checkpoint; cancelling tells the client nothing.

        It works everywhere in a hub, also in ``on_connected``. Meanwhile another invocation of the caller's may run in
        this one's place, so the client's method may itself call the hub.

        Args:
            method: The client's name for it.
            *args: What to call it with.
            result_type: What the result is to be.

        Raises:
            TypeError: This is not one client.
            BindingError: An argument cannot be encoded, or the result is of another type.
            HubException: The client answered with an error, or has no such method.
            ConnectionClosed: There is no such client, or it left.
            trio.TooSlowError: It did not answer within ``HubOptions.client_result_timeout``.

        Source:
            ASP.NET Core's client results.
        """
        if self._id is None:
            raise TypeError(
                f"'{method}' can only be invoked on a single client: use clients.client(id) or caller"
            )
        self._check(method, args)
        limit = self._result_timeout
        with self._asking(), trio.CancelScope() as patience:
            if limit is not None:
                patience.deadline = trio.current_time() + limit
            return await self._roster.invoke(self._id, method, args, result_type)
        assert limit is not None  # what has run out
        raise trio.TooSlowError(texts.no_answer(self._id, method, limit))

    def _check(self, method: str, args: tuple[Any, ...]) -> None:
        if not method:
            raise ValueError("a client's method has a name")
        if any(isinstance(argument, AsyncIterable) for argument in args):
            raise BindingError(f"A stream cannot be sent to a client, as the call of its '{method}' would.")


class CallerProxy(ClientProxy):
    """The client that made an invocation: a call of it waits while it is slow, and fails when it has left.

    Other proxies wait for nobody, and skip clients that have left. A loop whose pace was this client's would then go on
    without ever waiting, so it is told.

    Args:
        roster: The hub's connections.
        session: The client's connection.
        id: Its id.
        result_timeout: Seconds that the client may take to answer; ``None`` for any time.
    """

    def __init__(self, roster: Roster, session: Session, id: str, result_timeout: float | None) -> None:
        super().__init__(
            roster,
            Address.connections(id),
            Wait(),
            id=id,
            result_timeout=result_timeout,
            asking=session.their_calls.place_lent,
        )
        self._session = session

    async def send(self, method: str, /, *args: Any) -> None:
        """Call a method of the client, without waiting for its end. A checkpoint; waits while the client is slow.

        It has its place among all that is sent to the client before it waits, also where it is cancelled then.
        A client that has said goodbye, while invocations that it cannot wait for still run, hears nothing more.

        Args:
            method: The client's name for it.
            *args: What to call it with.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The client has left.
        """
        self._check(method, args)
        if self._session.parting:
            await trio.lowlevel.checkpoint()
        else:
            await self._session.our_calls.send_in_place(method, args)


C = TypeVar("C", default=ClientProxy)


class HubClients(Generic[C]):
    """The clients of a hub, to be called from anywhere. Those that are not there are skipped.

    With a typed hub, the proxies are of its client interface.

    Args:
        roster: The hub's connections.
        wrap: Makes of a proxy what users see.
        policy: What happens to calls of slow clients.
        result_timeout: Seconds that a client may take to answer; ``None`` for any time.
    """

    def __init__(
        self,
        roster: Roster,
        wrap: Callable[[ClientProxy], C],
        policy: SlowClientPolicy,
        result_timeout: float | None,
    ) -> None:
        self._roster = roster
        self._wrap = wrap
        self._policy = policy
        self._result_timeout = result_timeout
        self._asking: Asking = nullcontext

    def when_slow(self, policy: SlowClientPolicy) -> HubClients[C]:
        """The same clients, with another policy for those that do not take messages as fast as they come."""
        return HubClients(self._roster, self._wrap, checked(policy), self._result_timeout)

    def _many(self, address: Address) -> C:
        return self._wrap(ClientProxy(self._roster, address, self._policy))

    @property
    def all(self) -> C:
        """Every client."""
        return self._many(_EVERY_CLIENT)

    def all_except(self, *ids: str) -> C:
        """Every client but those with these connection ids."""
        return self._many(Address.all(excluded=ids))

    def client(self, id: str) -> C:
        """The client with this connection id, which can also be invoked for a result."""
        return self._wrap(
            ClientProxy(
                self._roster,
                Address.connections(id),
                self._policy,
                id=id,
                result_timeout=self._result_timeout,
                asking=self._asking,
            )
        )

    def clients(self, *ids: str) -> C:
        """The clients with these connection ids, each once."""
        return self._many(Address.connections(*ids))

    def group(self, name: str) -> C:
        """The members of a group."""
        return self._many(Address.groups(name))

    def groups(self, *names: str) -> C:
        """The members of several groups; a member of two is called twice, as in ASP.NET Core."""
        return self._many(Address.groups(*names))

    def group_except(self, name: str, *ids: str) -> C:
        """The members of a group but those with these connection ids."""
        return self._many(Address.groups(name, excluded=ids))

    def user(self, id: str) -> C:
        """Every client of a user."""
        return self._many(Address.users(id))

    def users(self, *ids: str) -> C:
        """Every client of these users."""
        return self._many(Address.users(*ids))


class HubCallerClients(HubClients[C]):
    """The clients that a hub method can call.

    Args:
        session: The connection of the client that made the invocation.
        connection_id: Its id.
        roster: The hub's connections.
        wrap: Makes of a proxy what users see.
        policy: What happens to calls of slow clients.
        result_timeout: Seconds that a client may take to answer; ``None`` for any time.
    """

    def __init__(
        self,
        session: Session,
        connection_id: str,
        roster: Roster,
        wrap: Callable[[ClientProxy], C],
        policy: SlowClientPolicy,
        result_timeout: float | None,
    ) -> None:
        super().__init__(roster, wrap, policy, result_timeout)
        self._asking = session.their_calls.place_lent
        self._session = session
        self._connection_id = connection_id

    def when_slow(self, policy: SlowClientPolicy) -> HubCallerClients[C]:
        """The same clients, with another policy for those that do not take messages as fast as they come."""
        return HubCallerClients(
            self._session,
            self._connection_id,
            self._roster,
            self._wrap,
            checked(policy),
            self._result_timeout,
        )

    @property
    def caller(self) -> C:
        """The client that made this invocation, which can also be invoked for a result."""
        return self._wrap(CallerProxy(self._roster, self._session, self._connection_id, self._result_timeout))

    @property
    def others(self) -> C:
        """Every client but the one that made this invocation."""
        return self.all_except(self._connection_id)

    def others_in_group(self, name: str) -> C:
        """The members of a group but the client that made this invocation."""
        return self.group_except(name, self._connection_id)


class Groups:
    """The groups of a hub. A client leaves all of its groups when its connection ends."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def add(self, connection_id: str, *names: str) -> None:
        """Put a client into groups, all at once; nothing happens when it is in them already, or has left.

        A checkpoint. When it returns, nothing has been sent to the groups yet that reaches the client: so what this
        task sends it next, without waiting for anything else before, comes first.

        Raises:
            TypeError: A name is no text.
        """
        check_groups(names)
        await self._roster.join(connection_id, *names)

    async def remove(self, connection_id: str, name: str) -> None:
        """Take a client out of a group, if it is in it. A checkpoint.

        Raises:
            TypeError: The name is no text.
        """
        check_groups((name,))
        await self._roster.leave(connection_id, name)

    async def names(self) -> frozenset[str]:
        """The groups that have a member at this moment. A checkpoint."""
        return await self._roster.groups()
