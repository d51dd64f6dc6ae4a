"""What ours answers otherwise, case by case, with the reason: nothing is let pass that is not stated here.

A difference is a list of texts of theirs and what stands there in ours. One that has gone must go from here too.
"""

from collections.abc import Sequence

import attrs


@attrs.frozen
class Difference:
    """Why a record of ours is another one, and what it is."""

    reason: str
    changes: Sequence[tuple[str, str]]

    def applied_to(self, record: str) -> str:
        """Our record, from theirs."""
        for theirs, ours in self.changes:
            assert theirs in record, f"this is not in their record: {theirs}"
            record = record.replace(theirs, ours)
        return record


def differ(reason: str, *changes: tuple[str, str]) -> Difference:
    """A difference."""
    return Difference(reason, changes)


LIVES = 'text: {"type":3,"invocationId":"end","result":"end"}\n'
LOST = 'text: {"type":7,"error":"Connection closed with an error.","allowReconnect":true}\n'
CACHE = "  cache-control: no-cache, no-store\n"
NEVER = "  expires: Thu, 01 Jan 1970 00:00:00 GMT\n  pragma: no-cache\n"
PLAIN = "  content-type: text/plain; charset=utf-8\n"


def error(target: str, kind: str = "Failed to invoke '{}' due to an error on the server.") -> str:
    """The answer to a call that fails."""
    return '{"type":3,"invocationId":"1","error":"' + kind.format(target) + '"}'


def answer(result: str) -> str:
    """The answer to a call."""
    return '{"type":3,"invocationId":"1","result":' + result + "}"


# ---- HTTP

EXACT = "paths are exact: neither letter case nor a slash at the end is overlooked"
ABSENT = "who asks for what is not there is told so"
NEGOTIATED = (
    "POST: 200\n  content-length: 316\n  content-type: application/json\n  "
    '{"negotiateVersion":1,"connectionId":"<id 1>","connectionToken":"<id 2>","availableTransports":['
    '{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
    '{"transport":"ServerSentEvents","transferFormats":["Text"]},'
    '{"transport":"LongPolling","transferFormats":["Text","Binary"]}]}'
)
REQUIRED = f"400\n{CACHE}  content-type: text/plain\n{NEVER}  Connection ID required"
UNKNOWN = f"404\n{CACHE}  content-type: text/plain\n{NEVER}  No Connection with that ID"
UPGRADE = "what is wrong with a request for a WebSocket is told; there it counts as a poll"
BEARER = "RFC 9110 asks for the challenge, and a body of any kind for its type"
FOREIGN = "a token is good for the user that negotiated it"
FORBIDDEN = "403\n  content-type: text/plain\n  The connection belongs to another user."
ANN = answer('"ann"')
CLOSING = "a close is answered with its own code, as RFC 6455 has it"


def absent(path: str) -> str:
    """Our answer where nothing is."""
    return f"404\n{PLAIN}  Nothing is served at {path}"


