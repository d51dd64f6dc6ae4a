"""A hub's methods called alone: there is no client, and what they do to clients and groups is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import attrs
import trio

from ..calls.children import Children
from ..calls.session import Session
from ..connections.http import Request
from ..connections.users import User, resolve
from ..protocol.hub_protocol import HubProtocol
from ..server.address import Address
from ..server.app import HubApp
from ..server.clients import C, ClientProxy, Groups, HubCallerClients
from ..server.hub import Hub, HubCallerContext
from ..server.hub_definition import HubDefinition
from ..server.options import HubOptions
from ..server.roster import ClientCall, ClientInfo, Roster
from ..server.slow_clients import SlowClientPolicy, checked

H = TypeVar("H", bound=Hub[Any])

_RECORD = "_trio_hubs_record"


@attrs.define(init=False)
class Sent:
    """Clients were called, and not waited for.

    Attributes:
        to: Which.
        method: Their method.
        arguments: What it was called with.
    """

    to: Address
    method: str
    arguments: tuple[Any, ...]

    def __init__(self, to: Address, method: str, *arguments: Any) -> None:
        self.to, self.method, self.arguments = to, method, arguments


@attrs.define(init=False)
class Invoked:
    """A client was called for a result.

    Attributes:
        to: Its connection id.
        method: Its method.
        arguments: What it was called with.
    """

    to: str
    method: str
    arguments: tuple[Any, ...]

    def __init__(self, to: str, method: str, *arguments: Any) -> None:
        self.to, self.method, self.arguments = to, method, arguments


@attrs.frozen
class Joined:
    """A client was put into a group.

    Attributes:
        connection_id: Which.
        group: The group's name.
    """

    connection_id: str
    group: str


@attrs.frozen
class Left:
    """A client was taken out of a group.

    Attributes:
        connection_id: Which.
        group: The group's name.
    """

    connection_id: str
    group: str


@attrs.frozen
class Aborted:
    """The connection was ended.

    Attributes:
        reason: What its client is told.
    """

    reason: str = ""


Recorded: TypeAlias = Sent | Invoked | Joined | Left | Aborted
"""One thing that a hub has done."""

ClientAnswer: TypeAlias = "Callable[[Invoked], Any | Awaitable[Any]]"
"""Gives what a client would answer, or raises what its failure would: :exc:`HubException`, :exc:`ConnectionClosed`."""


def make_hub(
    hub: Callable[[], H],
    *,
    user: User | None = None,
    connection_id: str = "1",
    items: dict[Any, Any] | None = None,
    request: Request | None = None,
    answer: ClientAnswer | None = None,
    nursery: trio.Nursery | None = None,
    app: HubApp[Any] | None = None,
    options: HubOptions | None = None,
) -> H:
    """Make the instance of a hub that an invocation would have, without a connection.

    Its methods are called as they are: no filter and no policy stands before them. What they send is encoded as for
    clients, and an argument that cannot be is their error, as it is there.

    Args:
        hub: The hub's class, or what makes an instance.
        user: Who makes the invocation.
        connection_id: By which connection.
        items: What the application keeps for that; instances that get the same are of one connection.
        request: The request that made the connection.
        answer: Answers when the hub calls a client for a result.
        nursery: Where what :meth:`Hub.start_soon` starts runs.
        app: The app, for hubs that use it.
        options: The hub's options.

    Returns:
        The instance; :func:`recorded` gives what it has done to clients and groups.

    Raises:
        TypeError: The hub could not be added to an app either.
    """
    made = hub()
    definition = HubDefinition.of(type(made), lambda: made, options or HubOptions(), ())
    record: list[Recorded] = []
    roster = _Roster(record, [table.protocol for table in definition.tables.values()], answer)
    policy = definition.options.slow_clients
    attributes = {
        "app": app,
        "context": _Context(
            record, connection_id, user, {} if items is None else items, request or Request()
        ),
        "clients": _Clients(roster, connection_id, definition.proxy, policy),
        "groups": Groups(roster),
        _RECORD: record,
    }
    return cast("H", definition.instance(attributes, cast("Children", _Children(nursery))))


def recorded(hub: Hub[Any]) -> list[Recorded]:
    """What a hub that :func:`make_hub` has made did to clients and groups so far, in its order."""
    record: list[Recorded] = vars(hub)[_RECORD]
    return record


class _Context(HubCallerContext):
    """A connection that is none."""

    def __init__(
        self,
        record: list[Recorded],
        connection_id: str,
        user: User | None,
        items: dict[Any, Any],
        request: Request,
    ) -> None:
        super().__init__(cast("Session", None), connection_id, user, items)
        self._record = record
        self._request = request

    @property
    def request(self) -> Request:
        return self._request

    @property
    def transport(self) -> None:
        return None

    def abort(self, reason: str = "") -> None:
        self._record.append(Aborted(reason))


class _Clients(HubCallerClients[C]):
    """The clients of a connection that is none."""

    def __init__(
        self, roster: Roster, connection_id: str, wrap: Callable[[ClientProxy], C], policy: SlowClientPolicy
    ) -> None:
        super(HubCallerClients, self).__init__(roster, wrap, policy, None)
        self._connection_id = connection_id

    def when_slow(self, policy: SlowClientPolicy) -> HubCallerClients[C]:
        return _Clients(self._roster, self._connection_id, self._wrap, checked(policy))

    @property
    def caller(self) -> C:
        return self.client(self._connection_id)


class _Children:
    """The child tasks of an invocation that is none."""

    def __init__(self, nursery: trio.Nursery | None) -> None:
        self._nursery = nursery

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._nursery is None:
            raise RuntimeError("a child task needs a nursery: give make_hub one")
        self._nursery.start_soon(async_fn, *args)


class _Roster(Roster):
    """Records what is asked for, and reaches nobody."""

    def __init__(
        self, record: list[Recorded], protocols: list[HubProtocol], answer: ClientAnswer | None
    ) -> None:
        self._record = record
        self._protocols = protocols
        self._answer = answer

    async def run(self) -> None:
        raise NotImplementedError

    async def add(self, connection_id: str, session: Session, user_id: str | None) -> None:
        raise NotImplementedError

    def remove(self, connection_id: str) -> None:
        raise NotImplementedError

    @property
    def dropped(self) -> int:
        return 0

    @property
    def group_sizes(self) -> Mapping[str, int]:
        raise NotImplementedError

    async def join(self, connection_id: str, *groups: str) -> None:
        await trio.lowlevel.checkpoint()
        self._record += [Joined(connection_id, group) for group in groups]

    async def leave(self, connection_id: str, group: str) -> None:
        await trio.lowlevel.checkpoint()
        self._record.append(Left(connection_id, group))

    async def find(self, address: Address) -> Sequence[ClientInfo]:
        raise NotImplementedError

    async def users(self) -> frozenset[str]:
        raise NotImplementedError

    async def groups(self) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        members: set[tuple[str, str]] = set()
        for each in self._record:
            if isinstance(each, Joined):
                members.add((each.connection_id, each.group))
            elif isinstance(each, Left):
                members.discard((each.connection_id, each.group))
        return frozenset(group for _, group in members)

    async def abort(self, address: Address, reason: str) -> None:
        raise NotImplementedError

    async def send(self, address: Address, call: ClientCall, policy: SlowClientPolicy) -> None:
        await trio.lowlevel.checkpoint()
        for protocol in self._protocols:
            call.encoded(protocol)
        self._record.append(Sent(address, call.target, *call.arguments))

    async def invoke(
        self, connection_id: str, target: str, arguments: tuple[Any, ...], result_type: Any
    ) -> Any:
        await trio.lowlevel.checkpoint()
        payloads = self._protocols[0].payloads
        payloads.dump_arguments(arguments)
        call = Invoked(connection_id, target, *arguments)
        self._record.append(call)
        if self._answer is None:
            raise NotImplementedError(f"'{target}' is called for a result: give make_hub an answer")
        result = await resolve(self._answer(call))
        return payloads.loader(result_type)(payloads.dumper(Any)(result))
