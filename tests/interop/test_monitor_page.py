"""A monitor in a browser: let in by a token or a cookie, live, masked, and back when it was cut off; and of workers."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.conftest import running_server
from tests.interop.monitored_app import CLIENTS, TOKEN

pytestmark = pytest.mark.interop

SERVE = (sys.executable, "-m", "trio_hubs", "serve", "tests.interop.monitored_app:app", "--port", "0")


def test_monitor_page(run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str) -> None:
    with (
        running_server(*SERVE) as (address, _),
        running_server(sys.executable, "-m", "tests.interop.cutting_proxy", address) as (control, _),
    ):
        run = run_node("monitor_page.mjs", chromium, control)
        assert run.stdout == "ok\n", run.stdout + run.stderr


def test_two_workers_are_told_as_one() -> None:
    with running_server(*SERVE, "--workers", "2") as (address, _):
        command = (sys.executable, "-m", "trio_hubs", "top", f"{address}/monitor", "--token", TOKEN, "--once")
        told: dict[str, Any] = {"statistics": {"connections": 0}}
        while (
            told["statistics"]["connections"] <= 2 * CLIENTS
        ):  # until both are up, and their clients have come
            told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
        assert (told["processes"], told["expected"], told["statistics"]["connections"]) == (
            2,
            2,
            2 * CLIENTS + 1,
        )
        groups = {each["group"]: each["members"] for each in told["groups"]}
        assert groups["lobby"] == 2 * CLIENTS
