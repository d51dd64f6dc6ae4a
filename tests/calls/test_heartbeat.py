"""One timer ticks all sessions, and does not take its own lateness for the peers' silence."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.calls.heartbeat import beat, period_for
from trio_hubs.calls.session import Session
from trio_hubs.connections.memory import memory_connection_pair

from .support import PROTOCOL, Diary, Table, session_options


class Ticked(Session):
    """A session that notes its ticks instead of living."""

    def __init__(self) -> None:
        super().__init__(memory_connection_pair()[0], PROTOCOL, Table(), Diary(), session_options())
        self.ticks: list[tuple[float, float]] = []

    def tick(self, now: float, *, late: float = 0.0) -> None:
        self.ticks.append((now, late))


async def test_every_session_ticks_every_period(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    sessions = [Ticked(), Ticked()]
    with trio.move_on_after(3.5):
        await beat(lambda: sessions, 1)
    for session in sessions:
        assert session.ticks == [(1, 0), (2, 0), (3, 0)]


async def test_the_sessions_of_the_moment_tick(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    sessions: list[Ticked] = []
    nursery.start_soon(beat, lambda: sessions, 1)
    first, second = Ticked(), Ticked()
    for now in ([first], [first, second], [second], []):
        sessions[:] = now
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    assert [now for now, _ in first.ticks] == [1, 2]
    assert [now for now, _ in second.ticks] == [2, 3]


async def test_a_session_may_leave_while_they_tick(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    sessions: set[Session] = set()

    class Leaving(Ticked):
        def tick(self, now: float, *, late: float = 0.0) -> None:
            sessions.discard(self)

    sessions |= {Leaving(), Leaving()}
    nursery.start_soon(beat, lambda: sessions, 1)
    await wait_all_tasks_blocked()
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert sessions == set()


@pytest.mark.parametrize(("late", "told"), [(0, 0), (0.9, 0), (1, 1), (60, 60)])
async def test_sessions_are_told_how_late_we_were(
    nursery: trio.Nursery, mock_clock: MockClock, late: float, told: float
) -> None:
    session = Ticked()
    nursery.start_soon(beat, lambda: [session], 1)
    for step in (1 + late, 1):
        await wait_all_tasks_blocked()
        mock_clock.jump(step)
    await wait_all_tasks_blocked()
    assert session.ticks == [(1 + late, told), (2 + late, 0)]


def test_periods_are_a_quarter_of_the_shortest_time_and_at_most_a_second() -> None:
    assert period_for(15, 30) == 1
    assert period_for(15, 2) == 0.5
    assert period_for(0.1) == 0.025
