"""What the peer owes falls due after its time, and later where our own tasks were late."""

from math import inf

import pytest

from trio_hubs.calls.send_times import SendTimes, forgive
from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request


class Socket(Duplex):
    """A connection that says when its peer last took something, and whether it is torn."""

    progress = -inf

    def __init__(self) -> None:
        super().__init__("socket", Request())

    async def receive(self) -> bytes:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        raise NotImplementedError

    @property
    def last_progress(self) -> float:
        return self.progress


def new_times() -> tuple[SendTimes, Socket]:
    socket = Socket()
    return SendTimes(socket, 0), socket


def test_nothing_is_owed_at_first() -> None:
    times, _ = new_times()
    assert times.last_sent == 0
    assert not times.overdue(1e9, 10)


@pytest.mark.parametrize("away", [False, True])
def test_what_is_being_sent_must_make_progress(away: bool) -> None:
    times, socket = new_times()
    socket.away = away
    times.sending_since = 5
    assert not times.overdue(14.9, 10)
    assert times.overdue(15, 10)
    assert times.stuck(15) == 10
    socket.progress = 7
    assert times.stuck(15) == 8
    assert not times.overdue(16.9, 10)
    assert times.overdue(17, 10)
    times.sending_since = None
    assert not times.overdue(100, 10)
    assert times.stuck(100) == 0


@pytest.mark.parametrize("away", [False, True])
def test_what_waits_must_be_taken_by_its_deadline_unless_the_peer_is_away(away: bool) -> None:
    times, socket = new_times()
    socket.away = away
    times.deadline = 5
    assert not times.overdue(4.9, 10)
    assert times.overdue(5, 10) is not away


@pytest.mark.parametrize("away", [False, True])
def test_the_replay_keeps_nothing_back_for_ever_unless_the_peer_is_away(away: bool) -> None:
    times, socket = new_times()
    socket.away = away
    times.blocked_since = 5
    assert not times.unacknowledged(14.9, 10)
    assert times.unacknowledged(15, 10) is not away


def test_our_lateness_is_forgiven_but_nothing_is_owed_from_the_future_on() -> None:
    assert forgive(5, 3, 10) == 8
    assert forgive(5, 7, 10) == 10
    assert forgive(12, 7, 10) == 12
    assert forgive(inf, 7, 10) == inf


def test_all_that_is_owed_is_owed_later() -> None:
    times, socket = new_times()
    times.sending_since, times.blocked_since, times.deadline = 1, 2, 30
    socket.progress = 3
    times.forgive(4, 20)
    assert (times.sending_since, times.blocked_since, times.deadline) == (7, 6, 34)
    times.sending_since = None
    times.forgive(4, 20)
    assert (times.sending_since, times.blocked_since, times.deadline) == (None, 10, 38)
