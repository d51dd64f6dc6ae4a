"""The JSON protocol against .NET's: golden texts, what is tolerated, and the words for what is refused."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from trio_hubs.errors import BindingError, ProtocolError
from trio_hubs.protocol.json_protocol import JsonHubProtocol
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

ONE = Raw(b"1")
GOLDEN: list[tuple[Message, str]] = [
    (Invocation(target="T", arguments=Raw(b"[]")), '{"type":1,"target":"T","arguments":[]}'),
    (
        Invocation(target="T", arguments=Raw(b"[1]"), invocation_id="7", stream_ids=("8",)),
        '{"type":1,"invocationId":"7","target":"T","arguments":[1],"streamIds":["8"]}',
    ),
    (StreamItem("7", ONE), '{"type":2,"invocationId":"7","item":1}'),
    (StreamItem("7", Raw(b"null")), '{"type":2,"invocationId":"7","item":null}'),
    (Completion("7"), '{"type":3,"invocationId":"7"}'),
    (Completion("7", "e'<é"), '{"type":3,"invocationId":"7","error":"e\'<é"}'),
    (Completion("7", result=ONE), '{"type":3,"invocationId":"7","result":1}'),
    (Completion("7", result=Raw(b"null")), '{"type":3,"invocationId":"7","result":null}'),
    (
        StreamInvocation("7", "T", Raw(b"[1]"), ("8",)),
        '{"type":4,"invocationId":"7","target":"T","arguments":[1],"streamIds":["8"]}',
    ),
    (CancelInvocation("7"), '{"type":5,"invocationId":"7"}'),
    (Ping(), '{"type":6}'),
    (Close(), '{"type":7}'),
    (Close("e", True), '{"type":7,"error":"e","allowReconnect":true}'),
    (Ack(42), '{"type":8,"sequenceId":42}'),
    (Sequence(146), '{"type":9,"sequenceId":146}'),
    (Credit("xyz", 42), '{"type":101,"invocationId":"xyz","items":42}'),
]


def read(*records: str) -> list[Message]:
    return parse(JsonHubProtocol().parser(None), "".join(record + "\x1e" for record in records).encode())


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_golden_texts(message: Message, text: str) -> None:
    assert JsonHubProtocol().encode(message) == text.encode() + b"\x1e"
    assert plain(read(text)[0]) == plain(message)


TOLERATED: list[tuple[str, Message]] = [
    ('{"arguments":[1],"target":"T","type":1}', Invocation(target="T", arguments=Raw(b"[1]"))),
    ('{"item":1,"invocationId":"7","type":2}', StreamItem("7", ONE)),
    ('{"result":1,"invocationId":"7","type":3}', Completion("7", result=ONE)),
    (' { "type" : 6 } ', Ping()),
    ('{\n  "type": 6\n}\n', Ping()),
    ('{"type":6,"extra":{"a":[1]},"target":null}', Ping()),
    ('{"type":6,"type":6}', Ping()),
    ('{"type":6} and more', Ping()),
    ('{"type":6}{"type":7}', Ping()),
    ('{"type":5,"invocationId":"7","headers":{"h":"v"}} and more', CancelInvocation("7", {"h": "v"})),
    (
        '{"type":4,"invocationId":"7","target":"T","arguments":[1],"streamIds":["8"]}{}',
        StreamInvocation("7", "T", Raw(b"[1]"), ("8",)),
    ),
    ('{"type":7,"allowReconnect":true}}', Close(allow_reconnect=True)),
    ('{"type":8,"sequenceId":42}]', Ack(42)),
    ('{"type":7,"error":""}', Close()),
    ('{"type":7,"error":"old","error":"new"}', Close("new")),
    ('{"\\u0074ype":6}', Ping()),
    ('{"type":1,"target":"T","arguments": [1] }', Invocation(target="T", arguments=Raw(b"[1]"))),
    ('{"type":1,"target":"","arguments":[1]}', Invocation(target="", arguments=Raw(b"[1]"))),
    (
        '{"type":1,"invocationId":"","target":"T","arguments":[1]}',
        Invocation(target="T", arguments=Raw(b"[1]")),
    ),
    ('{"type":1,"target":"T","arguments":[1],"streamIds":[]}', Invocation(target="T", arguments=Raw(b"[1]"))),
    ('{"type":2,"item":"\\u001e}\\u001e{","invocationId":"7"}', StreamItem("7", Raw(b'"\\u001e}\\u001e{"'))),
]


@pytest.mark.parametrize(("text", "message"), TOLERATED)
def test_what_is_tolerated(text: str, message: Message) -> None:
    assert list(map(plain, read(text))) == [plain(message)]
    assert list(map(plain, read('{"type":6}', text, '{"type":6}'))) == [
        plain(Ping()),
        plain(message),
        plain(Ping()),
    ]


def test_headers_are_read() -> None:
    (message,) = read('{"type":5,"headers":{"a":"b"},"invocationId":"1"}')
    assert message == CancelInvocation("1", {"a": "b"})
    assert CancelInvocation("1").headers is UNSET


@pytest.mark.parametrize(
    "text",
    [
        '{"type":0}',
        '{"type":10}',
        '{"type":99,"target":5,"error":null}',
        '{"type":101,"items":5}',
        '{"type":101,"invocationId":"1","items":0}',
        '{"type":101,"invocationId":"1","items":9223372036854775808}',
    ],
)
def test_unknown_types_are_left_out(text: str) -> None:
    assert read(text) == []
    assert read('{"type":6}', text, '{"type":7}') == [Ping(), Close()]


def missing(name: str) -> str:
    return f"Missing required property '{name}'."


def expected(name: str, kind: str) -> str:
    return f"Expected '{name}' to be of type {kind}."


INVALID: list[tuple[str, str]] = [
    ("", "Error reading JSON."),
    ("{", "Error reading JSON."),
    ('{"type":6', "Error reading JSON."),
    ("{'type':6}", "Error reading JSON."),
    ('{"type":6,}', "Error reading JSON."),
    ('{"type":1,"target":"T","arguments":[[}]}', "Error reading JSON."),
    ('{"type":1,"target":"T","arguments":[NaN]}', "Error reading JSON."),
    ('{"type":2,"invocationId":"1","item":' + "[" * 100_000 + "]" * 100_000 + "}", "Error reading JSON."),
    ("null", "Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
    ("42", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    ('"foo"', "Unexpected JSON Token Type 'String'. Expected a JSON Object."),
    ("[42]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    ("true", "Unexpected JSON Token Type 'True'. Expected a JSON Object."),
    ("{}", missing("type")),
    ('{"type":"1"}', expected("type", "Number")),
    ('{"type":null}', expected("type", "Number")),
    ('{"type":1.5}', expected("type", "Number")),
    ('{"type":1}', missing("target")),
    ('{"type":1,"arguments":[]}', missing("target")),
    ('{"type":1,"target":"T"}', missing("arguments")),
    ('{"type":1,"target":null,"arguments":[]}', expected("target", "String")),
    ('{"type":1,"target":42,"arguments":[]}', expected("target", "String")),
    ('{"type":1,"target":"T","arguments":42}', expected("arguments", "Array")),
    ('{"type":1,"target":"T","arguments":{}}', expected("arguments", "Array")),
    ('{"type":1,"target":"T","arguments":null}', expected("arguments", "Array")),
    ('{"type":1,"invocationId":42,"target":"T","arguments":[]}', expected("invocationId", "String")),
    ('{"type":1,"invocationId":null,"target":"T","arguments":[]}', expected("invocationId", "String")),
    ('{"type":1,"target":"T","arguments":[],"streamIds":null}', expected("streamIds", "Array")),
    (
        '{"type":1,"target":"T","arguments":[],"streamIds":["1",null]}',
        "Null value for 'streamIds' is not valid.",
    ),
    (
        '{"type":1,"target":"T","arguments":[],"streamIds":[1]}',
        "Expected 'streamIds' to hold values of type String.",
    ),
    ('{"type":2}', missing("invocationId")),
    ('{"type":2,"invocationId":"1"}', missing("item")),
    ('{"type":2,"invocationId":"","item":1}', missing("invocationId")),
    ('{"type":2,"invocationId":null,"item":1}', expected("invocationId", "String")),
    ('{"type":3}', missing("invocationId")),
    ('{"type":3,"invocationId":"1","error":null}', expected("error", "String")),
    ('{"type":3,"invocationId":"1","error":[]}', expected("error", "String")),
    (
        '{"type":3,"invocationId":"1","error":"e","result":null}',
        "The 'error' and 'result' properties are mutually exclusive.",
    ),
    ('{"type":4,"target":"T","arguments":[]}', missing("invocationId")),
    ('{"type":4,"invocationId":"1","arguments":[]}', missing("target")),
    ('{"type":4,"invocationId":"1","target":"T"}', missing("arguments")),
    ('{"type":4,"invocationId":"1","target":"T","arguments":"[]"}', expected("arguments", "Array")),
    ('{"type":5}', missing("invocationId")),
    ('{"type":5,"invocationId":"1","headers":null}', expected("headers", "StartObject")),
    ('{"type":5,"invocationId":"1","headers":[]}', expected("headers", "StartObject")),
    ('{"type":5,"invocationId":"1","headers":{"h":1}}', "Expected header 'h' to be of type String."),
    (
        '{"type":5,"invocationId":"1","headers":{"g":"","h":null}}',
        "Expected header 'h' to be of type String.",
    ),
    ('{"type":7,"error":null}', expected("error", "String")),
    ('{"type":7,"allowReconnect":null}', "Expected 'allowReconnect' to be true or false."),
    ('{"type":7,"allowReconnect":1}', "Expected 'allowReconnect' to be true or false."),
    ('{"type":8}', missing("sequenceId")),
    ('{"type":8,"sequenceId":"1"}', expected("sequenceId", "Number")),
    ('{"type":9,"sequenceId":1.5}', expected("sequenceId", "Number")),
    ('{"type":9,"sequenceId":9223372036854775808}', expected("sequenceId", "Number")),
]


@pytest.mark.parametrize(("text", "error"), INVALID, ids=range(len(INVALID)))
def test_official_texts_of_what_is_refused(text: str, error: str) -> None:
    for before in ([], ['{"type":6}']):
        with pytest.raises(ProtocolError) as caught:
            read(*before, text)
        assert str(caught.value) == error


@pytest.mark.parametrize(
    "records",
    [
        ['{"type":6', "}"],
        ['{"type":6,"x":', '{}}{"type":6}'],
        ['{"type":6,"x":{}', '}{"type":6}'],
        ['{"type":6,"x":{}', "{}}"],
    ],
)
def test_records_are_never_joined(records: list[str]) -> None:
    with pytest.raises(ProtocolError, match="Error reading JSON"):
        read(*records)


def test_text_that_is_not_utf_8() -> None:
    with pytest.raises(ProtocolError, match="Error reading JSON"):
        parse(JsonHubProtocol().parser(None), b'{"type":7,"error":"\xff"}\x1e')


def test_an_escape_that_is_no_character() -> None:
    with pytest.raises(ProtocolError):
        read('{"type":7,"error":"\\ud800"}')


# ---- text that is no Unicode: JSON's grammar has halves of pairs, and bytes may be anything

BAD_TEXTS = [rb"\ud83d", rb"a\uDE00b", rb"\ud83d\ud83d", rb"\ud83dx", b"\xff", b"\xed\xa0\xbd"]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("around", [b"", b" ", b'{"type":6}\x1e', b"\n"])
def test_what_is_no_unicode_in_a_payload_is_of_that_payload_alone(text: bytes, around: bytes) -> None:
    payloads = JsonHubProtocol().payloads
    records = [
        b'{"type":1,"target":"T","arguments":[1,"%s"]}' % text,
        b'{"type":2,"invocationId":"1","item":{"a":"%s"}}' % text,
        b'{"type":3,"invocationId":"1","result":"%s"}' % text,
        b'{"type":4,"invocationId":"1","target":"T","arguments":["%s"]}' % text,
    ]
    data = b"".join(around + record + b"\x1e" for record in records)
    found = [message for message in parse(JsonHubProtocol().parser(None), data) if message != Ping()]
    invocation, item, completion, stream = found
    assert isinstance(invocation, Invocation)
    assert isinstance(item, StreamItem)
    assert isinstance(completion, Completion)
    assert isinstance(stream, StreamInvocation)
    for load, raw in (
        (payloads.arguments_loader([int, str]), invocation.arguments),
        (payloads.loader(dict[str, str]), item.item),
        (payloads.loader(str), completion.result),
        (payloads.arguments_loader([str]), stream.arguments),
    ):
        with pytest.raises(BindingError) as caught:
            load(raw)
        assert "Text that is not Unicode" in caught.value.__notes__[0]
    with pytest.raises(BindingError, match="provides 2 argument"):
        payloads.arguments_loader([int])(invocation.arguments)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_calls_error_is_read_whatever_stands_in_it(text: bytes) -> None:
    for record in (
        b'{"type":3,"invocationId":"1","error":"%s"}',
        b'{"type":3,"error":"%s","invocationId":"1"} behind',
    ):
        (message,) = parse(JsonHubProtocol().parser(None), record % text + b"\x1e")
        assert isinstance(message, Completion)
        assert "\ufffd" in message.error
        assert message.error.isprintable()


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_what_nobody_reads_may_be_anything(text: bytes) -> None:
    for record in (b'{"x":"%s","type":6}', b'{"x":[{"y":"%s"}],"type":6}', b'{"type":6}%s'):
        assert parse(JsonHubProtocol().parser(None), record % text + b"\x1e") == [Ping()]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize(
    "record",
    [
        b'{"type":1,"target":"%s","arguments":[]}',
        b'{"type":1,"target":"T","arguments":[],"invocationId":"%s"}',
        b'{"type":1,"target":"T","arguments":[],"streamIds":["%s"]}',
        b'{"type":5,"invocationId":"1","headers":{"a":"%s"}}',
        b'{"type":7,"error":"%s"}',
    ],
)
def test_an_envelope_is_unicode(text: bytes, record: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(JsonHubProtocol().parser(None), record % text + b"\x1e")


def test_escapes_that_are_no_halves_stay() -> None:
    record = rb'{"type":2,"invocationId":"1","item":["\\ud83d","\ud83d\ude00\u00e9\n","\ud83d"]}' + b"\x1e"
    (message,) = parse(JsonHubProtocol().parser(None), record)
    assert isinstance(message, StreamItem)
    assert bytes(message.item) == rb'["\\ud83d","\ud83d\ude00\u00e9\n","' + b'\xff"]'


pieces = st.sampled_from(
    [
        *(b'{"type":6,"x":"%s"}' % text for text in BAD_TEXTS),
        *(b'{"type":2,"invocationId":"1","item":"%s"}' % text for text in BAD_TEXTS),
        *(b'{"%s":1,"type":6}' % text for text in BAD_TEXTS),
        *(b'{"type":3,"invocationId":"1","error":"%s"}' % text for text in BAD_TEXTS),
        b'{"type":5,"invocationId":"\xff"}',
        b'{"type":1,"target":"","arguments":[]}',
        b'{"type":1,"target":"T","arguments":{}}',
        b'{"type":5,"invocationId":"1"} ',
        b'{"type":5,"invocationId":"1"}\xff',
        b'{"type":5,"invocationId":""}',
        b'{"type":10,"x":"\xff"}',
        b'{"type":6}{"type":7}',
        b'\n{"type":6}',
        b"{}",
        b"",
    ]
)


@given(st.lists(pieces, max_size=6), st.lists(st.integers(0, 400), max_size=6))
def test_a_message_means_the_same_however_it_was_cut(records: list[bytes], cuts: list[int]) -> None:
    def outcome(chunks: Iterable[bytes]) -> tuple[list[object], str]:
        parser = JsonHubProtocol().parser(None)
        found: list[object] = []
        try:
            for chunk in chunks:
                for batch in parser.feed(chunk):
                    found += map(plain, batch)
        except ProtocolError as error:
            return found, str(error)
        return found, ""

    data = b"".join(record + b"\x1e" for record in records)
    places = [0, *sorted(cuts), len(data)]
    alone = outcome(record + b"\x1e" for record in records)
    assert outcome([data]) == alone
    assert outcome(data[start:end] for start, end in pairwise(places)) == alone
