"""The official JavaScript client gets from our server what it gets from the official one."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.interop.conftest import JS

pytestmark = pytest.mark.interop

SOURCE = (JS / "scenarios.mjs").read_text(encoding="utf-8")
SCENARIOS: list[str] = re.findall(r'^scenario\("(.+?)",', SOURCE, re.MULTILINE)


@pytest.fixture(scope="module", params=["json", "messagepack"])
def lines(
    request: pytest.FixtureRequest,
    conformance_server: str,
    run_node: Callable[..., subprocess.CompletedProcess[str]],
) -> list[str]:
    """What one run of all scenarios printed: a line for each."""
    run = run_node("scenarios.mjs", conformance_server, request.param)
    assert run.stdout, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, lines: list[str]) -> None:
    good, bad = f"ok {scenario}", f"FAIL {scenario}: "
    assert [line for line in lines if line == good or line.startswith(bad)] == [good]


def test_no_scenario_is_overlooked(lines: list[str]) -> None:
    assert len(lines) == len(SCENARIOS)