HTTP = {
    "negotiate: a path in capitals": differ(EXACT, (NEGOTIATED, f"POST: {absent('/CONFORMANCE/negotiate')}")),
    "negotiate: a slash at the end": differ(
        EXACT, (NEGOTIATED, f"POST: {absent('/conformance/negotiate/')}")
    ),
    "negotiate: nothing there": differ(ABSENT, ("404", absent("/nothing/negotiate"))),
    "endpoint: a slash at the end": differ(EXACT, (REQUIRED, absent("/conformance/"))),
    "endpoint: a path in capitals": differ(EXACT, (REQUIRED, absent("/CONFORMANCE"))),
    "endpoint: an id in capitals": differ(EXACT, (UNKNOWN, absent("/CONFORMANCE"))),
    "endpoint: nothing there": differ(ABSENT, ("404", absent("/nothing"))),
    "endpoint: below the hub": differ(ABSENT, ("404", absent("/conformance/below"))),
    "endpoint: a WebSocket where nothing is": differ(ABSENT, ("404", absent("/nothing"))),
    "endpoint: a token is not another endpoint's": differ(
        "a token is good for the endpoint that gave it",
        (
            f"200\n{CACHE}  content-length: 0\n  content-type: application/octet-stream\n{NEVER[:-1]}",
            UNKNOWN,
        ),
    ),
    **{
        f"upgrade: {name}": differ(UPGRADE, (REQUIRED, f"400\n{PLAIN}  {text}"))
        for name, text in (
            ("another version", "Sec-WebSocket-Version must be 13"),
            ("no version", "Sec-WebSocket-Version must be 13"),
            ("no key", "Sec-WebSocket-Key must be 16 bytes in base64"),
            ("a key too short", "Sec-WebSocket-Key must be 16 bytes in base64"),
            ("no connection option", "The Connection header must name 'Upgrade'"),
        )
    },
    **{
        name: differ(
            "a body tells its type",
            (
                "WebSocket: 404\n  No Connection",
                "WebSocket: 404\n  content-type: text/plain\n  No Connection",
            ),
        )
        for name in (
            "endpoint: a WebSocket with an unknown id",
            "transport: the token is forgotten with its WebSocket",
            "reconnect: not after the client's close",
            "reconnect: not after the hub's close",
            "reconnect: not after an abort",
        )
    },
    **{
        f"auth: {name}": differ(BEARER, ("401", f"401\n{PLAIN}  www-authenticate: Bearer"))
        for name in (
            *(
                f"{how} with {token}"
                for how in ("negotiate", "a WebSocket")
                for token in (
                    "no token",
                    "a bad token in the header",
                    "a bad token in the query",
                    "a bad header beside a good query",
                    "another scheme",
                    "an empty token",
                )
            ),
            *(f"{method} without a token" for method in ("GET", "POST", "DELETE", "PUT")),
            *(f"{method} without the token that negotiated" for method in ("GET", "POST", "DELETE")),
            "negotiate by GET without a token",
            "events without a token",
        )
    },
    **{
        f"auth: {method} by another user": differ(
            FOREIGN,
            (
                f"{method}: {status}\n  content-length: 0\n  content-type: text/plain",
                f"{method}: {FORBIDDEN}",
            ),
        )
        for method, status in (("POST", 200), ("DELETE", 202))
    },
    "auth: a poll by another user": differ(
        FOREIGN,
        (
            f"GET: 200\n{CACHE}  content-length: 45\n  content-type: application/octet-stream\n{NEVER}"
            f"  {ANN}\x1e",
            f"GET: 403\n{CACHE}  content-type: text/plain\n{NEVER}  The connection belongs to another user.",
        ),
    ),
    "told: the client's close with another code": differ(CLOSING, ("closed 1000", "closed 1001")),
    "frame: a close without a code": differ(CLOSING, ("closed 1000", "closed without a code")),
    "frame: a close with 1001": differ(CLOSING, ("closed 1000", "closed 1001")),
    "frame: a close with 3000": differ(CLOSING, ("closed 1000", "closed 3000")),
}

# ---- what may be read

READER = "what the reader of JSON or MessagePack has to say is in its own words"
WORDS = "Error reading JSON."
UNEXPECTED = "An unexpected error occurred during connection handshake."
NOT_INT32 = "Either the JSON value is not in a supported format, or is out of bounds for an Int32."
NOT_INT64 = NOT_INT32.replace("Int32", "Int64")
ARRAY = "Reading a message as an array failed: "
LINE = "LineNumber: 0 | BytePositionInLine:"

VERSIONS = "a version of any size is a version"
BEYOND = "The server does not support version 2147483648 of the 'json' protocol."

