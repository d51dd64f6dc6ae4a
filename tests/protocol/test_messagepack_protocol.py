"""The MessagePack protocol against .NET's: golden bytes, what is tolerated, the words for what is refused."""

import msgspec
import pytest
from msgspec import Raw

from trio_hubs.errors import BindingError, ProtocolError
from trio_hubs.protocol.framing import length_prefix
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Credit,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

from .samples import parse, plain

NO_ARGUMENTS, ARGUMENTS, VALUE = Raw(b"\x90"), Raw(b"\x91\x2a"), Raw(b"\x2a")
GOLDEN: list[tuple[Message, str]] = [
    (
        Invocation(target="method", arguments=NO_ARGUMENTS, invocation_id="xyz"),
        "96 01 80 a3 78 79 7a a6 6d 65 74 68 6f 64 90 90",
    ),
    (Invocation(target="method", arguments=ARGUMENTS), "96 01 80 c0 a6 6d 65 74 68 6f 64 91 2a 90"),
    (StreamItem("xyz", VALUE), "94 02 80 a3 78 79 7a 2a"),
    (StreamItem("xyz", Raw(bytes.fromhex("ca42280000"))), "94 02 80 a3 78 79 7a ca 42 28 00 00"),
    (Completion("xyz"), "94 03 80 a3 78 79 7a 02"),
    (Completion("xyz", "Err"), "95 03 80 a3 78 79 7a 01 a3 45 72 72"),
    (Completion("xyz", result=Raw(b"\xc0")), "95 03 80 a3 78 79 7a 03 c0"),
    (Completion("xyz", result=VALUE), "95 03 80 a3 78 79 7a 03 2a"),
    (
        StreamInvocation("xyz", "method", ARGUMENTS),
        "96 04 80 a3 78 79 7a a6 6d 65 74 68 6f 64 91 2a 90",
    ),
    (
        StreamInvocation("xyz", "method", NO_ARGUMENTS, ("1",)),
        "96 04 80 a3 78 79 7a a6 6d 65 74 68 6f 64 90 91 a1 31",
    ),
    (CancelInvocation("xyz"), "93 05 80 a3 78 79 7a"),
    (Ping(), "91 06"),
    (Close(), "93 07 c0 c2"),
    (Close("Error!"), "93 07 a6 45 72 72 6f 72 21 c2"),
    (Close(allow_reconnect=True), "93 07 c0 c3"),
    (Ack(42), "92 08 2a"),
    (Sequence(146), "92 09 cc 92"),
    (Credit("xyz", 42), "93 65 a3 78 79 7a 2a"),
]


def framed(body: bytes) -> bytes:
    return length_prefix(len(body)) + body


def read(*messages: object) -> list[Message]:
    data = b"".join(framed(msgspec.msgpack.encode(message)) for message in messages)
    return parse(MessagePackHubProtocol().parser(None), data)


@pytest.mark.parametrize(("message", "body"), GOLDEN)
def test_golden_bytes(message: Message, body: str) -> None:
    data = framed(bytes.fromhex(body))
    assert MessagePackHubProtocol().encode(message) == data
    assert plain(parse(MessagePackHubProtocol().parser(None), data)[0]) == plain(message)


TOLERATED: list[tuple[list[object], Message]] = [
    ([1, {}, None, "T", [42]], Invocation(target="T", arguments=ARGUMENTS)),
    ([1, {}, "", "T", [42], []], Invocation(target="T", arguments=ARGUMENTS)),
    (
        [1, {}, None, "T", [42], ["1"], "extra"],
        Invocation(target="T", arguments=ARGUMENTS, stream_ids=("1",)),
    ),
    ([1, {}, None, "T", 42], Invocation(target="T", arguments=VALUE)),
    ([2, {}, "1", 42, "extra"], StreamItem("1", VALUE)),
    ([3, {}, "1", 2, "extra"], Completion("1")),
    ([3, {}, "1", 1, ""], Completion("1")),
    ([4, {}, "1", "T", [42]], StreamInvocation("1", "T", ARGUMENTS)),
    ([5, {"h": "a\nb"}, "1", "extra"], CancelInvocation("1", {"h": "a\nb"})),
    ([6, "extra"], Ping()),
    ([7, None], Close()),
    ([7, "e"], Close("e")),
    ([7, "", True, "extra"], Close(allow_reconnect=True)),
    ([8, 1, "extra"], Ack(1)),
]


