"""The official .NET clients pass all of their scenarios against our server, also those the official one fails."""

import re
import subprocess

import pytest

from tests.interop.conftest import RUN_TIMEOUT

pytestmark = pytest.mark.interop

WEBSOCKETS_ONLY = {
    "a torn connection reaches the method",
    "a torn connection reconnects by itself",
    "stateful reconnect: a torn connection loses nothing",
    "stateful reconnect: calls made while torn arrive once, in order",
    "without negotiation",
}
LEFT_OUT = {
    "websockets": set[str](),
    "sse": WEBSOCKETS_ONLY,
    "longpolling": WEBSOCKETS_ONLY | {"a silent client is disconnected"},
}
"""What the clients' own suite leaves out on a transport."""
TIMED = {"one invocation at a time by default, more when allowed"}
"""What has to happen within fractions of a second by the clients' own clock, for which a machine may be too busy."""


def run(*command: str) -> list[str]:
    """The lines that a command prints, whatever its verdict."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=RUN_TIMEOUT, check=False
    ).stdout.splitlines()


def verdict(lines: list[str], combo: str, name: str) -> str:
    """The line that tells of a scenario: it begins with `ok` or `FAIL`."""
    line = re.compile(rf"(ok  |FAIL) {re.escape(f'{combo} {name}')}(:.*| \(\d+ ms\))")
    return next(filter(line.fullmatch, lines), "did not run")


def pass_every_scenario(
    client: str,
    combo: str,
    dotnet_peer: str,
    server: str,
    subtests: pytest.Subtests,
    *,
    but: frozenset[str] = frozenset(),
) -> None:
    """Go through all scenarios of a client that make sense over a way, ``but`` for some, against a server."""
    listed = {
        name.removesuffix(" (beyond the official server)") for name in run(dotnet_peer, client, "--list")
    }
    assert but <= listed
    ours = listed - LEFT_OUT[combo.partition("/")[0]]
    assert len(ours) >= 70
    lines = run(dotnet_peer, client, server, "--combo", combo)
    for name in sorted(ours - but):
        with subtests.test(name):
            said = verdict(lines, combo, name)
            if name in TIMED and said.startswith("FAIL"):
                said = verdict(
                    run(dotnet_peer, client, server, "--combo", combo, "--only", name), combo, name
                )
            assert said.startswith("ok ")


@pytest.mark.parametrize(
    ("client", "combo"),
    [
        ("client", "websockets/json"),
        ("client", "websockets/messagepack"),
        ("client", "sse/json"),
        ("client", "longpolling/json"),
        ("client", "longpolling/messagepack"),
        ("client11", "websockets/json"),
        ("client11", "sse/json"),
        ("client11", "longpolling/json"),
    ],
)
def test_every_scenario(
    client: str, combo: str, dotnet_peer: str, conformance_server: str, subtests: pytest.Subtests
) -> None:
    pass_every_scenario(client, combo, dotnet_peer, conformance_server, subtests)
