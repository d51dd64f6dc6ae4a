"""The official clients get from an app in ASGI, below Starlette and behind Hypercorn, what they get from our server.

They go a choice of the ways, as all are gone with our own server: each transport, protocol and client is there once.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.interop.conftest import running_server
from tests.interop.js_scenarios import CHAPTERS, run_in_node, scenarios, strays, told
from tests.interop.test_dotnet_client import pass_every_scenario

pytestmark = pytest.mark.interop

PAIRS = ["websockets/messagepack", "sse/json"]
EACH = [(pair, name) for pair in PAIRS for name in scenarios(pair, *CHAPTERS)]
DOTNET = [("client", "websockets/json"), ("client11", "longpolling/json")]


def serve_mounted(path: str) -> Iterator[str]:
    command = (sys.executable, "-m", "tests.interop.conformance_server", "--mounted", path)
    with running_server(*command) as (address, _):
        yield address


@pytest.fixture(scope="module")
def mounted_server() -> Iterator[str]:
    """The address of the conformance hubs below a path."""
    yield from serve_mounted("/below/here")


@pytest.fixture(scope="module")
def root_server() -> Iterator[str]:
    """The same at the root, where the .NET clients look for their own proxy, which tears connections."""
    yield from serve_mounted("")


@pytest.fixture(scope="module")
def lines(
    mounted_server: str, run_node: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[[str], list[str]]:
    return run_in_node(run_node, mounted_server)


@pytest.mark.parametrize(("pair", "scenario"), EACH)
def test_javascript_scenario(pair: str, scenario: str, lines: Callable[[str], list[str]]) -> None:
    assert told(scenario, lines(pair)) == [f"ok {scenario}"]


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_else_is_told(pair: str, lines: Callable[[str], list[str]]) -> None:
    assert strays(scenarios(pair, *CHAPTERS), lines(pair)) == []


@pytest.mark.parametrize(("client", "combo"), DOTNET)
def test_every_dotnet_scenario(
    client: str, combo: str, dotnet_peer: str, root_server: str, subtests: pytest.Subtests
) -> None:
    pass_every_scenario(client, combo, dotnet_peer, root_server, subtests)