READING = {
    **{
        f"handshake: {name}, detailed": differ(READER, (theirs, WORDS))
        for name, theirs in (
            ("no JSON", f"'p' is an invalid start of a value. {LINE} 0."),
            (
                "broken JSON",
                "Expected depth to be zero at the end of the JSON payload. There is an open JSON object or array "
                f"that should be closed. {LINE} 29.",
            ),
            (
                "nothing",
                "The input does not contain any JSON tokens. Expected the input to start with a valid JSON token, "
                f"when isFinalBlock is true. {LINE} 0.",
            ),
            ("bytes that are no text", "Cannot transcode invalid UTF-8 JSON text to UTF-16 string."),
            ("a byte order mark", f"'0xEF' is an invalid start of a value. {LINE} 0."),
            ("a MessagePack message", f"'0x96' is an invalid start of a value. {LINE} 1."),
        )
    },
    "handshake: a version beyond 32 bits": differ(VERSIONS, (UNEXPECTED, BEYOND)),
    "handshake: a version beyond 32 bits, detailed": differ(
        VERSIONS, (f"{UNEXPECTED} <class>: {NOT_INT32}", BEYOND)
    ),
    "handshake: a fraction for a version, detailed": differ(
        READER, (NOT_INT32, "Expected 'version' to be of type Number.")
    ),
    "error: a fraction for a type": differ(READER, (NOT_INT32, "Expected 'type' to be of type Number.")),
    "error: a whole float for a type": differ(READER, (NOT_INT32, "Expected 'type' to be of type Number.")),
    "error: a fraction for a sequence": differ(
        READER, (NOT_INT64, "Expected 'sequenceId' to be of type Number.")
    ),
    "error: text that is none, in a target": differ(
        READER, ("Cannot transcode invalid UTF-8 JSON text to UTF-16 string.", WORDS)
    ),
    "upload: a number for a stream's id": differ(
        READER,
        (
            "Cannot get the value of a token type 'Number' as a string.",
            "Expected 'streamIds' to hold values of type String.",
        ),
    ),
    **{
        f"messagepack error: {name}": differ(READER, (theirs, ours))
        for name, theirs, ours in (
            (
                "an empty message",
                "Attempted to read past the end of the stream.",
                f"{ARRAY}Input data was truncated.",
            ),
            (
                "no array",
                "Unexpected msgpack code 1 (positive fixint) encountered.",
                f"{ARRAY}Expected `array`, got `int`.",
            ),
            (
                "a map",
                "Unexpected msgpack code 128 (fixmap) encountered.",
                f"{ARRAY}Expected `array`, got `object`.",
            ),
            (
                "null",
                "Unexpected msgpack code 192 (nil) encountered.",
                f"{ARRAY}Expected `array`, got `None`.",
            ),
            (
                "a byte that means nothing",
                "Reading 'messageType' as Int32 failed.",
                f"{ARRAY}Expected `int`, got `unknown` - at `$[0]`.",
            ),
            (
                "an array that ends too early",
                "Attempted to read past the end of the stream.",
                f"{ARRAY}Input data was truncated.",
            ),
            (
                "a number for a stream's id",
                "Unexpected msgpack code 5 (positive fixint) encountered.",
                "Reading 'streamIds' as String failed.",
            ),
            (
                "a value that is missing",
                "Attempted to read past the end of the stream.",
                "Reading 'result' failed.",
            ),
            (
                "a JSON message",
                "Unexpected msgpack code 34 (positive fixint) encountered.",
                f"{ARRAY}Expected `array`, got `int`.",
            ),
            (
                "a call is answered ahead of it",
                "Unexpected msgpack code 128 (fixmap) encountered.",
                f"{ARRAY}Expected `array`, got `object`.",
            ),
        )
    },
    "payload: float 1e400": differ(
        "a number that does not fit is an argument that does not fit",
        (LOST, f"text: {error('EchoDouble')}\n{LIVES}"),
    ),
    "item: of something unknown, the item ahead": differ(
        "an item nobody waits for is skipped, wherever its id stands; there only when the id is ahead",
        (LOST, LIVES),
    ),
}

# ---- payloads

INTEGERS = "Python's integers have no bounds, and JSON's neither"
NULLS = "None is taken where the annotation says so"
ENUMS = "an enum is read by name and by number in both protocols"
MEMBERS = "an enum has its members and no others"
UUIDS = "UUID takes all of its notations"
MICROSECONDS = "datetime keeps microseconds, and writes all six digits or none"
BINARY = "bytes are bytes, not text"
CASING = "fields are found in any casing, as in JSON"