@pytest.mark.parametrize(("elements", "message"), TOLERATED)
def test_what_is_tolerated(elements: list[object], message: Message) -> None:
    assert list(map(plain, read([6], elements, [6]))) == [plain(Ping()), plain(message), plain(Ping())]


def test_headers_may_stand_on_every_call() -> None:
    headers = {"a": "b"}
    for elements in (
        [1, headers, None, "T", []],
        [2, headers, "1", 0],
        [3, headers, "1", 2],
        [3, headers, "1", 3, 0],
        [4, headers, "1", "T", []],
        [5, headers, "1"],
    ):
        (message,) = read(elements)
        assert getattr(message, "headers") == headers  # noqa: B009 - not every message has them


@pytest.mark.parametrize(
    "elements", [[0], [10], [99, "anything", None], [101, "1"], [101, "1", 0], [101, "1", 2**63]]
)
def test_unknown_types_are_left_out(elements: list[object]) -> None:
    assert read([6], elements, [7, None]) == [Ping(), Close()]


def failed(field: str, kind: str) -> str:
    return f"Reading '{field}' as {kind} failed."


INVALID: list[tuple[object, str]] = [
    ([], failed("messageType", "Int32")),
    (["6"], failed("messageType", "Int32")),
    ([None], failed("messageType", "Int32")),
    ([1], "Reading map length for 'headers' failed."),
    ([1, None, "1", "T", []], "Reading map length for 'headers' failed."),
    ([1, [], "1", "T", []], "Reading map length for 'headers' failed."),
    ([1, {42: "v"}, "1", "T", []], failed("headers[0].Key", "String")),
    ([1, {"k": 42}, "1", "T", []], failed("headers[0].Value", "String")),
    ([1, {"k": "v", "l": 42}, "1", "T", []], failed("headers[1].Value", "String")),
    ([1, {"": "v"}, "1", "T", []], "Null or empty key in header."),
    ([1, {None: "v"}, "1", "T", []], "Null or empty key in header."),
    ([1, {"k": ""}, "1", "T", []], "Null or empty value in header."),
    ([1, {"k": None}, "1", "T", []], "Null or empty value in header."),
    ([1, {}], failed("invocationId", "String")),
    ([1, {}, 42, "T", []], failed("invocationId", "String")),
    ([1, {}, "1"], failed("target", "String")),
    ([1, {}, "1", 42, []], failed("target", "String")),
    ([1, {}, "1", "", []], "Null or empty target for Invocation message."),
    ([1, {}, "1", None, []], "Null or empty target for Invocation message."),
    ([4, {}, "1", "", []], "Null or empty target for StreamInvocation message."),
    ([1, {}, "1", "T", [], "1"], "Reading array length for 'streamIds' failed."),
    ([1, {}, "1", "T", [], None], "Reading array length for 'streamIds' failed."),
    ([1, {}, "1", "T", [], [42]], failed("streamIds", "String")),
    ([1, {}, "1", "T", [], ["1", ""]], "Null or empty value in streamIds received."),
    ([1, {}, "1", "T", [], [None]], "Null or empty value in streamIds received."),
    ([2, {}, "", 42], "Null or empty invocation ID for StreamItem message."),
    ([2, {}, None, 42], "Null or empty invocation ID for StreamItem message."),
    ([3, {}, "", 2], "Null or empty invocation ID for Completion message."),
    ([4, {}, None, "T", []], "Null or empty invocation ID for StreamInvocation message."),
    ([5, {}, ""], "Null or empty invocation ID for CancelInvocation message."),
    ([3, {}, "1"], failed("resultKind", "Int32")),
    ([3, {}, "1", "1"], failed("resultKind", "Int32")),
    ([3, {}, "1", 0], "Invalid invocation result kind."),
    ([3, {}, "1", 42], "Invalid invocation result kind."),
    ([3, {}, "1", 1], failed("error", "String")),
    ([3, {}, "1", 1, 42], failed("error", "String")),
    ([3, {}, "1", 3], "Reading 'result' failed."),
    ([7], failed("error", "String")),
    ([7, 42, False], failed("error", "String")),
    ([7, None, 0], failed("allowReconnect", "Boolean")),
    ([7, None, None], failed("allowReconnect", "Boolean")),
    ([8], failed("sequenceId", "Int64")),
    ([8, "1"], failed("sequenceId", "Int64")),
    ([9, 2**63], failed("sequenceId", "Int64")),
    ([1, {}, None, "T"], "Reading array length for 'arguments' failed."),
    (
        [2, {}, "1"],
        "Reading a StreamItem message failed: Expected `array` of at least length 4, got 3.",
    ),
]


