"""A client's connection to a hub: open for the body of a block, and gone after it with all of its tasks."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeVar, overload
from urllib.parse import urlsplit

import trio

from ..calls.channels import ChannelReader
from ..calls.handshake import receive_handshake
from ..calls.heartbeat import beat, period_for
from ..calls.session import Session
from ..connections.client.negotiation import HEADER_TEXT, ConnectTarget, negotiate
from ..connections.connection import Connection
from ..connections.http import public_url
from ..connections.websocket import open_websocket
from ..errors import ConnectionClosed, HandshakeError, ProtocolError
from ..protocol.handshake import MAXIMUM_SIZE, HandshakeRequest, encode_request, take_response
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Close, Ping
from ..protocol.registry import PROTOCOLS
from ..tasks import open_background
from .handlers import Handlers
from .options import HubConnectionOptions

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class HubConnection:
    """An open connection to a hub; made by :func:`open_hub_connection`.

    All calls may be made by any number of tasks at the same time.

    Attributes:
        connection_id: The connection's public id; ``None`` when negotiation was skipped.
    """

    def __init__(self, session: Session, handlers: Handlers, life: _ClientLife) -> None:
        self._session = session
        self._life = life
        self._handlers = handlers
        self.connection_id = session.connection.id

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
            capacity: So many unread items are never too many.

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
            What whoever waited for the server got: its text says why the connection ended.
        """
        return await self._life.wait_over()

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


class _ClientLife:
    """What a client does and says when its connection comes and goes."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self._reason = ConnectionClosed("The connection has been closed.")

    async def wait_over(self) -> ConnectionClosed:
        """Wait for the end; gives its reason."""
        await self._over.wait()
        return self._reason

    async def opened(self) -> None:
        pass

    async def closed(self, error: Exception | None) -> None:
        self._over.set()

    def broken(self, error: ConnectionClosed) -> Exception:
        self._reason = error
        return ConnectionClosed(*error.args)

    def silence(self, seconds: float) -> Exception:
        return ConnectionClosed(
            f"Server timeout ({seconds * 1000:.2f}ms) elapsed without receiving a message from the server."
        )

    def closed_by_peer(self, message: Close) -> Exception | None:
        if message.error:
            return ConnectionClosed(
                f"The server closed the connection with the following error: {message.error}"
            )
        return ConnectionClosed("The server closed the connection.")

    def close_text(self, error: Exception) -> str:
        return ""


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
    _check(url, headers or {})
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    speaks = PROTOCOLS[protocol](payloads)
    table = Handlers(speaks.payloads)
    for name, handler in (handlers or {}).items():
        table.add(name, handler)
    sent = {"X-Requested-With": "XMLHttpRequest", **(headers or {})}
    if skip_negotiation:
        place = ConnectTarget(url, None, sent)
    else:
        place = await negotiate(url, sent, timeout=options.connect_timeout, ssl_context=ssl_context)
    async with (
        open_websocket(
            place.url,
            place.connection_id,
            headers=place.headers,
            ssl_context=ssl_context,
            timeout=options.connect_timeout,
        ) as connection,
        open_background() as nursery,
    ):
        rest = await _shake_hands(connection, speaks, options.handshake_timeout)
        life = _ClientLife()
        session = Session(connection, speaks, table, life, options.session_options())
        session.outbox.put(speaks.encode(Ping()))  # tells the server that this client pings
        await nursery.start(session.run, rest)
        nursery.start_soon(
            beat, lambda: (session,), period_for(options.keep_alive_interval, options.server_timeout)
        )
        try:
            yield HubConnection(session, table, life)
        finally:
            session.end()


def _check(url: str, headers: Mapping[str, str]) -> None:
    """Raise for what cannot be meant, before anything is tried."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"'{public_url(url)}' is no URL of a hub, such as http://127.0.0.1:8000/chat")
    for name, text in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not HEADER_TEXT.fullmatch(text):
            raise ValueError(
                f"a header is no HTTP header; names are tokens, and texts are in ASCII, without spaces around: {name!r}"
            )


async def _shake_hands(connection: Connection, protocol: HubProtocol, timeout: float) -> bytes:
    """Agree with the server on the protocol; gives the bytes behind its answer."""
    connection.transfer_format = protocol.transfer_format
    try:
        with trio.fail_after(timeout):
            await connection.send(encode_request(HandshakeRequest(protocol.name, 1)))
            taken = await receive_handshake(connection, take_response, MAXIMUM_SIZE)
    except trio.TooSlowError:
        raise HandshakeError(f"The server did not answer the handshake within {timeout:g} s.") from None
    except (ProtocolError, ConnectionClosed) as error:
        raise HandshakeError(f"The handshake failed: {error}") from error
    if taken is None:
        raise HandshakeError("The server disconnected before sending a handshake response.")
    response, rest = taken
    if response.error:
        raise HandshakeError(
            f"Unable to complete handshake with the server due to an error: {response.error}"
        )
    return rest
