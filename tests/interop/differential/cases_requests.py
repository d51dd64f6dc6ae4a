"""Requests one by one: negotiation, and every status of an endpoint."""

from .messages import CLOSE_MESSAGE, hello, invoke
from .steps import (
    Case,
    End,
    Events,
    Http,
    Leave,
    Negotiate,
    Next,
    Polls,
    Read,
    Requests,
    Send,
    WebSocket,
)

STREAM = (("Accept", "text/event-stream"),)
IT = "/conformance?id=<token>"
UNKNOWN = "/conformance?id=unknown"


def one(id: str, method: str, target: str, *headers: tuple[str, str], body: str = "") -> Case:
    """A single request."""
    return Case(id, (Http(method, target, headers, body),))


def negotiate(id: str, query: str, path: str = "/conformance") -> Case:
    """A single negotiation."""
    return one(f"negotiate: {id}", "POST", f"{path}/negotiate{query}")


NEGOTIATIONS = (
    negotiate("version 1", "?negotiateVersion=1"),
    negotiate("no version", ""),
    negotiate("version 0", "?negotiateVersion=0"),
    negotiate("a version to come", "?negotiateVersion=2"),
    negotiate("a version far off", "?negotiateVersion=2147483647"),
    negotiate("a version beyond 32 bits", "?negotiateVersion=2147483648"),
    negotiate("a version below zero", "?negotiateVersion=-1"),
    negotiate("a version with a sign", "?negotiateVersion=%2B1"),
    negotiate("a version between spaces", "?negotiateVersion=%201%20"),
    negotiate("a version with zeros ahead", "?negotiateVersion=001"),
    negotiate("a word for a version", "?negotiateVersion=one"),
    negotiate("a fraction for a version", "?negotiateVersion=1.0"),
    negotiate("an empty version", "?negotiateVersion="),
    negotiate("a version without a value", "?negotiateVersion"),
    negotiate("a version twice", "?negotiateVersion=1&negotiateVersion=1"),
    negotiate("a version in digits of another script", "?negotiateVersion=%D9%A1"),
    negotiate("the version's name in capitals", "?NEGOTIATEVERSION=1"),
    negotiate("unknown query", "?negotiateVersion=1&colour=red"),
    negotiate("stateful reconnect", "?negotiateVersion=1&useStatefulReconnect=true"),
    negotiate("stateful reconnect in capitals", "?negotiateVersion=1&USESTATEFULRECONNECT=TRUE"),
    negotiate("stateful reconnect between spaces", "?negotiateVersion=1&useStatefulReconnect=%20true%20"),
    negotiate("stateful reconnect as a number", "?negotiateVersion=1&useStatefulReconnect=1"),
    negotiate("stateful reconnect, false", "?negotiateVersion=1&useStatefulReconnect=false"),
    negotiate("stateful reconnect at version 0", "?useStatefulReconnect=true"),
    negotiate("stateful reconnect not offered", "?negotiateVersion=1&useStatefulReconnect=true", "/detailed"),
    negotiate("WebSockets only", "?negotiateVersion=1", "/websockets-only"),
    negotiate("long polling only", "?negotiateVersion=1", "/polling-only"),
    negotiate("no hub", "?negotiateVersion=1", "/echo"),
    negotiate("a path in capitals", "?negotiateVersion=1", "/CONFORMANCE"),
    negotiate("nothing there", "?negotiateVersion=1", "/nothing"),
    one("negotiate: a slash at the end", "POST", "/conformance/negotiate/?negotiateVersion=1"),
    one(
        "negotiate: a body in chunks",
        "POST",
        "/conformance/negotiate?negotiateVersion=1",
        ("Transfer-Encoding", "chunked"),
        body="0123456789",
    ),
    one("negotiate: a body", "POST", "/conformance/negotiate?negotiateVersion=1", body='{"a":1}'),
    *(
        one(f"negotiate: by {method}", method, "/conformance/negotiate?negotiateVersion=1")
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
    ),
)

