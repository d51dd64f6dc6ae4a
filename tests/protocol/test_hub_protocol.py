"""What both protocols promise: the same messages out as in, however the bytes were cut."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError, ProtocolError
from trio_hubs.protocol.hub_protocol import HubProtocol
from trio_hubs.protocol.messages import Completion, Message, Ping, StreamItem

from .samples import PROTOCOLS, every_message, parse, plain

BOTH = pytest.mark.parametrize("make", PROTOCOLS)


def same(first: list[Message], second: list[Message]) -> bool:
    return list(map(plain, first)) == list(map(plain, second))


@BOTH
def test_every_message_alone(make: type[HubProtocol]) -> None:
    protocol = make()
    for message in every_message(protocol):
        assert same(parse(protocol.parser(None), protocol.encode(message)), [message])


@BOTH
@pytest.mark.parametrize("id", ["1", 'quoted "é" \x1e'])
@pytest.mark.parametrize("value", [None, 1, "text \x1e", [1, {"a": 2}]])
def test_a_result_that_is_encoded_already(make: type[HubProtocol], id: str, value: object) -> None:
    protocol = make()
    result = protocol.payloads.dumper(object)(value)
    assert protocol.encode_result(id, result) == protocol.encode(Completion(id, result=Raw(result)))


@BOTH
@pytest.mark.parametrize("maximum", [None, 100])
def test_all_messages_whole_and_byte_by_byte(make: type[HubProtocol], maximum: int | None) -> None:
    protocol = make()
    sent = every_message(protocol)
    data = b"".join(map(protocol.encode, sent))
    assert same(parse(protocol.parser(maximum), data), sent)
    parser = protocol.parser(maximum)
    received: list[Message] = []
    for byte in data:
        received += parse(parser, bytes((byte,)))
    assert same(received, sent)
    assert not parser.pending


@BOTH
@given(data=st.data())
def test_all_messages_in_any_pieces(make: type[HubProtocol], data: st.DataObject) -> None:
    protocol = make()
    sent = data.draw(st.lists(st.sampled_from(every_message(protocol))))
    stream = b"".join(map(protocol.encode, sent))
    edges = sorted(data.draw(st.sets(st.integers(0, len(stream)))) | {0, len(stream)})
    parser = protocol.parser(None)
    received: list[Message] = []
    for start, end in pairwise(edges):
        received += parse(parser, stream[start:end])
    assert same(received, sent)


@BOTH
def test_a_beginning_is_pending(make: type[HubProtocol]) -> None:
    protocol = make()
    parser = protocol.parser(None)
    ping = protocol.encode(Ping())
    assert not parser.pending
    assert parse(parser, ping + ping[:1]) == [Ping()]
    assert parser.pending
    assert parse(parser, ping[1:]) == [Ping()]
    assert not parser.pending


@BOTH
def test_good_messages_come_before_the_error_and_the_parser_is_dead_after_it(make: type[HubProtocol]) -> None:
    protocol = make()
    good = protocol.encode(Ping())
    bad = b"{]\x1e" if protocol.name == "json" else b"\x01\xc1"
    parser = protocol.parser(None)
    received: list[Message] = []
    with pytest.raises(ProtocolError) as first:
        for batch in parser.feed(good + good + bad + good):
            received += batch
    assert received == [Ping(), Ping()]
    with pytest.raises(ProtocolError, match=r".+") as second:
        parse(parser, good)
    assert str(second.value) == str(first.value)


@BOTH
@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_the_size_limit(make: type[HubProtocol], excess: int) -> None:
    protocol = make()
    message = protocol.encode(StreamItem("1", Raw(protocol.payloads.dumper(str)("x" * 200))))
    parser = protocol.parser(len(message) - excess)
    if excess > 0:
        received: list[Message] = []
        with pytest.raises(ProtocolError, match="The maximum message size"):
            for batch in parser.feed(protocol.encode(Ping()) + message):
                received += batch
        assert received == [Ping()]
    else:
        assert len(parse(parser, message * 3)) == 3


@BOTH
@pytest.mark.parametrize("item_type", [int, Any])
@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_many_items_are_as_many_single_ones(make: type[HubProtocol], item_type: object, count: int) -> None:
    protocol = make()
    encoder = protocol.item_encoder('i"\n', item_type)
    items = list(range(count))
    data = encoder.many(items)
    assert data == b"".join(map(encoder.one, items))
    received = parse(protocol.parser(None), data)
    raws = [message.item for message in received if isinstance(message, StreamItem)]
    assert protocol.payloads.many_loader(item_type)(raws) == items
    assert {message.invocation_id for message in received if isinstance(message, StreamItem)} <= {'i"\n'}


@BOTH
@pytest.mark.parametrize("length", [0, 1, 100, 118, 119, 120, 127, 128, 16383, 16384, 70000])
def test_items_of_any_length(make: type[HubProtocol], length: int) -> None:
    protocol = make()
    encoder = protocol.item_encoder("1", str)
    (message,) = parse(protocol.parser(None), encoder.one("é" * length))
    assert isinstance(message, StreamItem)
    assert protocol.payloads.loader(str)(message.item) == "é" * length


@BOTH
def test_an_id_longer_than_most(make: type[HubProtocol]) -> None:
    protocol = make()
    (message,) = parse(protocol.parser(None), protocol.item_encoder("i" * 300, int).many([7]))
    assert plain(message) == plain(StreamItem("i" * 300, Raw(protocol.payloads.dumper(int)(7))))


@BOTH
def test_an_item_that_cannot_be_written(make: type[HubProtocol]) -> None:
    encoder = make().item_encoder("1", Any)
    for write in (encoder.one, lambda item: encoder.many([1, item, 2])):
        with pytest.raises(BindingError, match="A value of type 'generator' cannot be written"):
            write(number for number in range(3))
