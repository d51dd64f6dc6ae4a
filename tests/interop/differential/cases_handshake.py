"""Handshakes, good and bad, where the server tells details and where it does not."""

from tests.messages import framed

from .messages import CLOSE_MESSAGE, PING_MESSAGE, RECORD, Pack, hello, invoke, record
from .steps import Case, End, Leave, Next, Raw, Read, Send, WebSocket
from .talks import Message, ending
from .wire import BINARY, TEXT, frame

PATHS = (("", "/conformance"), (", detailed", "/detailed"))


def refused(name: str, *messages: Message) -> tuple[Case, Case]:
    """A handshake that the server answers with an error."""
    first, second = (
        Case(f"handshake: {name}{suffix}", (WebSocket(path, quiet=True), Send(messages), End()))
        for suffix, path in PATHS
    )
    return first, second


def accepted(name: str, *messages: Message, protocol: str = "json") -> Case:
    """A handshake after which calls are answered."""
    steps = WebSocket(quiet=True), Send(messages), Next(), *ending(protocol)
    return Case(f"handshake: {name}", steps, protocol)


CASES = (
    accepted("json", hello()),
    accepted("messagepack", hello("messagepack"), protocol="messagepack"),
    accepted("a protocol in capitals", hello("JSON")),
    accepted("version 0", hello(version=0)),
    accepted("version 2", hello(version=2)),
    accepted("a version below zero", hello(version=-1)),
    accepted("by a binary frame", hello().encode()),
    accepted("more properties", record(protocol="json", version=1, colour="red", more={"a": [1]})),
    accepted("version ahead", record(version=1, protocol="json")),
    accepted("properties twice", '{"protocol":"xml","version":9,"protocol":"json","version":1}\x1e'),
    accepted("an escaped name", '{"\\u0070rotocol":"json","version":1}\x1e'),
    accepted("white space", ' { "protocol" : "json" , "version" : 1 } \x1e'),
    accepted("text behind the object", '{"protocol":"json","version":1} and more\x1e'),
    accepted("in pieces", '{"protocol":', '"json","version"', ":1}", "\x1e"),
    accepted("an empty piece", "", hello()),
    Case(
        "handshake: with an invocation in the same frame",
        (
            WebSocket(quiet=True),
            Send((hello() + invoke("1", "Add", 40, 2),)),
            Next(),
            Read(("1",)),
            Leave(),
        ),
    ),
    Case(
        "handshake: with half an invocation in the same frame",
        (
            WebSocket(quiet=True),
            Send((hello() + invoke("1", "Add", 40, 2)[:20], invoke("1", "Add", 40, 2)[20:])),
            Read(("1",)),
            Leave(),
        ),
    ),
    Case(
        "handshake: messagepack with an invocation in the same frame",
        (
            WebSocket(quiet=True),
            Send((hello("messagepack").encode() + framed(b"\x96\x01\x80\xa1\x31\xa3Add\x92\x28\x02\x90"),)),
            Read(("1",)),
            Leave(),
        ),
        "messagepack",
    ),
    Case(
        "handshake: in fragments",
        (
            WebSocket(quiet=True),
            Raw(
                frame(TEXT, hello()[:9].encode(), fin=False)
                + frame(0, hello()[9:20].encode(), fin=False)
                + frame(0, hello()[20:].encode())
            ),
            Next(),
            *ending(),
        ),
    ),
    Case(
        "handshake: two of them",
        (WebSocket("/detailed", quiet=True), Send((hello(), hello())), Next(), End()),
    ),
    Case("handshake: none", (WebSocket(quiet=True), Leave())),
    Case("handshake: half of one", (WebSocket(quiet=True), Send(('{"protocol":',)), Leave())),
    Case("handshake: too late", (WebSocket("/impatient", quiet=True), End())),
    Case("handshake: half of one, too late", (WebSocket("/impatient"), Send(('{"protocol":',)), End())),
    *refused("unknown protocol", hello("xml")),
    *refused("an empty protocol", hello("")),
    *refused("a protocol with quotes", hello("a'b\"c\\d<é>")),
    *refused("version 3", hello(version=3)),
    *refused("version 9001", hello(version=9001)),
    *refused("version 9001 of messagepack", hello("MessagePack", 9001)),
    *refused("version 9001 of an unknown protocol", hello("xml", 9001)),
    *refused("no protocol", record(version=1)),
    *refused("no version", record(protocol="json")),
    *refused("an empty object", record()),
    *refused("a number for a protocol", record(protocol=1, version=1)),
    *refused("null for a protocol", record(protocol=None, version=1)),
    *refused("a string for a version", record(protocol="json", version="1")),
    *refused("null for a version", record(protocol="json", version=None)),
    *refused("a fraction for a version", record(protocol="json", version=1.5)),
    *refused("a version beyond 32 bits", record(protocol="json", version=2**31)),
    *refused("an array", f"[]{RECORD}"),
    *refused("a number", f"5{RECORD}"),
    *refused("a string", f'"json"{RECORD}'),
    *refused("null", f"null{RECORD}"),
    *refused("true", f"true{RECORD}"),
    *refused("no JSON", f"protocol=json{RECORD}"),
    *refused("broken JSON", f'{{"protocol":"json","version":{RECORD}'),
    *refused("nothing", RECORD),
    *refused("bytes that are no text", b'{"protocol":"\xff\xfe","version":1}\x1e'),
    *refused("a byte order mark", b'\xef\xbb\xbf{"protocol":"json","version":1}\x1e'),
    *refused("an invocation", invoke("1", "Add", 1, 2)),
    *refused("a ping", PING_MESSAGE),
    *refused("a close", CLOSE_MESSAGE),
    *refused("a MessagePack message", Pack([1, {}, "1", "Add", [1, 2], []]), RECORD),
    *refused("too large", '{"protocol":"json","version":1,"more":"' + "x" * 32768),
    *refused("too large by one", '{"protocol":"json","version":1,"more":"' + "x" * (32769 - 39)),
    *refused("an invocation behind a refused handshake", hello("xml") + invoke("1", "Add", 1, 2)),
)

FRAMES = (
    Case(
        "frame: a WebSocket ping",
        (WebSocket(quiet=True), Raw(frame(9, b"are you there")), Next(), Leave()),
    ),
    Case("frame: a close without a code", (WebSocket(quiet=True), Leave(code=None))),
    Case("frame: a close with 1001", (WebSocket(quiet=True), Leave(code=1001))),
    Case("frame: a close with 3000", (WebSocket(quiet=True), Leave(code=3000))),
    Case(
        "frame: without a mask",
        (WebSocket(quiet=True), Raw(frame(TEXT, hello().encode(), masked=False)), End(broken=True)),
    ),
    Case("frame: an unknown kind", (WebSocket(quiet=True), Raw(frame(3, b"{}")), End(broken=True))),
    Case(
        "frame: a reserved bit",
        (WebSocket(quiet=True), Raw(frame(TEXT, b"{}", reserved=4)), End(broken=True)),
    ),
    Case("frame: a continuation of nothing", (WebSocket(quiet=True), Raw(frame(0, b"{}")), End(broken=True))),
    Case(
        "frame: a message within a message",
        (WebSocket(quiet=True), Raw(frame(TEXT, b"{", fin=False) + frame(BINARY, b"}")), End(broken=True)),
    ),
    Case(
        "frame: a ping in fragments",
        (WebSocket(quiet=True), Raw(frame(9, b"a", fin=False)), End(broken=True)),
    ),
)
