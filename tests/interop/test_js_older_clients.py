"""The JavaScript clients of ASP.NET Core 2.2 and 3.1 work with our server, whatever they send at once, and in order."""

import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from tests.interop.js_scenarios import run_in_node, scenarios, strays, told

pytestmark = pytest.mark.interop

CLIENTS = ["signalr-1", "signalr-3"]
PAIRS = ["websockets/json", "sse/json", "longpolling/json"]
EACH = [(client, pair, name) for client in CLIENTS for pair in PAIRS for name in scenarios(pair, "older")]


@pytest.fixture(scope="module")
def lines(
    conformance_server: str, run_node: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[[str], Callable[[str], list[str]]]:
    return cache(lambda client: run_in_node(run_node, conformance_server, "--client", client))


@pytest.mark.parametrize(("client", "pair", "scenario"), EACH)
def test_scenario(
    client: str, pair: str, scenario: str, lines: Callable[[str], Callable[[str], list[str]]]
) -> None:
    assert told(scenario, lines(client)(pair)) == [f"ok {scenario}"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_else_is_told(
    client: str, pair: str, lines: Callable[[str], Callable[[str], list[str]]]
) -> None:
    assert strays(scenarios(pair, "older"), lines(client)(pair)) == []
