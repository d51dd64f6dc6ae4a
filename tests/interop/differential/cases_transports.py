"""Long polling and Server-Sent Events from end to end, a connection without a hub, and what hubs are told of ends."""

from tests.messages import framed

from .messages import CLOSE_MESSAGE, PING_MESSAGE, RECORD, hello, invoke, record
from .steps import (
    Begin,
    Case,
    Drop,
    End,
    Events,
    Finish,
    Http,
    Leave,
    Negotiate,
    Next,
    Polls,
    Read,
    Send,
    Step,
    Told,
    WebSocket,
)

IT = "/conformance?id=<token>"

POLLING = (
    Case(
        "polling: a call",
        (
            Negotiate(),
            Http("GET", IT),
            Http("POST", IT, body=hello()),
            Http("GET", IT),
            Http("POST", IT, body=invoke("1", "Add", 40, 2)),
            Http("GET", IT),
        ),
    ),
    Case(
        "polling: a poll before its data",
        (
            Negotiate(),
            Polls(),
            Send((hello(),)),
            Next(),
            Begin("poll", Http("GET", IT)),
            Send((invoke("1", "Add", 40, 2),)),
            Finish(("poll",)),
        ),
    ),
    Case(
        "polling: messages in pieces",
        (
            Negotiate(),
            Polls(),
            Send((hello()[:10], hello()[10:])),
            Next(),
            Send((invoke("1", "Echo", "é")[:20], invoke("1", "Echo", "é")[20:] + invoke("2", "Echo", "b"))),
            Read(("1", "2")),
        ),
    ),
    Case(
        "polling: a POST in chunks",
        (
            Negotiate(),
            Polls(),
            Http("POST", IT, (("Transfer-Encoding", "chunked"),), hello() + invoke("1", "Add", 40, 2)),
            Read(("1",)),
        ),
    ),
    Case(
        "polling: a long text",
        (Negotiate(), Polls(), Send((hello(), invoke("1", "Echo", "x" * 30000))), Read(("1",))),
    ),
    Case(
        "polling: no handshake",
        (Negotiate("/impatient"), Polls("/impatient?id=<token>"), End()),
    ),
    Case("polling: POST of nothing", (Negotiate(), Polls(), Http("POST", IT))),
    Case(
        "polling: two polls at once",
        (
            Negotiate(),
            Polls(),
            Send((hello(),)),
            Next(),
            Begin("first", Http("GET", IT)),
            Begin("second", Http("GET", IT)),
            Send((invoke("1", "Add", 40, 2),)),
            Finish(("first", "second")),
        ),
    ),
    Case(
        "polling: DELETE while a poll waits",
        (
            Negotiate(),
            Polls(),
            Begin("poll", Http("GET", IT)),
            Http("DELETE", IT),
            Finish(("poll",)),
        ),
    ),
    Case(
        "polling: the hub's end",
        (
            Negotiate(),
            Polls(),
            Send((hello(),)),
            Next(),
            Send((CLOSE_MESSAGE,)),
            Next(),
            Http("GET", IT),
            Http("GET", IT),
        ),
    ),
    Case(
        "polling: POST after the end",
        (
            Negotiate(),
            Polls(),
            Send((hello(), CLOSE_MESSAGE)),
            End(),
            Http("POST", IT, body=hello()),
        ),
    ),
    Case(
        "polling: DELETE after the end",
        (Negotiate(), Polls(), Send((hello(), CLOSE_MESSAGE)), End(), Http("DELETE", IT)),
    ),
    Case("polling: an abort", (Negotiate(), Polls(), Send((hello(), invoke("1", "Abort"))), End())),
    Case("polling: a bad handshake", (Negotiate(), Polls(), Send((hello("xml"),)), End())),
    Case(
        "polling: MessagePack",
        (
            Negotiate(),
            Polls(),
            Send((hello("messagepack"),)),
            Next(),
            Send((framed(b"\x96\x01\x80\xa1\x31\xa3Add\x92\x28\x02\x90"),)),
            Read(("1",)),
        ),
        "messagepack",
    ),
    Case(
        "polling: long polling only",
        (
            Negotiate("/polling-only"),
            Polls("/polling-only?id=<token>"),
            Send((hello(), invoke("1", "Add", 40, 2))),
            Read(("1",)),
        ),
    ),
    Case(
        "polling: at version 0 the id is the token",
        (
            Negotiate(query=""),
            Polls("/conformance?id=<id>"),
            Send((hello(), invoke("1", "ConnectionId"))),
            Read(("1",)),
        ),
    ),
)

