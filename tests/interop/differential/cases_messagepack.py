"""The same in MessagePack: calls, payloads, streams, and messages that break the protocol."""

from datetime import UTC, datetime
from typing import Any

from tests.messages import framed

from .messages import Pack, hello, pack
from .steps import Case, Next, Read, Send, WebSocket
from .talks import Message, ending, lost, opening, talk

PROTOCOL = "messagepack"


def invoke(invocation_id: str | None, target: str, *arguments: Any, streams: tuple[str, ...] = ()) -> Pack:
    """An invocation."""
    return Pack([1, {}, invocation_id, target, list(arguments), list(streams)])


def stream(invocation_id: str, target: str, *arguments: Any, streams: tuple[str, ...] = ()) -> Pack:
    """An invocation of a streaming method."""
    return Pack([4, {}, invocation_id, target, list(arguments), list(streams)])


def item(stream_id: str, value: Any) -> Pack:
    """An item of an upload."""
    return Pack([2, {}, stream_id, value])


def complete(stream_id: str) -> Pack:
    """The end of an upload."""
    return Pack([3, {}, stream_id, 2])


def binary(name: str, *messages: Message, until: tuple[str, ...] = (), path: str = "/conformance") -> Case:
    """A talk in MessagePack."""
    return talk(f"messagepack: {name}", *messages, path=path, protocol=PROTOCOL, until=until)


def broken(name: str, *messages: Message) -> Case:
    """Messages that lose the connection, told in detail."""
    return lost(f"messagepack error: {name}", *messages, protocol=PROTOCOL)


PERSON = {
    "Name": "Ann",
    "Age": 42,
    "Born": datetime(1980, 2, 3, 4, 5, 6, tzinfo=UTC),
    "Id": "0123abcd-4567-89ab-cdef-0123456789ab",
    "Tags": ["a"],
    "Favourite": "Green",
    "Avatar": b"\1\2",
    "Balance": "12.50",
    "Nickname": None,
    "Parent": None,
}

CALLS = (
    binary("a sum", invoke("1", "Add", 40, 2)),
    binary("nothing to tell", invoke("1", "DoNothing")),
    binary("a null result", invoke("1", "GetNull")),
    binary("no id", invoke(None, "Add", 40, 2)),
    binary("an empty id", invoke("", "Add", 40, 2)),
    binary("no list of streams", Pack([1, {}, "1", "Add", [40, 2]])),
    binary("more elements", Pack([1, {}, "1", "Add", [40, 2], [], 5, "more"])),
    binary("headers", Pack([1, {"a": "b"}, "1", "Add", [40, 2], []])),
    binary("another casing", invoke("1", "aDD", 40, 2)),
    binary("another casing in an error", invoke("1", "aDD", 40)),
    binary("another casing of a stream in an error", stream("1", "cOUNTER", 40)),
    binary("too few arguments", invoke("1", "Add", 40), path="/detailed"),
    binary("too many arguments", invoke("1", "Add", 1, 2, 3), path="/detailed"),
    binary("a string for an integer", invoke("1", "Add", "1", 2), path="/detailed"),
    binary("null for an integer", invoke("1", "Add", None, 2), path="/detailed"),
    binary("a float for an integer", invoke("1", "Add", 1.0, 2), path="/detailed"),
    binary("a wrong type beside a wrong count", invoke("1", "Add", "x"), path="/detailed"),
    binary("nothing answers to it", invoke("1", "Nothing", 1), path="/detailed"),
    binary("nothing streams it", stream("1", "Nothing"), path="/detailed"),
    binary("arguments are no list", Pack([1, {}, "1", "Add", 5, []]), path="/detailed"),
    binary("arguments are null", Pack([1, {}, "1", "Add", None, []]), path="/detailed"),
    binary("an error for the client", invoke("1", "ThrowHubException", "for you")),
    binary("another error", invoke("1", "ThrowOther"), path="/detailed"),
    binary("a stream as a plain call", invoke("1", "Counter", 1, 0)),
    binary("a plain call as a stream", stream("1", "Add", 1, 2)),
    binary("a call of the server's", invoke("1", "CallCaller", "Message", "text")),
    binary("an argument of every kind", invoke("1", "CallWithEverything")),
    binary("ten in a frame", b"".join(pack([1, {}, f"{i}", "Add", [i, 1], []]) for i in range(10))),
    binary("in pieces", b"\x0d\x96\x01\x80", b"\xa1\x31\xa3Add\x92\x28", b"\x02\x90"),
    binary("a long length for a short message", b"\x8d\x00\x96\x01\x80\xa1\x31\xa3Add\x92\x28\x02\x90"),
    binary(
        "wide forms of numbers",
        framed(
            b"\xdc\x00\x06\xd0\x01\xde\x00\x00\xd9\x01\x31\xd9\x03Add\x92\xd3\0\0\0\0\0\0\0\x28\xcd\0\2\x90"
        ),
    ),
    binary("a ping", Pack([6]), Pack([6, 1])),
    binary("a cancel of something unknown", Pack([5, {}, "unknown"])),
    binary("an item of something unknown", item("unknown", {"a": [1]})),
    binary(
        "a completion of something unknown",
        complete("unknown"),
        Pack([3, {}, "unknown", 3, 5]),
        Pack([3, {}, "unknown", 1, "x"]),
    ),
    binary("an ack and a sequence", Pack([8, 5]), Pack([9, 5])),
    Case(
        "messagepack: type 10",
        (*opening(protocol=PROTOCOL), Send((Pack([10]), invoke("1", "Echo", "x"))), Read(("1",), patience=2)),
        PROTOCOL,
    ),
    lost("messagepack: the client's close", Pack([7, None]), protocol=PROTOCOL),
    lost("messagepack: the client's close with an error", Pack([7, "no more", True]), protocol=PROTOCOL),
    lost("messagepack: an abort", invoke("1", "Abort"), protocol=PROTOCOL),
    lost("messagepack: refused by the hub", path="/detailed?refuse=1", protocol=PROTOCOL),
)

