"""Frames come out whole however the bytes were cut, and never above the limit."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hubs.errors import ProtocolError
from trio_hubs.protocol.framing import LengthFraming, RecordFraming, length_prefix

OVERSIZE = "The maximum message size of {}B was exceeded. It can be set by maximum_message_size."


def records(framing: RecordFraming, pieces: Iterable[bytes]) -> bytes:
    whole = b""
    for piece in pieces:
        taken, failure = framing.take(piece)
        whole += taken
        assert failure is None
    return whole


def bodies(framing: LengthFraming, pieces: Iterable[bytes]) -> list[bytes]:
    whole: list[bytes] = []
    for piece in pieces:
        taken, failure = framing.take(piece)
        whole += taken
        assert failure is None
    return whole


def framed(body: bytes) -> bytes:
    return length_prefix(len(body)) + body


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 1000)), st.sampled_from([None, 41, 4096]))
def test_records_in_any_pieces(parts: list[bytes], places: list[int], maximum: int | None) -> None:
    data = b"".join(part.replace(b"\x1e", b"x") + b"\x1e" for part in parts)
    framing = RecordFraming(maximum)
    assert records(framing, cut(data, places)) == data
    assert not framing.pending


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(0, 5000)), st.sampled_from([None, 302, 4096]))
def test_bodies_in_any_pieces(parts: list[bytes], places: list[int], maximum: int | None) -> None:
    data = b"".join(map(framed, parts))
    framing = LengthFraming(maximum)
    assert bodies(framing, cut(data, places)) == parts
    assert not framing.pending


def test_records_byte_by_byte_and_with_a_beginning_after_them() -> None:
    framing = RecordFraming(8)
    assert records(framing, [bytes((byte,)) for byte in b"one\x1etwo\x1eth"]) == b"one\x1etwo\x1e"
    assert framing.pending
    assert records(framing, [b"ree\x1e"]) == b"three\x1e"


def test_bodies_byte_by_byte_and_with_a_beginning_after_them() -> None:
    data = framed(b"one") + framed(b"2" * 200) + b"\xc8"
    framing = LengthFraming(202)
    assert bodies(framing, [bytes((byte,)) for byte in data]) == [b"one", b"2" * 200]
    assert framing.pending
    assert bodies(framing, [b"\x01" + b"3" * 200]) == [b"3" * 200]


@pytest.mark.parametrize("size", [9, 10])
def test_a_record_within_the_limit(size: int) -> None:
    record = b"x" * (size - 1) + b"\x1e"
    assert records(RecordFraming(10), [record]) == record
    assert records(RecordFraming(10), [record * 7]) == record * 7
    assert records(RecordFraming(10), [record[:4], record[4:]]) == record


@pytest.mark.parametrize(
    "pieces", [[b"x" * 10 + b"\x1e"], [b"x" * 10, b"\x1e"], [b"x" * 11], [b"xx", b"x" * 9]]
)
def test_a_record_above_the_limit(pieces: list[bytes]) -> None:
    framing = RecordFraming(10)
    assert records(framing, pieces[:-1]) == b""
    whole, failure = framing.take(pieces[-1])
    assert whole == b""
    assert isinstance(failure, ProtocolError)
    assert str(failure) == OVERSIZE.format(10)


def test_records_before_one_above_the_limit_come_out() -> None:
    whole, failure = RecordFraming(4).take(b"abc\x1eab\x1ea\x1eabcd\x1eab\x1e")
    assert whole == b"abc\x1eab\x1ea\x1e"
    assert failure is not None
    whole, failure = RecordFraming(4).take(b"abc\x1eabcde")
    assert whole == b"abc\x1e"
    assert failure is not None


@pytest.mark.parametrize("size", [9, 10])
def test_a_body_within_the_limit(size: int) -> None:
    frame = framed(b"x" * (size - 1))
    assert bodies(LengthFraming(10), [frame * 3]) == [b"x" * (size - 1)] * 3
    assert bodies(LengthFraming(10), [frame[:4], frame[4:]]) == [b"x" * (size - 1)]


def test_a_body_above_the_limit_is_refused_by_its_length_alone() -> None:
    whole, failure = LengthFraming(10).take(framed(b"ab") + b"\x0a")
    assert whole == [b"ab"]
    assert failure is not None
    assert str(failure) == OVERSIZE.format(10)


@pytest.mark.parametrize(
    ("length", "prefix"),
    [
        (0, "00"),
        (1, "01"),
        (0x7F, "7f"),
        (0x80, "8001"),
        (0x3FFF, "ff7f"),
        (0x4000, "808001"),
        (0x7FFFFFFF, "ffffffff07"),
    ],
)
def test_lengths_at_their_boundaries(length: int, prefix: str) -> None:
    assert length_prefix(length) == bytes.fromhex(prefix)
    framing = LengthFraming(None)
    assert framing.take(bytes.fromhex(prefix) + b"x" * min(length, 2)) == (
        [b"x" * length] if length < 3 else [],
        None,
    )


@pytest.mark.parametrize("prefix", ["8080808008", "ffffffff7f", "ffffffffff", "8080808080"])
def test_a_length_above_2_gb(prefix: str) -> None:
    for maximum in (None, 100):
        whole, failure = LengthFraming(maximum).take(b"\x01x" + bytes.fromhex(prefix))
        assert whole == [b"x"]
        assert str(failure) == "Messages over 2GB in size are not supported."
