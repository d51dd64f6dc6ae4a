"""Negotiate's documents: as ASP.NET Core writes them, and as its clients read them."""

import json
from typing import Any

import pytest

from trio_hubs.errors import NegotiationError
from trio_hubs.protocol.hub_protocol import TransferFormat
from trio_hubs.protocol.negotiate import (
    AvailableTransport,
    NegotiateResponse,
    RefreshResponse,
    Transport,
    encode_error,
    encode_response,
    negotiated_version,
    parse_refresh,
    parse_response,
)

TRANSPORTS = (
    AvailableTransport("WebSockets", ("Text", "Binary")),
    AvailableTransport("ServerSentEvents", ("Text",)),
)


def test_an_answer_as_written() -> None:
    answer = NegotiateResponse(
        version=1, connection_id="id", connection_token="token", available_transports=TRANSPORTS
    )
    assert encode_response(answer) == (
        b'{"negotiateVersion":1,"connectionId":"id","connectionToken":"token","availableTransports":'
        b'[{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
        b'{"transport":"ServerSentEvents","transferFormats":["Text"]}]}'
    )
    assert parse_response(encode_response(answer)) == answer


def test_version_0_has_no_token_of_its_own() -> None:
    answer = NegotiateResponse(version=0, connection_id="id", connection_token="id", available_transports=())
    data = encode_response(answer)
    assert data == b'{"negotiateVersion":0,"connectionId":"id","availableTransports":[]}'
    assert parse_response(data) == answer
    assert (
        parse_response(b'{"connectionId":"id","connectionToken":"other","availableTransports":[]}') == answer
    )


def test_a_redirect() -> None:
    answer = NegotiateResponse(
        version=0, url="https://elsewhere", access_token="secret", available_transports=()
    )
    assert parse_response(b'{"url":"https://elsewhere","accessToken":"secret"}') == answer
    assert encode_response(answer) == (
        b'{"negotiateVersion":0,"url":"https://elsewhere","accessToken":"secret","availableTransports":[]}'
    )


def test_all_that_an_answer_can_say() -> None:
    answer = NegotiateResponse(
        version=1,
        connection_id="id",
        connection_token="token",
        available_transports=TRANSPORTS[1:],
        stateful_reconnect=True,
        token_lifetime=60,
    )
    assert encode_response(answer) == (
        b'{"useStatefulReconnect":true,"negotiateVersion":1,"connectionId":"id","connectionToken":"token",'
        b'"tokenLifetimeSeconds":60,'
        b'"availableTransports":[{"transport":"ServerSentEvents","transferFormats":["Text"]}]}'
    )
    assert parse_response(encode_response(answer)) == answer


def test_nothing_is_offered_if_nothing_is_said() -> None:
    answer = NegotiateResponse(version=1)
    assert answer.available_transports == ()
    assert not answer.stateful_reconnect
    assert answer.token_lifetime is None


@pytest.mark.parametrize(("value", "stateful"), [("true", True), ("false", False), ("null", False)])
def test_stateful_reconnect_is_there_only_where_it_is_said(value: str, stateful: bool) -> None:
    body = f'{{"useStatefulReconnect":{value},"connectionId":"id","availableTransports":[]}}'
    assert parse_response(body.encode()).stateful_reconnect is stateful


@pytest.mark.parametrize(
    ("value", "lifetime"), [("60", 60), ("0.5", 0.5), ("null", None), ("0", None), ("-1", None)]
)
def test_a_lifetime_that_is_none_is_for_ever(value: str, lifetime: float | None) -> None:
    body = f'{{"tokenLifetimeSeconds":{value},"connectionId":"id","availableTransports":[]}}'
    assert parse_response(body.encode()).token_lifetime == lifetime


def test_the_transports_and_what_they_carry() -> None:
    assert [f"{transport}" for transport in Transport] == ["WebSockets", "ServerSentEvents", "LongPolling"]
    both = {TransferFormat.TEXT, TransferFormat.BINARY}
    assert [transport.transfer_formats for transport in Transport] == [both, {TransferFormat.TEXT}, both]