PAYLOADS = (
    *(binary(f"text {text!r}", invoke("1", "Echo", text)) for text in ("", "äöü 日本 🎈", "\0\x1e")),
    binary("null for text", invoke("1", "Echo", None)),
    binary("bytes for text", invoke("1", "Echo", b"text")),
    binary("bytes", invoke("1", "EchoBytes", b"\0\1\xff")),
    binary("text for bytes", invoke("1", "EchoBytes", "AAH/")),
    binary("a float", invoke("1", "EchoDouble", 0.1)),
    binary("a short float", framed(b"\x96\x01\x80\xa1\x31\xaaEchoDouble\x91\xca\x40\x20\x00\x00\x90")),
    binary("an integer for a float", invoke("1", "EchoDouble", 2)),
    binary("a long", invoke("1", "EchoLong", 2**63 - 1), invoke("2", "EchoLong", -(2**63))),
    binary("a long beyond 64 bits", invoke("1", "EchoLong", 2**63)),
    binary("a decimal", invoke("1", "EchoDecimal", "1.50")),
    binary("a date", invoke("1", "EchoDateTime", datetime(2017, 4, 11, 1, 2, 3, 500000, tzinfo=UTC))),
    binary("a GUID", invoke("1", "EchoGuid", "0123ABCD-4567-89AB-CDEF-0123456789AB")),
    binary("an enum by name", invoke("1", "EchoColor", "Green")),
    binary("an enum by a name in capitals", invoke("1", "EchoColor", "GREEN")),
    binary("an enum by number", invoke("1", "EchoColor", 1)),
    binary("a map", invoke("1", "EchoMap", {"B": 2, "a": 1})),
    binary("nested lists", invoke("1", "EchoNested", [[1], [], [2, 3]])),
    binary("a person", invoke("1", "EchoPerson", PERSON)),
    binary("an empty person", invoke("1", "EchoPerson", {})),
    binary("names in another casing", invoke("1", "EchoPerson", {"name": "Ann"})),
    binary("people", stream("1", "People", 2), until=("1",)),
)

STREAMS = (
    binary("a stream", stream("1", "Counter", 3, 0), until=("1",)),
    binary("a stream without a list of streams", Pack([4, {}, "1", "Counter", [2, 0]]), until=("1",)),
    binary("a stream that fails", stream("1", "FailAfter", 1, True), until=("1",)),
    binary("a stream is cancelled", stream("1", "Silent", "k"), Pack([5, {}, "1"]), until=("1",)),
    binary(
        "an upload",
        invoke("1", "Sum", streams=("u",)),
        item("u", 1),
        item("u", 2),
        complete("u"),
        until=("1",),
    ),
    binary(
        "an upload ended with a value",
        invoke("1", "Sum", streams=("u",)),
        item("u", 1),
        Pack([3, {}, "u", 3, 9]),
        until=("1",),
    ),
    binary(
        "an upload that fails",
        invoke("1", "Drain", "k", streams=("u",)),
        Pack([3, {}, "u", 1, "broken"]),
        until=("1",),
    ),
    binary(
        "an upload of another type", invoke("1", "Drain", "k", streams=("u",)), item("u", "x"), until=("1",)
    ),
    binary(
        "bytes that are no text, for a text",
        framed(b"\x96\x01\x80\xa11\xa4Echo\x91\xa1\xff\x90"),
        until=("1",),
    ),
    binary(
        "bytes that are no text, in an upload's error",
        invoke("1", "Drain", "k", streams=("u",)),
        framed(b"\x95\x03\x80\xa1u\x01\xa1\xff"),
        until=("1",),
    ),
    binary("an upload of too many streams", invoke("1", "Sum", streams=("u", "v")), until=("1",)),
    Case(
        "messagepack: the server asks",
        (
            *opening(protocol=PROTOCOL),
            Send((invoke("1", "AskCaller", "question"),)),
            Next(),
            Send((Pack([3, {}, "<asked>", 3, "answer"]),)),
            Read(("1",)),
            *ending(PROTOCOL),
        ),
        PROTOCOL,
    ),
    Case(
        "messagepack: the server asks and is told an error",
        (
            *opening(protocol=PROTOCOL),
            Send((invoke("1", "AskCaller", "question"),)),
            Next(),
            Send((Pack([3, {}, "<asked>", 1, "no idea"]),)),
            Read(("1",)),
            *ending(PROTOCOL),
        ),
        PROTOCOL,
    ),
)