PAYLOADS = {
    "binding: an integer beyond 32 bits": differ(INTEGERS, (error("Add"), answer("2147483650"))),
    "binding: an integer beyond 64 bits": differ(
        INTEGERS, (error("EchoLong"), answer("9223372036854775808"))
    ),
    "messagepack: a long beyond 64 bits": differ(
        INTEGERS,
        (
            "1, \"Failed to invoke 'EchoLong' due to an error on the server.\"",
            "3, 9223372036854775808",
        ),
    ),
    "binding: null for a string": differ(NULLS, (answer("null"), error("Echo"))),
    "binding: null for a list": differ(NULLS, (answer("null"), error("EchoNested"))),
    "payload: null for bytes": differ(NULLS, (answer("null"), error("EchoBytes"))),
    "messagepack: null for text": differ(
        NULLS, ("3, null", "1, \"Failed to invoke 'Echo' due to an error on the server.\"")
    ),
    "asked: a null result": differ(
        NULLS, (answer("null"), answer("\"error: A value does not fit the type 'str'.\""))
    ),
    "binding: a name for an enum": differ(ENUMS, (error("EchoColor"), answer("1"))),
    "messagepack: an enum by a name in capitals": differ(
        ENUMS, ("1, \"Failed to invoke 'EchoColor' due to an error on the server.\"", '3, "Green"')
    ),
    "messagepack: an enum by number": differ(
        ENUMS, ("1, \"Failed to invoke 'EchoColor' due to an error on the server.\"", '3, "Green"')
    ),
    "payload: an enum's value that it lacks": differ(MEMBERS, (answer("7"), error("EchoColor"))),
    "payload: a GUID in braces": differ(
        UUIDS, (error("EchoGuid"), answer('"0123abcd-4567-89ab-cdef-0123456789ab"'))
    ),
    **{
        f"payload: date {date}": differ(MICROSECONDS, (f'"{theirs}"', f'"{ours}"'))
        for date, theirs, ours in (
            ("2017-04-11T01:02:03.123Z", "2017-04-11T01:02:03.123Z", "2017-04-11T01:02:03.123000Z"),
            ("2017-04-11T01:02:03.1234567Z", "2017-04-11T01:02:03.1234567Z", "2017-04-11T01:02:03.123456Z"),
            ("2017-04-11T01:02:03.5", "2017-04-11T01:02:03.5", "2017-04-11T01:02:03.500000"),
            ("9999-12-31T23:59:59.999", "9999-12-31T23:59:59.999", "9999-12-31T23:59:59.999000"),
        )
    },
    "payload: date 2017-04-11T03:02:03+00:00": differ("UTC is written Z", ("+00:00", "Z")),
    "messagepack: text for bytes": differ(
        BINARY, ("3, \"b'AAH/'\"", "1, \"Failed to invoke 'EchoBytes' due to an error on the server.\"")
    ),
    "messagepack: names in another casing": differ(CASING, ('"Name": ""', '"Name": "Ann"')),
}

# ---- calls

SKIPPED = "an unknown message is skipped; there it blocks the connection"
IN_USE = "a stream's id in use is refused; there the other stream is lost"
CANCELLED = "a call that is cancelled ends with an error, as in .NET 11"
TYPES = "what does not fit is told by Python's name of the type"
CONVERSION = (
    "Error trying to deserialize result to String. The JSON value could not be converted to System.String. "
    f"Path: $ | {LINE} 1."
)

