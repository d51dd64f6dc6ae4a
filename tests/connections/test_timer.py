"""A task that looks after deadlines knows by how much it came late, and lets others run first."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.timer import sleep_late


@pytest.mark.parametrize(("longer", "late"), [(0, 0), (0.9, 0), (1, 1), (2.5, 2.5), (100, 100)])
async def test_lateness_is_told_when_it_is_a_period_or_more(
    mock_clock: MockClock, nursery: trio.Nursery, longer: float, late: float
) -> None:
    told: list[float] = []

    async def look() -> None:
        told.append(await sleep_late(1))

    nursery.start_soon(look)
    await wait_all_tasks_blocked()
    mock_clock.jump(1 + longer)
    await wait_all_tasks_blocked()
    assert told == [pytest.approx(late)]


async def test_who_can_run_runs_first_when_it_was_late(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    order: list[str] = []

    async def look() -> None:
        await sleep_late(1)
        order.append("look")

    async def other() -> None:
        await trio.sleep(1)
        order.append("other")

    nursery.start_soon(look)
    nursery.start_soon(other)
    await wait_all_tasks_blocked()
    mock_clock.jump(5)
    await wait_all_tasks_blocked()
    assert order == ["other", "look"]
