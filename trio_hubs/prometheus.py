"""Figures of an app as Prometheus reads them: its text format 0.0.4, made anew at each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from math import inf
from typing import Any, TypeAlias

from .connections.http import Request, Response
from .server.app import HubApp
from .server.figures import BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = dict[str, str]
Samples: TypeAlias = Iterable[tuple[Labels, float]]


def prometheus(app: HubApp[Any]) -> Callable[[Request], Response]:
    """Make a route's handler that tells an app's figures; from now on they are counted.

    Names of methods are those that there are; ``other`` stands for all else that clients call.

    Args:
        app: The app.

    Example:
        ::

            app.add_route("/metrics", prometheus(app), authorize=is_monitor)
    """
    _ = app.figures  # which are counted from now on

    def tell(_: Request) -> Response:
        return Response("".join(_lines(app)), content_type=CONTENT_TYPE)

    return tell


def _lines(app: HubApp[Any]) -> Iterator[str]:
    figures = app.figures
    whole: list[tuple[Labels, object]] = [({}, app.statistics())]
    methods = [({"hub": each.hub, "method": each.method}, each) for each in figures.methods.values()]
    ways = [({"hub": each.hub, "transport": each.transport}, each) for each in figures.ways.values()]
    hubs = [({"hub": each.hub}, each) for each in figures.hubs]
    outcomes = [
        ({**labels, "outcome": outcome.value}, count)
        for labels, each in methods
        for outcome, count in each.outcomes.items()
    ]
    yield from _family("connections", "Connections.", _each(ways, "now"))
    yield from _family(
        "connections_opened_total", "Connections that have been opened.", _each(ways, "opened")
    )
    yield from _family(
        "connections_failed_total", "Connections that an error has ended.", _each(ways, "failed")
    )
    yield from _family(
        "calls_total", "Calls of methods that have ended, or were refused, by their outcome.", outcomes
    )
    yield from _family(
        "calls_running", "Calls that run.", ((labels, len(each.running)) for labels, each in methods)
    )
    yield from _head("call_duration_seconds", "histogram", "How long calls have run, streams included.")
    for labels, each in methods:
        counts = list(accumulate(each.durations))
        for bound, count in zip(BOUNDS, counts, strict=True):
            le = "+Inf" if bound == inf else repr(bound)
            yield _sample("call_duration_seconds_bucket", {**labels, "le": le}, count)
        yield _sample("call_duration_seconds_sum", labels, each.seconds)
        yield _sample("call_duration_seconds_count", labels, counts[-1])
    yield from _family("streamed_items_total", "Items streamed to clients.", _each(methods, "items"))
    yield from _family("argument_bytes_total", "Bytes of arguments.", _each(methods, "argument_bytes"))
    yield from _family("calls_waiting", "Calls that wait for their turn.", _each(hubs, "waiting_calls"))
    yield from _family(
        "queued_bytes", "Bytes that wait for clients to take them.", _each(hubs, "queued_bytes")
    )
    yield from _family("received_bytes_total", "Bytes that clients have sent.", _each(hubs, "received_bytes"))
    yield from _family("sent_bytes_total", "Bytes that were sent to clients.", _each(hubs, "sent_bytes"))
    yield from _family(
        "slow_clients_total", "Clients disconnected for being too slow.", _each(whole, "slow_clients")
    )
    yield from _family(
        "dropped_messages_total", "Messages dropped for slow clients.", _each(whole, "dropped_messages")
    )
    yield from _family(
        "refused_connections_total", "Connections turned away.", _each(whole, "refused_connections")
    )
    yield from _family(
        "limited_calls_total", "Calls refused for a limit's sake.", _each(whole, "refused_calls")
    )


def _each(found: Iterable[tuple[Labels, object]], attribute: str) -> Samples:
    return ((labels, getattr(each, attribute)) for labels, each in found)


def _family(name: str, text: str, samples: Samples) -> Iterator[str]:
    yield from _head(name, "counter" if name.endswith("_total") else "gauge", text)
    for labels, value in samples:
        yield _sample(name, labels, value)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP trio_hubs_{name} {text}\n# TYPE trio_hubs_{name} {kind}\n"


def _sample(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"trio_hubs_{name}{{{pairs}}} {value!r}\n" if pairs else f"trio_hubs_{name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
