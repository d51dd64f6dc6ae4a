"""The .NET clients have the scenarios that are written down here, and no others."""

import pytest

from tests.interop.dotnet_scenarios import SCENARIOS
from tests.interop.test_dotnet_client import run

pytestmark = pytest.mark.interop


def test_the_scenarios_are_those_of_the_clients(dotnet_peer: str) -> None:
    listed = [
        name.removesuffix(" (beyond the official server)")
        for client in ("client", "client11")
        for name in run(dotnet_peer, client, "--list")
    ]
    assert sorted(SCENARIOS) == sorted(set(listed))
