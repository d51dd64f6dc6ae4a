"""The job runner: jobs go on without who started them, tell how far they are, and end in one of three ways."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from examples import job_runner
from trio_hubs import HubConnection, HubException
from trio_hubs.testing import open_test_app, open_test_client, open_test_http


async def start(connection: HubConnection, frames: int) -> str:
    return await connection.invoke("Start", frames, result_type=str)


async def test_a_job_tells_how_far_it_is_and_gives_its_result(autojump_clock: MockClock) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        job = await start(connection, 4)
        async with connection.stream("Progress", job, item_type=float) as parts:
            assert [part async for part in parts] == [0, 0.25, 0.5, 0.75, 1]
        assert trio.current_time() == pytest.approx(0.4)
        assert await connection.invoke("Result", job) == "a film of 4 frames"


async def test_a_job_outlives_the_connection_that_started_it(autojump_clock: MockClock) -> None:
    async with open_test_app(job_runner.app) as app:
        async with open_test_client(app, "/jobs") as connection:
            job = await start(connection, 10)
        await trio.sleep(0.55)
        async with open_test_client(app, "/jobs") as connection:
            async with connection.stream("Progress", job, item_type=float) as parts:
                assert await parts.read() == 0.5
            assert await connection.invoke("Result", job) == "a film of 10 frames"
            assert trio.current_time() == pytest.approx(1)


async def test_who_waits_for_a_result_may_cancel_the_job_by_the_same_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        jobs = [await start(connection, 10) for _ in range(3)]  # of which the last waits for its turn

        async def cancel() -> None:
            await trio.sleep(0.25)
            for job in jobs[1:]:
                await connection.invoke("Cancel", job)

        nursery.start_soon(cancel)
        for job in jobs[1:]:
            with pytest.raises(HubException, match=r"The job was cancelled\."):
                await connection.invoke("Result", job)
        assert trio.current_time() == pytest.approx(0.25)
        assert await connection.invoke("Result", jobs[0]) == "a film of 10 frames"


async def test_two_jobs_run_at_a_time(autojump_clock: MockClock) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        jobs = [await start(connection, 10) for _ in range(3)]
        ends = []
        for job in jobs:
            await connection.invoke("Result", job)
            ends.append(trio.current_time())
        assert ends == pytest.approx([1, 1, 2])


async def test_a_job_that_fails_ends_nothing_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: job_runner.Job, done: int) -> Iterator[None]:
        monkeypatch.undo()
        raise RuntimeError("the film has torn")

    async with open_test_client(job_runner.app, "/jobs") as connection:
        monkeypatch.setattr(job_runner.Job, "tell", fail)
        job = await start(connection, 10)
        with pytest.raises(HubException, match=r"The job has failed\."):
            await connection.invoke("Result", job)
        assert await connection.invoke("Result", await start(connection, 1)) == "a film of 1 frames"
    assert "the film has torn" in caplog.text


async def test_old_results_give_way_to_new_jobs_but_jobs_that_are_not_over_do_not(
    autojump_clock: MockClock,
) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        first = await start(connection, 1)
        await connection.invoke("Result", first)
        jobs = [await start(connection, 1) for _ in range(job_runner.MAXIMUM_JOBS)]
        with pytest.raises(HubException, match="There is no such job"):
            await connection.invoke("Result", first)
        with pytest.raises(HubException, match="Too many jobs wait"):
            await start(connection, 1)
        await connection.invoke("Result", jobs[-1])
        await start(connection, 1)


@pytest.mark.parametrize("frames", [0, 1001])
async def test_no_job_is_endless(autojump_clock: MockClock, frames: int) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        with pytest.raises(HubException, match="1 to 1000 frames"):
            await start(connection, frames)


async def test_what_runs_ends_with_the_app(autojump_clock: MockClock) -> None:
    async with open_test_client(job_runner.app, "/jobs") as connection:
        await start(connection, 1000)
    assert trio.current_time() < 1


async def test_its_page_needs_no_other_server() -> None:
    async with open_test_http(job_runner.app) as http:
        page = (await http.get("/")).text
        assert '<script src="/pages/signalr.min.js">' in page
        assert "://" not in page
        assert "HubConnectionBuilder" in (await http.get("/pages/signalr.min.js")).text
