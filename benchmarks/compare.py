"""trio_hubs beside its peers and the floor, measured in one run: `python -m benchmarks.compare`.

The peers take turns at every scenario, round by round, so that a machine that grows slower grows slower for
all; a figure is the median of its rounds. Nothing is asserted: the aims stand beside the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.peers import Peer, Server, peers
from benchmarks.scenarios import SCENARIOS, Idle, Scenario

OURS: Final = "trio_hubs"
AIMS: Final = {
    ("stream", "aiosignalr"): 10.0,
    ("stream50", "aiosignalr"): 10.0,
    ("channel", "aiosignalr"): 10.0,
    ("channel50", "aiosignalr"): 10.0,
    ("channel", "floor"): 5.0,
    ("channel50", "floor"): 5.0,
    ("echo50", "aiosignalr"): 0.8,
    ("pipelined", "aiosignalr"): 2.0,
    ("broadcast", "aiosignalr"): 2.0,
    ("broadcast", "dotnet"): 5.0,
}

Figures = dict[tuple[str, str], list[Mapping[str, Any]]]  # of a scenario and a peer, one a round


def measure(scenario: Scenario, server: Server, seconds: float) -> Mapping[str, Any] | None:
    """Put one load on one server; None when it failed or has no figure."""
    options = ("--seconds", str(seconds), "--process", str(server.process))
    command = (sys.executable, "-m", "benchmarks.generator", server.url, scenario.name, *options)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        return None
    result: Mapping[str, Any] = json.loads(run.stdout)
    return None if result["value"] is None else result


def measure_all(
    scenarios: Sequence[Scenario], servers: Mapping[str, Server], rounds: int, seconds: float
) -> Figures:
    """Every scenario against every server, in rounds."""
    figures: Figures = {(scenario.name, name): [] for scenario in scenarios for name in servers}
    failed = {
        (scenario.name, name)
        for scenario in scenarios
        for name, server in servers.items()
        if scenario.without_websockets and server.only_websockets
    }
    # Memory is measured while the servers are fresh, and once: what they have freed they keep.
    once = [scenario for scenario in scenarios if isinstance(scenario.load, Idle)]
    repeated = [scenario for scenario in scenarios if scenario not in once]
    turns = [(once, seconds, "memory"), (repeated, seconds / 2, "warming up")]
    turns += [(repeated, seconds, f"round {number + 1} of {rounds}") for number in range(rounds)]
    for turn, duration, title in turns:
        for scenario in turn:
            for name, server in servers.items():
                if (scenario.name, name) in failed:
                    continue
                print(f"\r\033[K{title}: {scenario.title}, {name}", end="", file=sys.stderr, flush=True)
                result = measure(scenario, server, duration)
                if result is None:
                    failed.add((scenario.name, name))
                elif title != "warming up":
                    figures[scenario.name, name].append(result)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return figures


def median(figures: Figures, scenario: Scenario, name: str, part: str) -> float | None:
    """The median of the rounds, or None when no round has a figure."""
    values = [result[part] for result in figures.get((scenario.name, name), []) if result[part] is not None]
    return statistics.median(values) if values else None


def short(value: float) -> str:
    """A figure with three digits that mean something."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def print_row(*cells: str) -> None:
    """A row of a table of Markdown."""
    print(f"| {' | '.join(cells)} |")


def print_rates(figures: Figures, scenarios: Sequence[Scenario], names: Sequence[str]) -> None:
    """The figures themselves, each with the generator's share of work behind it."""
    print("\nRates, and how busy the generator was: near 100% the figure would be the generator's own.")
    print("The floor: bare trio sockets and answers made beforehand; its ChannelWriter, a memory channel.\n")
    print(f"{'':38}{'':14}" + "".join(f"{name:>16}" for name in names))
    for scenario in scenarios:
        row = f"{scenario.title:38}{scenario.unit:14}"
        for name in names:
            value, busy = (median(figures, scenario, name, part) for part in ("value", "busy"))
            row += f"{'n/a' if value is None else short(value):>11}{'' if busy is None else f'{busy:.0%}':>5}"
        print(row)


def print_ratios(figures: Figures, scenarios: Sequence[Scenario], names: Sequence[str]) -> None:
    """What trio_hubs does for each one that a peer does, with the aims."""
    print(f"\n{OURS} against each (for memory, less is better), and the aims:\n")
    print(f"{'':38}{'':14}" + "".join(f"{name:>18}" for name in names))
    for scenario in scenarios:
        row = f"{scenario.title:38}{'':14}"
        ours = median(figures, scenario, OURS, "value")
        for name in names:
            theirs = median(figures, scenario, name, "value")
            aim = AIMS.get((scenario.name, name))
            ratio = f"{ours / theirs:.3g}x" if ours and theirs else "n/a"
            row += f"{ratio:>9}{'' if aim is None else f' aim {aim:g}x':<9}"
        print(row.rstrip())


def choose(wanted: str) -> list[Peer]:
    """The peers that are wanted and there; a note for each one that is not there."""
    every = peers()
    names = wanted.split(",") if wanted else [peer.name for peer in every]
    if unknown := set(names) - {peer.name for peer in every}:
        raise SystemExit(
            f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in every)}"
        )
    for peer in every:
        if peer.name in names and peer.absent:
            print(f"{peer.name} is left out: {peer.absent}")
    return [peer for peer in every if peer.name in names and not peer.absent]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compares hub servers.")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in their name or title"
    )
    parser.add_argument("--peers", default="", metavar="NAME,...", help="by default all that are there")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each load lasts, at least (0.5)")
    arguments = parser.parse_args()
    scenarios = [one for one in SCENARIOS if arguments.only in f"{one.name} {one.title}"]
    if not scenarios:
        parser.error(f"no scenario has {arguments.only!r} in its name or title")
    # A kill from outside leaves by the same door as Ctrl-C, which ends the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with contextlib.ExitStack() as stack:
        servers = {peer.name: stack.enter_context(peer.running()) for peer in choose(arguments.peers)}
        figures = measure_all(scenarios, servers, arguments.rounds, arguments.seconds)
    print_rates(figures, scenarios, list(servers))
    if OURS in servers and len(servers) > 1:
        print_ratios(figures, scenarios, [name for name in servers if name != OURS])


if __name__ == "__main__":
    main()
