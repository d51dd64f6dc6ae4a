"""Cut off by the network, the official JavaScript client finds back to our server, with stateful reconnect unharmed."""

import subprocess
from collections.abc import Callable

import pytest

from tests.interop.js_scenarios import PAIRS, run_in_node, scenarios, strays, told

pytestmark = pytest.mark.interop

EACH = [(pair, name) for pair in PAIRS for name in scenarios(pair, "reconnect")]


@pytest.fixture(scope="module")
def lines(
    conformance_server: str,
    conformance_cutter: str,
    run_node: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[[str], list[str]]:
    return run_in_node(run_node, conformance_server, "--cutter", conformance_cutter)


@pytest.mark.parametrize(("pair", "scenario"), EACH)
def test_scenario(pair: str, scenario: str, lines: Callable[[str], list[str]]) -> None:
    assert told(scenario, lines(pair)) == [f"ok {scenario}"]


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_else_is_told(pair: str, lines: Callable[[str], list[str]]) -> None:
    assert strays(scenarios(pair, "reconnect"), lines(pair)) == []
