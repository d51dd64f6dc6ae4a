"""The official JavaScript client in Chromium reaches our server from its own and from allowed origins, and no other.

A page from another origin with cookies is asked most, so it runs everything; pages of our own origin, and those with
a token, run the core.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.interop.conftest import JS, cutter, running_server
from tests.interop.js_scenarios import CHAPTERS, PAIRS, scenarios, strays, told

pytestmark = pytest.mark.interop

CORE = [
    "every way to write a streaming method",
    "dispose cancels the method",
    "large items",
    "a stream's failure arrives after its items",
    "uploads end well",
    "an upload's error reaches the method",
    "a stream both ways",
    "invoke: a result, null, nothing",
    "text survives: unicode, controls, record separator",
    "errors: a HubException's text, and no other's",
    "payloads of every kind come back the same",
    "all, others, one, several, all but one",
    "groups: join, leave, all but one, others, several",
    "users: every connection of one",
    "the server asks its caller",
    "asking a client that leaves meanwhile",
    "connected and disconnected are told once each",
    "without negotiation",
    "falling back from a WebSocket that does not open",
    "a connection refused by the hub",
    "a message above the limit closes the connection with an error",
    "stop() deletes the connection, and the hub hears of it at once",
    "a hub for users only",
]


def names(page: str, pair: str) -> list[str]:
    """What a run on a kind of page consists of; `cut` is a page with credentials whose connections are cut."""
    if page == "cut":
        return scenarios(pair, "reconnect", page="credentials")
    ours = scenarios(pair, "origins", page=page)
    if page == "foreign":
        return ours
    rest = scenarios(pair, *CHAPTERS, page=page)
    return ours + (rest if page == "credentials" else [name for name in rest if name in CORE])


RUNS = [(page, pair) for page in ["same-origin", "credentials", "token", "foreign", "cut"] for pair in PAIRS]
EACH = [(page, pair, name) for page, pair in RUNS for name in names(page, pair)]


@pytest.fixture(scope="module")
def lines(
    node: str, chromium: str, run_node: Callable[..., subprocess.CompletedProcess[str]]
) -> Iterator[Callable[[str, str], list[str]]]:
    """What the one run on a kind of page told of the scenarios over a transport and protocol."""
    with ExitStack() as stack:
        allowed, _ = stack.enter_context(running_server(node, str(JS / "pages.mjs")))
        foreign, _ = stack.enter_context(running_server(node, str(JS / "pages.mjs")))
        server, _ = stack.enter_context(
            running_server(
                sys.executable, "-m", "tests.interop.conformance_server", "--allow-origin", allowed
            )
        )
        control = stack.enter_context(cutter(server))

        @cache
        def run(page: str) -> str:
            arguments = {
                "foreign": [foreign, "foreign"],
                "cut": [allowed, "credentials", "--cutter", control],
                "credentials": [allowed, "credentials"],
            }.get(page)
            if arguments is None:
                picked = {name for pair in PAIRS for name in names(page, pair)}
                only = [argument for name in sorted(picked) for argument in ("--only", name)]
                arguments = [allowed, page, *only]
            done = run_node("browser.mjs", chromium, server, *arguments)
            return done.stdout + done.stderr

        def lines(page: str, pair: str) -> list[str]:
            found = re.findall(rf"^(ok|FAIL) {pair} (.*)$", run(page), re.MULTILINE)
            assert found, run(page)
            return [" ".join(line) for line in found]

        yield lines


@pytest.mark.parametrize(("page", "pair", "scenario"), EACH)
def test_scenario(page: str, pair: str, scenario: str, lines: Callable[[str, str], list[str]]) -> None:
    assert told(scenario, lines(page, pair)) == [f"ok {scenario}"]


@pytest.mark.parametrize(("page", "pair"), RUNS)
def test_nothing_else_is_told(page: str, pair: str, lines: Callable[[str, str], list[str]]) -> None:
    assert strays(names(page, pair), lines(page, pair)) == []