ERRORS = (
    broken("an empty message", b"\x00"),
    broken("no array", framed(b"\x01")),
    broken("a map", framed(b"\x80")),
    broken("null", framed(b"\xc0")),
    broken("an empty array", framed(b"\x90")),
    broken("a string for a type", Pack(["1"])),
    broken("null for a type", Pack([None])),
    broken("a type beyond 32 bits", pack([2**40]) + pack([7, None])),
    broken("a byte that means nothing", framed(b"\x91\xc1")),
    broken("an array that ends too early", framed(b"\x96\x01\x80")),
    broken("a length beyond 31 bits", b"\xff\xff\xff\xff\xff\x01"),
    broken("a length that is too large", b"\xff\xff\x7f" + b"x" * 40000),
    broken("one message too large", invoke("1", "Echo", "x" * 32768)),
    broken("an invocation of one element", Pack([1])),
    binary("an invocation without arguments", Pack([1, {}, "1", "Add"])),
    broken("null for headers", Pack([1, None, "1", "Add", [1, 2], []])),
    broken("an array for headers", Pack([1, [], "1", "Add", [1, 2], []])),
    broken("a number for a header's name", Pack([1, {1: "a"}, "1", "Add", [1, 2], []])),
    broken("an empty header's name", Pack([1, {"": "a"}, "1", "Add", [1, 2], []])),
    broken("a number for a header", Pack([1, {"a": 1}, "1", "Add", [1, 2], []])),
    broken("null for a header", Pack([1, {"a": None}, "1", "Add", [1, 2], []])),
    broken("an empty header", Pack([1, {"a": ""}, "1", "Add", [1, 2], []])),
    broken("a number for an id", Pack([1, {}, 1, "Add", [1, 2], []])),
    broken("null for a target", Pack([1, {}, "1", None, [1, 2], []])),
    broken("an empty target", Pack([1, {}, "1", "", [1, 2], []])),
    broken("a number for a target", Pack([1, {}, "1", 5, [1, 2], []])),
    broken("null for streams", Pack([1, {}, "1", "Sum", [], None])),
    broken("a number for streams", Pack([1, {}, "1", "Sum", [], 5])),
    broken("a number for a stream's id", Pack([1, {}, "1", "Sum", [], [5]])),
    broken("null for a stream's id", Pack([1, {}, "1", "Sum", [], [None]])),
    broken("an empty stream's id", Pack([1, {}, "1", "Sum", [], [""]])),
    broken("a stream without id", Pack([4, {}, None, "Counter", [1, 0], []])),
    broken("a stream with an empty id", Pack([4, {}, "", "Counter", [1, 0], []])),
    broken("a stream with an empty target", Pack([4, {}, "1", "", [1, 0], []])),
    broken("an item without id", Pack([2, {}, None, 1])),
    broken("an item with an empty id", Pack([2, {}, "", 1])),
    binary("an item without item", Pack([2, {}, "1"])),
    broken("a completion without id", Pack([3, {}, None, 2])),
    broken("a completion with an empty id", Pack([3, {}, "", 2])),
    broken("a completion without kind", Pack([3, {}, "1"])),
    broken("a completion of an unknown kind", Pack([3, {}, "1", 4])),
    broken("a completion of kind 0", Pack([3, {}, "1", 0])),
    broken("a string for a kind", Pack([3, {}, "1", "2"])),
    broken("a number for an error", Pack([3, {}, "1", 1, 5])),
    broken("an error that is missing", Pack([3, {}, "1", 1])),
    broken("a value that is missing", Pack([3, {}, "1", 3])),
    broken("a cancel without id", Pack([5, {}, None])),
    broken("a cancel of one element", Pack([5])),
    broken("a number for a close's error", Pack([7, 1])),
    broken("a close of one element", Pack([7])),
    broken("a string for allowReconnect", Pack([7, None, "true"])),
    broken("an ack of one element", Pack([8])),
    broken("a string for a sequence", Pack([9, "1"])),
    broken("a JSON message", '{"type":6}\x1e' + " " * 113),
    broken("a call is answered ahead of it", pack([1, {}, "1", "Echo", ["ahead"], []]) + framed(b"\x80")),
    Case(
        "messagepack error: an enum as an argument that is no enum",
        (
            WebSocket("/detailed", quiet=True),
            Send((hello(PROTOCOL),)),
            Next(),
            Send((invoke("1", "EchoColor", "Mauve"),)),
            Read(("1",)),
            *ending(PROTOCOL),
        ),
        PROTOCOL,
    ),
)

CASES = (*CALLS, *PAYLOADS, *STREAMS, *ERRORS)
