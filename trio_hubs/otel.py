"""Traces and metrics by OpenTelemetry, with the names and attributes of ASP.NET Core, and more that it lacks.

It stands on observers and figures, as anybody's could. What peers write in headers is a parent and no more: a name that
clients made up is in no attribute, and no span begins for a call that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import trio
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, TracerProvider

from .calls.observer import ObservedCall, ObservedConnection, Observer, Outcome, call_headers
from .protocol.negotiate import Transport
from .server.app import HubApp
from .server.figures import Figures

SERVER = "Microsoft.AspNetCore.SignalR.Server"
CLIENT = "Microsoft.AspNetCore.SignalR.Client"
METER = "Microsoft.AspNetCore.Http.Connections"
OWN_METER = "trio_hubs"

_TRANSPORTS = {
    Transport.WEBSOCKETS: "web_sockets",
    Transport.SERVER_SENT_EVENTS: "server_sent_events",
    Transport.LONG_POLLING: "long_polling",
}
_HOOKS = {
    "on_connected": "OnConnectedAsync",
    "on_disconnected": "OnDisconnectedAsync",
}
_DURATIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)  # as ASP.NET Core advises

Attributes: TypeAlias = dict[str, "str | int"]


def instrument(
    app: HubApp[Any],
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Trace the calls of an app's hubs, and measure its connections and calls, from now on.

    Args:
        app: The app, before it is served.
        tracer_provider: Takes the spans; the global one by default.
        meter_provider: Takes the measurements; the global one by default.
    """
    _ = app.figures  # which are counted from now on
    app.add_observer(
        _Instruments(
            app,
            trace.get_tracer(SERVER, tracer_provider=tracer_provider),
            metrics.get_meter_provider() if meter_provider is None else meter_provider,
        )
    )


def traced_calls(
    url: str, *, tracer_provider: TracerProvider | None = None
) -> Callable[[str], AbstractContextManager[Mapping[str, str]]]:
    """What traces a client's calls of a hub: for ``HubConnectionOptions.around_calls``.

    Args:
        url: The hub's URL.
        tracer_provider: Takes the spans; the global one by default.
    """
    return partial(_traced, trace.get_tracer(CLIENT, tracer_provider=tracer_provider), _hub_at(url))


def traced_handlers(url: str, *, tracer_provider: TracerProvider | None = None) -> Observer:
    """What traces a server's calls of a client's handlers: for ``HubConnectionOptions.observers``.

    Args:
        url: The hub's URL.
        tracer_provider: Takes the spans; the global one by default.
    """
    return _HandlerSpans(trace.get_tracer(CLIENT, tracer_provider=tracer_provider), _hub_at(url))


def _hub_at(url: str) -> Attributes:
    """What clients' spans say of a hub, whose path stands for its class."""
    parts = urlsplit(url)
    attributes: Attributes = {"rpc.system": "signalr"}
    if service := parts.path.strip("/"):
        attributes["rpc.service"] = service
    if parts.hostname:
        attributes["server.address"] = parts.hostname
        attributes["server.port"] = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    return attributes


@contextmanager
def _traced(tracer: Tracer, hub: Attributes, target: str) -> Iterator[Mapping[str, str]]:
    """A span around a call of ours, which is no parent of what its caller does meanwhile."""
    attributes = {**hub, "rpc.method": target}
    span = tracer.start_span(_title(hub, target), kind=SpanKind.CLIENT, attributes=attributes)
    try:
        yield _headers(trace.set_span_in_context(span))
    except (Exception, trio.Cancelled) as error:
        _fail(span, error)
        raise
    finally:
        span.end()


def _headers(here: context.Context | None = None) -> Mapping[str, str]:
    """What tells of a context, by default of the current one."""
    headers: dict[str, str] = {}
    propagate.inject(headers, here)
    return headers


def _title(hub: Attributes, method: str) -> str:
    service = hub.get("rpc.service")
    return f"{service}/{method}" if service else method


