"""The handshake's records, in any pieces, and the official words for what is wrong with them."""

import pytest

from trio_hubs.errors import HandshakeError, ProtocolError
from trio_hubs.protocol.handshake import (
    HandshakeRequest,
    HandshakeResponse,
    encode_request,
    encode_response,
    take_request,
    take_response,
)

JSON = HandshakeRequest("json", 1)


def test_as_written() -> None:
    assert encode_request(JSON) == b'{"protocol":"json","version":1}\x1e'
    assert encode_response(HandshakeResponse()) == b"{}\x1e"
    assert encode_request(HandshakeRequest("json", 1, 10)) == (
        b'{"protocol":"json","version":1,"streamCredits":10}\x1e'
    )
    assert encode_response(HandshakeResponse(stream_credits=10)) == b'{"streamCredits":10}\x1e'
    assert encode_response(HandshakeResponse("it's <no>")) == b'{"error":"it\'s <no>"}\x1e'


def test_whole_in_pieces_and_with_more_behind() -> None:
    data = encode_request(JSON)
    for size in range(len(data)):
        assert take_request(data[:size], None) is None
    assert take_request(data, None) == (JSON, b"")
    assert take_request(data + b'{"type":6}\x1e{', None) == (JSON, b'{"type":6}\x1e{')
    assert take_response(b"{}", None) is None
    assert take_response(b"{}\x1e\x02\x91\x06", None) == (HandshakeResponse(), b"\x02\x91\x06")
    assert take_response(b'{"error":"no","minorVersion":1}\x1e', None) == (HandshakeResponse("no"), b"")


def test_credits_are_read() -> None:
    request, response = HandshakeRequest("json", 1, 10), HandshakeResponse(stream_credits=2**63 - 1)
    assert take_request(encode_request(request), None) == (request, b"")
    assert take_response(encode_response(response), None) == (response, b"")


@pytest.mark.parametrize(
    "value", ["0", "-1", "9223372036854775808", "1e400", "1.5", '"10"', "true", "null", "{}"]
)
def test_credits_that_make_no_sense_are_not_offered(value: str) -> None:
    field = b'"streamCredits":' + value.encode() + b"}\x1e"
    assert take_request(b'{"protocol":"json","version":1,' + field, None) == (JSON, b"")
    assert take_response(b"{" + field, None) == (HandshakeResponse(), b"")


@pytest.mark.parametrize(
    "text",
    [
        '{"version":1,"protocol":"json"}',
        '{"protocol":"json","version":1,"extra":null}',
        '{"protocol":"other","version":9,"protocol":"json","version":1}',
        '{"\\u0070rotocol":"json","version":1} and more',
    ],
)
def test_what_is_tolerated(text: str) -> None:
    assert take_request(text.encode() + b"\x1e", None) == (JSON, b"")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "Error reading JSON."),
        ("42", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
        ('"json"', "Unexpected JSON Token Type 'String'. Expected a JSON Object."),
        ("null", "Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
        ("[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
        ("{}", "Missing required property 'protocol'. Message content: {}"),
        ('{"type":6}', "Missing required property 'protocol'. Message content: {\"type\":6}"),
        (
            '{"protocol":"json"}',
            'Missing required property \'version\'. Message content: {"protocol":"json"}',
        ),
        ('{"protocol":"json","version":"1"}', "Expected 'version' to be of type Number."),
        ('{"protocol":null,"version":1}', "Expected 'protocol' to be of type String."),
    ],
)
def test_requests_that_are_refused(text: str, error: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        take_request(text.encode() + b"\x1e", None)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"type":6}', "Expected a handshake response from the server."),
        ('{"type":"0"}', "Expected a handshake response from the server."),
        ('{"type":1e400}', "Expected a handshake response from the server."),
        ('{"type":{}}', "Expected a handshake response from the server."),
        ('{"error":1}', "Expected 'error' to be of type String."),
        ("[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    ],
)
def test_responses_that_are_refused(text: str, error: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        take_response(text.encode() + b"\x1e", None)
    assert str(caught.value) == error


@pytest.mark.parametrize("type_", ["0", "-0", "0.0", "null", "false", '""'])
def test_a_type_that_says_nothing_is_no_message(type_: str) -> None:
    """As the JavaScript client takes it."""
    assert take_response(b'{"type":%b}\x1e' % type_.encode(), None) == (HandshakeResponse(), b"")


def test_the_size_limit() -> None:
    data = encode_request(JSON)
    for maximum in (len(data), len(data) + 1):
        assert take_request(data + b"x" * 100, maximum) == (JSON, b"x" * 100)
    for beginning in (data, data[:-1] + b" "):
        with pytest.raises(HandshakeError, match=rf"has more than {len(data) - 1} bytes"):
            take_request(beginning, len(data) - 1)
    assert take_request(data[:-1], len(data) - 1) is None
