"""A monitor's view in a terminal: as much as fits, in columns; what clients have made up is text and nothing else."""

import io
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from rich.console import Console

from trio_hubs.cli.monitor_view import MAXIMUM_NAME, MonitorView, _bytes, _duration, _rate
from trio_hubs.monitor.look import ClientLook, GroupLook
from trio_hubs.monitor.snapshot import HubLine, MethodLine, Snapshot
from trio_hubs.server.statistics import Statistics

HOSTILE = "\x1b]0;title\x07\x1b[31m\u202e\r\n[bold red]" + "x" * 1000
METHOD = MethodLine(
    hub="Chat",
    method="Say",
    calls_per_second=1234.5,
    running=2,
    mean_seconds=0.0042,
    errors=3,
    items_per_second=0.0,
)
HUB = HubLine(
    hub="Chat",
    websockets=1200,
    server_sent_events=3,
    long_polling=1,
    groups=7,
    waiting_calls=5,
    queued_bytes=2_500_000,
    received_per_second=1500.0,
    sent_per_second=99.0,
)
SNAPSHOT = Snapshot(
    processes=1,
    expected=1,
    draining=0,
    statistics=Statistics(
        connections=1204, refused_connections=0, refused_calls=0, slow_clients=2, dropped_messages=0
    ),
    methods=[METHOD],
    more_methods=0,
    hubs=[HUB],
    groups=[GroupLook("Chat", "lobby", 40)],
    clients=[ClientLook("Chat", "abc", None, "WebSockets", 70_000, 3.2)],
)


def drawn(width: int = 80, height: int = 40, *, whole: bool = False, lost: str = "", **changes: Any) -> str:
    """What a terminal gets."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    told = attrs.evolve(SNAPSHOT, **changes)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    console.print(MonitorView("http://127.0.0.1:8000/monitor", told, at, lost, whole))
    return file.getvalue()


def test_all_of_it_in_columns() -> None:
    assert [line.rstrip() for line in drawn().splitlines()] == [
        "trio-hubs top http://127.0.0.1:8000/monitor                     ● live  03:04:05",
        "",
        "connections        1,204   calls/s            1,234   slow, cut off          2",
        "groups                 7   items/s              0.0   dropped                0",
        "waiting calls          5   in/s              1.5 kB   refused calls          0",
        "queued            2.5 MB   out/s               99 B   turned away            0",
        "",
        "HUB           METHOD         CALLS/S  RUNNING      MEAN   ITEMS/S   ERRORS",
        "Chat          Say              1,234        2    4.2 ms       0.0        3",
        "",
        "HUB              WS    SSE   POLL  GROUPS  WAITING   QUEUED     IN/S    OUT/S",
        "Chat          1,200      3      1       7        5   2.5 MB   1.5 kB     99 B",
        "",
        "SLOW CLIENT OF  USER          CONNECTION    STUCK FOR   QUEUED",
        "Chat            -             abc               3.2 s  70.0 kB",
        "",
        "HUB           GROUP         MEMBERS",
        "Chat          lobby              40",
    ]


def test_what_clients_have_made_up_is_text() -> None:
    text = drawn(
        200,
        hubs=[attrs.evolve(HUB, hub=HOSTILE)],
        methods=[attrs.evolve(METHOD, hub=HOSTILE, method=HOSTILE)],
        groups=[GroupLook(HOSTILE, HOSTILE, 1)],
        clients=[ClientLook(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, 1.0)],
        lost=HOSTILE,
    )
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "·]0;title··[31m···[bold red]" in text
    assert all(len(word) <= 100 for word in text.split())
    assert f" {'x' * MAXIMUM_NAME}" not in text


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("height", [20, 24, 30, 50])
@pytest.mark.parametrize("lost", ["", "lost, and tried again: " + "for a long reason " * 20])
def test_it_fits(width: int, height: int, lost: str) -> None:
    many: dict[str, Any] = {
        "methods": [attrs.evolve(METHOD, method=f"Method{number}") for number in range(100)],
        "more_methods": 3,
        "hubs": [attrs.evolve(HUB, hub=f"Hub{number}") for number in range(30)],
        "groups": [GroupLook("Chat", f"group {number}", 1) for number in range(20)],
        "clients": [ClientLook("Chat", "a" * 30, "b" * 64, "", number, 1.0) for number in range(20)],
    }
    lines = drawn(width, height, lost=lost, **many).splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    shown = sum(line.split()[1:2] == [f"Method{number}"] for number, line in enumerate(lines[8:]))
    assert shown >= 1
    assert f"and {103 - shown} more" in "\n".join(lines)


def test_a_file_gets_all_of_it() -> None:
    methods = [attrs.evolve(METHOD, method=f"Method{number}") for number in range(100)]
    text = drawn(80, 24, whole=True, methods=methods, more_methods=3)
    assert "Method99" in text
    assert "and 3 more" in text


def test_what_there_is_not_takes_no_room() -> None:
    text = drawn(clients=[], groups=[])
    assert "SLOW CLIENT" not in text
    assert "GROUP " not in text


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "● live  03"),
        ({"expected": 4, "processes": 3}, "● live, 3 of 4 processes  03"),
        ({"expected": None}, "● live, this process alone: the others are out of reach  03"),
        ({"draining": 1}, "● running empty: 1 of 1  03"),
        ({"draining": 1, "expected": 4, "processes": 4}, "● running empty: 1 of 4, 4 of 4 processes  03"),
    ],
)
def test_what_state_it_is_in(changes: dict[str, Any], state: str) -> None:
    assert state in drawn(120, **changes)


def test_that_it_is_lost_is_said() -> None:
    assert "● lost, and tried again: no way" in drawn(120, lost="lost, and tried again: no way")


def test_what_is_not_known_yet_is_a_dash() -> None:
    first = attrs.evolve(METHOD, calls_per_second=None, mean_seconds=None, items_per_second=None)
    lines = drawn(methods=[first], hubs=[attrs.evolve(HUB, sent_per_second=None)]).splitlines()
    assert lines[2].split()[2:4] == ["calls/s", "-"]
    assert lines[8].split() == ["Chat", "Say", "-", "2", "-", "-", "3"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0.0"), (0.26, "0.3"), (99.94, "99.9"), (99.96, "100"), (1234567.8, "1,234,568"), (None, "-")],
)
def test_a_rate(number: float | None, text: str) -> None:
    assert str(_rate(number)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999.4, "999 B"),
        (999.6, "1.0 kB"),
        (99_940, "99.9 kB"),
        (123_456, "123 kB"),
        (999_600, "1,000 kB"),
        (1_000_000, "1.0 MB"),
        (5e9, "5.0 GB"),
        (5e15, "5,000,000 GB"),
        (None, "-"),
    ],
)
def test_bytes(number: float | None, text: str) -> None:
    assert str(_bytes(number)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ms"),
        (0.00042, "0.42 ms"),
        (0.0042, "4.2 ms"),
        (0.42, "420 ms"),
        (4.2, "4.2 s"),
        (None, "-"),
    ],
)
def test_a_duration(seconds: float | None, text: str) -> None:
    assert str(_duration(seconds)) == text