EVENTS = (
    Case(
        "events: a call",
        (Negotiate(), Events(), Send((hello(),)), Next(), Send((invoke("1", "Add", 40, 2),)), Read(("1",))),
    ),
    Case(
        "events: text of several lines",
        (
            Negotiate(),
            Events(),
            Send((hello(),)),
            Next(),
            Send((invoke("1", "Echo", "a\r\nb\nc\rd e"),)),
            Read(("1",)),
        ),
    ),
    Case("events: the answer to a POST", (Negotiate(), Events(), Http("POST", IT, body=hello()), Next())),
    Case(
        "events: the client's close",
        (Negotiate(), Events(), Send((hello(),)), Next(), Send((CLOSE_MESSAGE,)), End()),
    ),
    Case(
        "events: an abort",
        (Negotiate(), Events(), Send((hello(),)), Next(), Send((invoke("1", "Abort"),)), End()),
    ),
    Case("events: a bad handshake", (Negotiate(), Events(), Send((hello("xml"),)), End())),
    Case("events: MessagePack is refused", (Negotiate(), Events(), Send((hello("messagepack"),)), End())),
    Case(
        "events: POST after the end",
        (
            Negotiate(),
            Events(),
            Send((hello(),)),
            Next(),
            Send((CLOSE_MESSAGE,)),
            End(),
            Http("POST", IT, body=CLOSE_MESSAGE),
        ),
    ),
    Case("events: left by the client", (Negotiate(), Events(), Send((hello(),)), Next(), Drop())),
    Case(
        "events: a long text",
        (Negotiate(), Events(), Send((hello(), invoke("1", "Echo", "x" * 30000))), Read(("1",))),
    ),
    Case(
        "events: no handshake",
        (Negotiate("/impatient"), Events("/impatient?id=<token>"), End()),
    ),
    Case(
        "events: a stream",
        (
            Negotiate(),
            Events(),
            Send((hello(),)),
            Next(),
            Send(('{"type":4,"invocationId":"1","target":"Counter","arguments":[3,0]}\x1e',)),
            Read(("1",)),
        ),
    ),
)

ECHO = "/echo?id=<token>"
LINES = "one\ntwo\r\nthree\rfour\n\nsix\n" + RECORD

ECHOES = (
    Case("echo: text", (WebSocket("/echo"), Send(("text" + RECORD,)), Next(), Leave())),
    Case("echo: bytes", (WebSocket("/echo"), Send((b"bytes\x1e",)), Next(), Leave())),
    Case("echo: nothing", (WebSocket("/echo"), Send(("", "text" + RECORD)), Next(), Leave())),
    Case("echo: lines by events", (Negotiate("/echo"), Events(ECHO), Send((LINES,)), Next())),
    Case("echo: lines by polls", (Negotiate("/echo"), Polls(ECHO), Send((LINES,)), Next())),
    Case(
        "echo: a poll", (Negotiate("/echo"), Polls(ECHO), Http("POST", ECHO, body="text"), Http("GET", ECHO))
    ),
    Case(
        "echo: polls end",
        (
            Negotiate("/echo"),
            Polls(ECHO),
            Begin("poll", Http("GET", ECHO)),
            Http("DELETE", ECHO),
            Finish(("poll",)),
        ),
    ),
    Case("echo: DELETE between polls", (Negotiate("/echo"), Polls(ECHO), Http("DELETE", ECHO))),
)


def told(name: str, *steps: Step, path: str = "/conformance") -> Case:
    """A hub is told of its connection's end."""
    opening = (
        Negotiate(path),
        WebSocket(f"{path}?id=<token>&log=<id>"),
        Send((hello(), invoke("1", "Echo", "x"))),
        Next(2),
    )
    return Case(f"told: {name}", (*opening, *steps, Told()))


HALF = (Send((invoke("2", "Echo", "x") + "{",)), Next())  # the answer shows that the half was read

TOLD = (
    told("the client's close", Leave()),
    told("the client's close with another code", Leave(code=1001)),
    told("the client vanishes", Drop()),
    told("a close message", Send((CLOSE_MESSAGE,)), End()),
    told("a close message with an error", Send((record(type=7, error="no more"),)), End()),
    told("an abort", Send((invoke("2", "Abort"),)), End()),
    told("a broken message", Send(("{}" + RECORD,)), End()),
    told("half a message, and the client's close", *HALF, Leave()),
    told("half a message, and the client vanishes", *HALF, Drop()),
    told("a silent client", Send((PING_MESSAGE,)), End(pings=False), path="/impatient"),
    told("a call is under way", Send((invoke("2", "Delay", "x", 50),)), Leave()),
    Case(
        "told: DELETE",
        (
            Negotiate(),
            Polls(f"{IT}&log=<id>"),
            Send((hello(), invoke("1", "Echo", "x"))),
            Read(("1",)),
            Http("DELETE", IT),
            Told(),
        ),
    ),
    Case(
        "told: events left by the client",
        (
            Negotiate(),
            Events(f"{IT}&log=<id>"),
            Send((hello(), invoke("1", "Echo", "x"))),
            Read(("1",)),
            Drop(),
            Told(),
        ),
    ),
)

REFUSED = (
    Case("refused by the hub: polls", (Negotiate(), Polls(f"{IT}&refuse=1"), Send((hello(),)), End())),
    Case("refused by the hub: events", (Negotiate(), Events(f"{IT}&refuse=1"), Send((hello(),)), End())),
)

CASES = (*POLLING, *EVENTS, *ECHOES, *TOLD, *REFUSED)