REFUSALS = (
    *(
        case
        for method in ("GET", "POST", "DELETE")
        for case in (
            one(f"endpoint: {method} without id", method, "/conformance"),
            one(f"endpoint: {method} with an empty id", method, "/conformance?id="),
            one(f"endpoint: {method} with an unknown id", method, UNKNOWN),
            one(f"endpoint: {method} without id, WebSockets only", method, "/websockets-only"),
            one(f"endpoint: {method} with an unknown id, WebSockets only", method, "/websockets-only?id=x"),
            Case(
                f"endpoint: {method} with the id instead of the token",
                (Negotiate(), Http(method, "/conformance?id=<id>")),
            ),
        )
    ),
    *(
        one(f"endpoint: {method} is not allowed", method, "/conformance")
        for method in ("PUT", "HEAD", "OPTIONS", "PATCH")
    ),
    one("endpoint: PUT with an unknown id", "PUT", UNKNOWN),
    one("endpoint: nothing there", "GET", "/nothing"),
    one("endpoint: below the hub", "GET", "/conformance/below"),
    one("endpoint: a slash at the end", "GET", "/conformance/"),
    one("endpoint: a path in capitals", "GET", "/CONFORMANCE"),
    one("endpoint: events without id", "GET", "/conformance", *STREAM),
    one("endpoint: events with an unknown id", "GET", UNKNOWN, *STREAM),
    one("endpoint: events, WebSockets only", "GET", "/websockets-only", *STREAM),
    one("endpoint: events, long polling only", "GET", "/polling-only", *STREAM),
    Case(
        "endpoint: events with an id, long polling only",
        (Negotiate("/polling-only"), Http("GET", "/polling-only?id=<token>", STREAM)),
    ),
    Case(
        "endpoint: a poll with an id, WebSockets only",
        (Negotiate("/websockets-only"), Http("GET", "/websockets-only?id=<token>")),
    ),
    Case("endpoint: a WebSocket, long polling only", (WebSocket("/polling-only"),)),
    Case(
        "endpoint: a WebSocket with an id, long polling only",
        (Negotiate("/polling-only"), WebSocket("/polling-only?id=<token>")),
    ),
    Case("endpoint: a WebSocket with an unknown id", (WebSocket(UNKNOWN),)),
    Case("endpoint: a WebSocket where nothing is", (WebSocket("/nothing"),)),
    Case(
        "endpoint: a token is not another endpoint's",
        (Negotiate("/detailed"), Http("GET", "/parallel?id=<token>")),
    ),
    Case("endpoint: the id's name in capitals", (Negotiate(), Http("GET", "/conformance?ID=<token>"))),
    Case("endpoint: an id twice", (Negotiate(), Http("GET", "/conformance?id=<token>&id=<token>"))),
    Case("endpoint: an id in capitals", (Negotiate(), Http("GET", UNKNOWN.upper()))),
)

HOST = b" HTTP/1.1\r\nHost: differential.test\r\n"
ASK = b"GET /conformance" + HOST + b"\r\n"
POST = b"POST /conformance" + HOST + b"Content-Length: 1\r\n\r\nx"


def raw(id: str, *pieces: bytes, answers: int = 1) -> Case:
    """Requests in bytes, on one socket."""
    return Case(f"request: {id}", (Requests(pieces, answers),))


RAW = (
    raw("an empty line ahead", b"\r\n" + ASK),
    raw("empty lines ahead", b"\r\n\r\n\r\n" + ASK),
    raw("an empty line of LF alone ahead", b"\n" + ASK),
    raw("an empty line ahead, in two pieces", b"\r", b"\n" + ASK),
    raw("an empty line behind a body", POST + b"\r\n" + ASK, answers=2),
    raw("empty lines behind a body", POST + b"\r\n\r\n" + ASK, answers=2),
    raw("two at once", POST + ASK, answers=2),
    raw("an address for a target", b"GET http://differential.test/conformance" + HOST + b"\r\n"),
    raw(
        "OPTIONS with an address for a target",
        b"OPTIONS http://differential.test/conformance" + HOST + b"\r\n",
    ),
    raw("OPTIONS of everything", b"OPTIONS *" + HOST + b"\r\n"),
    raw("a line that is none", b"GET /conformance?access_token=secret HTTP\r\n\r\n"),
    raw(
        "chunks with extensions and trailers",
        b"POST /conformance" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nc: d\r\n\r\n",
    ),
    Case(
        "request: cookies in lines of their own",
        (
            WebSocket(headers=(("Cookie", "a=1"), ("Cookie", "b=2; c=3"))),
            Send((hello(), invoke("1", "HeaderValue", "Cookie"))),
            Read(("1",)),
            Leave(),
        ),
    ),
    Case(
        "request: other headers in lines of their own",
        (
            WebSocket(headers=(("X-Some", "a"), ("X-Some", "b"))),
            Send((hello(), invoke("1", "HeaderValue", "X-Some"))),
            Read(("1",)),
            Leave(),
        ),
    ),
)

ACCEPTS = tuple(
    one(f"accept: {value}", "GET", UNKNOWN, ("Accept", value))
    for value in (
        "text/event-stream",
        "TEXT/Event-Stream",
        "text/html, text/event-stream",
        "text/html;q=0.5,text/event-stream",
        "text/event-stream;q=0.9",
        "text/*",
        "*/*",
    )
)

