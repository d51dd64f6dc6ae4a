"""The load generator: `python -m benchmarks.generator URL [SCENARIO...]`, one line of JSON for each scenario.

It runs in a process of its own and tells how much of the time that process was busy: a rate counts as the
server's only while the generator had time to spare. Whatever arrives is held against what was asked, by count
and by the first and last records; a load that was answered wrongly has no rate.
"""

from __future__ import annotations

import argparse
import itertools
import json
import selectors
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.connection import PATIENCE, Connection, WebSocketConnection, open_connections
from benchmarks.scenarios import SCENARIOS, TEXT, Broadcasts, Calls, Connects, Idle, invocation
from benchmarks.wire import client_text

GLANCES: Final = 20  # connections looked at for each time that a broadcast's listener has received something


class WrongAnswer(Exception):
    """The server did not answer as asked."""


class Clock:
    """The time since a load began, and the processor time that the generator took of it."""

    def __init__(self, seconds: float) -> None:
        self._began = time.perf_counter()
        self._worked = time.process_time()
        self.deadline = self._began + seconds

    def result(self, amount: int) -> dict[str, float]:
        """The rate of `amount` until now, and how busy the generator was, from 0 to 1."""
        taken = time.perf_counter() - self._began
        return {"value": amount / taken, "busy": (time.process_time() - self._worked) / taken}


class Loop:
    """A selector over connections."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        self._selector = selectors.DefaultSelector()
        for connection in connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def ready(self) -> list[Connection]:
        """Wait until something can be received; return those that have it."""
        ready = [key.data for key, _ in self._selector.select(PATIENCE)]
        if not ready:
            seen = {connection.inbox.last[-200:] for connection in self.connections}
            raise WrongAnswer(f"nothing came for {PATIENCE:.0f} s; the last were {sorted(seen)[:3]}")
        return ready


def expect(message: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise unless the message has all that is wanted, and no error."""
    if "error" in message or any(message.get(key) != value for key, value in wanted.items()):
        raise WrongAnswer(f"{message} instead of {wanted}")


def check(
    connection: Connection, records: int, first: Mapping[str, Any], last: Sequence[Mapping[str, Any]]
) -> None:
    """Hold what a connection received against what it should have."""
    inbox = connection.inbox
    if inbox.records != records:
        raise WrongAnswer(f"{inbox.records} records instead of {records}; the last: {inbox.last!r}")
    expect(inbox.first_record(), first)
    for message, wanted in zip(inbox.last_records(len(last)), last, strict=True):
        expect(message, wanted)


def make_calls(connections: Sequence[Connection], load: Calls, seconds: float) -> dict[str, float]:
    """Keep every connection's requests under way until the time is over, then take the last answers."""
    # Twice round, so that any run of the ring's requests is one slice of it.
    size, ring = len(load.requests[0]), b"".join(load.requests) * 2
    sent = dict.fromkeys(connections, load.outstanding)
    answered = dict.fromkeys(connections, 0)
    running = len(connections)
    loop = Loop(connections)
    clock = Clock(seconds)
    for connection in connections:
        connection.send(ring[: size * load.outstanding])
    while running:
        for connection in loop.ready():
            connection.receive()
            done = connection.inbox.records // load.records
            fresh = done - answered[connection]
            if not fresh:
                continue
            answered[connection] = done
            if time.perf_counter() < clock.deadline:
                start = sent[connection] % load.outstanding * size
                connection.send(ring[start : start + fresh * size])
                sent[connection] += fresh
            elif done == sent[connection]:
                running -= 1
    result = clock.result(sum(answered.values()) * load.items)
    for connection in connections:
        check(connection, sent[connection] * load.records, load.first, load.last)
    return result


