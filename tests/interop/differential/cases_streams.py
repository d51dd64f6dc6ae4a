"""Streams both ways, in JSON."""

from .messages import cancel, complete, invoke, item, record, stream
from .steps import Case, Leave, Next, Read, Send
from .talks import both, ending, lost, opening, talk

DOWN = (
    talk("stream: an async iterator", stream("1", "Counter", 3, 0), until=("1",)),
    talk("stream: a reader", stream("1", "CounterChannel", 3, 0), until=("1",)),
    talk("stream: a reader that comes later", stream("1", "CounterChannelAsync", 3, 0), until=("1",)),
    talk("stream: empty", stream("1", "Counter", 0, 0), until=("1",)),
    talk("stream: texts", stream("1", "Blobs", 2, 5), until=("1",)),
    *both("stream: an error of the client's after items", stream("1", "FailAfter", 2, True), until=("1",)),
    *both("stream: another error after items", stream("1", "FailAfter", 2, False), until=("1",)),
    *both("stream: an error before any item", stream("1", "FailAfter", 0, True), until=("1",)),
    *both("stream: an error instead of a reader", stream("1", "ThrowBeforeReader"), until=("1",)),
    *both("stream: null instead of a reader", stream("1", "NullReader"), until=("1",)),
    talk("stream: null instead of a reader, in another casing", stream("1", "nullREADER"), until=("1",)),
    talk("stream: cancelled in the same frame", stream("1", "Silent", "k") + cancel("1"), until=("1",)),
    Case(
        "stream: cancelled while it runs",
        (
            *opening(),
            Send((stream("1", "Forever", "k"),)),
            Next(3),
            Send((invoke("2", "Echo", "x"),)),
            Read(("2",), items=False),
            Send((cancel("1"),)),
            Read(("1",), items=False),
            *ending(),
        ),
    ),
    talk("stream: cancelled twice", stream("1", "Silent", "k"), cancel("1"), cancel("1"), until=("1",)),
    Case(
        "stream: cancelled after its end",
        (*opening(), Send((stream("1", "Counter", 1, 0),)), Read(("1",)), Send((cancel("1"),)), *ending()),
    ),
    talk("stream: another one is cancelled", stream("1", "Counter", 3, 20), cancel("2"), until=("1",)),
    Case(
        "stream: an id in use",
        (
            *opening(),
            Send((stream("1", "Silent", "k"), stream("1", "Counter", 2, 0))),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "stream: an id in use by a plain call",
        (
            *opening("/parallel"),
            Send((stream("1", "Silent", "k"), invoke("1", "Echo", "plain"))),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "stream: an id again",
        (
            *opening(),
            Send((stream("1", "Counter", 2, 0),)),
            Read(("1",)),
            Send((stream("1", "Counter", 1, 0),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "stream: does not hold up calls",
        (*opening(), Send((stream("1", "Silent", "k"), invoke("2", "Echo", "x"))), Read(("2",)), *ending()),
    ),
    Case(
        "stream: two of them end in their own time",
        (
            *opening(),
            Send((stream("1", "Silent", "k"), stream("2", "Counter", 2, 0))),
            Read(("2",)),
            Send((cancel("1"),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "stream: runs at the client's close",
        (*opening(), Send((stream("1", "Forever", "k"),)), Next(), Leave()),
    ),
)

UP = (
    talk(
        "upload: a sum",
        invoke("1", "Sum", streamIds=["u"]),
        item("u", 1),
        item("u", 2),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: all in a frame",
        invoke("1", "Sum", streamIds=["u"]) + item("u", 1) + item("u", 2) + complete("u"),
        until=("1",),
    ),
    talk("upload: nothing", invoke("1", "Sum", streamIds=["u"]), complete("u"), until=("1",)),
    talk(
        "upload: beside an argument",
        invoke("1", "Join", "-", streamIds=["u"]),
        item("u", "a"),
        item("u", "b"),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: two streams",
        invoke("1", "SumTwo", streamIds=["u", "v"]),
        *(item("v", 5), item("u", 1), item("v", 6), complete("v"), item("u", 2), complete("u")),
        until=("1",),
    ),
    talk(
        "upload: and a stream down",
        stream("1", "Double", streamIds=["u"]),
        *(item("u", 1), item("u", 2), complete("u")),
        until=("1",),
    ),
    *both(
        "upload: ended with an error",
        invoke("1", "Drain", "k", streamIds=["u"]),
        item("u", 1),
        complete("u", error="broken"),
        until=("1",),
    ),
    talk(
        "upload: half of a pair",
        invoke("1", "Join", "-", streamIds=["u"]),
        item("u", "a"),
        '{"type":2,"invocationId":"u","item":"\\ud83c"}\x1e',
        until=("1",),
    ),
    talk(
        "upload: bytes that are no text",
        invoke("1", "Join", "-", streamIds=["u"]),
        b'{"type":2,"invocationId":"u","item":"\xff"}\x1e',
        until=("1",),
    ),
    talk(
        "upload: half of a pair in its error",
        invoke("1", "Drain", "k", streamIds=["u"]),
        '{"type":3,"invocationId":"u","error":"a\\ud83c"}\x1e',
        until=("1",),
    ),
    talk(
        "upload: ended with an empty error",
        invoke("1", "Drain", "k", streamIds=["u"]),
        complete("u", error=""),
        until=("1",),
    ),
    talk(
        "upload: ended with a result",
        invoke("1", "Drain", "k", streamIds=["u"]),
        complete("u", result=5),
        until=("1",),
    ),
    *both(
        "upload: an error nobody catches",
        invoke("1", "Sum", streamIds=["u"]),
        complete("u", error="broken"),
        until=("1",),
    ),
    *both(
        "upload: an item of another type",
        invoke("1", "Drain", "k", streamIds=["u"]),
        item("u", "x"),
        until=("1",),
    ),
    *both(
        "upload: null for an item", invoke("1", "Drain", "k", streamIds=["u"]), item("u", None), until=("1",)
    ),
    talk(
        "upload: an item of another type, then more",
        invoke("1", "Drain", "k", streamIds=["u"]),
        item("u", "x"),
        item("u", 1),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: an item ahead of its id",
        invoke("1", "Sum", streamIds=["u"]),
        '{"item":5,"invocationId":"u","type":2}\x1e',
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: an item with headers",
        invoke("1", "Sum", streamIds=["u"]),
        record(type=2, headers={"a": "b"}, invocationId="u", item=5),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: items behind its end",
        invoke("1", "Sum", streamIds=["u"]),
        item("u", 1),
        complete("u"),
        item("u", 2),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: left early",
        invoke("1", "First", streamIds=["u"]),
        item("u", 7),
        item("u", 8),
        complete("u"),
        until=("1",),
    ),
    Case(
        "upload: an id again",
        (
            *opening(),
            Send((invoke("1", "Sum", streamIds=["u"]) + item("u", 1) + complete("u"),)),
            Read(("1",)),
            Send((invoke("1", "Sum", streamIds=["u"]) + item("u", 2) + complete("u"),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    Case(
        "upload: an id in use",
        (
            *opening(),
            Send(
                (
                    invoke("1", "Sum", streamIds=["u"]),
                    invoke("2", "Sum", streamIds=["u"]),
                    item("u", 5),
                    complete("u"),
                )
            ),
            Read(("1", "2"), patience=2),
            *ending(),
        ),
    ),
    Case(
        "upload: one id for both streams",
        (
            *opening(),
            Send((invoke("1", "SumTwo", streamIds=["u", "u"]), item("u", 5), complete("u"))),
            Read(("1",), patience=2),
            *ending(),
        ),
    ),
    talk(
        "upload: the id of the call itself",
        invoke("1", "Sum", streamIds=["1"]),
        item("1", 5),
        complete("1"),
        until=("1",),
    ),
    talk(
        "upload: of a call without an id", invoke(None, "Sum", streamIds=["u"]), item("u", 1), complete("u")
    ),
    *both("upload: too many streams", invoke("1", "Sum", streamIds=["u", "v"]), until=("1",)),
    *both("upload: too few streams", invoke("1", "SumTwo", streamIds=["u"]), until=("1",)),
    *both("upload: none where one is asked for", invoke("1", "Sum"), until=("1",)),
    talk("upload: none, in a list", invoke("1", "Sum", streamIds=[]), until=("1",)),
    talk("upload: none, in a list, of a plain call", invoke("1", "Add", 1, 2, streamIds=[])),
    *both(
        "upload: a stream where none is asked for", invoke("1", "Add", 1, 2, streamIds=["u"]), until=("1",)
    ),
    talk(
        "upload: a stream where none is asked for, and its items",
        invoke("1", "Add", 1, 2, streamIds=["u"]),
        item("u", 1),
        complete("u"),
        until=("1",),
    ),
    *both(
        "upload: arguments that are missing",
        invoke("1", "Join", streamIds=["u"]),
        item("u", "a"),
        complete("u"),
        until=("1",),
    ),
    talk("upload: an empty id", invoke("1", "Sum", streamIds=[""]), item("", 5), complete(""), until=("1",)),
    talk(
        "upload: to a stream that is a plain call",
        stream("1", "Sum", streamIds=["u"]),
        item("u", 1),
        complete("u"),
        until=("1",),
    ),
    talk(
        "upload: more than the buffer holds",
        invoke("1", "Sum", streamIds=["u"]) + "".join(item("u", 1) for _ in range(100)) + complete("u"),
        until=("1",),
    ),
    lost("upload: a number for a stream's id", invoke("1", "Sum", streamIds=[1])),
    lost("upload: null for a stream's id", invoke("1", "Sum", streamIds=[None])),
)

CASES = (*DOWN, *UP)