def _fail(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", _name(type(error)))
    span.set_status(StatusCode.ERROR)


def _name(kind: type) -> str:
    """The name of a class as OpenTelemetry writes those of Python."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@attrs.frozen
class _Connection:
    """What the calls on a connection have in common.

    Attributes:
        hub: What all of their spans say.
        request: The context of the HTTP request that made it.
        links: What leads from a call's trace to that of the request.
    """

    hub: Attributes
    request: context.Context
    links: list[Link]


class _Spans:
    """The spans of the calls that run.

    Args:
        tracer: Makes them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._running: dict[ObservedCall, tuple[Span, Attributes]] = {}

    def begin(
        self,
        call: ObservedCall,
        hub: Attributes,
        parent: context.Context,
        links: Sequence[Link] = (),
    ) -> context.Context:
        """Begin a call's span; gives the context that the call is to run in."""
        method = _HOOKS.get(call.target, call.target)
        attributes = {**hub, "rpc.method": method}
        kind = SpanKind.INTERNAL if call.target in _HOOKS else SpanKind.SERVER
        span = self._tracer.start_span(_title(hub, method), parent, kind, attributes, links)
        self._running[call] = span, attributes
        return trace.set_span_in_context(span, parent)

    def end(self, call: ObservedCall) -> Attributes | None:
        """End a call's span, if it has one; gives its attributes."""
        span, attributes = self._running.pop(call, (None, None))
        if span is None or attributes is None:
            return None
        if call.outcome is Outcome.FAILED and call.error is not None:
            _fail(span, call.error)
            attributes["error.type"] = _name(type(call.error))
        span.end()
        return attributes


class _HandlerSpans(Observer):
    """Traces what a server calls at a client.

    Args:
        tracer: Makes the spans.
        hub: What each span says.
    """

    def __init__(self, tracer: Tracer, hub: Attributes) -> None:
        self._spans = _Spans(tracer)
        self._hub = hub

    def call_began(self, call: ObservedCall) -> None:
        parent = propagate.extract(call.headers, context.Context())
        context.attach(self._spans.begin(call, self._hub, parent))

    def call_ended(self, call: ObservedCall) -> None:
        self._spans.end(call)


class _Instruments(Observer):
    """Traces and measures what an app's clients do."""

    def __init__(self, app: HubApp[Any], tracer: Tracer, provider: MeterProvider) -> None:
        self._app = app
        self._spans = _Spans(tracer)
        self._connections: dict[str | None, _Connection] = {}  # those that are open
        self._hooks: dict[ObservedCall, Callable[[], None]] = {}  # what takes their contexts off
        meter = provider.get_meter(METER)
        self._lasted = meter.create_histogram(
            "signalr.server.connection.duration",
            "s",
            "The duration of connections on the server.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self._active = meter.create_up_down_counter(
            "signalr.server.active_connections",
            "{connection}",
            "Number of connections that are currently active on the server.",
        )
        own = provider.get_meter(OWN_METER)
        self._took = own.create_histogram(
            "trio_hubs.server.call.duration", "s", "The duration of calls of hub methods, streams included."
        )
        self._refused = own.create_counter(
            "trio_hubs.server.refused_calls", "{call}", "Calls that did not begin."
        )
        for counts, name, unit, text, read in _FIGURES:
            create = own.create_observable_counter if counts else own.create_observable_up_down_counter
            create(name, [partial(_observe, app, read)], unit, text)

    def connection_opened(self, connection: ObservedConnection) -> None:
        hubs = [hub for hub, _ in self._app.site.hubs if hub.__qualname__ == connection.hub]
        hub: Attributes = {"rpc.system": "signalr", "rpc.service": _name(hubs[0]) if hubs else ""}
        request = context.get_current()  # where what hosts the app traces requests
        if not trace.get_current_span(request).get_span_context().is_valid:
            request = propagate.extract(connection.request.headers, context.Context())
        span = trace.get_current_span(request).get_span_context()
        links = [Link(span)] if span.is_valid else []
        self._connections[connection.id] = _Connection(hub, request, links)
        self._active.add(1, _transport(connection))

    def connection_closed(self, connection: ObservedConnection) -> None:
        if self._connections.pop(connection.id, None) is None:
            return
        self._active.add(-1, _transport(connection))
        if isinstance(connection.error, TimeoutError) or connection.too_slow:
            status = "timeout"
        else:
            status = "app_shutdown" if self._app.draining else "normal_closure"
        seconds = trio.current_time() - connection.opened_at
        self._lasted.record(seconds, {"signalr.connection.status": status, **_transport(connection)})

    def hook_began(self, call: ObservedCall) -> None:
        if (connection := self._connections.get(call.connection_id)) is not None:
            here = self._spans.begin(call, connection.hub, connection.request)
            token, headers = context.attach(here), call_headers.set(_headers)

            def leave() -> None:
                call_headers.reset(headers)
                context.detach(token)

            self._hooks[call] = leave

    def hook_ended(self, call: ObservedCall) -> None:
        if (leave := self._hooks.pop(call, None)) is not None:
            leave()
            self._spans.end(call)

    def call_began(self, call: ObservedCall) -> None:
        if (connection := self._connections.get(call.connection_id)) is not None:
            parent = propagate.extract(call.headers, context.Context())
            here = self._spans.begin(call, connection.hub, parent, connection.links)
            context.attach(here)  # of the call's own context, which ends with it
            call_headers.set(_headers)

    def call_ended(self, call: ObservedCall) -> None:
        if (attributes := self._spans.end(call)) is not None:
            seconds = trio.current_time() - call.began_at
            self._took.record(seconds, {**attributes, "trio_hubs.outcome": str(call.outcome)})

    def call_refused(self, call: ObservedCall) -> None:
        if (connection := self._connections.get(call.connection_id)) is not None:
            kind = _name(type(call.error))
            self._refused.add(1, {**connection.hub, "error.type": kind})


def _transport(connection: ObservedConnection) -> Attributes:
    if connection.transport is None:
        return {}
    return {"signalr.transport": _TRANSPORTS[connection.transport]}


Read: TypeAlias = Callable[[HubApp[Any], Figures], Iterable[tuple[float, Attributes]]]


def _observe(app: HubApp[Any], read: Read, _: CallbackOptions) -> Iterable[Observation]:
    return [Observation(value, attributes) for value, attributes in read(app, app.figures)]


def _by_hub(name: str) -> Read:
    return lambda _, figures: [(getattr(each, name), {"hub": each.hub}) for each in figures.hubs]


def _by_app(name: str) -> Read:
    return lambda app, _: [(getattr(app.statistics(), name), {})]


def _items(_: HubApp[Any], figures: Figures) -> Iterable[tuple[float, Attributes]]:
    return [(each.items, {"hub": each.hub, "rpc.method": each.method}) for each in figures.methods.values()]


_FIGURES: tuple[tuple[bool, str, str, str, Read], ...] = (
    (True, "trio_hubs.server.streamed_items", "{item}", "Items streamed to clients.", _items),
    (True, "trio_hubs.server.received", "By", "Bytes that clients have sent.", _by_hub("received_bytes")),
    (True, "trio_hubs.server.sent", "By", "Bytes that were sent to clients.", _by_hub("sent_bytes")),
    (False, "trio_hubs.server.queued", "By", "Bytes that wait for clients.", _by_hub("queued_bytes")),
    (False, "trio_hubs.server.waiting_calls", "{call}", "Calls that wait.", _by_hub("waiting_calls")),
    (
        True,
        "trio_hubs.server.slow_clients",
        "{client}",
        "Clients that were too slow.",
        _by_app("slow_clients"),
    ),
    (
        True,
        "trio_hubs.server.dropped_messages",
        "{message}",
        "Dropped messages.",
        _by_app("dropped_messages"),
    ),
    (
        True,
        "trio_hubs.server.refused_connections",
        "{connection}",
        "Turned away.",
        _by_app("refused_connections"),
    ),
)
