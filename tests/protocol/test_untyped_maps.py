"""MessagePack's maps in untyped payloads: those whose keys collide are refused before they are built."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice, product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError, ProtocolError
from trio_hubs.protocol.faults import Unfit
from trio_hubs.protocol.framing import length_prefix
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.payloads import Payloads
from trio_hubs.protocol.untyped_maps import refuse_colliding_maps

from .samples import parse
from .shapes import Point

encode = msgspec.msgpack.encode
PAYLOADS = Payloads("messagepack")
SAME_HASH = list(islice(product((-1, -2), repeat=13), 6000))  # Python's -1 and -2 share a hash
COLLIDING: dict[Any, Any] = dict.fromkeys(SAME_HASH[:300], 1)


def loads_of(type_: Any) -> list[Callable[[bytes], Any]]:
    one, many = PAYLOADS.loader(type_), PAYLOADS.many_loader(type_)
    arguments = PAYLOADS.arguments_loader([type_])
    return [
        lambda data: one(Raw(data)),
        lambda data: many([Raw(data)])[0],
        lambda data: arguments(Raw(b"\x91" + data))[0],
    ]


def test_keys_of_one_hash_are_of_one_hash() -> None:
    assert len(set(map(hash, SAME_HASH))) == 1


@pytest.mark.parametrize(
    "value",
    [
        COLLIDING,
        {"a": 1, **COLLIDING},
        [1, {"x": [COLLIDING]}],
        {(1, 2): COLLIDING},
        dict.fromkeys(((1, key) for key in SAME_HASH[:300]), b"x"),
        dict.fromkeys(((b"x", key) for key in SAME_HASH[:300]), "x"),
        {**dict.fromkeys(range(70_000)), **COLLIDING},
        [datetime(2020, 1, 1, tzinfo=UTC), COLLIDING],
    ],
    ids=lambda value: f"{str(value)[:20]} {len(value)}",
)
def test_untyped_maps_whose_keys_collide_are_refused(value: Any) -> None:
    data = encode(value)
    for load in loads_of(Any):
        with pytest.raises(BindingError) as caught:
            load(data)
        assert "Too many keys of one hash" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "type_", [dict, object, dict[str, Any] | None, list[Any], tuple[Any, ...], Point], ids=str
)
def test_nor_are_they_built_on_the_way_to_another_type(type_: Any) -> None:
    colliding = encode(COLLIDING)
    for data in (colliding, b"\x91" + colliding, b"\x81\xa1x" + colliding):
        with pytest.raises(BindingError):
            PAYLOADS.loader(type_)(data)


@pytest.mark.parametrize(
    "value",
    [
        dict.fromkeys(SAME_HASH[:100], 1),
        {(at, str(at)): [at] for at in range(2000)},
        {at: {"b": b"x"} for at in range(2000)},
        {f"key {at}": datetime(2020, 1, 1, tzinfo=UTC) for at in range(2000)},
        [{"id": at, "x": at / 7, "tags": ["a", ["b"]], "data": bytes([at % 256]) * 9} for at in range(500)],
        {b"key %d" % at: None for at in range(300)},
        list(range(70_000)),
        dict.fromkeys(map(str, range(70_000)), 0xDE),
    ],
    ids=lambda value: f"{str(value)[:20]} {len(value)}",
)
def test_honest_ones_are_read(value: Any) -> None:
    for load in loads_of(Any):
        assert load(encode(value)) == value


def test_headers_with_such_keys_are_refused_without_being_made() -> None:
    body = encode([1, COLLIDING, None, "Target", []])
    parser = MessagePackHubProtocol().parser(None)
    with pytest.raises(ProtocolError, match="Reading map length for 'headers'"):
        parse(parser, length_prefix(len(body)) + body)


def nested(depth: int, inner: Any) -> bytes:
    return b"\x91" * depth + encode(inner)


def test_what_lies_too_deep_to_be_looked_at_is_refused() -> None:
    filler = [b"\xde\x01\x00" * 1000]
    PAYLOADS.loader(Any)(nested(30, filler))
    with pytest.raises(BindingError) as caught:
        PAYLOADS.loader(Any)(nested(40, filler))
    assert caught.value.__notes__ == ["Nested too deep @ $"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xdf\xff\xff\xff\xff" + bytes(2000),
        b"\xde\xff\xff" + bytes(2000),
        b"\xdf\x00",
        b"\xdd\x00\x00\xff\xff\xde\xff\xff" * 300,
    ],
)
def test_what_is_cut_is_the_decoders_to_refuse(data: bytes) -> None:
    refuse_colliding_maps(data)
    with pytest.raises(BindingError):
        PAYLOADS.loader(Any)(data)


KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.tuples(st.integers(-3, 3), st.text(max_size=1)),
)
VALUES = st.recursive(
    st.one_of(KEYS, st.floats(allow_nan=False), st.datetimes(timezones=st.just(UTC))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(value=VALUES, around=VALUES, times=st.integers(0, 60), collides=st.booleans())
def test_wherever_they_are_they_are_found(value: Any, around: Any, times: int, collides: bool) -> None:
    size = 300 if collides else 50
    inner = {**(value if isinstance(value, dict) else {}), **dict.fromkeys(SAME_HASH[:size], value)}
    data = encode([around, value] * times + [{"x": inner}, around])
    if collides:
        with pytest.raises(Unfit, match="Too many keys of one hash"):
            refuse_colliding_maps(data)
        with pytest.raises(BindingError):
            PAYLOADS.loader(Any)(data)
    else:
        refuse_colliding_maps(data)
        assert PAYLOADS.loader(Any)(data) == msgspec.msgpack.decode(data)
