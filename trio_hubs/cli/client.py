"""The commands that call: standard output has the answers alone, as JSON, a line each, as they come."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import attrs
import msgspec
import trio

from ..client.hub_connection import HubConnection, open_hub_connection
from ..errors import HubsError
from .process import Fault


@attrs.frozen
class Call:
    """What to call, where and how."""

    url: str
    method: str
    arguments: Sequence[Any]
    protocol: Literal["json", "messagepack"]
    headers: Mapping[str, str]


async def stream(call: Call) -> None:
    """Print a stream's items; being cancelled cancels the server's method."""
    async with _connection(call) as connection, connection.stream(call.method, *call.arguments) as reader:
        while await reader.wait_to_read():
            await _print(reader.read_ready())


async def invoke(call: Call) -> None:
    """Print a result; being cancelled cancels the server's method."""
    async with _connection(call) as connection:
        await _print([await connection.invoke(call.method, *call.arguments)])


@asynccontextmanager
async def _connection(call: Call) -> AsyncGenerator[HubConnection]:
    async with AsyncExitStack() as stack:
        opening = open_hub_connection(call.url, protocol=call.protocol, headers=call.headers)
        try:
            connection = await stack.enter_async_context(opening)
        except HubsError as error:
            raise Fault(str(error)) from error
        yield connection


async def _print(values: Sequence[Any]) -> None:
    data = b"".join(msgspec.json.encode(value, enc_hook=str) + b"\n" for value in values)
    # In a thread, past any buffer: while the reader of a pipe pauses, pings go on and Ctrl-C ends us.
    await trio.to_thread.run_sync(_write, data, abandon_on_cancel=True)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