def test_unknown_fields_and_transports_are_no_error() -> None:
    body = {
        "negotiateVersion": 2,
        "connectionId": "id",
        "connectionToken": "token",
        "error": None,
        "url": None,
        "new": {},
        "availableTransports": [{"transport": "Pigeons", "transferFormats": ["Paper"], "new": 1}],
    }
    answer = parse_response(json.dumps(body).encode())
    assert answer.version == 2
    assert answer.available_transports == (AvailableTransport("Pigeons", ("Paper",)),)


def test_an_error_is_raised_in_its_own_words() -> None:
    with pytest.raises(NegotiationError) as caught:
        parse_response(encode_error("no <way>"))
    assert encode_error("no") == b'{"error":"no"}'
    assert str(caught.value) == "no <way>"


def test_the_other_signalr_is_told_apart() -> None:
    with pytest.raises(NegotiationError, match="Detected a connection attempt to an ASP"):
        parse_response(b'{"Url":"/signalr","ProtocolVersion":"1.2"}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff",
        b"{}",
        b'{"connectionId":"id"}',
        b'{"connectionId":"","availableTransports":[]}',
        b'{"availableTransports":[]}',
        b'{"negotiateVersion":1,"connectionId":"id","availableTransports":[]}',
        b'{"negotiateVersion":1,"connectionId":"id","connectionToken":"","availableTransports":[]}',
        b'{"negotiateVersion":"1","connectionId":"id","availableTransports":[]}',
        b'{"connectionId":"id","availableTransports":null}',
        b'{"connectionId":"id","availableTransports":[],"tokenLifetimeSeconds":"60"}',
        b'{"connectionId":"id","availableTransports":[],"useStatefulReconnect":"true"}',
        b'{"connectionId":"id","availableTransports":[{"transport":"WebSockets"}]}',
    ],
)
def test_malformed_answers(body: bytes) -> None:
    with pytest.raises(NegotiationError) as caught:
        parse_response(body)
    assert str(caught.value) == "Invalid negotiation response received."


NOT_AN_INTEGER = "The client requested a non-integer protocol version."


@pytest.mark.parametrize(
    ("requested", "answer"),
    [
        (None, 0),
        ("0", 0),
        ("1", 1),
        (" +1 ", 1),
        ("2", 1),
        ("2147483647", 1),
        ("2147483648", NOT_AN_INTEGER),
        ("", NOT_AN_INTEGER),
        ("one", NOT_AN_INTEGER),
        ("1.0", NOT_AN_INTEGER),
        ("1,1", NOT_AN_INTEGER),
        ("\u0661", NOT_AN_INTEGER),
        ("-1", "The client requested version '-1', but the server does not support this version."),
    ],
)
def test_the_rule_of_versions(requested: str | None, answer: Any) -> None:
    assert negotiated_version(requested) == answer


def test_a_lowest_version() -> None:
    refusal = "The client requested version '0', but the server does not support this version."
    assert negotiated_version(None, minimum=1) == refusal
    assert negotiated_version("0", minimum=1) == refusal
    assert negotiated_version("1", minimum=1) == 1


@pytest.mark.parametrize(
    ("document", "lifetime", "token"),
    [
        ({}, None, ""),
        ({"tokenLifetimeSeconds": 7, "accessToken": "t", "new": []}, 7, "t"),
        ({"tokenLifetimeSeconds": 1.5}, 1.5, ""),
        ({"tokenLifetimeSeconds": 0}, None, ""),
        ({"tokenLifetimeSeconds": -1}, None, ""),
        ({"tokenLifetimeSeconds": True}, None, ""),
        ({"tokenLifetimeSeconds": "7", "accessToken": 7}, None, ""),
    ],
)
def test_answers_to_a_refresh(document: dict[str, object], lifetime: float | None, token: str) -> None:
    assert parse_refresh(json.dumps(document).encode()) == RefreshResponse(lifetime, token)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_answer_to_a_refresh(body: bytes) -> None:
    with pytest.raises(NegotiationError, match="Invalid refresh response received"):
        parse_refresh(body)
