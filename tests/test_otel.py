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
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.asgi.server_in_memory import open_scope, websocket
from trio_hubs import (
    Connection,
    ConnectionOptions,
    Hub,
    HubApp,
    HubConnectionOptions,
    HubConnectionState,
    HubException,
    ObservedCall,
    Observer,
    Transport,
    open_connection,
)
from trio_hubs.otel import instrument, traced_calls, traced_handlers
from trio_hubs.testing import Network, open_test_client, open_test_http

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

    async def ask(self, question: str) -> str:
        answer: str = await self.clients.caller.invoke("Answer", question, result_type=str)
        return answer

    async def tell(self, text: str) -> None:
        await self.clients.caller.send("Told", text)

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            await trio.sleep(1)
            yield each


class Coming(Hub):
    """Has something to do when clients come and go."""

    def __init__(self, log: list[Any], refused: bool = False) -> None:
        self._log = log
        self._refused = refused

    async def on_connected(self) -> None:
        self._log.append(trace.get_current_span().get_span_context().span_id)
        await trio.sleep(1)
        if self._refused:
            raise KeyError

    async def on_disconnected(self, error: Exception | None) -> None:
        self._log.append(trace.get_current_span().get_span_context().span_id)

    def inside(self) -> int:
        return trace.get_current_span().get_span_context().span_id


async def echo(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)
    raise OSError


