"""An outbox whose connection may tear keeps what was sent, holds back what may not be, and repeats only what counts."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import PING, ack, call, sequence
from tests.messages import Message as Fields
from trio_hubs.calls.outbox import Outbox, State
from trio_hubs.calls.replay import Replay
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.protocol.messages import Message

from .support import PROTOCOL, decode, encode
from .support import run_outbox as run

Waiting = Callable[[], AbstractContextManager[None]]


def hello(number: int) -> Fields:
    return call("hello", number)


def parsed(*messages: Fields) -> list[Message]:
    """What the reader makes of messages."""
    return [message for part in PROTOCOL.parser(None).feed(encode(*messages)) for message in part]


class Socket(Duplex):
    """A connection that tears when a test says so.

    Attributes:
        away: Whether it is torn.
        takes: Whether it takes anything at once.
        keeps: Whether what it took at once waits for the rest.
        open: Unset while what is being sent waits.
        sent: What has been sent.
    """

    def __init__(self) -> None:
        super().__init__("socket", Request())
        self.resumable = True
        self.away = False
        self.takes = False
        self.keeps = False
        self.open = trio.Event()
        self.open.set()
        self.sent: list[bytes] = []

    async def receive(self) -> bytes:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        await self.open.wait()
        self.keeps = False
        if data:
            self.sent.append(data)

    def send_nowait(self, data: bytes, packed: dict[Hashable, bytes] | None = None) -> bool:
        if self.takes:
            self.sent.append(data)
        return self.takes

    @property
    def unsent(self) -> bool:
        return self.keeps and not self.away

    def received(self) -> list[Fields]:
        """What has been sent since this was last asked."""
        messages = decode(b"".join(self.sent))
        self.sent.clear()
        return messages


class Wire:
    """A running outbox on such a connection."""

    def __init__(self, limit: int = 100_000, waiting: Waiting = nullcontext) -> None:
        self.socket = Socket()
        self.replay = Replay(PROTOCOL, limit, waiting)
        self.outbox = Outbox(self.socket, replay=self.replay)

    async def put(self, *messages: Fields) -> None:
        self.outbox.put(encode(*messages), len(messages))
        await wait_all_tasks_blocked()

    async def resume(self) -> list[Fields]:
        self.socket.away = False
        self.outbox.resume()
        await wait_all_tasks_blocked()
        return self.socket.received()


async def start(nursery: trio.Nursery, limit: int = 100_000, waiting: Waiting = nullcontext) -> Wire:
    wire = Wire(limit, waiting)
    nursery.start_soon(run, wire.outbox)
    await wait_all_tasks_blocked()
    return wire


@pytest.mark.parametrize("at_once", [False, True])
async def test_nothing_is_sent_while_away(nursery: trio.Nursery, at_once: bool) -> None:
    wire = await start(nursery)
    wire.socket.takes = at_once
    wire.socket.away = True
    wire.outbox.put_now(encode(hello(1)))
    await wire.put(hello(2))
    assert wire.socket.sent == []
    assert await wire.resume() == [sequence(1), hello(1), hello(2)]
    wire.outbox.give_up()


async def test_what_is_put_at_once_does_not_overtake_what_comes_again(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.socket.takes = True
    wire.outbox.put_now(encode(hello(1)))
    wire.socket.received()
    wire.socket.away = True
    await wait_all_tasks_blocked()
    wire.socket.away = False
    wire.outbox.resume()
    wire.outbox.put_now(encode(hello(2)))
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [sequence(1), hello(1), hello(2)]
    wire.outbox.give_up()


async def test_what_was_being_sent_comes_again(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.socket.open = trio.Event()
    await wire.put(hello(1))
    await wire.put(hello(2))
    wire.socket.away = True
    wire.outbox.resume()  # before the writer has left the old link
    wire.socket.away = False
    wire.socket.open.set()
    await wait_all_tasks_blocked()
    lost, *messages = wire.socket.received()
    assert lost == hello(1)
    assert messages == [sequence(1), hello(1), hello(2)]
    wire.outbox.give_up()


async def test_a_resumption_of_a_resumption_repeats_all_again(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    await wire.put(hello(1))
    wire.socket.received()
    wire.socket.open = trio.Event()
    assert await wire.resume() == []  # under way
    wire.outbox.resume()
    wire.socket.open.set()
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [sequence(1), hello(1)] * 2
    wire.outbox.give_up()


async def test_dropped_messages_do_not_count(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.socket.away = True
    pieces = [bytearray(encode(hello(number))) for number in range(5)]
    for piece in pieces:
        wire.outbox.put(piece)
    for piece in pieces[:4]:
        wire.outbox.withdraw(piece)
    assert await wire.resume() == [sequence(1), hello(4)]
    list(wire.replay.take(parsed(ack(1))))
    assert await wire.resume() == [sequence(2)]
    wire.outbox.give_up()


# ---- the limit


async def test_the_message_that_goes_beyond_the_limit_is_the_last(nursery: trio.Nursery) -> None:
    wire = await start(nursery, limit=1)
    await wire.put(hello(1))
    await wire.put(hello(2))
    await wire.put(hello(3))
    assert wire.socket.received() == [hello(1)]
    assert wire.outbox.size == len(encode(hello(2), hello(3)))
    wire.outbox.cork()
    list(wire.replay.take(parsed(ack(1))))
    wire.outbox.uncork()
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [hello(2), hello(3)]
    wire.outbox.give_up()


async def test_what_is_put_at_once_heeds_the_limit(nursery: trio.Nursery) -> None:
    wire = await start(nursery, limit=1)
    wire.socket.takes = True
    for number in (1, 2, 3):
        wire.outbox.put_now(encode(hello(number)))
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [hello(1)]
    wire.outbox.cork()
    list(wire.replay.take(parsed(ack(1))))
    wire.outbox.uncork()
    assert wire.socket.received() == [hello(2), hello(3)]
    wire.outbox.give_up()


async def test_what_comes_again_is_sent_though_the_limit_is_passed(nursery: trio.Nursery) -> None:
    wire = await start(nursery, limit=1)
    await wire.put(hello(1))
    await wire.put(hello(2))
    wire.socket.received()
    wire.socket.away = True
    assert await wire.resume() == [sequence(1), hello(1)]
    wire.outbox.give_up()


async def test_the_last_messages_do_not_heed_the_limit(nursery: trio.Nursery) -> None:
    wire = await start(nursery, limit=1)
    await wire.put(hello(1))
    await wire.put(hello(2))
    await wire.outbox.finish(1)
    assert wire.socket.received() == [hello(1), hello(2)]


async def test_a_connection_that_goes_on_behind_the_end_needs_no_writer() -> None:
    wire = Wire()
    wire.socket.takes = True
    async with trio.open_nursery() as nursery:
        wire.outbox.start(nursery, lambda _: None)
        await wire.outbox.finish(1)
    assert wire.outbox.state is State.OVER
    assert await wire.resume() == []


async def test_an_outbox_that_is_away_ends_at_once(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.socket.away = True
    await wire.put(hello(1))
    with trio.fail_after(1):
        await wire.outbox.finish(1000)
    assert wire.outbox.state is State.OVER
    assert wire.socket.sent == []


async def test_what_was_taken_in_part_is_finished_above_the_limit_but_nothing_else_is_sent(
    nursery: trio.Nursery,
) -> None:
    wire = await start(nursery, limit=1)
    wire.socket.takes = wire.socket.keeps = True
    wire.outbox.put_now(encode(hello(1)))  # goes beyond the limit, and the writer has to finish it
    wire.outbox.put(encode(hello(2)))
    await wait_all_tasks_blocked()
    assert not wire.socket.keeps
    assert wire.socket.received() == [hello(1)]
    wire.outbox.give_up()


async def test_reading_is_asked_for_only_while_the_peer_has_to_acknowledge(nursery: trio.Nursery) -> None:
    waiting = 0

    @contextmanager
    def wait() -> Iterator[None]:
        nonlocal waiting
        waiting += 1
        yield
        waiting -= 1

    wire = await start(nursery, limit=1, waiting=wait)
    wire.socket.takes = True
    wire.outbox.put_now(encode(hello(1)))
    await wire.put(hello(2))
    assert waiting == 1
    wire.outbox.cork()
    list(wire.replay.take(parsed(ack(1))))
    wire.outbox.uncork()
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [hello(1), hello(2)]
    assert waiting == 0
    wire.outbox.give_up()


# ---- what does not count


async def test_control_messages_go_first_and_never_again(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.socket.away = True
    await wire.put(hello(1))
    wire.outbox.put_control(encode(PING))
    await wait_all_tasks_blocked()
    wire.socket.away = False
    wire.outbox.cork()
    wire.outbox.put_control(encode(ack(3)))
    await wait_all_tasks_blocked()
    assert wire.socket.received() == []
    wire.outbox.uncork()
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [PING, ack(3), hello(1)]
    assert await wire.resume() == [sequence(1), hello(1)]
    wire.outbox.give_up()


async def test_control_messages_do_not_heed_the_limit(nursery: trio.Nursery) -> None:
    wire = await start(nursery, limit=1)
    await wire.put(hello(1))
    await wire.put(hello(2))
    wire.outbox.put_control(encode(PING))
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [hello(1), PING]
    wire.outbox.give_up()


async def test_no_control_message_is_kept_once_it_is_over(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.outbox.give_up()
    await wire.outbox.finish(1)
    wire.outbox.put_control(encode(PING))
    assert wire.socket.sent == []


async def test_the_answer_to_the_handshake_never_comes_again(nursery: trio.Nursery) -> None:
    """Which it was sent with; on a new link it would be read as a message, and is none."""
    wire = Wire()
    wire.outbox.put_control(b"{}\x1e")
    wire.outbox.put(encode(hello(1)))
    nursery.start_soon(run, wire.outbox)
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [{}, hello(1)]
    wire.socket.away = True
    assert await wire.resume() == [sequence(1), hello(1)]
    wire.outbox.give_up()


async def test_nobody_waits_for_what_the_peer_has_caused_while_it_has_to_acknowledge(
    nursery: trio.Nursery,
) -> None:
    """Else nobody would read the acknowledgement."""
    wire = await start(nursery, limit=10)
    await wire.put(hello(1))
    wire.outbox.put_unasked(bytes(wire.outbox.transport_buffer_size))
    await wait_all_tasks_blocked()
    with trio.fail_after(1):
        await wire.outbox.wait_taken()
    wire.outbox.give_up()


async def test_a_control_message_alone_goes_out_at_the_uncorking(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.outbox.cork()
    wire.outbox.put_control(encode(PING))
    await wait_all_tasks_blocked()
    assert wire.socket.sent == []
    wire.outbox.uncork()
    await wait_all_tasks_blocked()
    assert wire.socket.received() == [PING]
    wire.outbox.give_up()
