"""Stateful reconnect: who gets it, sequences and acks, and a second socket for a living connection."""

from collections.abc import Sequence

from .messages import CLOSE_MESSAGE, Pack, cancel, hello, invoke, record, stream
from .steps import Case, Drop, End, Http, Leave, Negotiate, Next, Read, Send, Step, Upgraded, WebSocket

STATEFUL = "negotiateVersion=1&useStatefulReconnect=true"
IT = "/conformance?id=<token>"


def sequence(number: int) -> str:
    """The first message on a new socket."""
    return record(type=9, sequenceId=number)


def ack(number: int) -> str:
    """All messages up to this one have come."""
    return record(type=8, sequenceId=number)


def began(version: int = 2, query: str = STATEFUL) -> tuple[Step, ...]:
    """A connection that was asked to be stateful, after one call."""
    return (
        Negotiate(query=query),
        WebSocket(IT, quiet=True),
        Send((hello(version=version), invoke("1", "Echo", "before"))),
        Next(2),
    )


def again(name: str, *messages: str, until: Sequence[str], leave: Step | None = None) -> Case:
    """The socket is lost, and a second one takes its place."""
    return Case(
        f"reconnect: {name}",
        (
            *began(),
            leave or Drop(),
            WebSocket(IT, on="again"),
            Send(messages, on="again"),
            Read(until, on="again"),
            Leave(on="again"),
        ),
    )


CASES = (
    again("nothing was acked", sequence(2), invoke("2", "Echo", "after"), until=("1", "2")),
    again("all was acked", sequence(2), ack(1), invoke("2", "Echo", "after"), until=("2",)),
    again(
        "a message again is dropped",
        sequence(1),
        invoke("1", "Echo", "before"),
        invoke("2", "Echo", "after"),
        until=("2",),
    ),
    again("the second socket's first message is no sequence", invoke("2", "Echo", "after"), until=("2",)),
    again(
        "a ping ahead of the sequence",
        record(type=6),
        sequence(2),
        invoke("2", "Echo", "after"),
        until=("2",),
    ),
    Case(
        "reconnect: MessagePack",
        (
            Negotiate(query=STATEFUL),
            WebSocket(IT, quiet=True),
            Send((hello("messagepack", 2), Pack([1, {}, "1", "Echo", ["before"], []]))),
            Next(2),
            Drop(),
            WebSocket(IT, on="again", binary=True),
            Send((Pack([9, 2]), Pack([1, {}, "2", "Echo", ["after"], []])), on="again"),
            Read(("2",), on="again"),
            Leave(on="again"),
        ),
        "messagepack",
    ),
    Case(
        "reconnect: not where it is not offered",
        (
            Negotiate("/detailed", STATEFUL),
            WebSocket("/detailed?id=<token>"),
            Send((hello(version=2),)),
            Next(),
            WebSocket("/detailed?id=<token>", on="again"),
            Leave(),
        ),
    ),
    Case(
        "reconnect: a sequence too high",
        (*began(), Drop(), WebSocket(IT, on="again"), Send((sequence(9),), on="again"), End(on="again")),
    ),
    Case(
        "reconnect: an ack on the first socket",
        (
            *began(),
            Send((ack(1), invoke("2", "Echo", "acked"))),
            Read(("2",)),
            Drop(),
            WebSocket(IT, on="again"),
            Send((sequence(3), invoke("3", "Echo", "after")), on="again"),
            Read(("3",), on="again"),
            Leave(on="again"),
        ),
    ),
    Case(
        "reconnect: the first socket lives",
        (
            *began(),
            WebSocket(IT, on="again", wait=False),
            End(),
            Upgraded("again"),
            Send((sequence(2), invoke("2", "Echo", "after")), on="again"),
            Read(("2",), on="again"),
            Leave(on="again"),
        ),
    ),
    Case(
        "reconnect: twice",
        (
            *began(),
            Drop(),
            WebSocket(IT, on="again"),
            Send((sequence(2), invoke("2", "Echo", "second")), on="again"),
            Read(("2",), on="again"),
            Drop(on="again"),
            WebSocket(IT, on="third"),
            Send((sequence(3), ack(2), invoke("3", "Echo", "third")), on="third"),
            Read(("3",), on="third"),
            Leave(on="third"),
        ),
    ),
    Case(
        "reconnect: a stream goes on",
        (
            *began(),
            Send((stream("2", "Silent", "k"),)),
            Drop(),
            WebSocket(IT, on="again"),
            Send((sequence(3), ack(1), cancel("2")), on="again"),
            Read(("2",), on="again"),
            Leave(on="again"),
        ),
    ),
    Case(
        "reconnect: the server acks",
        (*began(), Next(acks=True), Leave()),
    ),
    Case(
        "reconnect: a sequence on the first socket",
        (
            *began(),
            Send((sequence(1), invoke("1", "Echo", "again"), invoke("2", "Echo", "after"))),
            Read(("2",)),
            Leave(),
        ),
    ),
    Case(
        "reconnect: not after the client's close",
        (*began(), Leave(), WebSocket(IT, on="again")),
    ),
    Case(
        "reconnect: not after the hub's close",
        (*began(), Send((CLOSE_MESSAGE,)), End(), WebSocket(IT, on="again")),
    ),
    Case(
        "reconnect: not after an abort",
        (*began(), Send((invoke("2", "Abort"),)), End(), WebSocket(IT, on="again")),
    ),
    Case(
        "reconnect: not at version 1 of the protocol",
        (*began(version=1), WebSocket(IT, on="again"), Leave()),
    ),
    Case(
        "reconnect: not when it was not negotiated",
        (*began(query="negotiateVersion=1"), WebSocket(IT, on="again"), Leave()),
    ),
    Case(
        "reconnect: not by events",
        (*began(), Http("GET", IT, (("Accept", "text/event-stream"),)), Leave()),
    ),
    Case(
        "reconnect: not by polling",
        (*began(), Http("GET", IT), Leave()),
    ),
    Case(
        "reconnect: polling that was negotiated stateful",
        (
            Negotiate(query=STATEFUL),
            Http("GET", IT),
            Http("POST", IT, body=hello(version=2)),
            Http("GET", IT),
            Http("DELETE", IT),
        ),
    ),
)
