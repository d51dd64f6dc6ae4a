"""What more than one process does, measured in one run: `python -m benchmarks.fleet`.

Two workers beside one process; two servers that a Redis joins, beside two of ASP.NET Core and two of python-socketio
on the same Redis; and what one Redis holds. All take turns, round by round; a rate is the median of its rounds, and
the processor time of the servers, which a busy machine changes less, too. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks import one_redis
from benchmarks.compare import print_row, short
from benchmarks.peers import Peer, peers
from benchmarks.redis_server import RedisServer, running_redis
from benchmarks.scenarios import FLEET_SCENARIOS, SCENARIOS, Scenario

WORKERS: Final = ("stream50", "echo50", "connects", "broadcast2", "broadcast", "broadcast16", "broadcast2000")
REDIS: Final = ("broadcast2", "fleet", "fleet16")


@dataclass(frozen=True)
class Fleet:
    """Servers that are one, and what else works for them."""

    name: str
    urls: Sequence[str]
    processes: Sequence[int]
    socketio: bool = False


Figures = dict[str, dict[str, list[Mapping[str, Any]]]]  # of a scenario and a fleet, one a round


def measure(scenario: Scenario, fleet: Fleet, seconds: float) -> Mapping[str, Any] | None:
    """Put one load on a fleet; None when it failed, as the first does where servers hear Redis from that on."""
    command = [sys.executable, "-m", "benchmarks.generator", ",".join(fleet.urls), scenario.name]
    command += ["--seconds", f"{seconds}", *(["--socketio"] if fleet.socketio else [])]
    for process in fleet.processes:
        command += ["--process", f"{process}"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if run.returncode else json.loads(run.stdout)


def three_digits(value: float) -> str:
    """A figure of which more would mean nothing."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def ratio(one: float, other: float) -> str:
    """How many times the other, where /proc tells."""
    return f"{one / other:.2f}" if other else "n/a"


def measure_fleets(
    scenarios: Sequence[Scenario], fleets: Sequence[Fleet], rounds: int, seconds: float
) -> None:
    """Every scenario with every fleet, in rounds; then a table, with ratios of the first to each."""
    figures: Figures = {one.name: {fleet.name: [] for fleet in fleets} for one in scenarios}
    for number in range(-1, rounds):  # the first is for warming up
        for scenario in scenarios:
            for fleet in fleets:
                print(
                    f"\r\033[K{number}: {scenario.title}, {fleet.name}", end="", file=sys.stderr, flush=True
                )
                result = measure(scenario, fleet, seconds if number >= 0 else seconds / 4)
                if number >= 0 and result is not None:
                    figures[scenario.name][fleet.name].append(result)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    print_figures(scenarios, [fleet.name for fleet in fleets], figures)


def print_figures(scenarios: Sequence[Scenario], names: Sequence[str], figures: Figures) -> None:
    """What each does in a second, what one of it costs the servers, and the ratios of the first to each."""
    first, *others = names
    heading = [*names, *(f"to {other}" for other in others)]
    print_row("a second", *heading)
    print_row(*["---"] * (1 + len(heading)))
    for scenario in scenarios:
        rates = {name: median(one["value"] for one in figures[scenario.name][name]) for name in names}
        ratios = [ratio(rates[first], rates[other]) for other in others]
        print_row(f"{scenario.title}: {scenario.unit[:-2]}", *map(short, rates.values()), *ratios)
    print()
    print_row("us of CPU for one", *heading)
    print_row(*["---"] * (1 + len(heading)))
    for scenario in scenarios:
        costs = {}
        for name in names:
            rounds = [one["costs"] for one in figures[scenario.name][name]]
            costs[name] = list(map(median, zip(*rounds, strict=True)))
        sums = [" + ".join(three_digits(cost) for cost in costs[name]) for name in names]
        ratios = [ratio(sum(costs[other]), sum(costs[first])) for other in others]
        print_row(scenario.title, *sums, *ratios)
    busiest = max(one["busy"] for each in figures.values() for rounds in each.values() for one in rounds)
    print(f"\nThe generator was busy for {busiest:.0%} of the time at most.")


def chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names, in this order."""
    every = {one.name: one for one in (*SCENARIOS, *FLEET_SCENARIOS)}
    return [every[name] for name in names]


def compare_workers(rounds: int, seconds: float) -> None:
    """Two workers beside one process."""
    print("\n## Two workers and one process\n")
    with contextlib.ExitStack() as stack:
        fleets = []
        for peer in peers():
            if peer.name in ("workers", "trio_hubs"):
                server = stack.enter_context(peer.running())
                fleets.append(Fleet(peer.name, [server.url], [server.process]))
        measure_fleets(chosen(WORKERS), fleets[::-1], rounds, seconds)


def server_kinds(redis: RedisServer) -> dict[str, Peer]:
    """What can be joined by a Redis, if it is there."""
    dotnet = os.environ.get("TRIO_HUBS_DOTNET_PEER", "")
    socketio = all(map(importlib.util.find_spec, ("socketio", "uvicorn", "redis")))
    python = (sys.executable, "-m")
    return {
        "trio_hubs": Peer("trio_hubs", (*python, "benchmarks.load_server", "--redis", redis.url)),
        "dotnet": Peer(
            "dotnet",
            (dotnet, "server", "--redis", f"127.0.0.1:{redis.port}"),
            "" if dotnet else "TRIO_HUBS_DOTNET_PEER does not name its executable",
        ),
        "socketio": Peer(
            "socketio",
            (*python, "benchmarks.socketio_server", "--redis", redis.url),
            "" if socketio else "not installed: it is in the dependency group 'bench'",
        ),
    }


def compare_fleets(rounds: int, seconds: float) -> None:
    """Two servers of each kind, joined by one Redis; its processor time comes last."""
    print("\n## Two servers that a Redis joins (processor time of one, the other and Redis)\n")
    with running_redis() as redis, contextlib.ExitStack() as stack:
        fleets = []
        for name, peer in server_kinds(redis).items():
            if peer.absent:
                print(f"{name} is left out: {peer.absent}")
                continue
            servers = [stack.enter_context(peer.running()) for _ in range(2)]
            processes = [*(server.process for server in servers), redis.process]
            fleets.append(Fleet(name, [server.url for server in servers], processes, name == "socketio"))
        measure_fleets(chosen(REDIS), fleets, rounds, seconds)


PARTS: Final[Mapping[str, Callable[[int, float], None]]] = {
    "workers": compare_workers,
    "fleets": compare_fleets,
    "redis": one_redis.measure_all,
}


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet", description="Compares hubs of more than one process."
    )
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts, at least (1)")
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
