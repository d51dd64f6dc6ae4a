"""What is queued for later waits for a flush, and what is the same for many is joined once."""

import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.calls.outbox import Outbox
from trio_hubs.connections.memory import memory_connection_pair

from .support import run_outbox


class Wire:
    """A running outbox whose connection takes nothing until it is read."""

    def __init__(self) -> None:
        self.ours, self.theirs = memory_connection_pair(capacity=0)
        self.outbox = Outbox(self.ours)

    async def finish(self) -> bytes:
        """End the outbox; gives all that arrives."""
        received: list[bytes] = []

        async def read() -> None:
            while data := await self.theirs.receive():
                received.append(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await self.outbox.finish(1)
            self.ours.close()
        return b"".join(received)


async def start(nursery: trio.Nursery) -> Wire:
    """Start an outbox, and have its writer wait for its peer."""
    wire = Wire()
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    wire.outbox.put(b"(")
    await wait_all_tasks_blocked()
    return wire


async def test_shared_messages_wait_for_the_flush(nursery: trio.Nursery) -> None:
    wire = Wire()
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    assert wire.outbox.put_later(b"a")
    assert wire.outbox.put_later(b"b")
    await wait_all_tasks_blocked()
    assert wire.outbox.size == 2
    pieces, together, _ = wire.outbox.flush(([], b"", {}), 0.0)
    assert (pieces, together) == ([b"a", b"b"], b"ab")
    assert await wire.theirs.receive() == b"ab"
    assert await wire.finish() == b""


async def test_pieces_that_are_like_anothers_are_joined_once(nursery: trio.Nursery) -> None:
    first, second, third = Wire(), Wire(), Wire()
    for wire in (first, second, third):
        nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    second.outbox.put_later(b"c")
    second.outbox.put_later(b"b")
    for wire in (first, third):
        for data in (b"a", b"b"):
            wire.outbox.put_later(data)
    like = first.outbox.flush(([], b"", {}), 0.0)
    assert third.outbox.flush(like, 0.0) is like
    assert second.outbox.flush(like, 0.0) == ([b"c", b"b"], b"cb", {})
    assert [await wire.theirs.receive() for wire in (first, second, third)] == [b"ab", b"cb", b"ab"]
    for wire in (first, second, third):
        wire.outbox.give_up()


async def test_a_busy_writer_needs_no_flush(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    assert not wire.outbox.put_later(b"a")
    assert await wire.finish() == b"(a"


async def test_a_flush_of_nothing_sends_nothing(nursery: trio.Nursery) -> None:
    wire = Wire()
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    assert wire.outbox.flush(([b"other"], b"other", {}), 0.0) == ([], b"", {})
    assert await wire.finish() == b""


async def test_a_message_for_many_keeps_its_place(nursery: trio.Nursery) -> None:
    wire = Wire()
    nursery.start_soon(run_outbox, wire.outbox)
    await wait_all_tasks_blocked()
    wire.outbox.put_later(b"a")
    wire.outbox.put_now(b"b")
    wire.outbox.flush(([], b"", {}), 0.0)
    assert await wire.theirs.receive() == b"ab"
    assert await wire.finish() == b""


async def test_nothing_is_shared_with_what_is_over(nursery: trio.Nursery) -> None:
    wire = await start(nursery)
    wire.outbox.give_up()
    await wire.outbox.finish(1)
    assert not wire.outbox.put_later(b"a")
    wire.outbox.flush(([], b"", {}), 0.0)
    assert wire.outbox.size == 0
