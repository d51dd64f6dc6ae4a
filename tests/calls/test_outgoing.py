"""A stream on its way out: its items in order and at once, its neighbours served, its source closed."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import call, item
from trio_hubs.calls.channels import GIVE_WAY, open_channel
from trio_hubs.calls.outbox import TRANSPORT_BUFFER_SIZE, Outbox
from trio_hubs.calls.outgoing import OutgoingStream, OutgoingStreams
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.errors import BindingError, ChannelClosed, ConnectionClosed
from trio_hubs.protocol.hub_protocol import ItemEncoder

from .support import PROTOCOL, Recorder, count_up, encode, run_outbox, turns

ENCODER = PROTOCOL.item_encoder("1", int)


class Generated:
    """An iterable whose iterators are generators."""

    def __init__(self, *items: object) -> None:
        self.items = items
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[object]:
        try:
            for value in self.items:
                yield value
        finally:
            self.closed = True


class Counted:
    """An iterator that is no generator."""

    def __init__(self, stop: int) -> None:
        self.next = 0
        self.stop = stop

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if self.next == self.stop:
            raise StopAsyncIteration
        self.next += 1
        return self.next - 1


async def send_items(items: AsyncIterable[object], encoder: ItemEncoder, outbox: Outbox) -> None:
    await OutgoingStream(encoder, outbox).send(items)


def channel_of(count: int) -> AsyncIterable[int]:
    writer, reader = open_channel(int, capacity=count)
    for number in range(count):
        writer.try_write(number)
    writer.complete()
    return reader


SOURCES = pytest.mark.parametrize(
    "source", [channel_of, count_up, Counted], ids=["reader", "generator", "iterator"]
)
Source = Callable[[int], AsyncIterable[int]]


@SOURCES
@pytest.mark.parametrize("count", [0, 1, 200])
async def test_all_items_are_queued_in_order(source: Source, count: int) -> None:
    outbox = Recorder()
    await send_items(source(count), ENCODER, outbox)
    assert outbox.sent == [item("1", number) for number in range(count)]


@SOURCES
async def test_sending_is_a_checkpoint(source: Source) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await send_items(source(0), ENCODER, Recorder())
    assert scope.cancelled_caught


@SOURCES
async def test_a_source_that_never_waits_gives_way_every_64_items(source: Source) -> None:
    outbox = Recorder()
    async with turns() as taken:
        await send_items(source(1000), ENCODER, outbox)
        assert taken() in range(1000 // GIVE_WAY - 1, 1000 // GIVE_WAY + 3)


@SOURCES
async def test_sending_can_be_cancelled_every_64_items(source: Source) -> None:
    outbox = Recorder()
    with trio.CancelScope() as scope:
        scope.cancel()
        await send_items(source(1000), ENCODER, outbox)
    assert scope.cancelled_caught
    assert len(outbox.sent) <= GIVE_WAY


@SOURCES
async def test_a_source_waits_while_the_outbox_is_full(nursery: trio.Nursery, source: Source) -> None:
    ours, theirs = memory_connection_pair(capacity=0)
    outbox = Outbox(ours)
    nursery.start_soon(run_outbox, outbox)
    async with trio.open_nursery() as sending:
        sending.start_soon(send_items, source(100_000), ENCODER, outbox)
        for _ in range(3):
            await wait_all_tasks_blocked()
            assert TRANSPORT_BUFFER_SIZE <= outbox.size <= TRANSPORT_BUFFER_SIZE + 10_000
            await theirs.receive()
        sending.cancel_scope.cancel()


@SOURCES
async def test_sending_fails_when_the_connection_is_over(source: Source) -> None:
    ours, _ = memory_connection_pair(capacity=0)
    outbox = Outbox(ours)
    with pytest.RaisesGroup(ConnectionClosed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_outbox, outbox)
            nursery.start_soon(send_items, source(100_000), ENCODER, outbox)
            await wait_all_tasks_blocked()
            outbox.give_up()


async def test_an_item_is_queued_as_soon_as_it_is_written(nursery: trio.Nursery) -> None:
    outbox = Recorder()
    writer, reader = open_channel(int)
    nursery.start_soon(send_items, reader, ENCODER, outbox)
    for number in range(3):
        await writer.write(number)
        await wait_all_tasks_blocked()
        assert outbox.sent[number:] == [item("1", number)]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_stream_is_filed_by_its_id_until_its_end(nursery: trio.Nursery, cancelled: bool) -> None:
    outbox = Recorder()
    streams = OutgoingStreams(PROTOCOL, outbox)
    writer, reader = open_channel(int)
    async with trio.open_nursery() as sending:
        sending.start_soon(streams.send, "1", reader, int)
        sending.start_soon(streams.send, "2", count_up(3), int)
        await wait_all_tasks_blocked()
        assert set(streams.by_id) == {"1"}
        await writer.write(7)
        if cancelled:
            sending.cancel_scope.cancel()
        else:
            writer.complete()
    assert not streams.by_id
    assert [message for message in outbox.sent if message["invocationId"] == "2"] == [
        item("2", number) for number in range(3)
    ]


# ---- ends


async def test_a_readers_error_comes_after_its_items() -> None:
    outbox = Recorder()
    writer, reader = open_channel(int)
    await writer.write(1)
    writer.complete(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await send_items(reader, ENCODER, outbox)
    assert outbox.sent == [item("1", 1)]


async def test_a_generators_error_comes_after_its_items() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    outbox = Recorder()
    with pytest.raises(ValueError, match="broken"):
        await send_items(generate(), ENCODER, outbox)
    assert outbox.sent == [item("1", 1)]


async def test_items_before_one_that_cannot_be_encoded_are_queued() -> None:
    encoder = PROTOCOL.item_encoder("1", object)
    writer, reader = open_channel(object)
    for value in (1, 2, object(), 3):
        await writer.write(value)
    generated = Generated(1, 2, object(), 3)
    for source in (reader, aiter(generated), Generated(1, 2, object(), 3)):
        outbox = Recorder()
        with pytest.raises(BindingError):
            await send_items(source, encoder, outbox)
        assert outbox.sent == [item("1", 1), item("1", 2)]


class Single(ItemEncoder):
    """An encoder that fails for several items at once."""

    def one(self, item: object) -> bytes:
        return ENCODER.one(item)

    def many(self, items: Sequence[object]) -> bytes:
        raise BindingError("not together")


async def test_items_that_can_be_encoded_one_by_one_only_are_queued() -> None:
    outbox = Recorder()
    await send_items(channel_of(3), Single(), outbox)
    assert outbox.sent == [item("1", number) for number in range(3)]


async def test_a_reader_is_left_so_that_its_writer_hears_of_it() -> None:
    writer, reader = open_channel(int)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_items, reader, ENCODER, Recorder())
            await wait_all_tasks_blocked()
            scope.cancel()
    with pytest.raises(ChannelClosed, match="reader has left"):
        await writer.write(1)


@pytest.mark.parametrize("as_iterable", [False, True])
async def test_a_generator_is_closed_in_the_same_task(as_iterable: bool) -> None:
    """The one behind an iterable, too; the garbage collector would warn, and warnings are errors."""
    source = Generated(1, object())
    with pytest.raises(BindingError):
        await send_items(
            source if as_iterable else aiter(source), PROTOCOL.item_encoder("1", object), Recorder()
        )
    assert source.closed


async def test_a_cancelled_generator_cleans_up_in_its_own_task() -> None:
    tasks: list[object] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            tasks.append(trio.lowlevel.current_task())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_items, generate(), ENCODER, Recorder())
        await wait_all_tasks_blocked()
        sending = next(iter(nursery.child_tasks))
        nursery.cancel_scope.cancel()
    assert tasks == [sending]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_receive_channel_is_closed_so_that_its_sender_hears_of_it(ended: bool) -> None:
    sender, receiver = trio.open_memory_channel[int](5)
    sender.send_nowait(1)
    kept = receiver.clone() if ended else None
    outbox = Recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_items, receiver, ENCODER, outbox)
        await wait_all_tasks_blocked()
        if ended:
            sender.close()
        else:
            nursery.cancel_scope.cancel()
    assert outbox.sent == [item("1", 1)]
    with pytest.raises(trio.ClosedResourceError):
        receiver.receive_nowait()
    if kept is None:
        with pytest.raises(trio.BrokenResourceError):
            sender.send_nowait(2)
    else:
        kept.close()


async def test_what_cannot_be_closed_is_sent_all_the_same() -> None:
    class Numbers:
        """An iterator with nothing but its items."""

        def __init__(self) -> None:
            self.next = 0

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            self.next += 1
            if self.next == 3:
                raise StopAsyncIteration
            return self.next

    outbox = Recorder()
    await send_items(Numbers(), ENCODER, outbox)
    assert outbox.sent == [item("1", 1), item("1", 2)]


# ---- the items of a generator that come without a wait


async def test_they_are_encoded_together_and_none_waits_behind_its_producer() -> None:
    outbox = Recorder()
    waiting = trio.Event()

    async def generate() -> AsyncIterator[int]:
        for number in range(1, 200):
            yield number
            if number == 150:
                assert len(outbox.sent) < 150
                await trio.lowlevel.checkpoint()
                assert len(outbox.sent) == 150
                await waiting.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_items, generate(), ENCODER, outbox)
        await wait_all_tasks_blocked()
        assert outbox.sent == [item("1", number) for number in range(1, 151)]
        waiting.set()
    assert outbox.sent == [item("1", number) for number in range(1, 200)]


async def test_what_their_producer_sends_meanwhile_comes_behind_them() -> None:
    outbox = Recorder()

    async def generate() -> AsyncIterator[int]:
        for number in range(4):
            yield number
            outbox.put(encode(call("made", number)))

    await send_items(generate(), ENCODER, outbox)
    made = [(item("1", number), call("made", number)) for number in range(4)]
    assert outbox.sent == [message for pair in made for message in pair]


async def test_one_that_cannot_be_encoded_ends_a_generator_that_waits_for_ever() -> None:
    outbox = Recorder()
    left: list[BaseException] = []

    async def generate() -> AsyncIterator[object]:
        yield 0
        try:
            for value in (1, 2, object(), 4):
                yield value
            await trio.sleep_forever()
        except BaseException as error:
            left.append(error)
            raise

    with pytest.raises(BindingError):
        await send_items(generate(), PROTOCOL.item_encoder("1", object), outbox)
    assert outbox.sent == [item("1", number) for number in (0, 1, 2)]
    assert [type(error) for error in left] == [trio.Cancelled]


async def test_behind_one_that_cannot_be_encoded_nothing_is_sent() -> None:
    outbox = Recorder()

    async def generate() -> AsyncIterator[object]:
        yield 0
        yield object()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        yield 2

    with pytest.raises(BindingError):
        await send_items(generate(), PROTOCOL.item_encoder("1", object), outbox)
    assert outbox.sent == [item("1", 0)]


async def test_an_error_comes_behind_the_items_before_it() -> None:
    outbox = Recorder()

    async def generate() -> AsyncIterator[int]:
        yield 1
        yield 2
        yield 3
        raise LookupError

    with pytest.raises(LookupError):
        await send_items(generate(), ENCODER, outbox)
    assert outbox.sent == [item("1", number) for number in (1, 2, 3)]


async def test_large_ones_are_not_encoded_ahead_of_the_outbox(nursery: trio.Nursery) -> None:
    ours, _ = memory_connection_pair(capacity=0)
    outbox = Outbox(ours)
    nursery.start_soon(run_outbox, outbox)
    made = 0

    async def generate() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 50_000

    nursery.start_soon(send_items, generate(), PROTOCOL.item_encoder("1", str), outbox)
    await wait_all_tasks_blocked()
    assert made <= 8
    assert outbox.size <= 4 * TRANSPORT_BUFFER_SIZE


async def test_what_is_thrown_in_is_the_iterators_to_deal_with() -> None:
    outbox = Recorder()

    async def generate() -> AsyncIterator[int]:
        yield 1
        try:
            await trio.lowlevel.checkpoint()
        except LookupError:
            yield 2

    steps = send_items(generate(), ENCODER, outbox)
    steps.send(None)
    steps.throw(LookupError())
    assert outbox.sent == [item("1", 1), item("1", 2)]
    steps.close()


async def test_a_generator_that_waits_before_each_item_waits_while_the_outbox_is_full(
    nursery: trio.Nursery,
) -> None:
    async def slow() -> AsyncIterator[str]:
        while True:
            await trio.lowlevel.checkpoint()
            yield "x" * 1000

    ours, theirs = memory_connection_pair(capacity=0)
    outbox = Outbox(ours)
    nursery.start_soon(run_outbox, outbox)
    async with trio.open_nursery() as sending:
        sending.start_soon(send_items, slow(), PROTOCOL.item_encoder("1", str), outbox)
        for _ in range(3):
            with trio.fail_after(10):
                await wait_all_tasks_blocked()
            assert outbox.size <= TRANSPORT_BUFFER_SIZE + GIVE_WAY * 1100
            await theirs.receive()
        sending.cancel_scope.cancel()
