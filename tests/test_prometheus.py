"""An app's figures as Prometheus reads them, read by its own parser."""

from collections.abc import AsyncIterator

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from trio_hubs import Hub, HubApp, HubException
from trio_hubs.connections.http import Request
from trio_hubs.prometheus import CONTENT_TYPE, prometheus
from trio_hubs.testing import open_test_client, open_test_http


class Work(Hub):
    async def add(self, a: int, b: int) -> int:
        return a + b

    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def fail(self) -> None:
        raise HubException("no")

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each
        await trio.sleep(60)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Monitor:
    """What Prometheus reads of an app."""

    def __init__(self, text: str) -> None:
        self.samples: Samples = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            assert family.type != "unknown"
            for sample in family.samples:
                key = sample.name.removeprefix("trio_hubs_"), frozenset(sample.labels.items())
                assert key not in self.samples
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))


def monitored() -> HubApp:
    app = HubApp()
    app.add_hub("/work", Work)
    app.add_route("/metrics", prometheus(app))
    return app


async def read(app: HubApp) -> Monitor:
    async with open_test_http(app) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    return Monitor(answer.text)


async def test_an_app_that_does_nothing_has_figures(autojump_clock: MockClock) -> None:
    told = await read(monitored())
    assert told("connections", hub="Work", transport="WebSockets") is None
    assert told("queued_bytes", hub="Work") == 0
    assert told("slow_clients_total") == 0


async def test_calls_are_told_by_method_and_outcome(autojump_clock: MockClock) -> None:
    app = monitored()
    async with open_test_client(app, "/work") as connection:
        await connection.invoke("Add", 1, 2)
        await connection.invoke("add", 1, 2)
        await connection.invoke("Rest", 2)
        with pytest.raises(HubException):
            await connection.invoke("Fail")
        with pytest.raises(HubException):
            await connection.invoke("ADD", "text")
        told = await read(app)
    ended = {"hub": "Work", "method": "Add"}
    assert told("calls_total", **ended, outcome="completed") == 2
    assert told("calls_total", **ended, outcome="refused") == 1
    assert told("calls_total", hub="Work", method="Fail", outcome="failed") == 1
    assert told("call_duration_seconds_count", **ended) == 2
    rested = {"hub": "Work", "method": "Rest"}
    assert told("call_duration_seconds_sum", **rested) == 2
    assert [told("call_duration_seconds_bucket", **rested, le=le) for le in ("1.0", "2.5", "+Inf")] == [
        0,
        1,
        1,
    ]
    assert told("argument_bytes_total", **ended) == 10
    assert told("connections", hub="Work", transport="WebSockets") == 1
    assert (told("received_bytes_total", hub="Work") or 0) > 200
    assert (told("sent_bytes_total", hub="Work") or 0) > 100


async def test_names_that_clients_make_up_are_one(autojump_clock: MockClock) -> None:
    app = monitored()
    async with open_test_client(app, "/work") as connection:
        for number in range(100):
            with pytest.raises(HubException):
                await connection.invoke(f'Made{number}"}}\n up')
        told = await read(app)
    assert told("calls_total", hub="Work", method="other", outcome="refused") == 100
    assert {dict(labels).get("method") for _, labels in told.samples} == {None, "other"}


async def test_a_stream_is_told_while_it_runs_and_when_it_has_ended(autojump_clock: MockClock) -> None:
    app = monitored()
    method = {"hub": "Work", "method": "Count"}
    async with open_test_client(app, "/work") as connection:
        async with connection.stream("Count", 5) as reader:
            for _ in range(5):
                await reader.read()
            told = await read(app)
            assert told("streamed_items_total", **method) == 5
            assert told("calls_running", **method) == 1
        await trio.sleep(1)
        told = await read(app)
    assert told("streamed_items_total", **method) == 5
    assert told("calls_running", **method) == 0
    assert told("calls_total", **method, outcome="cancelled") == 1


async def test_connections_and_their_bytes_stay_counted(autojump_clock: MockClock) -> None:
    app = monitored()
    async with app.running():
        pass
    async with open_test_http(app):
        async with open_test_client(app, "/work") as connection:
            await connection.invoke("Add", 1, 2)
        told = await read(app)
    assert told("connections", hub="Work", transport="WebSockets") == 0
    assert told("connections_opened_total", hub="Work", transport="WebSockets") == 1
    assert told("connections_failed_total", hub="Work", transport="WebSockets") == 0
    assert (told("sent_bytes_total", hub="Work") or 0) > 20


async def test_what_waits_is_told(autojump_clock: MockClock) -> None:
    app = monitored()
    async with open_test_client(app, "/work") as connection:
        for _ in range(3):
            await connection.send("Rest", 60)
        await trio.sleep(1)
        told = await read(app)
    assert told("calls_waiting", hub="Work") == 2
    assert told("calls_running", hub="Work", method="Rest") == 1


def test_labels_are_escaped() -> None:
    name = 'a "quoted"\n back\\slash'
    app = HubApp()
    app.add_hub("/work", type(name, (Hub,), {}))
    handler = prometheus(app)
    told = Monitor(handler(Request()).body.decode())
    assert told("queued_bytes", hub=name) == 0


async def test_nothing_is_counted_for_apps_that_nobody_monitors(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/work", Work)
    async with open_test_client(app, "/work") as connection:
        await connection.invoke("Add", 1, 2)
        assert not app.site.hubs[0][1].observers.hear_calls
        assert not app.figures.methods  # which begins now
        assert app.site.hubs[0][1].observers.hear_calls
