"""The official clients get from workers what they get from one process, whichever their requests come to.

They go a choice of the ways: each transport, protocol and client is there once. One scenario of each is left out: in
it one client sends to a group that another then leaves, by another worker perhaps, and between two senders no order is
promised there. Groups of clients elsewhere have their tests in the contract of rosters, and in test_workers.py.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.interop.conftest import running_server
from tests.interop.js_scenarios import CHAPTERS, run_in_node, scenarios, strays, told
from tests.interop.test_dotnet_client import pass_every_scenario

pytestmark = pytest.mark.interop

PAIRS = ["longpolling/messagepack", "sse/json"]
OF_TWO_SENDERS = frozenset({"groups", "groups: join, leave, all but one, others, several"})
EACH = [(pair, name) for pair in PAIRS for name in scenarios(pair, *CHAPTERS) if name not in OF_TWO_SENDERS]
DOTNET = [("client", "longpolling/json"), ("client11", "websockets/json")]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of three workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFORMANCE_LOG", str(tmp_path_factory.mktemp("log")))
        app = "tests.interop.workers_app:app"
        command = (sys.executable, "-m", "trio_hubs", "serve", app, "--port", "0", "--workers", "3")
        with running_server(*command) as (address, _):
            yield address


@pytest.fixture(scope="module")
def lines(
    workers: str, run_node: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[[str], list[str]]:
    return run_in_node(run_node, workers)


@pytest.mark.parametrize(("pair", "scenario"), EACH)
def test_javascript_scenario(pair: str, scenario: str, lines: Callable[[str], list[str]]) -> None:
    assert told(scenario, lines(pair)) == [f"ok {scenario}"]


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_else_is_told(pair: str, lines: Callable[[str], list[str]]) -> None:
    assert strays(scenarios(pair, *CHAPTERS), lines(pair)) == []


@pytest.mark.parametrize(("client", "combo"), DOTNET)
def test_every_dotnet_scenario(
    client: str, combo: str, dotnet_peer: str, workers: str, subtests: pytest.Subtests
) -> None:
    pass_every_scenario(client, combo, dotnet_peer, workers, subtests, but=frozenset({"groups"}))
