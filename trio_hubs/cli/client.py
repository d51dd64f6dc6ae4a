"""The commands that call: standard output has the answers alone, as JSON, a line each, as they come.

A number keeps all of its digits. What JSON has no number for is an error rather than a null.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any, Literal

import attrs
import msgspec

from ..client.hub_connection import HubConnection, open_hub_connection
from ..errors import BindingError, HubsError
from ..protocol.payloads import Payloads
from .output import print_data, while_read
from .process import Fault

Protocol = Literal["json", "messagepack"]

UNREADABLE = (ValueError, ArithmeticError, RecursionError)
"""What reading JSON raises: for bad syntax, for exponents beyond all bounds, for a thousand brackets."""

_write_json = Payloads("json").dumper(Any)


@attrs.frozen
class Call:
    """What to call, where and how."""

    url: str
    method: str
    arguments: Sequence[Any]
    protocol: Protocol
    headers: Mapping[str, str]

    @property
    def result_type(self) -> Any:
        """As what an answer is taken: JSON as it stands, so that its numbers stay as they are."""
        return msgspec.Raw if self.protocol == "json" else Any


async def stream(call: Call) -> None:
    """Print a stream's items; being cancelled cancels the server's method."""
    async with (
        _connection(call) as connection,
        connection.stream(call.method, *call.arguments, item_type=call.result_type) as reader,
    ):
        while await reader.wait_to_read():
            await _print(reader.read_ready())


async def invoke(call: Call) -> None:
    """Print a result; being cancelled cancels the server's method."""
    async with _connection(call) as connection:
        await _print([await connection.invoke(call.method, *call.arguments, result_type=call.result_type)])


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


@asynccontextmanager
async def _connection(call: Call) -> AsyncGenerator[HubConnection]:
    async with while_read(), AsyncExitStack() as stack:
        opening = open_hub_connection(call.url, protocol=call.protocol, headers=call.headers)
        try:
            connection = await stack.enter_async_context(opening)
        except HubsError as error:
            raise Fault(str(error)) from error
        yield connection


async def _print(values: Sequence[Any]) -> None:
    lines = bytearray()
    try:
        for value in values:
            lines += _line(value)
    finally:  # the one that cannot be printed does not keep those before it back
        await print_data(bytes(lines))


def _line(value: Any) -> bytes:
    try:
        read = _decode(value) if isinstance(value, msgspec.Raw) else value
        return write_read(_write_json, read) + b"\n"
    except UNREADABLE as error:
        raise BindingError(f"The server's answer cannot be read: {error}") from error


def _finite(text: str) -> Decimal:
    if not math.isfinite(float(text)):
        raise OverflowError(f"{text:.20} is no number that others can read")
    return Decimal(text)


_decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(float_hook=_finite).decode
