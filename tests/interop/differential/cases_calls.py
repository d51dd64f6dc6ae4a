"""Invocations in JSON: binding, answers, payloads, results of clients, and the ends of a connection."""

from .exchange import Case, Drop, End, Http, Leave, Negotiate, Next, Read, Send, WebSocket
from .messages import CLOSE_MESSAGE, PING_MESSAGE, RECORD, cancel, complete, hello, invoke, record, sized, stream
from .talks import both, ending, lost, opening, talk

BINDING = (
    *both("binding: too few arguments", invoke("1", "Add", 1)),
    *both("binding: too many arguments", invoke("1", "Add", 1, 2, 3)),
    *both("binding: no arguments", invoke("1", "Add")),
    *both("binding: arguments of a method without any", invoke("1", "DoNothing", 1)),
    *both("binding: a string for an integer", invoke("1", "Add", "1", 2)),
    *both("binding: null for an integer", invoke("1", "Add", None, 2)),
    *both("binding: a fraction for an integer", invoke("1", "Add", 1.5, 2)),
    talk(
        "binding: a whole float for an integer", record(type=1, invocationId="1", target="Add", arguments=[1.0, 2])
    ),
    talk("binding: an integer beyond 32 bits", invoke("1", "Add", 2**31, 2)),
    talk("binding: an integer beyond 64 bits", invoke("1", "EchoLong", 2**63)),
    talk("binding: a boolean for an integer", invoke("1", "Add", True, 2)),
    talk("binding: a number for a string", invoke("1", "Echo", 1)),
    talk("binding: an object for a string", invoke("1", "Echo", {"a": 1})),
    talk("binding: null for a string", invoke("1", "Echo", None)),
    talk("binding: null for a boolean", invoke("1", "EchoBool", None)),
    talk("binding: a number for a boolean", invoke("1", "EchoBool", 1)),
    talk("binding: a string for a float", invoke("1", "EchoDouble", "1.5")),
    talk("binding: no GUID", invoke("1", "EchoGuid", "no")),
    talk("binding: no date", invoke("1", "EchoDateTime", "yesterday")),
    talk("binding: no base64", invoke("1", "EchoBytes", "***")),
    talk("binding: a name for an enum", invoke("1", "EchoColor", "Green")),
    talk("binding: a string in a map of integers", invoke("1", "EchoMap", {"a": "b"})),
    talk("binding: an object for a list", invoke("1", "EchoNested", {})),
    talk("binding: null for a list", invoke("1", "EchoNested", None)),
    talk("binding: a field of another type", invoke("1", "EchoPerson", {"age": "six"})),
    *both("binding: a wrong type beside a wrong count", invoke("1", "Add", "x")),
    *both("binding: nothing answers to it", invoke("1", "Nothing")),
    *both("binding: nothing answers to it, with arguments", invoke("1", "noThing", 1, "b", None)),
    *both("binding: nothing streams it", stream("1", "Nothing", 1)),
    *both("binding: an empty target", invoke("1", "")),
    talk("binding: a target with quotes", invoke("1", "a'b\"c\\d<é>\n")),
    talk("binding: another casing", invoke("1", "aDD", 40, 2)),
    talk("binding: another casing in an error", invoke("1", "aDD", 1)),
    talk("binding: another casing of a stream in an error", stream("1", "cOUNTER", "x", 0)),
    talk("binding: a given name", invoke("1", "renamed")),
    talk("binding: a given name in another casing", invoke("1", "RENAMED")),
    *(
        talk(f"binding: {name} is no method of a hub", invoke("1", name))
        for name in (
            "OriginalName",
            "OnConnectedAsync",
            "Dispose",
            "ToString",
            "GetHashCode",
            "get_Context",
            "Clients",
            "Add ",
        )
    ),
    talk("binding: nobody is told without an id", invoke(None, "Nothing"), invoke(None, "Add", "x")),
    *both("binding: a wrong type of a stream", stream("1", "Counter", "x", 0)),
    *both("binding: too few arguments of a stream", stream("1", "Counter", 1)),
)

