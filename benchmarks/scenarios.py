"""The loads: what is asked of a server, and what a right answer looks like.

Every load is a closed loop on connections of its own, so a faster server is asked more. Its requests are
bytes made beforehand. It is over long before a keep-alive ping is due: every record that comes is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.connection import Connection, WebSocketConnection
from benchmarks.http_connection import EventConnection, PollingConnection
from benchmarks.wire import client_text, record

TEXT: Final = "hello"
BATCH: Final = 200  # upload items in a frame that carries many


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Requests over some connections, some under way on each, the next sent as one is answered."""

    kind: Callable[[str], Connection] = WebSocketConnection
    connections: int = 1
    outstanding: int = 1
    requests: Sequence[bytes]  # taken in turn, so that no two under way share an id
    records: int = 1  # that answer one request
    items: int = 1  # that one request is worth in the rate
    first: Mapping[str, Any]
    last: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Broadcasts:
    """Some of many connections tell all of them something, again and again."""

    connections: int
    callers: int


@dataclass(frozen=True, kw_only=True)
class Connects:
    """Connections made and closed, some at a time."""

    together: int


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Connections that do nothing, for the memory they cost."""

    connections: int


Load = Calls | Broadcasts | Connects | Idle


@dataclass(frozen=True)
class Scenario:
    """A load with its name on the command line, its title in the table and what its figure counts."""

    name: str
    title: str
    unit: str
    load: Load

    @property
    def without_websockets(self) -> bool:
        """Whether the load goes over plain HTTP."""
        return isinstance(self.load, Calls) and self.load.kind is not WebSocketConnection


def invocation(target: str, *arguments: Any, call: str = "1", kind: int = 1, **more: Any) -> bytes:
    """An Invocation, or a StreamInvocation for kind 4."""
    return record(type=kind, invocationId=call, target=target, arguments=arguments, **more)


def _stream(
    target: str, connections: int, count: int, kind: Callable[[str], Connection] = WebSocketConnection
) -> Calls:
    request = invocation(target, count, 0, kind=4)
    return Calls(
        kind=kind,
        connections=connections,
        requests=[client_text(request) if kind is WebSocketConnection else request],
        records=count + 1,
        items=count,
        first={"type": 2, "invocationId": "1", "item": 0},
        last=[{"type": 2, "item": count - 1}, {"type": 3, "invocationId": "1"}],
    )


def _echo(connections: int, outstanding: int) -> Calls:
    answer = {"type": 3, "result": TEXT}
    requests = [
        client_text(invocation("Echo", TEXT, call=str(100 + number))) for number in range(outstanding)
    ]
    return Calls(
        connections=connections, outstanding=outstanding, requests=requests, first=answer, last=[answer]
    )


def _upload(count: int, per_frame: int) -> Calls:
    items = client_text(record(type=2, invocationId="s", item=1) * per_frame) * (count // per_frame)
    end = client_text(record(type=3, invocationId="s"))
    answer = {"type": 3, "invocationId": "1", "result": count}
    request = client_text(invocation("Sum", streamIds=["s"])) + items + end
    return Calls(requests=[request], items=count, first=answer, last=[answer])


SCENARIOS: Final = (
    Scenario("idle", "memory, 500 idle connections", "KB/connection", Idle(connections=500)),
    Scenario("stream", "stream, generator, 1 connection", "items/s", _stream("Counter", 1, 20_000)),
    Scenario("stream50", "stream, generator, 50 connections", "items/s", _stream("Counter", 50, 2_000)),
    Scenario(
        "channel", "stream, ChannelWriter, 1 connection", "items/s", _stream("CounterChannel", 1, 20_000)
    ),
    Scenario(
        "channel50", "stream, ChannelWriter, 50 connections", "items/s", _stream("CounterChannel", 50, 2_000)
    ),
    Scenario(
        "sse_stream",
        "SSE, stream, 1 connection",
        "items/s",
        _stream("Counter", 1, 20_000, EventConnection),
    ),
    Scenario(
        "sse_stream50",
        "SSE, stream, 50 connections",
        "items/s",
        _stream("Counter", 50, 2_000, EventConnection),
    ),
    Scenario(
        "lp_stream",
        "long polling, stream, 1 connection",
        "items/s",
        _stream("Counter", 1, 20_000, PollingConnection),
    ),
    Scenario(
        "lp_stream50",
        "long polling, stream, 50 connections",
        "items/s",
        _stream("Counter", 50, 2_000, PollingConnection),
    ),
    Scenario("echo50", "echo, 50 connections, 1 outstanding", "calls/s", _echo(50, 1)),
    Scenario("pipelined", "echo, 1 connection, 64 outstanding", "calls/s", _echo(1, 64)),
    Scenario("broadcast", "broadcast to 200, by 1", "deliveries/s", Broadcasts(connections=200, callers=1)),
    Scenario(
        "broadcast16", "broadcast to 200, by 16", "deliveries/s", Broadcasts(connections=200, callers=16)
    ),
    Scenario("upload", f"upload, {BATCH} items a frame", "items/s", _upload(20_000, BATCH)),
    Scenario("upload1", "upload, 1 item a frame", "items/s", _upload(20_000, 1)),
    Scenario("connects", "connects (TCP, WebSocket, handshake)", "connects/s", Connects(together=20)),
)

FLEET_SCENARIOS: Final = (
    Scenario("broadcast2", "broadcast to 2, by 1", "deliveries/s", Broadcasts(connections=2, callers=1)),
    Scenario("fleet", "broadcast to 2 x 200, by 1", "deliveries/s", Broadcasts(connections=400, callers=1)),
    Scenario(
        "fleet16", "broadcast to 2 x 200, by 16", "deliveries/s", Broadcasts(connections=400, callers=16)
    ),
    Scenario(
        "broadcast2000", "broadcast to 2,000, by 1", "deliveries/s", Broadcasts(connections=2000, callers=1)
    ),
)
