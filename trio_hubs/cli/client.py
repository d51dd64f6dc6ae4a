"""The commands that call, or are called: standard output has what the server says alone, as JSON, a line each.

A number keeps all of its digits. What JSON has no number for is an error rather than a null. A connection that is lost
and regained is told of on standard error.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from decimal import Decimal
from typing import Any, Literal

import attrs
import msgspec
import trio

from ..calls.channels import ChannelReader, ChannelWriter, open_channel
from ..client.hub_connection import HubConnection
from ..client.opening import open_hub_connection
from ..client.options import HubConnectionOptions
from ..client.reconnect import Backoff
from ..client.state import HubConnectionState, StateChange
from ..connections.client.tokens import AccessToken
from ..errors import BindingError, ConnectionClosed, HubsError
from ..protocol.negotiate import Transport
from ..protocol.payloads import Payloads
from ..tasks import open_background
from .output import print_data, while_read
from .process import Fault, complain
from .uploads import Upload, uploading

Protocol = Literal["json", "messagepack"]

UNREADABLE = (ValueError, ArithmeticError, RecursionError)
"""What reading JSON raises: for bad syntax, for exponents beyond all bounds, for a thousand brackets."""

_write_json = Payloads("json").dumper(Any)


class LateAnswer(HubsError):
    """A call has not been answered in time."""


@attrs.frozen
class _Called:
    """A method that the server has called."""

    method: str
    arguments: Sequence[Any]


@attrs.frozen(kw_only=True)
class Server:
    """Where the hub is, and how to get there.

    Attributes:
        url: The hub's URL.
        protocol: The hub protocol to speak.
        headers: Further headers of the HTTP requests.
        token: The access token, or what gives it.
        transports: Those that may be used.
        reconnect: Whether to connect again when the connection is lost, for as long as it takes.
        trust: Whom to trust for ``https``; the system's defaults by default.
        timeout: Seconds that the server may take to let us in, and again to answer a call.
    """

    url: str
    protocol: Protocol = "json"
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    token: AccessToken | None = attrs.field(default=None, repr=False)
    transports: Collection[Transport] = tuple(Transport)
    reconnect: bool = False
    trust: ssl.SSLContext | None = None
    timeout: float | None = None

    @property
    def value_type(self) -> Any:
        """As what a value is taken: JSON as it stands, so that its numbers stay as they are."""
        return msgspec.Raw if self.protocol == "json" else Any

    @asynccontextmanager
    async def connect(
        self,
        handlers: Mapping[str, Callable[..., Any]],
        tell: Callable[[StateChange], None] | None = None,
    ) -> AsyncGenerator[HubConnection]:
        """Connect for the body, and for as long as standard output is read.

        Args:
            handlers: What the server calls.
            tell: Hears that the connection is lost, and regained; by default standard error does.

        Raises:
            Fault: There is no hub at the URL, or none that lets us in.
        """
        options = HubConnectionOptions(transports=self.transports)
        if self.timeout is not None:
            options = attrs.evolve(options, connect_timeout=self.timeout, handshake_timeout=self.timeout)
        async with while_read(), AsyncExitStack() as stack:
            opening = open_hub_connection(
                self.url,
                protocol=self.protocol,
                handlers=handlers or None,
                headers=self.headers,
                access_token=self.token,
                reconnect=self.reconnect and Backoff(forever=True),
                ssl_context=self.trust,
                options=options,
            )
            try:
                connection = await stack.enter_async_context(opening)
            except (HubsError, ValueError) as error:  # ValueError: two of the options contradict each other
                raise Fault(str(error)) from error
            nursery = await stack.enter_async_context(open_background())
            nursery.start_soon(_tell_changes, connection.state_changes(), tell or tell_change)
            yield connection

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """End the body when the answer, for which it waits, takes too long.

        Raises:
            LateAnswer: It does.
        """
        with trio.move_on_after(math.inf if self.timeout is None else self.timeout) as scope:
            yield
        if scope.cancelled_caught:
            raise LateAnswer(f"no answer within {self.timeout:g} s")


async def stream(server: Server, method: str, arguments: Sequence[Any]) -> None:
    """Print a stream's items; being cancelled cancels the server's method."""
    again = (lambda _: arguments) if server.reconnect else None
    async with (
        server.connect({}) as connection,
        uploading(arguments) as values,
        connection.stream(method, *values, item_type=server.value_type, resume=again) as reader,
    ):
        while await reader.wait_to_read():
            await print_values(reader.read_ready())


async def invoke(server: Server, method: str, arguments: Sequence[Any]) -> None:
    """Print a result; being cancelled cancels the server's method."""
    async with server.connect({}) as connection, uploading(arguments) as values:
        with server.in_time():
            result = await connection.invoke(method, *values, result_type=server.value_type)
        await print_values([result])