@pytest.mark.parametrize(("message", "error"), INVALID, ids=range(len(INVALID)))
def test_official_texts_of_what_is_refused(message: object, error: str) -> None:
    for before in ([], [[6]]):
        with pytest.raises(ProtocolError) as caught:
            read(*before, message)
        assert str(caught.value) == error


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x2a", b"\x80", b"\x92\x06", b"\x91\x06\x06", b"\x91" * 100_000]
)
def test_bodies_that_are_no_array(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="Reading a message as an array failed"):
        parse(MessagePackHubProtocol().parser(None), framed(body))


def test_an_item_nested_too_deep() -> None:
    body = bytes.fromhex("94 02 80 a1 31") + b"\x91" * 100_000 + b"\x01"
    with pytest.raises(ProtocolError, match="Reading a message as an array failed"):
        parse(MessagePackHubProtocol().parser(None), framed(body))


HEADERS = {"traceparent": "00-1"}


@pytest.mark.parametrize(
    "message",
    [
        Invocation(target="T", arguments=ARGUMENTS, headers=HEADERS),
        Invocation(target="T", arguments=ARGUMENTS, invocation_id="1", stream_ids=("2",), headers=HEADERS),
        StreamItem("1", VALUE, HEADERS),
        Completion("1", headers=HEADERS),
        Completion("1", "failed", headers=HEADERS),
        Completion("1", result=VALUE, headers=HEADERS),
        StreamInvocation("1", "T", ARGUMENTS, (), HEADERS),
        CancelInvocation("1", HEADERS),
    ],
    ids=lambda message: type(message).__name__,
)
def test_headers_are_written(message: Message) -> None:
    protocol = MessagePackHubProtocol()
    (back,) = parse(protocol.parser(None), protocol.encode(message))
    assert plain(back) == plain(message)


@pytest.mark.parametrize("text", [b"\xff", b"a\xed\xa0\xbdb"])
def test_a_calls_error_is_read_whatever_stands_in_it(text: bytes) -> None:
    body = bytes.fromhex("95 03 80 a1 31 01") + bytes([0xA0 + len(text)]) + text
    (message,) = parse(MessagePackHubProtocol().parser(None), framed(body))
    assert isinstance(message, Completion)
    assert message.error == text.decode(errors="replace")


@pytest.mark.parametrize("text", [b"\xff", b"a\xed\xa0\xbdb"])
def test_what_is_no_unicode_in_a_payload_is_of_that_payload_alone(text: bytes) -> None:
    body = bytes.fromhex("94 02 80 a1 31") + bytes([0xA0 + len(text)]) + text
    (message,) = parse(MessagePackHubProtocol().parser(None), framed(body))
    assert isinstance(message, StreamItem)
    with pytest.raises(BindingError) as caught:
        MessagePackHubProtocol().payloads.loader(str)(message.item)
    assert caught.value.__notes__ == ["Text that is not Unicode @ $"]
