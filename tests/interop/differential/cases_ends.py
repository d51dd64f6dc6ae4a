"""Calls of the server's own, and the ends of a connection."""

from .messages import (
    CLOSE_MESSAGE,
    PING_MESSAGE,
    RECORD,
    cancel,
    complete,
    hello,
    invoke,
    record,
    sized,
    stream,
)
from .steps import Case, Drop, End, Leave, Negotiate, Next, Read, Send, WebSocket
from .talks import ending, lost, opening, talk


def asking(name: str, *answers: str) -> Case:
    """The server asks its caller, and is answered."""
    return Case(
        f"asked: {name}",
        (
            *opening(),
            Send((invoke("1", "AskCaller", "question"),)),
            Next(),
            Send(answers),
            Read(("1",)),
            *ending(),
        ),
    )


ASKED = (
    asking("a result", complete("<asked>", result="answer")),
    asking("an error", complete("<asked>", error="no idea")),
    asking("an empty error", complete("<asked>", error="")),
    asking("neither", complete("<asked>")),
    asking("a null result", complete("<asked>", result=None)),
    asking("a result of another type", complete("<asked>", result=5)),
    asking("an object for a string", complete("<asked>", result={"a": 1})),
    asking("the result ahead of the id", '{"result":"answer","invocationId":"<asked>","type":3}\x1e'),
    asking(
        "another result first",
        complete("unknown", result="x"),
        complete("s0", result="x"),
        complete("<asked>", result="answer"),
    ),
    asking("twice", complete("<asked>", result="answer") + complete("<asked>", result="again")),
    Case(
        "asked: another call is answered meanwhile",
        (
            *opening(),
            Send((invoke("1", "AskCaller", "question"), invoke("2", "Echo", "meanwhile"))),
            Read(("2",)),
            Send((complete("<asked>", result="answer"),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    talk("asked: somebody unknown", invoke("1", "AskConnection", "nobody", "question")),
    Case(
        "asked: in time",
        (
            *opening(),
            Send((invoke("1", "AskWithTimeout", 60_000),)),
            Next(),
            Send((complete("<asked>", result="answer"),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "asked: too late",
        (
            *opening(),
            Send((invoke("1", "AskWithTimeout", 20),)),
            Read(("1",)),
            Send((complete("<asked>", result="answer"),)),
            *ending(),
        ),
    ),
    Case(
        "asked: another connection",
        (
            Negotiate(),
            *opening("/conformance?id=<token>", on="asked"),
            *opening(on="asking"),
            Send((invoke("1", "AskConnection", "<id>", "question"),), on="asking"),
            Next(on="asked"),
            Send((complete("<asked>", result="answer"),), on="asked"),
            Read(("1",), on="asking"),
            *ending(on="asked"),
            *ending(on="asking"),
        ),
    ),
    Case(
        "asked: another connection, which leaves",
        (
            Negotiate(),
            *opening("/conformance?id=<token>", on="asked"),
            *opening(on="asking"),
            Send((invoke("1", "AskConnection", "<id>", "question"),), on="asking"),
            Next(on="asked"),
            Leave(on="asked"),
            Read(("1",), on="asking"),
            *ending(on="asking"),
        ),
    ),
    Case(
        "asked: another connection, which vanishes",
        (
            Negotiate(),
            *opening("/conformance?id=<token>", on="asked"),
            *opening(on="asking"),
            Send((invoke("1", "AskConnection", "<id>", "question"),), on="asking"),
            Next(on="asked"),
            Drop(on="asked"),
            Read(("1",), on="asking"),
            *ending(on="asking"),
        ),
    ),
    Case(
        "asked: the answer comes from another connection",
        (
            Negotiate("/detailed"),
            *opening("/detailed?id=<token>", on="asked"),
            *opening("/detailed", on="asking"),
            Send((invoke("1", "AskConnection", "<id>", "question"),), on="asking"),
            Next(on="asked"),
            *opening("/detailed", on="thief"),
            Send((complete("<asked>", result="stolen"),), on="thief"),
            *ending(on="thief"),
            Send((complete("<asked>", result="answer"),), on="asked"),
            Read(("1",), on="asking"),
            *ending(on="asked"),
            *ending(on="asking"),
        ),
    ),
)

ENDS = (
    lost("end: the client's close message", CLOSE_MESSAGE),
    lost("end: the client's close message with an error", record(type=7, error="no more")),
    lost(
        "end: the client's close message with an empty error", record(type=7, error="", allowReconnect=True)
    ),
    lost("end: nothing behind a close message in its frame", CLOSE_MESSAGE + invoke("1", "Echo", "behind")),
    lost("end: a call ahead of a close message in its frame", invoke("1", "Echo", "ahead") + CLOSE_MESSAGE),
    lost("end: an abort", invoke("1", "Abort")),
    lost("end: an abort without an id", invoke(None, "Abort")),
    lost("end: nothing behind an abort in its frame", invoke("1", "Abort") + invoke("2", "Echo", "behind")),
    lost("end: an abort while a stream runs", stream("1", "Silent", "k") + invoke("2", "Abort")),
    Case("end: refused by the hub", (*opening("/conformance?refuse=1"), End())),
    Case("end: refused by the hub, detailed", (*opening("/detailed?refuse=1"), End())),
    Case(
        "end: refused by the hub, with a call in the handshake's frame",
        (WebSocket("/detailed?refuse=1"), Send((hello() + invoke("1", "Echo", "x"),)), End()),
    ),
    Case(
        "end: half a message, and the client's close",
        (*opening(), Send(('{"type":1',)), Leave()),
    ),
    Case(
        "end: a call is under way at the client's close",
        (*opening(), Send((invoke("1", "Hang", "key"), PING_MESSAGE)), Leave()),
    ),
    Case(
        "end: a silent client that has pinged once",
        (*opening("/impatient"), Send((PING_MESSAGE,)), End(pings=False)),
    ),
    talk("ping: no answer", PING_MESSAGE),
    talk("ping: with more properties", record(type=6, invocationId="1", colour="red")),
    talk("ping: ten in a frame", PING_MESSAGE * 10),
    Case("ping: the server's", (*opening("/impatient"), Next(2), Leave())),
    talk("cancel: something unknown", cancel("unknown")),
    talk("cancel: with headers", record(type=5, headers={"a": "b"}, invocationId="unknown")),
    talk(
        "completion: of something unknown",
        complete("unknown"),
        complete("unknown", result=1),
        complete("unknown", error="x"),
    ),
    talk("item: of something unknown", record(type=2, invocationId="unknown", item=1)),
    talk("item: of something unknown, the item ahead", '{"item":1,"invocationId":"unknown","type":2}\x1e'),
    talk("type 8: an ack nobody asked for", record(type=8, sequenceId=5)),
    talk("type 9: a sequence nobody asked for", record(type=9, sequenceId=5)),
    Case(
        "type 10: unknown",
        (*opening(), Send((record(type=10), invoke("1", "Echo", "x"))), Read(("1",), patience=2), Leave()),
    ),
    lost("size: one message too large", invoke("1", "Echo", "x" * 32768)),
    lost("size: one message too large by one", sized(32769)),
    lost("size: too large, and not told details", invoke("1", "Echo", "x" * 32768), path="/conformance"),
    lost("size: a message too large that never ends", "x" * 40000),
    lost(
        "size: small ones ahead of one too large",
        invoke("1", "Echo", "a") + invoke("2", "Echo", "b") + "x" * 40000 + RECORD,
    ),
    talk(
        "size: many small ones in a large frame",
        "".join(invoke(f"{i}", "Echo", "x" * 500) for i in range(100)),
    ),
)

CASES = (*ASKED, *ENDS)
