"""The benchmarks of fleets, each as small as can be: they still do what they measure."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from benchmarks.one_redis import hear_on, keep_groups, pass_on, publish_on
from benchmarks.redis_server import PROGRAM, RedisServer, running_redis

from .conftest import absent

pytestmark = pytest.mark.interop


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    if PROGRAM is None:
        absent("there is no redis-server")
    with running_redis() as server:
        yield server


def test_one_redis(redis: RedisServer) -> None:
    for together in (1, 100):
        rate, _ = pass_on(redis, 2, together, 0.05)
        assert rate > 0
    for rate, cost in (trio.run(publish_on, redis, 0.05), trio.run(hear_on, redis)):
        assert rate > 0
        assert cost > 0
    there, _, taken = trio.run(keep_groups, redis, 500)
    assert there > 0
    assert taken > 0


def test_fleets(redis: RedisServer) -> None:
    options = ("--only", "fleets", "--rounds", "1", "--seconds", "0.02")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet", *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "broadcast to 2 x 200, by 16" in run.stdout
