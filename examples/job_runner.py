"""Jobs that outlive the connections of who asks for them: `trio-hubs serve examples.job_runner:app`.

Whoever knows a job's id may follow it, cancel it or take its result. One process has all jobs, in memory.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trio_hubs import FileResponse, Hub, HubApp, HubException, HubOptions

logger = logging.getLogger(__name__)
PAGES = Path(__file__).with_name("pages")
MAXIMUM_JOBS = 100  # those that run or wait, and the newest of those that are over, with their results


class Job:
    """The rendering of a film, from the moment that it is asked for."""

    def __init__(self, frames: int) -> None:
        self.frames, self.done = frames, 0
        self.over = False
        self.film = ""
        self.error = "The job was cancelled."  # where there is no film
        self.scope = trio.CancelScope()
        self.changed = trio.Event()

    async def run(self, places: trio.CapacityLimiter) -> None:
        """Render the frames as soon as there is a place, until the end or until cancelled."""
        try:
            with self.scope:
                async with places:
                    for frame in range(self.frames):
                        await trio.sleep(0.1)  # the work; what computes runs in `trio.to_thread.run_sync`
                        self.tell(frame + 1)
                self.film = f"a film of {self.frames} frames"
        except Exception:
            logger.exception("a job has failed")
            self.error = "The job has failed."
        self.over = True
        self.tell(self.done)

    def tell(self, done: int) -> None:
        """Wake who follows the job."""
        self.done = done
        self.changed.set()
        self.changed = trio.Event()


@attrs.frozen
class Jobs:
    """The app's state: where jobs run, how many at a time, and all by their ids, which nobody can guess."""

    nursery: trio.Nursery
    places: trio.CapacityLimiter
    by_id: dict[str, Job]


class Runner(Hub):
    """Starts jobs, and tells of them."""

    app: HubApp[Jobs]

    def start(self, frames: int) -> str:
        """Start a job; gives its id. Where there are too many, the oldest that is over is forgotten."""
        jobs = self.app.state
        if not 1 <= frames <= 1000:
            raise HubException("A film has 1 to 1000 frames.")
        over = (id for id, job in jobs.by_id.items() if job.over)
        if len(jobs.by_id) == MAXIMUM_JOBS and not jobs.by_id.pop(next(over, ""), None):
            raise HubException("Too many jobs wait: try again later.")
        jobs.by_id[id := secrets.token_urlsafe()] = job = Job(frames)
        jobs.nursery.start_soon(job.run, jobs.places)
        return id

    async def progress(self, id: str) -> AsyncIterator[float]:
        """What part of a job is done, now and at each change until it is over. Who is slow misses what is old."""
        job = self._job(id)
        while not job.over:
            changed = job.changed
            yield job.done / job.frames
            await changed.wait()
        yield job.done / job.frames

    async def result(self, id: str) -> str:
        """Wait for a job's film."""
        job = self._job(id)
        while not job.over:
            await job.changed.wait()
        if not job.film:
            raise HubException(job.error)
        return job.film

    def cancel(self, id: str) -> None:
        """Cancel a job, whether it runs or waits."""
        self._job(id).scope.cancel()

    def _job(self, id: str) -> Job:
        if job := self.app.state.by_id.get(id):
            return job
        raise HubException("There is no such job, or no longer.")


@asynccontextmanager
async def lifespan(_: HubApp) -> AsyncGenerator[Jobs]:
    """Jobs run as long as the app does."""
    async with trio.open_nursery() as nursery:
        yield Jobs(nursery, trio.CapacityLimiter(2), {})
        nursery.cancel_scope.cancel()


app = HubApp(lifespan=lifespan)
app.add_hub("/jobs", Runner, options=HubOptions(maximum_parallel_invocations=10))  # `Result` holds up nothing
app.add_route("/", lambda _: FileResponse(PAGES / "job_runner.html"))
app.add_static("/pages", PAGES)  # with SignalR's client for browsers
