"""A client's connection to a hub: open for the body of a block, and gone after it with all of its tasks."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Literal, TypeVar, overload

import trio

from ..calls.channels import ChannelReader
from ..calls.session import Session
from ..connections.client.opening import check_request, open_duplex
from ..errors import ConnectionClosed
from ..protocol.hub_protocol import HubProtocol
from ..protocol.registry import PROTOCOLS
from ..tasks import open_background
from .handlers import Handlers
from .link import Dial, run_link
from .options import HubConnectionOptions
from .state import Event, HubConnectionState, Lifecycle

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class HubConnection:
    """An open connection to a hub; made by :func:`open_hub_connection`.

    All calls may be made by any number of tasks at the same time.
    """

    _session: Session  # of the latest link

    def __init__(self, protocol: HubProtocol, handlers: Handlers, options: HubConnectionOptions) -> None:
        self._protocol = protocol
        self._handlers = handlers
        self._options = options
        self._lifecycle = Lifecycle()
        self._reason = ConnectionClosed("The connection has been closed.")

    @property
    def connection_id(self) -> str | None:
        """The connection's public id; ``None`` when negotiation was skipped."""
        return self._session.connection.id

    @property
    def state(self) -> HubConnectionState:
        """Where the connection is in its life."""
        return self._lifecycle.state

    @overload
    async def invoke(self, name: str, /, *args: Any, result_type: type[T]) -> T: ...
    @overload
    async def invoke(self, name: str, /, *args: Any, result_type: Any = Any) -> Any: ...
    async def invoke(self, name: str, /, *args: Any, result_type: Any = Any) -> Any:
        """Call a hub method and wait for its result.

        A checkpoint. When it is cancelled, the server is told to cancel the method, too.

        Args:
            name: The method's wire name; any letter case will do.
            *args: Its arguments. A :class:`ChannelReader`, or any other async iterable, is an upload stream; one
                that raises makes the upload fail at the server, and the end of the call ends it.
            result_type: What to convert the result to; plain values by default.

        Returns:
            The result; ``None`` when the method has none.

        Raises:
            HubException: The server answered with an error.
            BindingError: An argument cannot be encoded, or the result is of another type.
            ConnectionClosed: The connection is over, or ended before the answer came.

        Source:
            Hub protocol, "Invocations"; cancellation as of .NET 11.
        """
        return await self._session.our_calls.invoke(name, args, result_type)

    async def send(self, name: str, /, *args: Any) -> None:
        """Call a hub method without waiting for it: nothing tells whether it went well.

        A checkpoint; returns when the call is queued. Uploads among the arguments go on in the background.

        Args:
            name: The method's wire name.
            *args: Its arguments, as in :meth:`invoke`.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.

        Source:
            Hub protocol, "Invocations", non-blocking.
        """
        await self._session.our_calls.send(name, args)

    @overload
    def stream(
        self, name: str, /, *args: Any, item_type: type[T], capacity: int = 10
    ) -> AbstractAsyncContextManager[ChannelReader[T]]: ...
    @overload
    def stream(
        self, name: str, /, *args: Any, item_type: Any = Any, capacity: int = 10
    ) -> AbstractAsyncContextManager[ChannelReader[Any]]: ...
    def stream(
        self, name: str, /, *args: Any, item_type: Any = Any, capacity: int = 10
    ) -> AbstractAsyncContextManager[ChannelReader[Any]]:
        """Call a streaming hub method, and hold its stream open for the body of ``async with``.

        Leaving the body cancels the server's method unless it has ended; what it still sends is thrown away.
        Behind a slow body the connection is not read, so that the server waits; while a task waits for other things of
        the server, items queue up to ``HubConnectionOptions.connection_buffer_limit``.

        Args:
            name: The method's wire name.
            *args: Its arguments, as in :meth:`invoke`.
            item_type: What to convert items to; plain values by default.
            capacity: So many items may lie unread, however large, before their sender has to wait; and more, while they
                are within ``HubConnectionOptions.stream_buffer_size``.

        Returns:
            A context manager that gives the stream's reader. Reading raises :exc:`HubException` when the server ends
            the stream with an error, :exc:`BindingError` for an item of another type, :exc:`StreamOverflow` when too
            much came while the body waited for other things, and :exc:`ConnectionClosed` when the connection ends; each
            after the items that came before.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.

        Source:
            Hub protocol, "Streaming"; cancellation by ``CancelInvocation``.
        """
        return self._session.our_calls.stream(name, args, item_type, capacity)

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until the connection is over. A checkpoint.

        Returns:
            What the calls that waited for the server failed with: its text says why the connection ended.
        """
        await self._lifecycle.wait_over()
        return self._reason

    @overload
    def on(self, name: str, handler: Callable[..., Any], /) -> Callable[[], None]: ...
    @overload
    def on(self, name: str, /) -> Callable[[F], F]: ...
    def on(self, name: str, handler: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Have a handler called whenever the server calls a client method.

        Handlers run one after another, in the order of the server's calls and, for one call, in the order they
        were added. One that raises is logged, and disturbs nothing else.

        Args:
            name: The client method's name, in its exact letter case.
            handler: Called with the server's arguments, converted to the types of its annotations; may be async.
                Without one, what comes back is a decorator for a handler that stays for the connection's life.

        Returns:
            A function that removes the handler.

        Raises:
            TypeError: An annotation cannot be resolved.
        """
        if handler is not None:
            return self._handlers.add(name, handler)

        def add(decorated: F) -> F:
            self._handlers.add(name, decorated)
            return decorated

        return add

    async def _run(
        self, dial: Dial, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, and live until the connection is over; started when calls can be made."""

        def made(session: Session) -> None:
            self._session = session

        def opened() -> None:
            self._lifecycle.apply(Event.OPENED)
            task_status.started()

        try:
            self._reason = await run_link(
                dial, self._protocol, self._handlers, self._options, made=made, opened=opened
            )
            if self.state is HubConnectionState.CONNECTING:
                raise self._reason
        finally:
            self._lifecycle.apply(Event.ENDED)

    @asynccontextmanager
    async def _opened(self, dial: Dial) -> AsyncGenerator[None]:
        async with open_background() as nursery:
            await nursery.start(self._run, dial)
            try:
                yield
            finally:
                self._lifecycle.apply(Event.LEFT)
                self._session.end()


@asynccontextmanager
async def open_hub_connection(
    url: str,
    *,
    protocol: Literal["json", "messagepack"] = "json",
    payloads: Literal["python", "dotnet"] = "python",
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    skip_negotiation: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    options: HubConnectionOptions | None = None,
) -> AsyncGenerator[HubConnection]:
    """Connect to a hub for the body of ``async with``.

    The connection ends in order with the body, and all of its tasks with it. An exception of the body comes out as
    it is; so does a :exc:`KeyboardInterrupt` or :exc:`SystemExit` of a handler or an upload. When the connection is
    lost, whatever waits for the server fails; the body goes on.

    Args:
        url: The hub's URL, such as ``http://127.0.0.1:8000/counter``.
        protocol: What to speak; both are understood by every SignalR server that has them installed.
        payloads: Names of fields and enums on the wire: as in Python, or as .NET's defaults have them.
        handlers: Client methods by name, as for :meth:`HubConnection.on`; set before anything is received.
        headers: Further headers for the HTTP requests.
        skip_negotiation: Connect by WebSocket at once; the connection then has no id.
        ssl_context: For ``https``; the system's defaults by default.
        options: Times and limits; the defaults by default.

    Yields:
        The connection.

    Raises:
        ValueError: The URL, a header, the protocol or the payloads' naming is none.
        NegotiationError: The server cannot be reached, or refuses.
        ConnectionClosed: The WebSocket cannot be opened.
        HandshakeError: The server does not speak the protocol, or took too long.

    Source:
        The .NET client's ``StartAsync`` and ``StopAsync``.
    """
    options = options or HubConnectionOptions()
    check_request(url, headers or {})
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    speaks = PROTOCOLS[protocol](payloads)
    table = Handlers(speaks.payloads)
    for name, handler in (handlers or {}).items():
        table.add(name, handler)
    dial = partial(
        open_duplex,
        url,
        headers=headers,
        skip_negotiation=skip_negotiation,
        ssl_context=ssl_context,
        connect_timeout=options.connect_timeout,
    )
    connection = HubConnection(speaks, table, options)
    async with connection._opened(dial):
        yield connection
