"""The pages of the examples in a browser, each as its visitors use it, and no other server is asked for anything."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.interop.conftest import running_server

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("example", ["dashboard", "job_runner"])
def test_example_page(
    run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str, example: str
) -> None:
    command = (sys.executable, "-m", "trio_hubs", "serve", f"examples.{example}:app", "--port", "0")
    with running_server(*command) as (address, _):
        run = run_node(f"{example}_page.mjs", chromium, address)
        assert run.stdout == "ok\n", run.stdout + run.stderr
