"""The example with a login in a browser: refused, let in, heard by all, and sent away."""

import subprocess
from collections.abc import Callable

import pytest
import trio

from examples.fastapi_site import site
from tests.asgi.hypercorn_server import open_hypercorn

pytestmark = pytest.mark.interop


async def test_example_site(run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str) -> None:
    async with open_hypercorn(site) as address:
        run = await trio.to_thread.run_sync(run_node, "board.mjs", chromium, address)
        assert run.stdout == "ok\n", run.stdout + run.stderr
