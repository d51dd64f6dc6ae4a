"""Traces and metrics: with ASP.NET Core's names, and through the headers of messages both ways."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from trio.testing import MockClock

from trio_hubs import Hub, HubApp, HubConnectionOptions, HubException
from trio_hubs.otel import instrument, traced_calls
from trio_hubs.testing import open_test_client

SERVICE = f"{__name__}.Work"


class Work(Hub):
    def inline(self) -> str:
        return f"{trace.get_current_span().get_span_context().span_id:016x}"

    async def waiting(self) -> str:
        await trio.sleep(1)
        return self.inline()

    async def fail(self) -> None:
        raise HubException("no")

    async def rest(self) -> None:
        await trio.sleep_forever()

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            await trio.sleep(1)
            yield each


class Witness:
    """An app that is traced and measured, and all that came of it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.app = HubApp()
        self.app.add_hub("/work", Work)
        meters = MeterProvider([self._reader])
        instrument(self.app, tracer_provider=self.traces, meter_provider=meters)

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.kind is kind]

    def measured(self, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        """The points of a metric, by their attributes."""
        data = self._reader.get_metrics_data()
        return {
            frozenset((point.attributes or {}).items()): getattr(point, "value", None)
            or getattr(point, "sum", 0)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }

    @property
    def options(self) -> HubConnectionOptions:
        return HubConnectionOptions(
            around_calls=traced_calls("https://example.org/work", tracer_provider=self.traces)
        )


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize("method", ["Inline", "Waiting"])
async def test_a_call_is_one_trace_from_the_client_into_the_method(
    method: str, protocol: str, autojump_clock: MockClock
) -> None:
    witness = Witness()
    async with open_test_client(
        witness.app, "/work", protocol=protocol, options=witness.options
    ) as connection:
        with witness.traces.get_tracer("mine").start_as_current_span("outer") as outer:
            inside = await connection.invoke(method)
            assert trace.get_current_span() is outer
    (ours,), (theirs,) = witness.spans(SpanKind.CLIENT), witness.spans(SpanKind.SERVER)
    assert ours.context is not None
    assert theirs.context is not None
    assert ours.parent == outer.get_span_context()
    assert theirs.parent is not None
    assert theirs.parent.span_id == ours.context.span_id
    assert theirs.context.trace_id == outer.get_span_context().trace_id
    assert inside == f"{theirs.context.span_id:016x}"
    assert (ours.name, theirs.name) == (f"work/{method}", f"{SERVICE}/{method}")
    assert dict(ours.attributes or {}) == {
        "rpc.system": "signalr",
        "rpc.service": "work",
        "rpc.method": method,
        "server.address": "example.org",
        "server.port": 443,
    }
    assert dict(theirs.attributes or {}) == {
        "rpc.system": "signalr",
        "rpc.service": SERVICE,
        "rpc.method": method,
    }
    assert ours.instrumentation_scope is not None
    assert theirs.instrumentation_scope is not None
    assert ours.instrumentation_scope.name == "Microsoft.AspNetCore.SignalR.Client"
    assert theirs.instrumentation_scope.name == "Microsoft.AspNetCore.SignalR.Server"


async def test_a_failure_is_told_on_both_sides(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work", options=witness.options) as connection:
        with pytest.raises(HubException):
            await connection.invoke("Fail")
    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        (span,) = witness.spans(kind)
        assert (span.attributes or {})["error.type"] == "trio_hubs.errors.HubException"
        assert not span.status.is_ok


async def test_a_stream_is_one_span_to_its_end(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work", options=witness.options) as connection:
        await connection.send("Inline")
        async with connection.stream("Count", 5) as reader:
            assert [item async for item in reader] == [0, 1, 2, 3, 4]
            assert len(witness.spans(SpanKind.CLIENT)) == 1
        (_, ours), (_, theirs) = witness.spans(SpanKind.CLIENT), witness.spans(SpanKind.SERVER)
        assert theirs.parent is not None
        assert ours.context is not None
        assert theirs.parent.span_id == ours.context.span_id


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-00", "x" * 10_000, f"00-{0:032}-{0:016}-01"])
async def test_a_bad_parent_is_none(header: str, autojump_clock: MockClock) -> None:
    witness = Witness()
    options = HubConnectionOptions(
        around_calls=lambda _: nullcontext({"traceparent": header, "tracestate": header})
    )
    async with open_test_client(witness.app, "/work", options=options) as connection:
        await connection.invoke("Inline")
    (span,) = witness.spans(SpanKind.SERVER)
    assert span.parent is None


async def test_connections_are_measured_as_in_dotnet(autojump_clock: MockClock) -> None:
    witness = Witness()
    by = frozenset({"signalr.transport": "web_sockets"}.items())
    async with witness.app.running():
        pass
    async with open_test_client(witness.app, "/work"):
        assert witness.measured("signalr.server.active_connections") == {by: 1}
        await trio.sleep(5)
    assert witness.measured("signalr.server.active_connections") == {by: 0}
    assert witness.measured("signalr.server.connection.duration") == {
        by | {("signalr.connection.status", "normal_closure")}: 5
    }


async def test_calls_are_measured_by_method(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work") as connection:
        assert witness.measured("trio_hubs.server.queued") == {frozenset({("hub", "Work")}): 0}
        await connection.invoke("Waiting")
        with trio.move_on_after(2):
            await connection.invoke("Rest")
        with pytest.raises(HubException):
            await connection.invoke("MadeUp")
        await trio.sleep(1)
        async with connection.stream("Count", 3) as reader:
            assert [item async for item in reader] == [0, 1, 2]
    streamed = witness.measured("trio_hubs.server.streamed_items")
    assert streamed[frozenset({"hub": "Work", "rpc.method": "Count"}.items())] == 3
    took = {
        (dict(key)["rpc.method"], dict(key).get("error.type")): value
        for key, value in witness.measured("trio_hubs.server.call.duration").items()
    }
    assert took == {("Waiting", None): 1, ("Rest", "cancelled"): 2, ("Count", None): 3}
    ((key, count),) = witness.measured("trio_hubs.server.refused_calls").items()
    assert (count, dict(key)["error.type"]) == (1, "trio_hubs.calls.refusals.UnknownMethod")
    assert "MadeUp" not in str(key)
