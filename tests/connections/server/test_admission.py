"""So many connections and no more, none while draining; and who is turned away is told when to come back."""

import logging

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_hubs.connections.http import Response
from trio_hubs.connections.server.admission import Admission


def refused(admission: Admission) -> tuple[int, str]:
    answer = admission.refusal()
    assert isinstance(answer, Response)
    assert answer.headers["Retry-After"] == "5"
    assert answer.content_type == "text/plain"
    return answer.status, answer.body.decode()


def test_whoever_comes_is_let_in_up_to_the_maximum(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(2)
    for _ in range(2):
        assert admission.refusal() is None
        admission.enter()
    assert refused(admission) == (503, "The server has too many connections.")
    assert (admission.active, admission.refused) == (2, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    admission.leave()
    assert admission.refusal() is None
    assert (admission.active, admission.refused) == (1, 1)


def test_nobody_is_let_in_while_draining(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(2)
    admission.draining = True
    assert refused(admission) == (503, "The server is shutting down.")
    assert refused(admission) == (503, "The server is shutting down.")
    assert admission.refused == 2
    assert not caplog.records


async def test_waiting_until_it_is_empty(autojump_clock: MockClock) -> None:
    admission = Admission(10)
    with assert_checkpoints():
        await admission.wait_empty()
    admission.enter()
    admission.enter()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(admission.wait_empty)
        await wait_all_tasks_blocked()
        admission.leave()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        admission.leave()


async def test_who_waits_until_it_is_empty_sees_who_comes_in_meanwhile(autojump_clock: MockClock) -> None:
    admission = Admission(10)
    admission.enter()
    with trio.move_on_after(5) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admission.wait_empty)
            await wait_all_tasks_blocked()
            admission.leave()
            admission.enter()
    assert scope.cancelled_caught
