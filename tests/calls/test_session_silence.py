"""A session's pings keep it alive, and a peer that is silent or takes nothing is given up."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import PING, call, close, ended, item
from trio_hubs.calls.heartbeat import beat
from trio_hubs.calls.options import Role
from trio_hubs.calls.reading import LONGEST_PAUSE
from trio_hubs.connections.memory import MemoryConnection

from .session_log import open_stream
from .support import Side, encode, open_side

INTERVAL = 15
"""Seconds between pings."""


async def ticks(side: Side, seconds: float) -> None:
    """Let time pass, ticking every second as the heartbeat does."""
    with trio.move_on_after(seconds):
        await beat(lambda: [side.session], 1)


async def times_of_messages(side: Side, seconds: float) -> list[float]:
    """When the peer received something, in so many seconds."""
    times: list[float] = []

    async def listen() -> None:
        while True:
            await side.peer.connection.receive()
            times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await ticks(side, seconds)
        nursery.cancel_scope.cancel()
    return times


async def test_pings_are_sent_every_interval(autojump_clock: MockClock) -> None:
    async with open_side(keep_alive_interval=INTERVAL, role=Role.SERVER) as side:
        assert await times_of_messages(side, 50) == [15, 30, 45]
        side.session.outbox.put(encode(PING))
        assert await side.peer.receive() == PING


@pytest.mark.parametrize(("role", "times"), [(Role.SERVER, [10, 15, 30, 45]), (Role.CLIENT, [10, 25, 40])])
async def test_other_messages_put_a_clients_pings_off(
    autojump_clock: MockClock, role: Role, times: list[float]
) -> None:
    async with open_side(keep_alive_interval=INTERVAL, role=role) as side:

        async def talk() -> None:
            await trio.sleep(10)
            await side.session.our_calls.send("x", ())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert await times_of_messages(side, 50) == times


async def test_no_pings_where_the_transport_keeps_itself_alive(autojump_clock: MockClock) -> None:
    def prepare(side: Side) -> None:
        side.connection.inherent_keep_alive = True

    async with open_side(prepare=prepare) as side:
        assert await times_of_messages(side, 50) == []


async def test_no_ping_joins_a_message_that_is_being_sent(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0, send_timeout=100) as side:
        await side.session.our_calls.send("x", ())
        await ticks(side, 40)
        assert await side.peer.receive() == call("x")
        await wait_all_tasks_blocked()
        assert side.session.outbox.size == 0
        side.session.end()
        assert (await side.peer.rest()) == [close()]


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0, send_timeout=10) as side:
        await side.session.our_calls.send("x", ())
        await ticks(side, 9.5)
        assert not side.over.is_set()
        await ticks(side, 2)
        await side.over.wait()
        assert trio.current_time() < 12  # the last bytes are given up, too
        assert side.life.events[-1] == ("closed", "The peer does not take its messages fast enough.")


@pytest.mark.parametrize("role", Role)
async def test_a_silent_peer_is_closed_and_a_server_not_told_of_it(
    autojump_clock: MockClock, role: Role
) -> None:
    async with open_side(role=role, server_timeout=30, client_timeout=30) as side:
        await side.peer.send(PING)
        await ticks(side, 29.5)
        assert not side.over.is_set()
        await ticks(side, 2)
        assert side.life.events[-1] == ("closed", "silent for 30 s")
        assert side.session.unheard is (role is Role.CLIENT)
        told = [message for message in await side.peer.rest() if message != PING]
        goodbye = close("ended: silent for 30 s", allow_reconnect=True)
        assert told == ([goodbye] if role is Role.SERVER else [])


async def test_a_peer_that_never_pings_may_be_silent_where_that_is_so(autojump_clock: MockClock) -> None:
    async with open_side(role=Role.SERVER, client_timeout=30) as side:
        side.face.add("plain", lambda: 1)
        await side.peer.send(call("plain", id="1"))
        await ticks(side, 100)
        assert not side.over.is_set()


async def test_every_message_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    async with open_side(role=Role.SERVER, client_timeout=30) as side:
        await side.peer.send(PING)
        for _ in range(4):
            await ticks(side, 25)
            await side.peer.send(ended("9"))
        assert not side.over.is_set()


async def test_our_own_lateness_is_not_the_peers_silence(autojump_clock: MockClock) -> None:
    async with open_side(role=Role.CLIENT, server_timeout=30) as side:
        side.session.tick(trio.current_time() + 100, late=99)
        await wait_all_tasks_blocked()
        assert not side.over.is_set()
        side.session.tick(trio.current_time() + 100 + 28.9)
        assert not side.session.ended
        side.session.tick(trio.current_time() + 100 + 29)
        await side.over.wait()


@pytest.mark.parametrize("what", ["silent", "deaf", "slow", "without acknowledgements"])
async def test_though_we_are_always_late_what_is_due_comes(what: str) -> None:
    """Of each three seconds two are ours, so that ten of the peer's are thirty."""
    async with open_side(
        role=Role.CLIENT, server_timeout=10, send_timeout=10, acknowledgement_timeout=10
    ) as side:
        start = trio.current_time()
        outbox = side.session.outbox
        side.session.keep_alive.waiting_since = start if what == "silent" else None
        match what:
            case "deaf":
                outbox.times.sending_since = start
            case "slow":
                outbox.times.deadline = start + 10
            case "without acknowledgements":
                outbox.times.blocked_since = start
            case _:
                assert what == "silent"
        for look in range(1, 10):
            side.session.tick(start + 3 * look, late=2)
            assert not side.session.ended
        side.session.tick(start + 30, late=2)
        assert side.session.ended


async def test_what_began_while_we_were_late_is_owed_since_then_at_the_earliest() -> None:
    async with open_side(role=Role.CLIENT, server_timeout=10) as side:
        start = trio.current_time()
        side.session.keep_alive.waiting_since = start + 99
        side.session.tick(start + 100, late=50)
        side.session.tick(start + 109.9)
        assert not side.session.ended
        side.session.tick(start + 110)
        assert side.session.ended


async def test_a_peer_that_we_do_not_read_is_not_silent(autojump_clock: MockClock) -> None:
    async with (
        open_side(role=Role.CLIENT, server_timeout=3, stream_buffer_size=10) as side,
        open_stream(side) as reader,
    ):
        await side.peer.send(item("1", 1), item("1", 2))
        await ticks(side, LONGEST_PAUSE - 0.1)
        assert not side.over.is_set()
        reader.read_ready()
        await ticks(side, 2)
        assert not side.over.is_set()
        await ticks(side, 3)
        await side.over.wait()


async def test_each_part_that_the_peer_takes_is_progress(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = 0.0
    monkeypatch.setattr(MemoryConnection, "last_progress", property(lambda _: progress))
    async with open_side(capacity=0, send_timeout=10) as side:
        await side.session.our_calls.send("x", ())
        for _ in range(5):
            await ticks(side, 8)
            progress = trio.current_time()
        assert not side.over.is_set()
        await ticks(side, 11)
        await side.over.wait()
        assert side.life.events[-1] == ("closed", "The peer does not take its messages fast enough.")


async def test_our_own_slowness_is_not_the_peers_deafness(autojump_clock: MockClock) -> None:
    async with open_side(capacity=0, send_timeout=10) as side:
        await side.session.our_calls.send("x", ())
        await trio.sleep(100)
        side.session.tick(trio.current_time(), late=91)
        assert not side.session.ended
        side.session.tick(trio.current_time() + 1)
        assert side.session.ended
