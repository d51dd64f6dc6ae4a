"""The scenarios in js/ as pytest's ids, and what a run of them told of each.

A scenario is registered by a function that says where it makes sense; registry.mjs decides, and here stands the same
table once more, so that pytest knows every id before a peer runs. What a run tells beyond them is a failure.
"""

import re
import subprocess
from collections.abc import Callable
from functools import cache

from tests.interop.conftest import JS

PAIRS = [
    "websockets/json",
    "websockets/messagepack",
    "sse/json",
    "longpolling/json",
    "longpolling/messagepack",
]
CHAPTERS = ["streams", "uploads", "calls", "clients", "life"]

NODE = ""  # no page at all
TRANSPORTS = {"websockets", "sse", "longpolling"}
PAGES = {NODE, "same-origin", "credentials", "token", "foreign"}
WHERE: dict[str, tuple[set[str], set[str]]] = {  # over which transports, on which pages
    "everywhere": (TRANSPORTS, PAGES),
    "overWebSockets": ({"websockets"}, PAGES),
    "overLongPolling": ({"longpolling"}, PAGES),
    "notOverWebSockets": ({"sse", "longpolling"}, PAGES),
    "notOverLongPolling": ({"websockets", "sse"}, PAGES),
    "inNode": (TRANSPORTS, {NODE}),
    "inBrowser": (TRANSPORTS, {"same-origin", "credentials"}),
    "onTokenPage": (TRANSPORTS, {"token"}),
    "onForeignPage": (TRANSPORTS, {"foreign"}),
}
REGISTERED = re.compile(rf'^({"|".join(WHERE)})\("(.+?)",', re.MULTILINE)


def scenarios(pair: str, *chapters: str, page: str = NODE) -> list[str]:
    """The names of the scenarios that run over a transport and protocol, in Node or on a kind of page."""
    transport, _ = pair.split("/")
    return [
        name
        for chapter in chapters
        for where, name in REGISTERED.findall((JS / f"{chapter}.mjs").read_text(encoding="utf-8"))
        if transport in WHERE[where][0] and page in WHERE[where][1]
    ]


def told(name: str, lines: list[str]) -> list[str]:
    """What a run told of one scenario: `ok NAME`, or `FAIL NAME: why`."""
    return [line for line in lines if line == f"ok {name}" or line.startswith(f"FAIL {name}: ")]


def strays(names: list[str], lines: list[str]) -> list[str]:
    """What a run told that is about none of these scenarios."""
    return [line for line in lines if not any(told(name, [line]) for name in names)]


def run_in_node(
    run_node: Callable[..., subprocess.CompletedProcess[str]], server: str, *options: str
) -> Callable[[str], list[str]]:
    """What Node told of the scenarios over a transport and protocol, a line for each; it runs them when first asked."""

    @cache
    def run(pair: str) -> list[str]:
        done = run_node("scenarios.mjs", server, *pair.split("/"), *options)
        return (done.stdout + done.stderr).splitlines()

    return run
