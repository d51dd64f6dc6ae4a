"""The load generator: `python -m benchmarks.generator URL [SCENARIO...]`, one line of JSON for each scenario.

It runs in a process of its own and tells how much of the time that process was busy: a rate counts as the
server's only while the generator had time to spare. Whatever arrives is held against what was asked, by count
and by the first and last records; a load that was answered wrongly has no rate.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import selectors
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.connection import PATIENCE, Connection, WebSocketConnection, open_connections
from benchmarks.processes import family, processor_seconds, resident
from benchmarks.scenarios import FLEET_SCENARIOS, SCENARIOS, TEXT, Broadcasts, Calls, Connects, Idle, Load
from benchmarks.socketio_connection import SocketIOConnection

Result = dict[str, Any]
GLANCES: Final = 20  # connections looked at for each time that a broadcast's listener has received something


class WrongAnswer(Exception):
    """The server did not answer as asked."""


@dataclass(frozen=True)
class Target:
    """Where a load goes: servers that take the connections in turn, and processes that work for them."""

    urls: Sequence[str]
    processes: Sequence[int]
    kind: type[WebSocketConnection]


class Clock:
    """The time since a load began, and the processor time that the generator and the servers took of it."""

    def __init__(self, target: Target, seconds: float) -> None:
        self._families = [family(process) for process in target.processes]
        self._spent = list(map(processor_seconds, self._families))
        self._began = time.perf_counter()
        self._worked = time.process_time()
        self.deadline = self._began + seconds

    def result(self, amount: int) -> Result:
        """The rate of `amount` until now, how busy the generator was, from 0 to 1, and what one cost each server."""
        taken = time.perf_counter() - self._began
        spent = map(processor_seconds, self._families)
        return {
            "value": amount / taken,
            "busy": (time.process_time() - self._worked) / taken,
            "costs": [
                (after - before) / amount * 1e6 for before, after in zip(self._spent, spent, strict=True)
            ],
        }


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


def make_calls(connections: Sequence[Connection], load: Calls, target: Target, seconds: float) -> Result:
    """Keep every connection's requests under way until the time is over, then take the last answers."""
    # Twice round, so that any run of the ring's requests is one slice of it.
    size, ring = len(load.requests[0]), b"".join(load.requests) * 2
    sent = dict.fromkeys(connections, load.outstanding)
    answered = dict.fromkeys(connections, 0)
    running = len(connections)
    loop = Loop(connections)
    clock = Clock(target, seconds)
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


def make_broadcasts(
    connections: Sequence[WebSocketConnection], load: Broadcasts, target: Target, seconds: float
) -> Result:
    """Keep broadcasts under way, from each caller in turn, the next when one who only listens has the last.

    A look at a socket costs the same however much has come, so the others are looked at a few at a time.
    """
    listener, *others = connections
    callers, request = others[: load.callers], listener.broadcast(TEXT)
    message = {"type": 1, "target": "message", "arguments": [TEXT]}
    listener.socket.settimeout(PATIENCE)
    for connection in others:
        connection.socket.setblocking(False)
    calls, glances = itertools.cycle(callers), itertools.cycle(others)
    sent = dict.fromkeys(others, 0)
    total = 0
    clock = Clock(target, seconds)
    while not total or time.perf_counter() < clock.deadline:
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


def make_connects(target: Target, together: int, seconds: float) -> Result:
    """Connect and close, `together` at a time."""
    clock = Clock(target, seconds)
    made = 0
    while not made or time.perf_counter() < clock.deadline:
        for connection in open_connections(target.urls, together, target.kind):
            connection.close()
        made += together
    return clock.result(made)


def measure_memory(target: Target, count: int) -> Result:
    """What the first server's memory grows by for each idle connection."""
    make_connects(target, 20, 0.2)  # what only the first connections cost is not theirs
    time.sleep(0.3)
    before = resident(target.processes[0])
    connections = open_connections(target.urls, count, target.kind)
    time.sleep(0.3)
    after = resident(target.processes[0])
    for connection in connections:
        connection.close()
    return {
        "value": None if before is None or after is None else (after - before) / count / 1024,
        "busy": None,
        "costs": [],
    }


def run(target: Target, load: Load, seconds: float) -> Result:
    """Put one load on the servers."""
    with contextlib.ExitStack() as stack:
        match load:
            case Connects():
                return make_connects(target, load.together, seconds)
            case Idle():
                return measure_memory(target, load.connections)
            case Calls():
                connections = open_connections(target.urls, load.connections, load.kind)
                for connection in connections:
                    stack.callback(connection.close)
                return make_calls(connections, load, target, seconds)
            case Broadcasts():
                members = open_connections(target.urls, load.connections, target.kind)
                for connection in members:
                    stack.callback(connection.close)
                return make_broadcasts(members, load, target, seconds)


def main() -> None:
    """Read the command line, and put the chosen loads on the server."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generator", description="Puts load on a hub server."
    )
    parser.add_argument(
        "urls", help="where the servers listen, like http://127.0.0.1:5000,http://127.0.0.1:5001"
    )
    parser.add_argument("names", nargs="*", metavar="scenario", help="all of them by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts, at least")
    parser.add_argument(
        "--process", type=int, default=[], action="append", help="a server's process id, for what it takes"
    )
    parser.add_argument("--socketio", action="store_true", help="whether Socket.IO is spoken")
    arguments = parser.parse_args()
    kind = SocketIOConnection if arguments.socketio else WebSocketConnection
    target = Target(arguments.urls.split(","), arguments.process, kind)
    for scenario in (*SCENARIOS, *FLEET_SCENARIOS):
        if not arguments.names or scenario.name in arguments.names:
            try:
                result = run(target, scenario.load, arguments.seconds)
            except (WrongAnswer, OSError) as error:
                raise SystemExit(f"{scenario.name} failed: {error}") from None
            print(json.dumps({"scenario": scenario.name, "unit": scenario.unit, **result}), flush=True)


if __name__ == "__main__":
    main()
