"""The official .NET clients pass their scenarios against our server, also those the official one fails."""

import re
import subprocess

import pytest

pytestmark = pytest.mark.interop

LAST_OF_STREAMS = "a stream both ways"  # every scenario up to this one is ours, and of the later ones:
LATER = {
    "the server calls its caller",
    "a call that the client has no method for does no harm",
    "a call with an argument of every kind",
    "one invocation at a time by default, more when allowed",
    "connected and disconnected are told once each",
    "a connection refused by the hub",
    "a connection aborted by the hub",
    "a message above the limit closes the connection with an error",
    "query and headers reach the hub",
    "the connection's id is the same on both sides",
    "without negotiation",
    "a transport that the server does not offer",
    "no hub there",
    "pings keep an idle connection",
    "a silent client is disconnected",
    "fifty clients at once",
}


def run(*command: str) -> list[str]:
    """The lines that a command prints, whatever its verdict."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=300, check=False
    ).stdout.splitlines()


def verdict(lines: list[str], combo: str, name: str) -> str:
    """The line that tells of a scenario: it begins with `ok` or `FAIL`."""
    line = re.compile(rf"(ok  |FAIL) {re.escape(f'{combo} {name}')}(:.*| \(\d+ ms\))")
    return next(filter(line.fullmatch, lines), "did not run")


@pytest.mark.parametrize("combo", ["websockets/json", "websockets/messagepack"])
def test_dotnet_10(combo: str, dotnet_peer: str, conformance_server: str, subtests: pytest.Subtests) -> None:
    listed = [
        name.removesuffix(" (beyond the official server)") for name in run(dotnet_peer, "client", "--list")
    ]
    ours = listed[: listed.index(LAST_OF_STREAMS) + 1]
    assert set(listed) >= LATER
    ours += [name for name in listed if name in LATER]
    skips = [argument for name in listed if name not in ours for argument in ("--skip", name)]
    lines = run(dotnet_peer, "client", conformance_server, "--combo", combo, *skips)
    for name in ours:
        with subtests.test(name):
            assert verdict(lines, combo, name).startswith("ok ")


def test_dotnet_11_cancels_a_plain_invocation(dotnet_peer: str, conformance_server: str) -> None:
    name, combo = "a client cancels a plain invocation", "websockets/json"
    lines = run(dotnet_peer, "client11", conformance_server, "--combo", combo, "--only", name)
    assert verdict(lines, combo, name).startswith("ok ")