CALLS = (
    talk("call: a sum", invoke("1", "Add", 40, 2)),
    talk("call: integers below zero", invoke("1", "Add", -40, -2)),
    talk("call: nothing to tell", invoke("1", "DoNothing")),
    talk("call: a null result", invoke("1", "GetNull")),
    *both("call: an error for the client", invoke("1", "ThrowHubException", "for you")),
    *both("call: an error for the client without text", invoke("1", "ThrowHubException", "")),
    *both("call: another error", invoke("1", "ThrowOther")),
    talk(
        "call: no answer without an id",
        invoke(None, "Add", 1, 2),
        invoke(None, "ThrowOther"),
        invoke(None, "ThrowHubException", "x"),
        invoke(None, "DoNothing"),
    ),
    talk("call: an empty id", invoke("", "Add", 1, 2)),
    talk("call: an id of several scripts", invoke("é 日本 🎈 'a' \"b\"", "Add", 1, 2)),
    talk("call: an id twice in a row", invoke("1", "Add", 1, 2) + invoke("1", "Add", 3, 4)),
    talk("call: an id in use", invoke("1", "Delay", "first", 50) + invoke("1", "Echo", "second")),
    talk("call: one after the other", invoke("1", "Delay", "slow", 50), invoke("2", "Echo", "fast")),
    Case(
        "call: several at a time",
        (
            *opening("/parallel"),
            Send((invoke("1", "AskCaller", "question"), invoke("2", "Echo", "fast"))),
            Read(("2",)),
            Send((complete("<asked>", result="answer"),)),
            Read(("1",)),
            *ending(),
        ),
    ),
    talk("call: ten in a frame", "".join(invoke(f"{i}", "Add", i, 1) for i in range(10))),
    talk("call: in pieces", *(piece for piece in (invoke("1", "Add", 40, 2)[i::1][:1] for i in range(64)) if piece)),
    talk("call: headers", invoke("1", "Add", 1, 2, headers={"a": "b", "": ""})),
    talk("call: properties unknown", invoke("1", "Add", 1, 2, colour="red", more={"a": [{}]})),
    talk("call: properties twice", '{"type":6,"target":"x","type":1,"invocationId":"1","target":"Add","arguments":[1,2]}\x1e'),
    talk("call: arguments ahead", '{"arguments":[1,2],"target":"Add","invocationId":"1","type":1}\x1e'),
    talk("call: arguments ahead, of a wrong type", '{"arguments":["1",2],"target":"Add","invocationId":"1","type":1}\x1e'),
    talk("call: arguments ahead of nothing", '{"arguments":[1,{"a":[]}],"target":"No","invocationId":"1","type":1}\x1e'),
    talk("call: white space", ' { "type" : 1 ,\r\n\t"invocationId":"1", "target":"Add","arguments":[ 1 , 2 ] } \x1e'),
    talk("call: text behind the object", '{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]} more\x1e'),
    talk("call: escaped names", '{"\\u0074ype":1,"invocation\\u0049d":"1","target":"\\u0041dd","arguments":[1,2]}\x1e'),
    talk("call: as large as allowed", sized(32768)),
    *both("call: a stream as a plain call", invoke("1", "Counter", 1, 0)),
    *both("call: a plain call as a stream", stream("1", "Add", 1, 2)),
    talk("call: a stream as a plain call without an id", invoke(None, "Counter", 1, 0)),
    talk("call: a query value", invoke("1", "QueryValue", "a"), path="/conformance?a=b%20c%2Bd+e&A=2"),
    talk("call: a query value in capitals", invoke("1", "QueryValue", "NAME"), path="/conformance?name=b"),
    talk("call: an absent query value", invoke("1", "QueryValue", "a")),
    Case(
        "call: a header",
        (
            WebSocket(headers=(("X-Colour", "red"),)),
            Send((hello(), invoke("1", "HeaderValue", "x-COLOUR"), invoke("2", "HeaderValue", "x-none"))),
            Read(("1", "2")),
            Leave(),
        ),
    ),
    Case(
        "call: the connection's id is the one of the negotiation",
        (
            Http("POST", "/conformance/negotiate?negotiateVersion=1", quiet=True),
            Negotiate(),
            WebSocket("/conformance?id=<token>"),
            Send((hello(), invoke("1", "ConnectionId"), invoke("2", "Echo", "<id>"), invoke("3", "Echo", "<token>"))),
            Read(("1", "2", "3")),
            Leave(),
        ),
    ),
    talk("call: a plain call is cancelled", invoke("1", "Delay", "after all", 300), cancel("1"), until=("1",)),
    talk("call: an invocation of the client's own", invoke("1", "CallCaller", "Message", "text")),
    talk("call: to a name of no letters", invoke("1", "CallCaller", "", "text")),
    talk("call: an argument of every kind", invoke("1", "CallWithEverything")),
)  # fmt: skip

