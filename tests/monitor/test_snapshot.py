"""Snapshots: looks at several processes are one, and what has grown is told as a rate."""

from typing import Any

import attrs
import pytest

from trio_hubs.monitor.look import MAXIMUM_CLIENTS, ClientLook, GroupLook, HubLook, Look, MethodLook
from trio_hubs.monitor.snapshot import MAXIMUM_METHODS, Snapshot
from trio_hubs.server.statistics import Statistics

NONE = Statistics(connections=0, refused_connections=0, refused_calls=0, slow_clients=0, dropped_messages=0)
NOTHING = Look(False, NONE, [], [], [], [])


def method(name: str = "Say", ended: int = 0, **numbers: Any) -> MethodLook:
    zero = MethodLook("Chat", name, running=0, ended=ended, ran=ended, errors=0, items=0, seconds=0.0)
    return attrs.evolve(zero, **numbers)


def hub(**numbers: Any) -> HubLook:
    return attrs.evolve(HubLook("Chat", 0, 0, 0, 0, 0, 0, 0, 0), **numbers)


def look(**parts: Any) -> Look:
    return attrs.evolve(NOTHING, **parts)


def test_the_first_one_has_no_rates() -> None:
    told = Snapshot.of({"a": look(methods=[method(ended=5, seconds=2.0, errors=1)], hubs=[hub()])}, {}, 0, 1)
    [line] = told.methods
    assert (line.calls_per_second, line.items_per_second, line.mean_seconds) == (None, None, None)
    assert line.errors == 1
    assert (told.hubs[0].received_per_second, told.hubs[0].sent_per_second) == (None, None)
    assert (told.processes, told.expected) == (1, 1)


def test_what_has_grown_is_a_rate() -> None:
    before = look(
        methods=[method(ended=5, seconds=2.0, items=10)], hubs=[hub(received_bytes=100, sent_bytes=1000)]
    )
    now = look(
        methods=[method(ended=9, ran=7, seconds=3.0, items=30, running=2)],
        hubs=[
            hub(received_bytes=150, sent_bytes=3000, queued_bytes=7, waiting_calls=3, groups=2, websockets=4)
        ],
    )
    told = Snapshot.of({"a": now}, {"a": before}, 2, 1)
    [line] = told.methods
    assert (line.calls_per_second, line.items_per_second, line.running) == (2, 10, 2)
    assert line.mean_seconds == 0.5  # of the two that have run
    [of_hub] = told.hubs
    assert (of_hub.received_per_second, of_hub.sent_per_second) == (25, 1000)
    assert (of_hub.queued_bytes, of_hub.waiting_calls, of_hub.groups, of_hub.websockets) == (7, 3, 2, 4)


def test_a_method_that_was_not_called_before_has_grown_from_nothing() -> None:
    told = Snapshot.of({"a": look(methods=[method(ended=4, seconds=1.0)])}, {"a": NOTHING}, 2, 1)
    assert (told.methods[0].calls_per_second, told.methods[0].mean_seconds) == (2, 0.25)


def test_without_calls_there_is_no_mean() -> None:
    same = look(methods=[method(ended=4, seconds=1.0)])
    told = Snapshot.of({"a": same}, {"a": same}, 2, 1)
    assert (told.methods[0].calls_per_second, told.methods[0].mean_seconds) == (0, None)


def test_processes_are_one() -> None:
    one = look(
        statistics=Statistics(
            connections=1, refused_connections=2, refused_calls=3, slow_clients=4, dropped_messages=5
        ),
        draining=True,
        methods=[method(ended=4, running=1), method("Join", ended=1)],
        hubs=[hub(websockets=1, long_polling=1, sent_bytes=10)],
        groups=[GroupLook("Chat", "lobby", 3), GroupLook("Chat", "red", 4)],
        clients=[ClientLook("Chat", "1", None, "WebSockets", 10, 1.0)],
    )
    other = attrs.evolve(
        one,
        draining=False,
        groups=[GroupLook("Chat", "lobby", 2), GroupLook("Game", "red", 1)],
        clients=[ClientLook("Chat", "2", "ann", "WebSockets", 20, 1.0)],
    )
    told = Snapshot.of({"a": one, "b": other}, {"a": NOTHING, "b": NOTHING}, 1, 3)
    assert (told.processes, told.expected, told.draining) == (2, 3, 1)
    assert attrs.astuple(told.statistics) == (2, 4, 6, 8, 10)
    assert [(each.method, each.calls_per_second, each.running) for each in told.methods] == [
        ("Say", 8, 2),
        ("Join", 2, 0),
    ]
    [of_hub] = told.hubs
    assert (of_hub.websockets, of_hub.server_sent_events, of_hub.long_polling) == (2, 0, 2)
    assert of_hub.sent_per_second == 20
    assert told.groups == [
        GroupLook("Chat", "lobby", 5),
        GroupLook("Chat", "red", 4),
        GroupLook("Game", "red", 1),
    ]
    assert [client.id for client in told.clients] == ["2", "1"]


def test_processes_that_come_and_go_make_no_rates() -> None:
    old, new = look(methods=[method(ended=1000)]), look(methods=[method(ended=1010)])
    fresh = look(methods=[method(ended=500)])
    assert Snapshot.of({"a": new, "b": fresh}, {"a": old, "c": old}, 1, 2).methods[0].calls_per_second == 10
    assert Snapshot.of({"b": fresh}, {"a": old}, 1, 1).methods[0].calls_per_second is None


def test_while_no_process_answers_there_is_nothing() -> None:
    told = Snapshot.of({}, {}, 1, 4)
    assert (told.processes, told.expected, told.methods, told.hubs) == (0, 4, [], [])


@pytest.mark.parametrize("processes", [1, 3])
def test_of_many_methods_and_clients_the_first_are_told(processes: int) -> None:
    full = look(
        methods=[method(f"M{number}", ended=number) for number in range(MAXIMUM_METHODS + 7)],
        clients=[ClientLook("Chat", f"{number}", None, "", number, 0) for number in range(MAXIMUM_CLIENTS)],
    )
    told = Snapshot.of({f"{number}": full for number in range(processes)}, {}, 1, processes)
    assert len(told.methods) == MAXIMUM_METHODS
    assert told.methods[0].method == f"M{MAXIMUM_METHODS + 6}"
    assert told.more_methods == 7
    assert len(told.clients) == MAXIMUM_CLIENTS
