"""The chat's page in a browser: two people talk in a room, and no other server is asked for anything."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.interop.conftest import running_server

pytestmark = pytest.mark.interop


def test_chat_page(run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str) -> None:
    command = (sys.executable, "-m", "trio_hubs", "serve", "examples.chat_server:app", "--port", "0")
    with running_server(*command) as (address, _):
        run = run_node("chat_page.mjs", chromium, address)
        assert run.stdout == "ok\n", run.stdout + run.stderr