async def send(server: Server, method: str, arguments: Sequence[Any]) -> None:
    """Call a method without waiting for it; what is uploaded is sent whole."""
    async with server.connect({}) as connection, uploading(arguments) as values:
        await connection.send(method, *values)
        await connection.drain()
        if any(isinstance(argument, Upload) and not argument.whole for argument in arguments):
            raise ConnectionClosed("The connection was lost before all of standard input was sent.")


async def listen(server: Server, methods: Sequence[str]) -> None:
    """Print what the server calls, from the first moment on, until the connection is over."""
    writer, reader = open_channel(_Called, capacity=100)
    async with (
        server.connect(
            {method: _note(writer, method, server.value_type) for method in methods}
        ) as connection,
        open_background() as nursery,
    ):
        nursery.start_soon(_complete, writer, connection)
        while await reader.wait_to_read():
            await print_values(reader.read_ready())


def read_argument(text: str, protocol: Protocol) -> Any:
    """Read an argument.

    Raises:
        Exception: It is not JSON that Python can hold; one of ``UNREADABLE``.
        Fault: It is a number that the protocol cannot carry.
    """
    return msgspec.json.Decoder(float_hook=Decimal if protocol == "json" else _same_float).decode(text)


def write_read(write: Callable[[Any], bytes], value: Any) -> bytes:
    """Write what was read; that it is too deep, which some Pythons find only now, is no fault of the writing."""
    try:
        return write(value)
    except BindingError as error:
        if isinstance(error.__cause__, RecursionError):
            raise error.__cause__ from error
        raise


def _same_float(text: str) -> float:
    """A number as MessagePack has it."""
    number = float(text)
    if Decimal(repr(number)) != Decimal(text):
        raise Fault(f"MessagePack has no number {text}; .NET takes a decimal as a text: '\"{text}\"'")
    return number


def tell_change(change: StateChange) -> None:
    """Say on standard error that the connection is lost, or regained."""
    if change.state is HubConnectionState.RECONNECTING:
        complain(f"the connection is lost, and tried again: {change.reason}")
    elif change.state is HubConnectionState.CONNECTED:
        complain("connected again")


async def _tell_changes(changes: ChannelReader[StateChange], tell: Callable[[StateChange], None]) -> None:
    async for change in changes:
        tell(change)


def _note(writer: ChannelWriter[_Called], method: str, type_: Any) -> Callable[..., Awaitable[None]]:
    async def note(*arguments: Any) -> None:
        await writer.write(_Called(method, arguments))

    note.__annotations__["arguments"] = type_
    return note


async def _complete(writer: ChannelWriter[Any], connection: HubConnection) -> None:
    writer.complete(await connection.wait_closed())


async def print_values(values: Sequence[Any]) -> None:
    """Print values as JSON, a line each."""
    lines = bytearray()
    try:
        for value in values:
            lines += _line(value)
    finally:  # the one that cannot be printed does not keep those before it back
        await print_data(bytes(lines))


def _line(value: Any) -> bytes:
    try:
        return write_read(_write_json, _read(value)) + b"\n"
    except UNREADABLE as error:
        raise BindingError(f"The server's answer cannot be read: {error}") from error


def _read(value: Any) -> Any:
    """What is to be printed, as the values that it consists of."""
    if isinstance(value, msgspec.Raw):
        return _decode(value)
    if isinstance(value, _Called):
        return {"method": value.method, "arguments": [_read(argument) for argument in value.arguments]}
    return value


def _finite(text: str) -> Decimal:
    if not math.isfinite(float(text)):
        raise OverflowError(f"{text:.20} is no number that others can read")
    return Decimal(text)


_decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(float_hook=_finite).decode
