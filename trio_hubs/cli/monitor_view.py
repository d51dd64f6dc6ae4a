"""What a monitor tells, drawn for a terminal, as much as fits.

What clients, or a server, have made up is text alone: it moves no cursor, has no colour, and is cut where it is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from ..monitor.snapshot import Snapshot

MAXIMUM_ROWS = 6
"""Rows of hubs, of slow clients and of groups, where the height is limited: a quarter of it for each, but no more."""
MAXIMUM_NAME = 32
"""Columns of a name."""

_FRAME = 14  # lines that are no rows
_UNKNOWN = "-"


@attrs.frozen
class MonitorView:
    """A monitor's view of an app.

    Attributes:
        place: Where the monitor is.
        snapshot: What it has told last.
        at: When that was.
        lost: Why it tells nothing at the moment.
        whole: Whether to draw all of it, however high that is.
    """

    place: str
    snapshot: Snapshot
    at: datetime
    lost: str = ""
    whole: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        told = self.snapshot
        most = None if self.whole else min(MAXIMUM_ROWS, max(1, (console.height - _FRAME) // 4))
        totals = self._totals()
        hubs = _table(
            ("HUB",),
            {"WS": 5, "SSE": 5, "POLL": 5, "GROUPS": 6, "WAITING": 7, "QUEUED": 7, "IN/S": 7, "OUT/S": 7},
            [
                (
                    _name(each.hub),
                    _whole(each.websockets),
                    _whole(each.server_sent_events),
                    _whole(each.long_polling),
                    _whole(each.groups),
                    _whole(each.waiting_calls),
                    _bytes(each.queued_bytes),
                    _bytes(each.received_per_second),
                    _bytes(each.sent_per_second),
                )
                for each in told.hubs[:most]
            ],
        )
        clients = _table(
            ("SLOW CLIENT OF", "USER", "CONNECTION"),
            {"STUCK FOR": 9, "QUEUED": 7},
            [
                (
                    _name(each.hub),
                    _name(each.user),
                    _name(each.id),
                    _duration(each.stuck_seconds),
                    _bytes(each.queued_bytes),
                )
                for each in told.clients[:most]
            ],
        )
        groups = _table(
            ("HUB", "GROUP"),
            {"MEMBERS": 7},
            [(_name(each.hub), _name(each.group), _whole(each.members)) for each in told.groups[:most]],
        )
        others = [table for table in (hubs, clients, groups) if table.row_count]
        taken = 2 + totals.row_count + sum(2 + table.row_count for table in others)
        methods = self._methods(None if self.whole else max(1, console.height - taken - 2))
        yield self._head()
        for table in (totals, methods, *others):
            yield Text()
            yield table

    def _head(self) -> Table:
        head = Table.grid(
            Column(no_wrap=True, overflow="ellipsis"), Column(justify="right", no_wrap=True), expand=True
        )
        head.add_row(Text.assemble(("trio-hubs top ", "bold"), _visible(self.place)), self._state())
        return head

    def _state(self) -> Text:
        told = self.snapshot
        if self.lost:
            return Text(f"● {_visible(self.lost)}", "red", overflow="ellipsis")
        if told.draining:
            text, colour = f"running empty: {told.draining} of {told.processes}", "yellow"
        else:
            text, colour = "live", "green"
        if told.expected is None:
            text += ", this process alone: the others are out of reach"
        elif told.expected > 1:
            text += f", {told.processes} of {told.expected} processes"
        return Text.assemble((f"● {text}", colour), (f"  {self.at:%H:%M:%S}", "dim"))

    def _totals(self) -> Table:
        told, limits = self.snapshot, self.snapshot.statistics
        columns = (
            (
                ("connections", _whole(limits.connections)),
                ("groups", _whole(sum(each.groups for each in told.hubs))),
                ("waiting calls", _whole(sum(each.waiting_calls for each in told.hubs))),
                ("queued", _bytes(sum(each.queued_bytes for each in told.hubs))),
            ),
            (
                ("calls/s", _rate(_sum(each.calls_per_second for each in told.methods))),
                ("items/s", _rate(_sum(each.items_per_second for each in told.methods))),
                ("in/s", _bytes(_sum(each.received_per_second for each in told.hubs))),
                ("out/s", _bytes(_sum(each.sent_per_second for each in told.hubs))),
            ),
            (
                ("slow, cut off", _warning(limits.slow_clients)),
                ("dropped", _warning(limits.dropped_messages)),
                ("refused calls", _warning(limits.refused_calls)),
                ("turned away", _warning(limits.refused_connections)),
            ),
        )
        table = Table.grid(padding=(0, 3, 0, 0))
        for _ in columns:
            table.add_column(style="dim", min_width=13)
            table.add_column(style="bold", min_width=8, justify="right")
        for row in zip(*columns, strict=True):
            table.add_row(*(cell for entry in row for cell in entry))
        return table

    def _methods(self, most: int | None) -> Table:
        methods = self.snapshot.methods
        more = self.snapshot.more_methods
        if most is not None and len(methods) > most:
            methods, more = methods[: most - 1], more + len(methods) - most + 1
        table = _table(
            ("HUB", "METHOD"),
            {"CALLS/S": 8, "RUNNING": 7, "MEAN": 8, "ITEMS/S": 8, "ERRORS": 7},
            [
                (
                    _name(each.hub),
                    _name(each.method),
                    _rate(each.calls_per_second),
                    _whole(each.running),
                    _duration(each.mean_seconds),
                    _rate(each.items_per_second),
                    _warning(each.errors),
                )
                for each in methods
            ],
        )
        if more:
            table.add_row(Text(f"and {more:,} more", "dim"))
        return table


def _table(texts: Sequence[str], numbers: Mapping[str, int], rows: Iterable[Sequence[Text]]) -> Table:
    """A table with columns of text, then of numbers with their widths."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for label in texts:
        table.add_column(label, min_width=12, max_width=MAXIMUM_NAME, no_wrap=True, overflow="ellipsis")
    for label, width in numbers.items():
        table.add_column(label, justify="right", min_width=width, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else "·" for character in text[:100])


def _name(text: str | None) -> Text:
    return Text(_UNKNOWN if text is None else _visible(text))


def _whole(number: int) -> Text:
    return Text(f"{number:,}", "" if number else "dim")


def _warning(number: int) -> Text:
    return Text(f"{number:,}", "yellow" if number else "dim")


def _rate(number: float | None) -> Text:
    if number is None:
        return Text(_UNKNOWN, "dim")
    return Text(f"{number:,.1f}" if number < 99.95 else f"{number:,.0f}", "" if number else "dim")


def _bytes(number: float | None) -> Text:
    if number is None:
        return Text(_UNKNOWN, "dim")
    if number < 999.5:
        return Text(f"{number:.0f} B", "" if number else "dim")
    power = min(3, (len(f"{number:.0f}") - 1) // 3)
    scaled, unit = number / 1000**power, (" kB", " MB", " GB")[power - 1]
    return Text(f"{scaled:,.1f}{unit}" if scaled < 99.95 else f"{scaled:,.0f}{unit}")


def _duration(seconds: float | None) -> Text:
    if seconds is None:
        return Text(_UNKNOWN, "dim")
    if seconds >= 1:
        return Text(f"{seconds:,.1f} s")
    return Text(f"{seconds * 1000:.{2 if seconds < 0.001 else 1 if seconds < 0.1 else 0}f} ms")


def _sum(numbers: Iterable[float | None]) -> float | None:
    """The sum; unknown where one is."""
    known = list(numbers)
    return None if None in known else sum(number or 0.0 for number in known)