PAYLOADS = (
    *(
        talk(f"payload: text {text!r:.30}", invoke("1", "Echo", text))
        for text in ("", "äöü 日本 🎈", "\"quotes\" 'single' \\ /", "<a href='x'>&amp;+", "\0\x01\x1f\x7f", "a\u2028b\xa0c", "\b\f\n\r\t")
    ),
    talk("payload: escaped text", '{"type":1,"invocationId":"1","target":"Echo","arguments":["\\u00e9\\ud83c\\udf88\\/"]}\x1e'),
    talk("payload: half of a pair", '{"type":1,"invocationId":"1","target":"Echo","arguments":["a\\ud83c"]}\x1e'),
    *(
        talk(f"payload: float {number}", f'{{"type":1,"invocationId":"1","target":"EchoDouble","arguments":[{number}]}}\x1e')
        for number in ("2", "2.0", "0.1", "-0.0", "1e3", "1e16", "123456789.125", "1.7976931348623157e308", "5e-324", "1e400")
    ),
    *(
        talk(f"payload: long {number}", f'{{"type":1,"invocationId":"1","target":"EchoLong","arguments":[{number}]}}\x1e')
        for number in ("9223372036854775807", "-9223372036854775808", "9007199254740993", "1e3", "-0")
    ),
    *(
        talk(f"payload: decimal {number}", f'{{"type":1,"invocationId":"1","target":"EchoDecimal","arguments":[{number}]}}\x1e')
        for number in ("0.1", "1.50", "79228162514264337593543950335", "-0.0000000000000000000000000001", "3")
    ),
    *(
        talk(f"payload: date {date}", invoke("1", "EchoDateTime", date))
        for date in (
            "2017-04-11T00:00:00Z",
            "2017-04-11T01:02:03.123Z",
            "2017-04-11T01:02:03.1234567Z",
            "2017-04-11T01:02:03",
            "2017-04-11T01:02:03.5",
            "2017-04-11T03:02:03+00:00",
            "2017-04-11",
            "0001-01-01T00:00:00",
            "9999-12-31T23:59:59.999",
        )
    ),
    talk("payload: a GUID in capitals", invoke("1", "EchoGuid", "0123ABCD-4567-89AB-CDEF-0123456789AB")),
    talk("payload: a GUID in braces", invoke("1", "EchoGuid", "{0123abcd-4567-89ab-cdef-0123456789ab}")),
    talk("payload: bytes", invoke("1", "EchoBytes", "AAH/")),
    talk("payload: no bytes", invoke("1", "EchoBytes", "")),
    talk("payload: null for bytes", invoke("1", "EchoBytes", None)),
    talk("payload: an enum", invoke("1", "EchoColor", 2)),
    talk("payload: an enum's value that it lacks", invoke("1", "EchoColor", 7)),
    talk("payload: a map", invoke("1", "EchoMap", {"B": 2, "a": 1, "é": -3, "": 0})),
    talk("payload: an empty map", invoke("1", "EchoMap", {})),
    talk("payload: nested lists", invoke("1", "EchoNested", [[1, 2], [], [3]])),
    talk("payload: booleans", invoke("1", "EchoBool", True), invoke("2", "EchoBool", False)),
    talk("payload: null", invoke("1", "EchoNullable", None)),
    talk("payload: an empty person", invoke("1", "EchoPerson", {})),
    talk(
        "payload: a whole person",
        invoke(
            "1",
            "EchoPerson",
            {
                "name": "Ann",
                "age": 42,
                "born": "1980-02-03T04:05:06Z",
                "id": "0123abcd-4567-89ab-cdef-0123456789ab",
                "tags": ["a", "b"],
                "favourite": 1,
                "avatar": "AQID",
                "balance": 12.5,
                "nickname": None,
                "parent": {"name": "Bea", "favourite": 2},
            },
        ),
    ),
    talk("payload: names in another casing", invoke("1", "EchoPerson", {"NAME": "Ann", "Age": 4, "nickName": "x"})),
    talk("payload: fields unknown", invoke("1", "EchoPerson", {"name": "Ann", "colour": "red"})),
    talk("payload: a field twice", '{"type":1,"invocationId":"1","target":"EchoPerson","arguments":[{"age":1,"age":2}]}\x1e'),
    talk("payload: people", stream("1", "People", 2), until=("1",)),
)  # fmt: skip


def asking(name: str, *answers: str) -> Case:
    """The server asks its caller, and is answered."""
    return Case(
        f"asked: {name}",
        (*opening(), Send((invoke("1", "AskCaller", "question"),)), Next(), Send(answers), Read(("1",)), *ending()),
    )  # fmt: skip


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
    talk("asked: in time", invoke("1", "AskWithTimeout", 20)),
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
            End(on="thief"),
            Send((complete("<asked>", result="answer"),), on="asked"),
            Read(("1",), on="asking"),
            *ending(on="asked"),
            *ending(on="asking"),
        ),
    ),
)  # fmt: skip

ENDS = (
    lost("end: the client's close message", CLOSE_MESSAGE),
    lost("end: the client's close message with an error", record(type=7, error="no more")),
    lost("end: the client's close message with an empty error", record(type=7, error="", allowReconnect=True)),
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
        (*opening("/impatient"), Send((PING_MESSAGE,)), End()),
    ),
    talk("ping: no answer", PING_MESSAGE),
    talk("ping: with more properties", record(type=6, invocationId="1", colour="red")),
    talk("ping: ten in a frame", PING_MESSAGE * 10),
    Case("ping: the server's", (*opening("/impatient"), Next(2), Leave())),
    talk("cancel: something unknown", cancel("unknown")),
    talk("cancel: with headers", record(type=5, headers={"a": "b"}, invocationId="unknown")),
    talk("completion: of something unknown", complete("unknown"), complete("unknown", result=1), complete("unknown", error="x")),
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
    lost("size: small ones ahead of one too large", invoke("1", "Echo", "a") + invoke("2", "Echo", "b") + "x" * 40000 + RECORD),
    talk("size: many small ones in a large frame", "".join(invoke(f"{i}", "Echo", "x" * 500) for i in range(100))),
)  # fmt: skip

CASES = (*BINDING, *CALLS, *PAYLOADS, *ASKED, *ENDS)
