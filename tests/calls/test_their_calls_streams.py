"""Streams that the peer calls for, and the uploads that go with its calls, come whole or end with an error."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import ended, item, result
from trio_hubs.calls.channels import ChannelReader, open_channel
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE
from trio_hubs.errors import ChannelClosed, HubException

from .gates import plain
from .support import Desk, raw, read_call, read_stream

IN_USE = (
    "An unexpected error occurred invoking 'total' on the server. "
    "HubException: Stream ID '{}' is already in use."
)

# ---- streams


async def test_the_items_of_a_generator_then_the_end(desk: Desk) -> None:
    @desk.method
    async def count(stop: int) -> AsyncGenerator[int, None]:
        for number in range(stop):
            yield number

    assert await desk.answers(read_stream("count", 3)) == [item("1", n) for n in range(3)] + [ended("1")]


async def test_a_stream_is_filed_by_its_calls_id_until_its_end(desk: Desk) -> None:
    writer, reader = open_channel(int)
    desk.face.add("plain", reader_of(reader))
    assert await desk.answers(read_stream("plain")) == []
    assert set(desk.outgoing.by_id) == {"1"}
    writer.complete()
    assert await desk.answers() == [ended("1")]
    assert not desk.outgoing.by_id


async def test_the_items_of_a_reader_then_the_end(desk: Desk) -> None:
    writer, reader = open_channel(int)
    desk.face.add("plain", reader_of(reader))

    async def later() -> ChannelReader[int]:
        await trio.lowlevel.checkpoint()
        return later_reader

    later_writer, later_reader = open_channel(int)
    desk.method(later)
    for target in (writer, later_writer):
        target.try_write(1)
        target.complete()
    assert await desk.answers(read_stream("plain")) == [item("1", 1), ended("1")]
    assert await desk.answers(read_stream("later", id="2")) == [*desk.sent[:2], item("2", 1), ended("2")]


def reader_of(reader: ChannelReader[int]) -> Callable[[], ChannelReader[int]]:
    def stream() -> ChannelReader[int]:
        return reader

    return stream


async def test_a_coroutine_for_a_stream_is_awaited(desk: Desk) -> None:
    async def later() -> AsyncIterator[int]:
        writer, reader = open_channel(int)
        writer.try_write(1)
        writer.complete()
        return reader

    def stream() -> AsyncIterator[int]:
        return later()  # type: ignore[return-value]  # what users do

    desk.method(stream)
    assert await desk.answers(read_stream("stream")) == [item("1", 1), ended("1")]


async def test_a_stream_that_fails_ends_with_the_error_after_its_items(desk: Desk) -> None:
    @desk.method
    async def generator() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    writer, reader = open_channel(int)
    writer.try_write(2)
    writer.complete(ValueError("broken"))
    desk.face.add("channel", reader_of(reader))
    assert await desk.answers(read_stream("generator"), read_stream("channel", id="2")) == [
        item("1", 1),
        ended("1", "the stream failed: broken"),
        item("2", 2),
        ended("2", "the stream failed: broken"),
    ]


async def test_an_item_that_cannot_be_encoded_fails_the_stream(desk: Desk) -> None:
    @desk.method
    async def stream() -> AsyncIterator[object]:
        yield 1
        yield object()

    first, last = await desk.answers(read_stream("stream"))
    assert first == item("1", 1)
    assert last["error"].startswith("the stream failed: A value of type 'object' cannot be written")


async def test_a_streaming_method_that_fails_is_a_failed_method(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        raise ValueError("broken")

    assert await desk.answers(read_stream("stream")) == [ended("1", "stream failed: broken")]


async def test_a_streaming_method_without_a_stream_is_an_error(desk: Desk) -> None:
    @desk.method
    def stream() -> ChannelReader[int]:
        return None  # type: ignore[return-value]  # what users do

    desk.method(plain)
    assert await desk.answers(read_stream("stream"), read_call("plain", id="2")) == [
        ended(
            "1",
            "The value returned by the streaming method 'stream' is not a ChannelReader<> or IAsyncEnumerable<>.",
        ),
        result("2", "plain"),
    ]


async def test_the_reader_of_a_cancelled_stream_is_closed(desk: Desk) -> None:
    writer, reader = open_channel(int)
    desk.face.add("stream", reader_of(reader))
    await desk.answers(read_stream("stream"))
    desk.their_calls.cancel("1")
    assert await desk.answers() == [ended("1")]
    with pytest.raises(ChannelClosed):
        await writer.write(1)


@pytest.mark.parametrize("leave", ["cancel", "stop"])
async def test_the_sender_of_a_cancelled_stream_hears_of_it(leave: str) -> None:
    desk = Desk()
    heard: list[str] = []

    async def send(sender: trio.MemorySendChannel[int]) -> None:
        try:
            for number in range(1000):
                await sender.send(number)
        except trio.BrokenResourceError:
            heard.append("broken")

    @desk.method
    async def numbers() -> AsyncIterator[int]:
        sender, receiver = trio.open_memory_channel[int](0)
        outer.start_soon(send, sender)
        return receiver

    @desk.method
    def channel() -> trio.MemoryReceiveChannel[int]:
        sender, receiver = trio.open_memory_channel[int](0)
        outer.start_soon(send, sender)
        return receiver

    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            desk.their_calls.start(nursery)
            desk.outbox.size = TRANSPORT_BUFFER_SIZE - 20
            desk.their_calls.invoke(read_stream("numbers"))
            desk.their_calls.invoke(read_stream("channel", id="2"))
            await wait_all_tasks_blocked()
            assert heard == []
            if leave == "cancel":
                desk.their_calls.cancel("1")
                desk.their_calls.cancel("2")
                await wait_all_tasks_blocked()
            else:
                desk.their_calls.stop()
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert heard == ["broken", "broken"]


# ---- safe channels


async def test_a_method_with_a_safe_channel_streams(desk: Desk) -> None:
    ends: list[str] = []

    @desk.method
    @trio.as_safe_channel
    async def count(stop: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(stop):
                yield number
        finally:
            ends.append("ended")

    assert await desk.answers(read_stream("count", 3)) == [item("1", n) for n in range(3)] + [ended("1")]
    assert ends == ["ended"]
    assert desk.their_calls.idle


async def test_a_safe_channel_that_fails_or_is_cancelled_is_a_stream_like_any_other(desk: Desk) -> None:
    ends: list[str] = []

    @desk.method
    @trio.as_safe_channel
    async def wait(fail: bool) -> AsyncGenerator[int, None]:
        try:
            yield 1
            if fail:
                raise ValueError("broken")
            await trio.sleep_forever()
        finally:
            ends.append("ended")

    assert await desk.answers(read_stream("wait", True)) == [
        item("1", 1),
        ended("1", "the stream failed: broken"),
    ]
    await desk.answers(read_stream("wait", False, id="2"))
    desk.their_calls.cancel("2")
    assert (await desk.answers())[2:] == [item("2", 1), ended("2")]
    assert ends == ["ended", "ended"]
    assert desk.their_calls.idle


# ---- uploads


async def test_uploads_stand_in_their_places(desk: Desk) -> None:
    @desk.method
    async def mixed(
        a: int, first: ChannelReader[int], b: int, second: AsyncIterator[str], c: int = 3
    ) -> list[object]:
        return [a, b, c, [x async for x in first], [x async for x in second]]

    desk.their_calls.invoke(read_call("mixed", 1, 2, id="1", uploads=["x", "y"]))
    desk.incoming.feed("y", raw("one"))
    desk.incoming.feed("x", raw(1, 2))
    desk.incoming.complete("x", None)
    desk.incoming.complete("y", None)
    assert await desk.answers() == [result("1", [1, 2, 3, [1, 2], ["one"]])]


async def test_a_stream_both_ways(desk: Desk) -> None:
    @desk.method
    async def double(items: ChannelReader[int]) -> AsyncIterator[int]:
        async for number in items:
            yield 2 * number

    await desk.answers(read_stream("double", uploads=["s"]))
    for number in (1, 2):
        desk.incoming.feed("s", raw(number))
        await wait_all_tasks_blocked()
    desk.incoming.complete("s", None)
    assert await desk.answers() == [item("1", 2), item("1", 4), ended("1")]


async def test_an_upload_that_breaks_raises_in_the_method(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        return sum([number async for number in items])

    await desk.answers(read_call("total", id="1", uploads=["s"]))
    desk.incoming.complete("s", HubException("upload failed"))
    assert await desk.answers() == [ended("1", "total failed: upload failed")]


async def test_uploads_are_forgotten_when_the_method_ends(desk: Desk) -> None:
    readers: list[ChannelReader[int]] = []

    @desk.method
    async def ignore(items: ChannelReader[int]) -> None:
        readers.append(items)

    assert await desk.answers(read_call("ignore", id="1", uploads=["s"])) == [result("1", None)]
    assert "s" not in desk.incoming
    desk.incoming.feed("s", raw(1))
    with pytest.raises(ChannelClosed):
        readers[0].read_ready()


async def test_the_number_of_uploads_must_fit(desk: Desk) -> None:
    @desk.method
    async def total(items: ChannelReader[int]) -> None: ...

    desk.method(plain)
    text = (
        "An unexpected error occurred invoking '{}' on the server. "
        "HubException: Client sent {} stream(s), Hub method expects {}."
    )
    assert await desk.answers(
        read_call("total", id="1"),
        read_call("total", id="2", uploads=["a", "b"]),
        read_call("plain", id="3", uploads=["c"]),
    ) == [
        ended("1", text.format("total", 0, 1)),
        ended("2", text.format("total", 2, 1)),
        ended("3", text.format("plain", 1, 0)),
    ]
    assert not any(id in desk.incoming for id in "abc")


async def test_an_upload_id_in_use_is_refused(desk: Desk) -> None:
    @desk.method
    async def total(first: ChannelReader[int], second: ChannelReader[int]) -> int:
        return sum([number async for number in first])

    assert await desk.answers(
        read_call("total", id="1", uploads=["a", "b"]),
        read_call("total", id="2", uploads=["c", "b"]),
        read_call("total", id="3", uploads=["d", "d"]),
    ) == [ended(id, IN_USE.format(stream)) for id, stream in (("2", "b"), ("3", "d"))]
    assert "c" not in desk.incoming
    assert "d" not in desk.incoming
    desk.incoming.feed("a", raw(1))
    desk.incoming.complete("a", None)
    assert (await desk.answers())[2:] == [result("1", 1)]


async def test_an_upload_id_is_free_again_once_its_peer_has_ended_it(desk: Desk) -> None:
    gate = trio.Event()

    @desk.method
    async def total(items: ChannelReader[int]) -> int:
        numbers = [number async for number in items]
        await gate.wait()
        return sum(numbers)

    desk.their_calls.invoke(read_call("total", id="1", uploads=["s"]))
    desk.incoming.complete("s", None)
    await desk.answers(read_call("total", id="2", uploads=["s"]))
    gate.set()
    assert await desk.answers() == [result("1", 0)]
    desk.incoming.feed("s", raw(5))
    desk.incoming.complete("s", None)
    assert (await desk.answers())[1:] == [result("2", 5)]
