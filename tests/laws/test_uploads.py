"""Law 8: a cut-off upload raises in the hub method, and never looks like a clean end."""

import contextlib
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_client, served_hub
from tests.messages import call, ended, item, result, stream
from trio_hubs import ChannelReader, Hub, HubException, UploadBroken
from trio_hubs.server.served_hub import ServedHub

from .ends import ENDS, PARALLEL, each_end
from .witness import both_protocols


class Uploads(Hub):
    """Reads uploads in every way, and notes how they ended."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def abort(self) -> None:
        self.context.abort()

    @contextlib.asynccontextmanager
    async def _noting(self) -> AsyncIterator[None]:
        try:
            yield
            self.events.append("clean end")
        except Exception as error:
            self.events.append(f"{type(error).__name__}: {error}")
            raise
        except trio.Cancelled:
            self.events.append("cancelled")
            raise

    async def loop(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))

    async def iterate(self, items: AsyncIterator[int]) -> None:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))

    async def read(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            with contextlib.suppress(trio.EndOfChannel):
                while True:
                    self.events.append(str(await items.read()))

    async def batches(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            while await items.wait_to_read():
                self.events += [str(number) for number in items.read_ready()]

    async def stream(self, items: ChannelReader[int]) -> AsyncIterator[int]:
        async with self._noting():
            async for number in items:
                self.events.append(str(number))
                yield number

    async def later(self, items: ChannelReader[int]) -> None:
        async with self._noting():
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
                async for number in items:
                    self.events.append(str(number))


def uploads(events: list[str], **options: Any) -> ServedHub:
    return served_hub(Uploads, lambda: Uploads(events), **options)


@both_protocols
@each_end
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches", "Stream", "Later"])
async def test_a_cut_off_upload_is_no_clean_end(
    autojump_clock: MockClock, protocol: str, end: str, method: str
) -> None:
    events: list[str] = []
    message = (stream if method == "Stream" else call)(method, uploads=("9",), id="1")
    async with open_client(
        uploads(events, maximum_parallel_invocations=PARALLEL),
        protocol,
        beating=end == "the client is silent",
    ) as client:
        await client.send(message, item("9", 1), item("9", 2))
        await client.arrived()
        await ENDS[end](client)
        await client.served()
    cancelled = end == "the server shuts down" and method != "Later"  # which is shielded from it
    last = "cancelled" if cancelled else "UploadBroken: The underlying connection was closed."
    assert events == ["1", "2", last]


class Files(Hub):
    """Writes uploads to files, whose closing takes its time."""

    def __init__(self, events: list[str], closing: float) -> None:
        self.events = events
        self.closing = closing

    @contextlib.asynccontextmanager
    async def _file(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            try:
                await trio.sleep(self.closing)
            except trio.Cancelled:
                self.events.append("closing is cancelled")
                raise

    async def save(self, items: ChannelReader[int]) -> None:
        try:
            async with self._file():
                async for number in items:
                    self.events.append(str(number))
        except UploadBroken:
            self.events.append("heard")

    async def busy(self, items: ChannelReader[int]) -> None:
        try:
            await items.read()
            await trio.sleep_forever()
        finally:
            self.events.append("busy is cancelled")

    def abort(self) -> None:
        self.context.abort()

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("disconnected")


@both_protocols
@each_end
async def test_a_cut_off_upload_is_heard_of_behind_a_cleanup_that_waits(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    events: list[str] = []
    served = served_hub(Files, lambda: Files(events, 1.0), maximum_parallel_invocations=PARALLEL)
    async with open_client(served, protocol, beating=end == "the client is silent") as client:
        await client.send(call("Save", uploads=("9",), id="1"), item("9", 1))
        await client.send(call("Busy", uploads=("8",), id="2"), item("8", 1))
        await client.arrived()
        await ENDS[end](client)
        await client.served()
    if end == "the server shuts down":
        assert set(events[1:-1]) == {"busy is cancelled", "closing is cancelled"}
    else:
        assert events[:-1] == ["1", "busy is cancelled", "heard"]
    assert events[-1] == "disconnected"


@both_protocols
@each_end
async def test_hearing_of_a_cut_off_upload_has_its_time(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    events: list[str] = []
    served = served_hub(
        Files, lambda: Files(events, inf), maximum_parallel_invocations=PARALLEL, goodbye_timeout=7.0
    )
    async with open_client(served, protocol, beating=end == "the client is silent") as client:
        await client.send(call("Save", uploads=("9",), id="1"), item("9", 1))
        await client.arrived()
        began = trio.current_time()
        await ENDS[end](client)
        await client.served()
        took = trio.current_time() - began
    assert events == ["1", "closing is cancelled", "disconnected"]
    if end == "the server shuts down":
        assert took < 0.1
    else:
        assert 7 <= took < (50 if end == "the client is silent" else 7.1)


@both_protocols
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches"])
async def test_a_whole_upload_ends_clean(autojump_clock: MockClock, protocol: str, method: str) -> None:
    events: list[str] = []
    async with open_client(uploads(events), protocol) as client:
        await client.send(call(method, uploads=("9",), id="1"), item("9", 1), item("9", 2), ended("9"))
        assert await client.receive() == result("1", None)
    assert events == ["1", "2", "clean end"]


@both_protocols
@pytest.mark.parametrize("method", ["Loop", "Iterate", "Read", "Batches"])
async def test_the_clients_error_is_raised_after_the_items(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    events: list[str] = []
    async with open_client(uploads(events), protocol) as client:
        await client.send(call(method, uploads=("9",), id="1"), item("9", 1), ended("9", "my fault"))
        text = f"An unexpected error occurred invoking '{method}' on the server. HubException: my fault"
        assert await client.receive() == ended("1", text)
    assert events == ["1", "HubException: my fault"]


@both_protocols
@pytest.mark.parametrize("value", ["x", None, 1.5, [1], {"a": 1}])
async def test_an_item_of_a_wrong_type_breaks_its_upload_alone(
    autojump_clock: MockClock, protocol: str, value: object
) -> None:
    seen: list[Exception] = []

    class Typed(Hub):
        async def read(self, items: ChannelReader[int], others: ChannelReader[int]) -> list[int]:
            numbers: list[int] = []
            try:
                while True:
                    numbers.append(await items.read())
            except HubException as error:
                seen.append(error)
            return [*numbers, *[number async for number in others]]

    async with open_client(Typed, protocol) as client:
        await client.send(
            call("Read", id="1", uploads=("8", "9")), item("8", 1), item("8", value), item("8", 3), ended("8")
        )
        await client.send(item("9", 4), ended("9"))
        assert await client.receive() == result("1", [1, 4])
    assert [str(error) for error in seen] == ["Failed to bind Stream message."]


@both_protocols
async def test_late_items_of_an_upload_that_was_left_are_thrown_away(
    autojump_clock: MockClock, protocol: str
) -> None:
    class Leaving(Hub):
        async def first(self, items: ChannelReader[int]) -> int:
            return await items.read()

    async with open_client(Leaving, protocol) as client:
        await client.send(call("First", id="1", uploads=("9",)), item("9", 5))
        assert await client.receive() == result("1", 5)
        for _ in range(50):
            await client.send(*[item("9", "x" * 100) for _ in range(100)])
        await client.send(ended("9"), call("First", id="2", uploads=("9",)), item("9", 6))
        assert await client.receive() == result("2", 6)
