"""What holds for every test: its time limit, and how many examples hypothesis gives it.

One that hangs fails, says where it hung, and the others go on.

An alarm interrupts the test as Ctrl-C would, which trio hands to its main task even while every task is blocked and
its clock never jumps. What cannot be interrupted (C, a shielded scope without end) ends the run at twice the limit.
"""

import faulthandler
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import trio
from hypothesis import HealthCheck, settings

from trio_hubs.logs import peer_filter

TIME_LIMIT = 180.0  # of which a busy machine may need much
INTEROP_TIME_LIMIT = 1200.0  # official clients go through all of their scenarios in one test
FUZZ_TIME_LIMIT = 600.0  # hypothesis makes a failing example small for up to 300 s
LONG_TIME_LIMIT = 7200.0  # with --hypothesis-profile=long

# A busy machine is no fault of a test's, so none has a deadline; and what has passed once passes again.
settings.register_profile(
    "fast", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("fast"), derandomize=False, max_examples=20_000)
settings.load_profile("fast")  # unless pytest's option names the other

_stderr = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "time_limit", "seconds that a test may take, instead of the usual; 0: no limit", default=None
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr] = os.dup(2)  # which is not captured yet


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with limited(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with limited(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with limited(item):
        yield


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with a log of which nothing is left out: no line of an earlier test counts."""
    monkeypatch.setattr(peer_filter, "_periods", {})


def usual_limit(item: pytest.Item) -> float:
    if settings.get_current_profile_name() == "long":
        return LONG_TIME_LIMIT
    if item.get_closest_marker("interop"):
        return INTEROP_TIME_LIMIT
    return FUZZ_TIME_LIMIT if item.path.parent.name == "fuzz" else TIME_LIMIT


@contextmanager
def limited(item: pytest.Item) -> Iterator[None]:
    """Interrupt the body, and fail, when it takes too long."""
    seconds = float(item.config.getini("time_limit") or usual_limit(item))
    if not seconds:
        yield
        return
    stderr = item.config.stash[_stderr]
    places = ""

    def interrupt(_: int, frame: FrameType | None) -> None:
        nonlocal places
        if not places:  # else it was interrupted where nobody heard of it
            places = f"{item.nodeid} has not ended after {seconds:g} s.\n\n{everywhere(frame)}"
            os.write(stderr, f"\n{places}\n".encode())  # in case that nothing else is told any more
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=stderr)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 5)
    try:
        yield
    except BaseException:
        if not places:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    if places:
        raise pytest.fail.Exception(places, pytrace=False) from None


def everywhere(frame: FrameType | None) -> str:
    """Where the main thread is, and where each of trio's tasks waits."""
    lines = ["The main thread:\n", *traceback.format_stack(frame, limit=15)]
    try:
        tasks = [trio.lowlevel.current_root_task()]
    except RuntimeError:  # trio does not run
        return "".join(lines)
    while tasks:
        task = tasks.pop()
        assert task is not None
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        if not task.name.startswith("<"):  # trio's own
            frames = traceback.StackSummary.extract(task.iter_await_frames())
            lines += [f"\nThe task {task.name}:\n", *frames.format()]
    return "".join(lines)
