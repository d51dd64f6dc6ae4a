"""A client's connection to a hub: open for the body of a block, over one link after another, and gone after it with
all of its tasks.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar, overload

import trio
from typing_extensions import TypeForm

from ..calls.channels import ChannelReader
from ..calls.incoming import check_capacity
from ..calls.our_calls import OurCalls
from ..calls.policies import WAIT, ReaderPolicy
from ..errors import ConnectionClosed, ConnectionFailed, NegotiationError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..tasks import open_background
from .calls import HubCalls
from .handlers import Handlers
from .link import Dial, HubLink, run_link
from .options import HubConnectionOptions
from .reconnect import ReconnectPolicy, Retries
from .state import Event, HubConnectionState, Lifecycle, StateChange
from .waiting_calls import WaitingCalls

logger = get_logger(__name__)

T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
F = TypeVar("F", bound=Callable[..., Any])

_CLOSED = "The connection has been closed."
_DRAINING = "The connection is being drained: no new calls are made on it."

_GOES_ON = frozenset((HubConnectionState.CONNECTED, HubConnectionState.RECONNECTING))

Setup: TypeAlias = Callable[[HubLink], Awaitable[object]]


class HubConnection(HubCalls):
    """An open connection to a hub; made by :func:`.open_hub_connection`.

    All calls may be made by any number of tasks at the same time. When the connection is lost, whatever waits for the
    server fails; where it reconnects, later calls go over the new connection.
    """

    _link: HubLink  # the latest one on which calls could be made

    def __init__(
        self,
        protocol: HubProtocol,
        handlers: Handlers,
        options: HubConnectionOptions,
        dials: Sequence[Dial],
        *,
        reconnect: ReconnectPolicy | None = None,
        retry_first: bool = False,
        setup: Setup | None = None,
    ) -> None:
        self._protocol = protocol
        self._handlers = handlers
        self._options = options
        self._dials = dials
        self._retries = Retries(
            reconnect, options.stable_time, options.maximum_retry_after, first=retry_first
        )
        self._setup = setup
        self._setup_error: ConnectionFailed | None = None  # which is not the link's
        self._lifecycle = Lifecycle()
        self._reason: ConnectionClosed | None = None  # why it is over, where its end was not asked for
        self._waiting = WaitingCalls(protocol.payloads, options.waiting_calls_buffer_size)
        self._scope = trio.CancelScope()  # of all links

    @property
    def connection_id(self) -> str | None:
        """The public id, another one after each reconnect; ``None`` when negotiation was skipped."""
        return self._link.connection_id

    @property
    def state(self) -> HubConnectionState:
        """Where the connection is in its life."""
        return self._lifecycle.state

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until the connection is over. A checkpoint.

        Returns:
            What the calls that waited for the server failed with: its text says why the connection ended.
        """
        await self._lifecycle.wait_over(self._handlers.readers.waiting)
        return self._reason or ConnectionClosed(_CLOSED)

    @overload
    def on(self, name: str, handler: Callable[..., Any], /) -> Callable[[], None]: ...
    @overload
    def on(self, name: str, /) -> Callable[[F], F]: ...
    def on(self, name: str, handler: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Have a handler called whenever the server calls a client method.

        Handlers run one after another, in the order of the server's calls and, for one call, in the order they
        were added; more at a time with ``HubConnectionOptions.maximum_parallel_invocations``. While one waits for the
        server itself, another may run for whose result the server waits. One that raises is logged, and disturbs
        nothing else. A server that waits for a result gets that of the handler whose annotation
        promises one, else of the first without an annotation, else ``None``; or the text of what the handler raised.

        Args:
            name: The client method's name, in its exact letter case.
            handler: Called with the server's arguments, converted to the types of its annotations; may be async.
                Without one, what comes back is a decorator for a handler that stays for the connection's life.

        Returns:
            A function that removes the handler.

        Raises:
            TypeError: An annotation cannot be resolved.
            ValueError: It promises a result, as another handler of the name does.
        """
        if handler is not None:
            return self._handlers.add(name, handler)

        def add(decorated: F) -> F:
            self._handlers.add(name, decorated)
            return decorated

        return add

    @overload
    def messages(
        self, name: str, type_: TypeForm[T], /, *, capacity: int = 100, when_full: ReaderPolicy = ...
    ) -> AbstractAsyncContextManager[ChannelReader[T]]: ...
    @overload
    def messages(
        self,
        name: str,
        first: TypeForm[T],
        second: TypeForm[T2],
        /,
        *,
        capacity: int = 100,
        when_full: ReaderPolicy = ...,
    ) -> AbstractAsyncContextManager[ChannelReader[tuple[T, T2]]]: ...
    @overload
    def messages(
        self,
        name: str,
        first: TypeForm[T],
        second: TypeForm[T2],
        third: TypeForm[T3],
        /,
        *,
        capacity: int = 100,
        when_full: ReaderPolicy = ...,
    ) -> AbstractAsyncContextManager[ChannelReader[tuple[T, T2, T3]]]: ...
    @overload
    def messages(
        self, name: str, /, *types: Any, capacity: int = 100, when_full: ReaderPolicy = ...
    ) -> AbstractAsyncContextManager[ChannelReader[Any]]: ...
    @asynccontextmanager
    async def messages(
        self, name: str, /, *types: Any, capacity: int = 100, when_full: ReaderPolicy = WAIT
    ) -> AsyncGenerator[ChannelReader[Any]]:
        """Read what the server calls a client method with, for the body of ``async with``, instead of a handler.

        A reader keeps no handler waiting, and goes on over reconnects. The connection is read while it waits.

        Args:
            name: The client method's name, in its exact letter case.
            *types: The types of the arguments: of one, the reader gives that, of several a tuple. Without any, it gives
                tuples of all that comes.
            capacity: How many messages may lie unread.
            when_full: What becomes of further ones. ``Wait()``: they lie there, too, while they are within
                ``HubConnectionOptions.stream_buffer_size``; then the connection is not read, as behind the body of
                :meth:`stream`. ``DropOldest()``: the oldest give way. ``Conflate(key)``: first the one about the same,
                as a function of a message tells it. The reader's ``dropped`` counts those that gave way.

        Yields:
            The reader. It raises :exc:`StreamOverflow` when too much came while tasks waited for other things, and
            :exc:`ConnectionClosed` when the connection is over; each after what came before. Messages of other types
            are left out, and logged.

        Raises:
            ConnectionClosed: The connection is over.
            ValueError: The capacity is below 1.
        """
        check_capacity(capacity)
        await trio.lowlevel.checkpoint()
        if self.state not in _GOES_ON:
            raise self._over()
        with self._handlers.readers.open(name, types, capacity, when_full) as reader:
            yield reader

    def state_changes(self) -> ChannelReader[StateChange]:
        """Read each change of :attr:`state` from now on, with its reason; the last one is to ``DISCONNECTED``.

        Returns:
            A reader, to be used as ``with connection.state_changes() as changes:``. When more than 100 changes lie
            unread, it raises :exc:`StreamOverflow` after them.
        """
        return self._lifecycle.watch()

    def on_state_change(self, callback: Callable[[StateChange], object], /) -> Callable[[], None]:
        """Have a plain function called with each change of :attr:`state` from now on, at once, where it happens.

        Callbacks are called in the order in which they were added. All else waits for them, so they must not take long.
        They may call :meth:`stop`; that change is told after theirs. One that raises is logged, and disturbs nothing
        else.

        Args:
            callback: What is called. As a decorator, this leaves what removes it under the function's name.

        Returns:
            A function that removes the callback.

        Raises:
            TypeError: It is async: let a task read :meth:`state_changes` then.
        """
        return self._lifecycle.call(callback)

    def links(self) -> AsyncIterator[HubLink]:
        """Iterate over the links: the one of the moment, if there is one, then each new one.

        A link that came and went while the body ran is left out. The iteration ends where the connection's end was
        asked for, and raises :exc:`ConnectionClosed` where it ended otherwise::

            async for link in connection.links():
                with link.while_open():
                    ...
        """
        return _Links(self)

    def stop(self) -> None:
        """End the connection, as leaving its block does: at once and in order, also while it is lost.

        What waits for the server fails, handlers that run are cancelled, and the block goes on.
        :meth:`wait_closed` waits for the end of it.
        """
        self._lifecycle.apply(Event.LEFT)
        self._link._session.end()
        self._scope.cancel()

    async def drain(self) -> None:
        """Let the calls, streams and uploads that go on end, make no new ones, then :meth:`stop`. A checkpoint.

        When it is cancelled, the connection is stopped at once.
        """
        self._lifecycle.apply(Event.LEFT)
        try:
            await self._link._session.our_calls.wait_idle()
        finally:
            self.stop()

    async def _ready(self, args: Sequence[Any] = (), *, wait: bool) -> OurCalls:
        if wait:
            await self._wait_ready(args)
        if self.state not in _GOES_ON:
            raise self._over()
        return self._link._session.our_calls

    async def _wait_ready(self, args: Sequence[Any]) -> None:
        """Wait while the connection is lost and shall be regained."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._away:
            with self._waiting.one_more(args):
                while self._away:
                    await self._lifecycle.wait_change()

    @property
    def _away(self) -> bool:
        """Whether there is no link now, but may be one later."""
        if self.state is HubConnectionState.CONNECTED:
            return self._link.ended
        return self.state is HubConnectionState.RECONNECTING

    def _over(self) -> ConnectionClosed:
        """What is raised once the end has come, or was asked for."""
        if self._reason is not None:
            return self._reason.retold(ConnectionClosed, str(self._reason))
        drains = self.state is HubConnectionState.DISCONNECTING and not self._link.ended
        return ConnectionClosed(_DRAINING if drains else _CLOSED)

    # ---- life

    async def _run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and live until the connection is over; started when calls can be made."""

        async def use(link: HubLink) -> None:
            link.on_resumed = partial(self._lifecycle.apply, Event.RESUMED)
            if self._setup is not None:
                try:
                    await self._setup(link)
                except ConnectionFailed as error:
                    self._setup_error = error
                    raise
            if link.ended:
                return
            self._link = link
            self._retries.opened()
            if self.state is HubConnectionState.CONNECTING:
                task_status.started()
            self._lifecycle.apply(Event.OPENED)

        try:
            with self._scope:
                self._reason = await self._live_on(use)
        finally:
            self._lifecycle.apply(Event.ENDED, self._reason)
            self._handlers.readers.fail(self._reason or ConnectionClosed(_CLOSED))

    async def _live_on(self, use: Callable[[HubLink], Awaitable[None]]) -> ConnectionClosed:
        """Live over one link after another; gives why there is no further one."""
        retries = self._retries
        while True:
            error = await self._attempt(use)
            first = self.state is HubConnectionState.CONNECTING
            delay = None
            if self.state is not HubConnectionState.DISCONNECTING:
                delay = retries.next_delay(error)
            if delay is None:
                if first:
                    raise error
                return _final(error, retries)
            if self.state is HubConnectionState.CONNECTED:
                self._lifecycle.apply(Event.LOST, error)
            logger.info("not connected, next attempt in %.1f s: %s", delay, error)
            await trio.sleep(delay)

    async def _attempt(self, use: Callable[[HubLink], Awaitable[None]]) -> ConnectionFailed:
        """Live over one link, to the first server that can be had; gives why it ended, or could not be made."""
        failures: list[ConnectionFailed] = []
        for dial in random.sample(self._dials, len(self._dials)):
            try:
                return await run_link(dial, self._protocol, self._handlers, self._options, use)
            except ConnectionFailed as error:
                if error is self._setup_error:
                    raise
                failures.append(error)
        if len(failures) == 1:
            return failures[0]
        return NegotiationError(
            "None of the servers can be connected to: " + " ".join(f"({error})" for error in failures),
            status=next((error.status for error in failures if error.status is not None), None),
            retry_after=min(error.retry_after or 0.0 for error in failures) or None,
            retriable=any(error.retriable for error in failures),
        )

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[None]:
        async with open_background() as nursery:
            await nursery.start(self._run)
            try:
                yield
            finally:
                self.stop()


class _Links:
    """The links of a connection, one after another."""

    def __init__(self, connection: HubConnection) -> None:
        self._connection = connection
        self._last: HubLink | None = None

    def __aiter__(self) -> AsyncIterator[HubLink]:
        return self

    async def __anext__(self) -> HubLink:
        connection = self._connection
        await trio.lowlevel.checkpoint()
        while connection.state in _GOES_ON:
            link = connection._link
            if link is not self._last and not link.ended:
                self._last = link
                return link
            await connection._lifecycle.wait_change()
        if connection._reason is not None:
            raise connection._over()
        raise StopAsyncIteration


def _final(error: ConnectionFailed, retries: Retries) -> ConnectionClosed:
    """What is told of a connection that is not tried again."""
    if isinstance(error, ConnectionClosed) and not (retries.failed and error.retriable):
        return error
    return error.retold(
        ConnectionClosed,
        f"The connection was lost, and given up after {retries.failed} attempts in {retries.elapsed:.0f} s: {error}",
    )