UPGRADES = (
    Case("upgrade: plain", (WebSocket(), Leave())),
    Case("upgrade: with an empty id", (WebSocket("/conformance?id="), Leave())),
    Case(
        "upgrade: protocols offered", (WebSocket(headers=(("Sec-WebSocket-Protocol", "json, b"),)), Leave())
    ),
    Case(
        "upgrade: compression offered",
        (WebSocket(headers=(("Sec-WebSocket-Extensions", "permessage-deflate"),)), Leave()),
    ),
    Case(
        "upgrade: a list of connection options", (WebSocket(upgrade={"Connection": "keep-alive, Upgrade"}),)
    ),
    Case("upgrade: in capitals", (WebSocket(upgrade={"Upgrade": "WebSocket", "Connection": "UPGRADE"}),)),
    Case("upgrade: another version", (WebSocket(upgrade={"Sec-WebSocket-Version": "12"}),)),
    Case("upgrade: no version", (WebSocket(upgrade={"Sec-WebSocket-Version": ""}),)),
    Case("upgrade: no key", (WebSocket(upgrade={"Sec-WebSocket-Key": ""}),)),
    Case("upgrade: a key too short", (WebSocket(upgrade={"Sec-WebSocket-Key": "AAAA"}),)),
    Case("upgrade: among others", (WebSocket(upgrade={"Upgrade": "h2c, websocket"}), Leave())),
    Case("upgrade: ahead of others", (WebSocket(upgrade={"Upgrade": "websocket, h2c"}), Leave())),
    Case(
        "upgrade: in lines of their own",
        (WebSocket(upgrade={"Upgrade": "h2c"}, headers=(("Upgrade", "websocket"),)), Leave()),
    ),
    Case("upgrade: to something like it", (WebSocket(upgrade={"Upgrade": "websocket-like"}),)),
    Case("upgrade: an option like it", (WebSocket(upgrade={"Connection": "not-upgrade"}),)),
    Case(
        "upgrade: a key that is no base64",
        (WebSocket(upgrade={"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=!"}),),
    ),
    Case("upgrade: to something else", (WebSocket(upgrade={"Upgrade": "h2c"}),)),
    Case("upgrade: no connection option", (WebSocket(upgrade={"Connection": ""}),)),
    Case(
        "upgrade: accepting events too is a request for events",
        (WebSocket(UNKNOWN, headers=STREAM),),
    ),
)

TRANSPORTS = (
    Case("transport: a first poll", (Negotiate(), Http("GET", IT))),
    Case("transport: DELETE before any transport", (Negotiate(), Http("DELETE", IT))),
    Case(
        "transport: POST before any transport",
        (
            Negotiate(),
            Http("POST", IT, body=hello() + invoke("1", "Add", 40, 2)),
            Polls(),
            Read(("1",)),
        ),
    ),
    Case("transport: events after a poll", (Negotiate(), Http("GET", IT), Http("GET", IT, STREAM))),
    Case("transport: a WebSocket after a poll", (Negotiate(), Http("GET", IT), WebSocket(IT))),
    Case("transport: a poll after events", (Negotiate(), Events(), Http("GET", IT))),
    Case("transport: a WebSocket after events", (Negotiate(), Events(), WebSocket(IT))),
    Case("transport: events after events", (Negotiate(), Events(), Http("GET", IT, STREAM))),
    Case("transport: DELETE of events", (Negotiate(), Events(), Http("DELETE", IT))),
    Case(
        "transport: a poll after a WebSocket",
        (Negotiate(), WebSocket(IT), Http("GET", IT), Leave()),
    ),
    Case(
        "transport: events after a WebSocket",
        (Negotiate(), WebSocket(IT), Http("GET", IT, STREAM), Leave()),
    ),
    Case(
        "transport: POST to a WebSocket",
        (Negotiate(), WebSocket(IT), Http("POST", IT, body="x"), Leave()),
    ),
    Case("transport: DELETE of a WebSocket", (Negotiate(), WebSocket(IT), Http("DELETE", IT), Leave())),
    Case(
        "transport: a WebSocket after a WebSocket",
        (Negotiate(), WebSocket(IT), Send((hello(),)), Next(), WebSocket(IT, on="second"), Leave()),
    ),
    Case(
        "transport: the token is forgotten with its WebSocket",
        (
            Negotiate(),
            WebSocket(IT),
            Send((hello(),)),
            Next(),
            Send((CLOSE_MESSAGE,)),
            End(),
            WebSocket(IT, on="second"),
        ),
    ),
)

CASES = (*NEGOTIATIONS, *REFUSALS, *RAW, *ACCEPTS, *UPGRADES, *TRANSPORTS)