REFUSED = "text: " + error("", "Stream ID 'u' is already in use.")
ECHOED = "text: " + answer('"x"')
SECOND_AFTER = answer('"after"').replace('"1"', '"2"')
BEFORE = '"before"'
DEEP = "how deep JSON may go is its reader's business; there 64"
UNFIT = (
    "Failed to invoke '{}' due to an error on the server. <class>: Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)

OWED = "an answer with neither a result nor an error is told in words"

CALLS = {
    **{
        f"asked: {name}": differ(OWED, (f"error: {theirs}", "error: The client gave no result."))
        for name, theirs in (
            ("neither", "Exception of type 'Microsoft.AspNetCore.SignalR.HubException' was thrown."),
            ("an empty error", ""),
        )
    },
    "asked: the answer comes from another connection": differ(
        "an answer of somebody who was not asked is skipped, as any that nobody waits for",
        (
            'thief text: {"type":7,"error":"Connection closed with an error. <class>: Connection ID \'<id 1>\' '
            'is not valid for invocation ID \'<call 1>\'.","allowReconnect":true}',
            f"thief {LIVES[:-1]}",
        ),
    ),
    "type 10: unknown": differ(SKIPPED, ("silence instead of ['1']", ECHOED)),
    "error: a type beyond 32 bits": differ(
        SKIPPED,
        (f'"error":"Connection closed with an error. <class>: {NOT_INT32}","allowReconnect":true', ""),
        ("7,}", "7}"),
    ),
    "messagepack error: a type beyond 32 bits": differ(
        SKIPPED,
        (
            "\"Connection closed with an error. <class>: Reading 'messageType' as Int32 failed.\", true",
            "null, false",
        ),
    ),
    "error: very deep properties": differ(
        DEEP,
        (f'"error":"Connection closed with an error. <class>: {WORDS}","allowReconnect":true', ""),
        ("7,}", "7}"),
    ),
    "error: very deep arguments": differ(
        DEEP,
        ('text: {"type":7', f"text: {error('Echo', UNFIT)}\ntext: " + '{"type":7'),
        (f'"error":"Connection closed with an error. <class>: {WORDS}","allowReconnect":true', ""),
        ("7,}", "7}"),
    ),
    "reconnect: the first socket lives": differ(
        "a second socket takes the place of the first, however that one is closed",
        (
            "WebSocket: 404\n  content-type: text/plain\nagain never opened",
            'WebSocket: 101\nagain text: {"type":9,"sequenceId":1}\n'
            f"again text: {answer(BEFORE)}\nagain text: {SECOND_AFTER}\nagain closed 1000",
        ),
    ),
    "messagepack: type 10": differ(SKIPPED, ("silence instead of ['1']", 'binary: [3, {}, "1", 3, "x"]')),
    "upload: an id in use": differ(
        IN_USE,
        (
            'text: {"type":3,"invocationId":"2","result":5}\nsilence instead of [\'1\']',
            'text: {"type":3,"invocationId":"2","error":"Stream ID \'u\' is already in use."}\n'
            f"text: {answer('5')}",
        ),
    ),
    "upload: one id for both streams": differ(IN_USE, ("silence instead of ['1']", REFUSED)),
    "call: a plain call is cancelled": differ(
        CANCELLED, (answer('"after all"'), error("", "The invocation was canceled by the client."))
    ),
    "asked: a result of another type": differ(TYPES, (CONVERSION, "A value does not fit the type 'str'.")),
    "asked: an object for a string": differ(TYPES, (CONVERSION, "A value does not fit the type 'str'.")),
    "messagepack: another casing of a stream in an error": differ(
        "a method is told by its own name everywhere; there not in streams of MessagePack",
        ("cOUNTER", "Counter"),
    ),
}

STRICT = "a message that is no whole one ends its connection, as any other malformed one does"
DETAIL = "the hub method is told what did not fit by the log, not by the text that its client would see"
WHO_STREAMS = "whether a method streams is no secret, so the mismatch is found first, without asking a policy"
NULL = "null is a value, only of the wrong type"

UNREADABLE = (
    "<class>: The JSON value could not be converted to System.Int32. "
    "Path: $ | LineNumber: 0 | BytePositionInLine: "
)
MSGPACK_END = 'binary: [3, {}, "end", 3, "end"]'
MSGPACK_LOST = 'binary: [7, "Connection closed with an error.", true]'

EDGES = {
    "auth: a method that is not allowed, as a stream": differ(
        WHO_STREAMS,
        (
            "Failed to invoke 'ForUsers' because user is unauthorized",
            "The client attempted to invoke the non-streaming 'ForUsers' method with a streaming invocation.",
        ),
    ),
    "handshake: null for a version, detailed": differ(
        NULL,
        (
            "Missing required property 'version'. Message content: "
            '{\\"protocol\\":\\"json\\",\\"version\\":null}',
            "Expected 'version' to be of type Number.",
        ),
    ),
    "error: null for a sequence": differ(
        NULL, ("Missing required property 'sequenceId'.", "Expected 'sequenceId' to be of type Number.")
    ),
    "payload: half of a pair": differ(
        "text that is no Unicode makes the whole message malformed",
        (f"{error('Echo')}\ntext: ", ""),
        (LIVES, LOST),
    ),
    "upload: ended with an empty error": differ(
        "an empty error is none, as the official clients write it", ("failed: ", "completed")
    ),
    "upload: an item of another type, detailed": differ(DETAIL, (f" {UNREADABLE}3.", "")),
    "upload: null for an item, detailed": differ(DETAIL, (f" {UNREADABLE}4.", "")),
    "error: a stream with nothing": differ(
        "what is missing is named in the order in which messages are written", ("'target'", "'invocationId'")
    ),
    "messagepack: an invocation without arguments": differ(
        STRICT,
        ('binary: [3, {}, "1", 1, "Failed to invoke \'Add\' due to an error on the server."]\n', ""),
        (MSGPACK_END, MSGPACK_LOST),
    ),
    "messagepack: an item without item": differ(STRICT, (MSGPACK_END, MSGPACK_LOST)),
}

DIFFERENCES = HTTP | READING | PAYLOADS | CALLS | EDGES
