"""The hubs of the official .NET peer, method for method: what a test asks of one server it can ask of both.

What a method saw goes into a log, by a key that the test chose: `seen(key)` tells it.
"""

import enum
import os
from collections.abc import AsyncIterable, AsyncIterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import attrs
import trio

from trio_hubs import (
    ChannelReader,
    ChannelWriter,
    Hub,
    HubException,
    User,
    authorize,
    hub_method,
    open_channel,
)

_log: dict[str, list[str]] = {}
_folder = os.environ.get("CONFORMANCE_LOG")  # of the log, where several processes have one


def log(key: str, what: str) -> None:
    """Note under a key what a method saw."""
    if _folder is None:
        _log.setdefault(key, []).append(what)
    else:
        with (Path(_folder) / quote(key, safe="")).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")


def seen(key: str) -> str:
    """What was noted under a key, comma-separated; `none` if nothing."""
    if _folder is None:
        return ",".join(_log.get(key, ["none"]))
    file = Path(_folder) / quote(key, safe="")
    return ",".join(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else "none"


async def write_numbers(writer: ChannelWriter[int], count: int, milliseconds: int) -> None:
    """Write 0, 1, ... with a pause after each, then complete."""
    for i in range(count):
        await writer.write(i)
        if milliseconds:
            await trio.sleep(milliseconds / 1000)
    writer.complete()


async def numbers(count: int, milliseconds: int) -> AsyncIterator[int]:
    """Yield 0, 1, ... with a pause after each."""
    for i in range(count):
        yield i
        if milliseconds:
            await trio.sleep(milliseconds / 1000)


async def total(items: AsyncIterable[int]) -> int:
    """The sum of a stream."""
    return sum([item async for item in items])


class LoadHub(Hub):
    """The hub that load generators call."""

    def echo(self, text: str) -> str:
        return text

    def counter(self, count: int, milliseconds: int) -> AsyncIterator[int]:
        return numbers(count, milliseconds)

    def counter_channel(self, count: int, milliseconds: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=100)
        self.start_soon(write_numbers, writer, count, milliseconds)
        return reader

    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("message", text)

    async def sum(self, items: AsyncIterable[int]) -> int:
        return await total(items)


class CounterHub(Hub):
    """The documentation's streaming sample."""

    def counter(self, count: int, delay: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=10)
        self.start_soon(write_numbers, writer, count, delay)
        return reader


class Color(enum.Enum):
    """An enum of .NET's: a number in JSON, a name in MessagePack."""

    RED = 0
    GREEN = 1
    BLUE = 2


@attrs.define
class Person:
    """An object with a field of every kind, each with .NET's default."""

    name: str = ""
    age: int = 0
    born: datetime = datetime(1, 1, 1)  # .NET's default has no zone either
    id: UUID = attrs.field(factory=lambda: UUID(int=0))
    tags: list[str] = attrs.field(factory=list)
    favourite: Color = Color.RED
    avatar: bytes = b""
    balance: Decimal = Decimal(0)
    nickname: str | None = None
    parent: "Person | None" = None


class ConformanceHub(Hub):
    """A method for every behaviour. `?log=KEY` logs the connection's life, `?refuse=1` refuses it."""

    async def on_connected(self) -> None:
        query = self.context.request.query
        if query.get("refuse") == "1":
            raise HubException("refused")
        if key := query.get("log"):
            log(key, "connected")

    async def on_disconnected(self, error: Exception | None) -> None:
        if key := self.context.request.query.get("log"):
            log(key, "disconnected with error" if error else "disconnected")

    # Plain invocations

    def add(self, a: int, b: int) -> int:
        return a + b

    def echo(self, text: str) -> str:
        return text

    async def do_nothing(self) -> None:
        await trio.lowlevel.checkpoint()

    def get_null(self) -> str | None:
        return None

    def throw_hub_exception(self, text: str) -> None:
        raise HubException(text)

    def throw_other(self) -> None:
        raise ValueError("secret")

    async def delay(self, text: str, milliseconds: int) -> str:
        await trio.sleep(milliseconds / 1000)
        return text

    async def save(self, key: str, number: int) -> None:
        """Take a while before it is done, as what writes to a database does."""
        await trio.sleep(0.05)
        log(key, f"saved {number}")

    async def hang(self, key: str) -> None:
        log(key, "started")
        try:
            await trio.sleep_forever()
        finally:
            log(key, "cancelled")

    @hub_method("renamed")
    def original_name(self) -> str:
        return "renamed"

    def connection_id(self) -> str:
        return self.context.connection_id

    def user_id(self) -> str | None:
        return self.context.user_id

    def query_value(self, name: str) -> str | None:
        return self.context.request.query.get(name)

    def header_value(self, name: str) -> str | None:
        return self.context.request.headers.get(name)

    def abort(self) -> None:
        self.context.abort()

    def abort_with(self, reason: str) -> None:
        self.context.abort(reason)

    def send_away(self) -> None:
        self.context._session.end(allow_reconnect=True)

    def seen(self, key: str) -> str:
        return seen(key)

    # Payloads: each comes back as it went

    def echo_person(self, person: Person) -> Person:
        return person

    def echo_bytes(self, data: bytes) -> bytes:
        return data

    def echo_date_time(self, when: datetime) -> datetime:
        return when

    def echo_guid(self, guid: UUID) -> UUID:
        return guid

    def echo_decimal(self, amount: Decimal) -> Decimal:
        return amount

    def echo_long(self, number: int) -> int:
        return number

    def echo_double(self, number: float) -> float:
        return number

    def echo_bool(self, flag: bool) -> bool:
        return flag

    def echo_color(self, color: Color) -> Color:
        return color

    def echo_map(self, values: dict[str, int]) -> dict[str, int]:
        return values

    def echo_nested(self, rows: list[list[int]]) -> list[list[int]]:
        return rows

    def echo_nullable(self, text: str | None) -> str | None:
        return text

    # Streams from the server

    async def counter(self, count: int, milliseconds: int) -> AsyncIterator[int]:
        for i in range(count):
            yield i
            if milliseconds:
                await trio.sleep(milliseconds / 1000)

    def counter_channel(self, count: int, milliseconds: int) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=10)
        self.start_soon(write_numbers, writer, count, milliseconds)
        return reader

    async def counter_channel_async(self, count: int, milliseconds: int) -> ChannelReader[int]:
        await trio.lowlevel.checkpoint()
        return self.counter_channel(count, milliseconds)

    async def forever(self, key: str) -> AsyncIterator[int]:
        log(key, "started")
        try:
            i = 0
            while True:
                yield i
                i += 1
                await trio.sleep(0.01)
        finally:
            log(key, "cancelled")

    async def silent(self, key: str) -> AsyncIterator[int]:
        log(key, "started")
        try:
            await trio.sleep_forever()
            yield 0
        finally:
            log(key, "cancelled")

    def fail_after(self, count: int, hub_exception: bool) -> ChannelReader[int]:
        writer, reader = open_channel(int, capacity=count + 1)
        for i in range(count):
            writer.try_write(i)
        writer.complete(HubException("stream failed") if hub_exception else ValueError("secret"))
        return reader

    def null_reader(self) -> ChannelReader[int]:
        return cast("ChannelReader[int]", None)

    def throw_before_reader(self) -> ChannelReader[int]:
        raise HubException("no reader")

    async def people(self, count: int) -> AsyncIterator[Person]:
        for i in range(count):
            yield Person(name=f"person {i}", age=i, favourite=Color.GREEN)

    async def blobs(self, count: int, size: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield "x" * size

    # Streams from the client

    async def sum(self, items: AsyncIterator[int]) -> int:
        return await total(items)

    async def join(self, separator: str, items: ChannelReader[str]) -> str:
        words: list[str] = []
        while await items.wait_to_read():
            words += items.read_ready()
        return separator.join(words)

    async def sum_two(self, first: AsyncIterable[int], second: AsyncIterable[int]) -> int:
        return await total(first) * 1000 + await total(second)

    async def drain(self, key: str, items: ChannelReader[int]) -> str:
        end = "failed: cancelled"
        try:
            async for _ in items:
                pass
            end = "completed"
        except Exception as error:  # noqa: BLE001  # whatever it is, the test wants to hear of it
            end = f"failed: {error}"
        finally:
            log(key, end)
        return end

    async def first(self, items: AsyncIterable[int]) -> int:
        async for item in items:
            return item
        return -1

    async def ignore(self, key: str, items: ChannelReader[int]) -> None:  # that it is not used is the point
        log(key, "started")
        await trio.sleep_forever()

    async def double(self, items: AsyncIterable[int]) -> AsyncIterator[int]:
        async for item in items:
            yield item * 2

    # Calling clients

    async def call_caller(self, method: str, text: str) -> None:
        await self.clients.caller.send(method, text)

    async def call_all(self, text: str) -> None:
        await self.clients.all.send("Message", text)

    async def call_others(self, text: str) -> None:
        await self.clients.others.send("Message", text)

    async def call_connection(self, id: str, text: str) -> None:
        await self.clients.client(id).send("Message", text)

    async def call_connections(self, ids: list[str], text: str) -> None:
        await self.clients.clients(*ids).send("Message", text)

    async def call_all_except(self, id: str, text: str) -> None:
        await self.clients.all_except(id).send("Message", text)

    async def call_user(self, user: str, text: str) -> None:
        await self.clients.user(user).send("Message", text)

    async def call_group(self, group: str, text: str) -> None:
        await self.clients.group(group).send("Message", text)

    async def call_groups(self, groups: list[str], text: str) -> None:
        await self.clients.groups(*groups).send("Message", text)

    async def call_group_except(self, group: str, id: str, text: str) -> None:
        await self.clients.group_except(group, id).send("Message", text)

    async def call_others_in_group(self, group: str, text: str) -> None:
        await self.clients.others_in_group(group).send("Message", text)

    async def join_group(self, group: str) -> None:
        await self.groups.add(self.context.connection_id, group)

    async def leave_group(self, group: str) -> None:
        await self.groups.remove(self.context.connection_id, group)

    async def add_connection_to_group(self, id: str, group: str) -> None:
        await self.groups.add(id, group)

    async def call_with_everything(self) -> None:
        six = Person(name="six", age=6)
        await self.clients.caller.send("Everything", 1, "two", 3.5, True, None, [1, 2], six, b"\x07\x08\x09")

    # Asking clients

    async def ask_caller(self, question: str) -> str:
        return await answer_of(self.clients.caller, question)

    async def ask_connection(self, id: str, question: str) -> str:
        return await answer_of(self.clients.client(id), question)

    async def ask_with_timeout(self, milliseconds: int) -> str:
        with trio.move_on_after(milliseconds / 1000):
            return await answer_of(self.clients.caller, "in time?")
        return "timed out"

    @authorize()
    def for_users(self) -> str:
        return "for users"


async def answer_of(client: Any, question: str) -> str:
    """What a client answers, or how it fails to."""
    try:
        answer: str = await client.invoke("Answer", question, result_type=str)
    except Exception as error:  # noqa: BLE001  # whatever it is, the test wants to hear of it
        return f"error: {error}"
    return answer


# Each is a hub of its own: a message to all of one does not reach the others


class DetailedHub(ConformanceHub):
    """Tells what went wrong."""


class ParallelHub(ConformanceHub):
    """Runs several invocations of a client at a time."""


class ImpatientHub(ConformanceHub):
    """Waits for nobody."""


class WebSocketsOnlyHub(ConformanceHub):
    """Knows no other transport."""


class PollingOnlyHub(ConformanceHub):
    """Knows no other transport."""


def is_admin(user: User) -> bool:
    """The policy of what is for admins."""
    return user.claims.get("role") == "admin"


@authorize()
class AuthHub(ConformanceHub):
    """Is for users."""

    @authorize(is_admin)
    def for_admins(self) -> str:
        return "for admins"