class Witness:
    """An app that is traced and measured, and all that came of it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.app = HubApp()
        self.app.add_hub("/work", Work)
        self.app.add_connection_handler("/echo", echo)
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


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_method_asks_its_client_is_of_its_trace(
    protocol: str, waits: bool, autojump_clock: MockClock
) -> None:
    witness = Witness()
    inside: list[int] = []

    async def answer(question: str) -> str:
        if waits:
            await trio.sleep(1)
        inside.append(trace.get_current_span().get_span_context().span_id)
        if question == "bad":
            raise ValueError
        return question

    observers = [traced_handlers("https://example.org:8080/work", tracer_provider=witness.traces)]
    options = HubConnectionOptions(observers=observers)
    async with open_test_client(
        witness.app, "/work", protocol=protocol, options=options, handlers={"Answer": answer}
    ) as connection:
        assert await connection.invoke("Ask", "good") == "good"
        with pytest.raises(HubException):
            await connection.invoke("Ask", "bad")
    asked = [span for span in witness.spans(SpanKind.SERVER) if span.name == f"{SERVICE}/Ask"]
    answers = [span for span in witness.spans(SpanKind.SERVER) if span.name == "work/Answer"]
    assert [span.context and span.context.span_id for span in answers] == inside
    for theirs, ours, error in zip(asked, answers, ({}, {"error.type": "ValueError"}), strict=True):
        assert ours.parent is not None
        assert ours.parent.is_remote
        assert theirs.context is not None
        assert ours.parent.span_id == theirs.context.span_id
        assert dict(ours.attributes or {}) == {
            "rpc.system": "signalr",
            "rpc.service": "work",
            "rpc.method": "Answer",
            "server.address": "example.org",
            "server.port": 8080,
            **error,
        }
        assert ours.instrumentation_scope is not None
        assert ours.instrumentation_scope.name == "Microsoft.AspNetCore.SignalR.Client"


async def test_what_a_hub_asks_a_client_that_comes_is_of_that_trace(autojump_clock: MockClock) -> None:
    class Asking(Hub):
        async def on_connected(self) -> None:
            await self.clients.caller.invoke("Answer")

        async def on_disconnected(self, error: Exception | None) -> None:
            assert trace.get_current_span().get_span_context().is_valid

    witness = Witness()
    witness.app.add_hub("/asking", Asking)
    options = HubConnectionOptions(
        observers=[traced_handlers("http://example.org", tracer_provider=witness.traces)]
    )
    async with open_test_client(
        witness.app, "/asking", options=options, handlers={"Answer": lambda: 42}
    ) as connection:
        assert connection.state is HubConnectionState.CONNECTED
    (answer,) = witness.spans(SpanKind.SERVER)
    come, _ = witness.spans(SpanKind.INTERNAL)
    assert answer.name == "Answer"
    assert answer.parent is not None
    assert come.context is not None
    assert answer.parent.span_id == come.context.span_id


async def test_what_is_sent_to_clients_carries_no_trace(autojump_clock: MockClock) -> None:
    heard: list[ObservedCall] = []

    class Ear(Observer):
        def call_began(self, call: ObservedCall) -> None:
            heard.append(call)

    witness = Witness()
    async with open_test_client(
        witness.app,
        "/work",
        options=HubConnectionOptions(observers=[Ear()]),
        handlers={"Told": lambda text: text, "Answer": lambda question: question},
    ) as connection:
        await connection.invoke("Tell", "x")
        await connection.invoke("Ask", "x")
    told, asked = heard
    assert (told.target, told.headers) == ("Told", {})
    assert (asked.target, set(asked.headers)) == ("Answer", {"traceparent"})


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


@pytest.mark.parametrize("method", ["Rest", "Count"])
async def test_a_cancelled_call_is_an_error_where_it_was_cancelled_alone(
    method: str, autojump_clock: MockClock
) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work", options=witness.options) as connection:
        with trio.move_on_after(1.5):
            if method == "Rest":
                await connection.invoke("Rest")
            async with connection.stream("Count", 5) as reader:
                _ = [item async for item in reader]
        await trio.sleep(1)
    (ours,), (theirs,) = witness.spans(SpanKind.CLIENT), witness.spans(SpanKind.SERVER)
    assert (ours.attributes or {})["error.type"] == "trio.Cancelled"
    assert ours.status.status_code is StatusCode.ERROR
    assert "error.type" not in (theirs.attributes or {})
    assert theirs.status.status_code is StatusCode.UNSET


async def test_a_stream_that_is_left_is_no_error(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work", options=witness.options) as connection:
        async with connection.stream("Count", 5) as reader:
            assert await reader.read() == 0
        await trio.sleep(1)
    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        (span,) = witness.spans(kind)
        assert span.status.status_code is StatusCode.UNSET


async def test_a_stream_that_goes_on_is_one_span_and_the_parent_of_each_of_its_calls(
    autojump_clock: MockClock,
) -> None:
    witness = Witness()
    network = Network()
    async with (
        open_test_client(
            witness.app, "/work", options=witness.options, reconnect=lambda *_: 1, network=network
        ) as connection,
        connection.stream("Count", 3, resume=lambda _: (2,)) as reader,
    ):
        assert await reader.read() == 0
        network.cut()
        assert [item async for item in reader] == [0, 1]
        assert witness.spans(SpanKind.CLIENT) == []
    (ours,) = witness.spans(SpanKind.CLIENT)
    assert (ours.name, ours.status.status_code) == ("work/Count", StatusCode.UNSET)
    assert [span.parent and span.parent.span_id for span in witness.spans(SpanKind.SERVER)] == [
        ours.context and ours.context.span_id
    ] * 2


async def test_a_resumed_stream_that_fails_is_an_error_of_its_span(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work", options=witness.options) as connection:
        with pytest.raises(HubException):
            async with connection.stream("MadeUp", resume=lambda _: ()) as reader:
                await reader.read()
    (span,) = witness.spans(SpanKind.CLIENT)
    assert (span.attributes or {})["error.type"] == "trio_hubs.errors.HubException"


async def test_a_hub_that_does_nothing_when_clients_come_and_go_has_spans_then_too(
    autojump_clock: MockClock,
) -> None:
    witness = Witness()
    async with open_test_client(witness.app, "/work"):
        pass
    names = [(span.name, span.parent) for span in witness.spans(SpanKind.INTERNAL)]
    assert names == [(f"{SERVICE}/OnConnectedAsync", None), (f"{SERVICE}/OnDisconnectedAsync", None)]


async def test_coming_and_going_belong_to_the_request_and_calls_lead_there(autojump_clock: MockClock) -> None:
    witness = Witness()
    log: list[Any] = []
    witness.app.add_hub("/coming", Coming, factory=lambda: Coming(log))
    headers = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}
    async with open_test_client(witness.app, "/coming", headers=headers) as connection:
        inside = await connection.invoke("Inside")
    come, gone = witness.spans(SpanKind.INTERNAL)
    for span, name in ((come, "OnConnectedAsync"), (gone, "OnDisconnectedAsync")):
        assert span.name == f"{__name__}.Coming/{name}"
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == "0123456789abcdef"
        assert span.status.status_code is StatusCode.UNSET
        assert dict(span.attributes or {}) == {
            "rpc.system": "signalr",
            "rpc.service": f"{__name__}.Coming",
            "rpc.method": name,
        }
    assert log == [span.context and span.context.span_id for span in (come, gone)]
    (call,) = witness.spans(SpanKind.SERVER)
    assert call.parent is None
    assert call.context is not None
    assert call.context.span_id == inside
    assert call.context.trace_id != 0x0123456789ABCDEF0123456789ABCDEF
    assert [f"{link.context.span_id:016x}" for link in call.links] == ["0123456789abcdef"]


async def test_a_client_that_is_refused_has_failed_to_connect(autojump_clock: MockClock) -> None:
    witness = Witness()
    witness.app.add_hub("/coming", Coming, factory=lambda: Coming([], refused=True))
    async with open_test_client(witness.app, "/coming") as connection:
        await connection.wait_closed()
    (span,) = witness.spans(SpanKind.INTERNAL)
    assert (span.attributes or {})["error.type"] == "KeyError"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_host_that_traces_requests_is_what_connections_belong_to(autojump_clock: MockClock) -> None:
    witness = Witness()
    application = witness.app.asgi()

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        with witness.traces.get_tracer("host").start_as_current_span("GET /work", kind=SpanKind.PRODUCER):
            await application(scope, receive, send)

    async with witness.app.running(), open_scope(traced, websocket("/work")) as server:
        server.tell("websocket.receive", text='{"protocol":"json","version":1}\x1e')
        server.tell("websocket.receive", text='{"type":1,"target":"Inline","arguments":[]}\x1e')
        await wait_all_tasks_blocked()
    (request,) = witness.spans(SpanKind.PRODUCER)
    assert [span.parent for span in witness.spans(SpanKind.INTERNAL)] == [request.context] * 2
    (call,) = witness.spans(SpanKind.SERVER)
    assert call.parent is None
    assert [link.context for link in call.links] == [request.context]


async def test_raw_connections_are_measured_as_in_dotnet(autojump_clock: MockClock) -> None:
    witness = Witness()
    by = frozenset({"signalr.transport": "server_sent_events"}.items())
    async with open_test_http(witness.app) as http:
        async with open_connection(
            "http://here/echo",
            http_client=http,
            options=ConnectionOptions(transports=[Transport.SERVER_SENT_EVENTS]),
        ) as connection:
            await connection.send(b"a")
            assert await connection.receive() == b"a"
            assert witness.measured("signalr.server.active_connections") == {by: 1}
            await trio.sleep(5)
        await wait_all_tasks_blocked()
    assert witness.measured("signalr.server.active_connections") == {by: 0}
    assert witness.measured("signalr.server.connection.duration") == {
        by | {("signalr.connection.status", "normal_closure")}: 5
    }


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
        with pytest.raises(HubException):
            await connection.invoke("Fail")
        await trio.sleep(1)
        async with connection.stream("Count", 3) as reader:
            assert [item async for item in reader] == [0, 1, 2]
    streamed = witness.measured("trio_hubs.server.streamed_items")
    assert streamed[frozenset({"hub": "Work", "rpc.method": "Count"}.items())] == 3
    took = {
        (dict(key)["rpc.method"], dict(key)["trio_hubs.outcome"], dict(key).get("error.type")): value
        for key, value in witness.measured("trio_hubs.server.call.duration").items()
    }
    assert took == {
        ("Waiting", "completed", None): 1,
        ("Rest", "cancelled", None): 2,
        ("Fail", "failed", "trio_hubs.errors.HubException"): 0,
        ("Count", "completed", None): 3,
    }
    ((key, count),) = witness.measured("trio_hubs.server.refused_calls").items()
    assert (count, dict(key)["error.type"]) == (1, "trio_hubs.calls.refusals.UnknownMethod")
    assert "MadeUp" not in str(key)
