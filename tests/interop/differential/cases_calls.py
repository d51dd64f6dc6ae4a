"""Invocations in JSON: binding and answers."""

from .messages import (
    cancel,
    complete,
    hello,
    invoke,
    record,
    sized,
    stream,
)
from .steps import Case, Http, Leave, Negotiate, Read, Send, WebSocket
from .talks import both, ending, opening, talk

BINDING = (
    *both("binding: too few arguments", invoke("1", "Add", 1)),
    *both("binding: too many arguments", invoke("1", "Add", 1, 2, 3)),
    *both("binding: no arguments", invoke("1", "Add")),
    *both("binding: arguments of a method without any", invoke("1", "DoNothing", 1)),
    *both("binding: a string for an integer", invoke("1", "Add", "1", 2)),
    *both("binding: null for an integer", invoke("1", "Add", None, 2)),
    *both("binding: a fraction for an integer", invoke("1", "Add", 1.5, 2)),
    talk(
        "binding: a whole float for an integer",
        record(type=1, invocationId="1", target="Add", arguments=[1.0, 2]),
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
    talk(
        "call: in pieces",
        *(piece for piece in (invoke("1", "Add", 40, 2)[i::1][:1] for i in range(64)) if piece),
    ),
    talk("call: headers", invoke("1", "Add", 1, 2, headers={"a": "b", "": ""})),
    talk("call: properties unknown", invoke("1", "Add", 1, 2, colour="red", more={"a": [{}]})),
    talk(
        "call: properties twice",
        '{"type":6,"target":"x","type":1,"invocationId":"1","target":"Add","arguments":[1,2]}\x1e',
    ),
    talk("call: arguments ahead", '{"arguments":[1,2],"target":"Add","invocationId":"1","type":1}\x1e'),
    talk(
        "call: arguments ahead, of a wrong type",
        '{"arguments":["1",2],"target":"Add","invocationId":"1","type":1}\x1e',
    ),
    talk(
        "call: arguments ahead of nothing",
        '{"arguments":[1,{"a":[]}],"target":"No","invocationId":"1","type":1}\x1e',
    ),
    talk(
        "call: white space",
        ' { "type" : 1 ,\r\n\t"invocationId":"1", "target":"Add","arguments":[ 1 , 2 ] } \x1e',
    ),
    talk(
        "call: text behind the object",
        '{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]} more\x1e',
    ),
    talk(
        "call: escaped names",
        '{"\\u0074ype":1,"invocation\\u0049d":"1","target":"\\u0041dd","arguments":[1,2]}\x1e',
    ),
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
            Send(
                (
                    hello(),
                    invoke("1", "ConnectionId"),
                    invoke("2", "Echo", "<id>"),
                    invoke("3", "Echo", "<token>"),
                )
            ),
            Read(("1", "2", "3")),
            Leave(),
        ),
    ),
    talk(
        "call: a plain call is cancelled", invoke("1", "Delay", "after all", 300), cancel("1"), until=("1",)
    ),
    talk("call: an invocation of the client's own", invoke("1", "CallCaller", "Message", "text")),
    talk("call: to a name of no letters", invoke("1", "CallCaller", "", "text")),
    talk("call: an argument of every kind", invoke("1", "CallWithEverything")),
)

CASES = (*BINDING, *CALLS)
