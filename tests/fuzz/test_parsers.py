"""What a parser makes of bytes depends on them alone: not on how they were cut, nor on what comes after them."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.protocol.samples import PROTOCOLS, every_message, plain
from trio_hubs.errors import HandshakeError, ProtocolError
from trio_hubs.protocol.framing import length_prefix
from trio_hubs.protocol.handshake import (
    HandshakeRequest,
    HandshakeResponse,
    encode_request,
    encode_response,
    take_request,
    take_response,
)
from trio_hubs.protocol.hub_protocol import HubProtocol

from .pieces import PLACES, cut, examples, mutations, singly

JSON, MESSAGEPACK = PROTOCOLS[0](), PROTOCOLS[1]()
LIMITS = st.sampled_from([None, 20, 60, 32768])

# What an official client may send of each field, and what it may not.
VALUES = st.sampled_from(
    [
        ' ""',
        '"1"',
        '"\\u001e"',
        '"é"',
        '"\\ud83d"',
        "null",
        "true",
        "nothing",
        "0",
        "1",
        "-1",
        "1.5",
        "1e3",
        "9223372036854775808\n    ",
        "[]",
        "{}",
        '["1"]',
        "[null]",
        "[1]",
        '[""]',
        "[[[]]]",
        '{"a":"b"}',
        '{"a":1}',
        '{"type":6}',
        "",
    ]
)
NAMES = st.sampled_from(
    [
        "type",
        "invocationId",
        "target",
        "arguments",
        "streamIds",
        "headers",
        "item",
        "result",
        "error",
        "allowReconnect",
        "sequenceId",
        "Type",
        "x",
    ]
)
TYPES = st.sampled_from([*map(str, range(-1, 11)), "1.0", "1e0", '"1"', "null", "99999999999999999999"])
SPACE = st.sampled_from(["", "", "", " ", "\n", "\r\n\t"])


def record(type_: str, fields: list[tuple[str, str]], space: str, place: int, tail: str) -> bytes:
    """A JSON message, more or less."""
    pairs = [f'{space}"{name}":{space}{value}' for name, value in fields]
    pairs.insert(place % (len(pairs) + 1), f'"type":{type_}')
    return f"{space}{{{','.join(pairs)}}}{tail}\x1e".encode()


RECORDS = st.builds(
    record,
    TYPES,
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    SPACE,
    st.integers(0, 5),
    st.sampled_from(["", "", "", " ", "}", "{}", "x", '{"type":6}', "\n", "\n{"]),
)

PACKED = st.recursive(
    st.one_of(
        st.sampled_from(
            [b"\xc0", b"\xc2", b"\xc3", b"\x00", b"\x01", b"\x03", b"\xff", b"\xcb\x3f\xf8" + bytes(6)]
        ),
        st.sampled_from(
            [b"\xa0", b"\xa11", b"\xa1\xff", b"\xc4\x01\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7)]
        ),
        st.sampled_from(
            [b"\xd6\xff\x00\x00\x00\x01", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xd9"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: bytes((0x90 + len(items),)) + b"".join(items)),
        st.lists(st.tuples(inner, inner), max_size=2).map(
            lambda items: bytes((0x80 + len(items),)) + b"".join(key + value for key, value in items)
        ),
    ),
    max_leaves=4,
)


def body(type_: bytes, headers: bytes, id_: bytes, elements: list[bytes], count: int) -> bytes:
    """A MessagePack message, more or less."""
    parts = [type_, headers, id_, *elements]
    data = bytes((0x90 + (len(parts) + count) % 16,)) + b"".join(parts)
    return length_prefix(len(data)) + data


BODIES = st.builds(
    body,
    st.one_of(st.integers(0, 10).map(lambda number: bytes((number,))), PACKED),
    st.one_of(st.just(b"\x80"), PACKED),
    st.one_of(st.just(b"\xa11"), PACKED),
    st.lists(PACKED, max_size=4),
    st.sampled_from([0, 0, 0, 0, 1, -1]),
)


def streams(protocol: HubProtocol) -> SearchStrategy[bytes]:
    """What may come over a connection: good messages, those that are nearly so, and anything."""
    good = st.sampled_from(list(map(protocol.encode, every_message(protocol))))
    wild = RECORDS if protocol is JSON else BODIES
    bad = mutations(
        good, st.one_of(st.binary(max_size=3), st.sampled_from([b"\x1e", b"{", b"}", b"\n", b'"']))
    )
    return st.lists(st.one_of(good, good, wild, bad), max_size=6).map(b"".join)


def read(protocol: HubProtocol, pieces: Iterable[bytes], maximum: int | None) -> tuple[list[object], str]:
    """The messages that come of some bytes, and what is wrong after them."""
    parser = protocol.parser(maximum)
    received: list[object] = []
    try:
        for piece in pieces:
            for batch in parser.feed(piece):
                received += map(plain, batch)
    except ProtocolError as error:
        return received, str(error)
    return received, "waiting" if parser.pending else ""


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])
@given(data=st.data(), places=PLACES, maximum=LIMITS)
@examples(2)
def test_the_same_comes_of_the_same_bytes(
    protocol: HubProtocol, data: st.DataObject, places: list[int], maximum: int | None
) -> None:
    stream = data.draw(streams(protocol))
    whole = read(protocol, [stream] if stream else [], maximum)
    assert read(protocol, cut(stream, places), maximum) == whole
    assert read(protocol, singly(stream), maximum) == whole


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])
@given(data=st.data(), places=PLACES)
def test_what_follows_changes_nothing_before_it(
    protocol: HubProtocol, data: st.DataObject, places: list[int]
) -> None:
    stream, more = data.draw(streams(protocol)), data.draw(streams(protocol))
    received, end = read(protocol, [stream], None)
    behind, _ = read(protocol, cut(stream + more, places), None)
    assert behind[: len(received)] == received
    if end not in ("", "waiting"):
        assert read(protocol, cut(stream + more, places), None) == (received, end)


@pytest.mark.parametrize("take", [take_request, take_response])
@given(
    data=st.one_of(
        st.builds(encode_request, st.builds(HandshakeRequest, st.text(max_size=9), st.integers(-1, 3))),
        st.builds(encode_response, st.builds(HandshakeResponse, st.text(max_size=9))),
        RECORDS,
        mutations(st.just(encode_request(HandshakeRequest("json", 1))), st.binary(max_size=3)),
    ),
    more=st.binary(max_size=20),
    maximum=LIMITS,
)
def test_a_handshake_is_the_same_in_any_pieces(
    take: Callable[[bytes, int | None], tuple[object, bytes] | None],
    data: bytes,
    more: bytes,
    maximum: int | None,
) -> None:
    def outcome(stream: bytes) -> object:
        try:
            return take(stream, maximum)
        except (ProtocolError, HandshakeError) as error:
            return error.args

    early = [outcome(data[:size]) for size in range(len(data) + 1)]
    first = next((size for size, one in enumerate(early) if one is not None), None)
    if first is not None:
        match early[first]:
            case (message, b""):
                assert outcome(data + more) == (message, data[first:] + more)
            case error:
                assert outcome(data + more) == error