def make_broadcasts(connections: Sequence[Connection], load: Broadcasts, seconds: float) -> dict[str, float]:
    """Keep broadcasts under way, from each caller in turn, the next when one who only listens has the last.

    A look at a socket costs the same however much has come, so the others are looked at a few at a time.
    """
    listener, *others = connections
    callers, request = others[: load.callers], client_text(invocation("Broadcast", TEXT))
    message = {"type": 1, "target": "message", "arguments": [TEXT]}
    listener.socket.settimeout(PATIENCE)
    for connection in others:
        connection.socket.setblocking(False)
    calls, glances = itertools.cycle(callers), itertools.cycle(others)
    sent = dict.fromkeys(others, 0)
    total = 0
    clock = Clock(seconds)
    while time.perf_counter() < clock.deadline:
        while total < listener.inbox.records + load.callers:
            caller = next(calls)
            caller.send(request)
            sent[caller] += 1
            total += 1
        listener.receive()
        for connection in itertools.islice(glances, GLANCES):
            connection.receive_nowait()
    while listener.inbox.records < total:
        listener.receive()
    patience = time.perf_counter() + PATIENCE
    while waiting := [one for one in others if one.inbox.records < total + sent[one]]:
        if time.perf_counter() > patience:
            raise WrongAnswer(f"{len(waiting)} of {len(others)} did not receive all {total} broadcasts")
        for connection in waiting:
            connection.receive_nowait()
    result = clock.result(total * len(connections))
    check(listener, total, message, [message])
    for connection in others:
        check(connection, total + sent[connection], {}, [{}])
    return result


def make_connects(url: str, together: int, seconds: float) -> dict[str, float]:
    """Connect and close, `together` at a time."""
    clock = Clock(seconds)
    made = 0
    while time.perf_counter() < clock.deadline:
        for connection in open_connections(url, together, WebSocketConnection):
            connection.close()
        made += together
    return clock.result(made)


def resident(process: int) -> int | None:
    """The bytes of memory that a process holds, or None where there is no /proc to tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def measure_memory(url: str, count: int, process: int) -> dict[str, float | None]:
    """What the server's memory grows by for each idle connection."""
    make_connects(url, 20, 0.2)  # what only the first connections cost is not theirs
    time.sleep(0.3)
    before = resident(process)
    connections = open_connections(url, count, WebSocketConnection)
    time.sleep(0.3)
    after = resident(process)
    for connection in connections:
        connection.close()
    return {
        "value": None if before is None or after is None else (after - before) / count / 1024,
        "busy": None,
    }


def run(
    url: str, load: Calls | Broadcasts | Connects | Idle, seconds: float, process: int
) -> Mapping[str, float | None]:
    """Put one load on the server."""
    match load:
        case Connects():
            return make_connects(url, load.together, seconds)
        case Idle():
            return measure_memory(url, load.connections, process)
        case Calls() | Broadcasts():
            kind = load.kind if isinstance(load, Calls) else WebSocketConnection
            connections = open_connections(url, load.connections, kind)
            try:
                return (
                    make_calls(connections, load, seconds)
                    if isinstance(load, Calls)
                    else make_broadcasts(connections, load, seconds)
                )
            finally:
                for connection in connections:
                    connection.close()


def main() -> None:
    """Read the command line, and put the chosen loads on the server."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generator", description="Puts load on a hub server."
    )
    parser.add_argument("url", help="where the server listens, like http://127.0.0.1:5000")
    parser.add_argument("names", nargs="*", metavar="scenario", help="all of them by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts, at least")
    parser.add_argument("--process", type=int, default=0, help="the server's process id, for its memory")
    arguments = parser.parse_args()
    for scenario in SCENARIOS:
        if not arguments.names or scenario.name in arguments.names:
            try:
                result = run(arguments.url, scenario.load, arguments.seconds, arguments.process)
            except (WrongAnswer, OSError) as error:
                raise SystemExit(f"{scenario.name} failed: {error}") from None
            print(json.dumps({"scenario": scenario.name, "unit": scenario.unit, **result}), flush=True)


if __name__ == "__main__":
    main()
