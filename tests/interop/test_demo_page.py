"""The demo's page in a browser: a stream is started, its items appear, and cancelling it ends the server's method."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.interop.conftest import read_line, running_server

pytestmark = pytest.mark.interop


def test_demo_page(run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str) -> None:
    with running_server(sys.executable, "-m", "trio_hubs", "demo", "--port", "0") as (address, process):
        run = run_node("page.mjs", chromium, address)
        assert run.stdout == "ok\n", run.stdout + run.stderr
        while "browser 1: cancelled" not in (line := read_line(process, 10)):
            assert line, "the server's method was not cancelled"
