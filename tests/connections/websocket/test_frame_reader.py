"""Frames in order are taken apart in any pieces; what is not in order is left as it is, with all that follows."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connections.websocket.websocket_peer import (
    BAD_FRAMES,
    BINARY,
    CLOSE,
    CONTINUE,
    LAST,
    PARTIAL_BINARY,
    PARTIAL_TEXT,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
    take_frame,
)
from trio_hubs.connections.websocket.frame_reader import FrameReader

masks = pytest.mark.parametrize("masked", [True, False], ids=["masked", "bare"])


def singly(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def feed(reader: FrameReader, pieces: Iterable[bytes]) -> bytes:
    return b"".join(reader.feed(piece) for piece in pieces)


def pongs_of(reader: FrameReader, *, masked: bool) -> list[bytes]:
    rest, payloads = reader.pongs, []
    while rest:
        taken = take_frame(rest, masked=not masked)
        assert taken is not None
        (first, payload), rest = taken
        assert first == PONG
        payloads.append(payload)
    return payloads


# ---- data


@masks
@pytest.mark.parametrize("first", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 125, 126, 127, 65_535, 65_536, 70_001])
def test_a_frame_of_any_size_whole_or_byte_by_byte(masked: bool, first: int, size: int) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(size))
    data = frame(first, payload, masked=masked) + frame(TEXT, b"behind", masked=masked)
    for pieces in ([data], singly(data)):
        reader = FrameReader(masked=masked)
        assert feed(reader, pieces) == payload + b"behind"
        assert not reader.ended
        assert reader.rest == b""


@masks
def test_all_frames_of_one_read_come_in_one_piece(masked: bool) -> None:
    reader = FrameReader(masked=masked)
    whole = b"".join(frame(TEXT, part, masked=masked) for part in (b"a", b"bc", b"", b"d"))
    assert reader.feed(whole + frame(BINARY, b"efgh", masked=masked)[:-2]) == b"abcdef"
    assert reader.feed(b"") == b""


@masks
def test_a_large_frame_comes_in_parts_of_which_none_is_kept(masked: bool) -> None:
    reader = FrameReader(masked=masked)
    data = frame(BINARY, bytes(100_000), masked=masked)
    sizes = [len(reader.feed(data[at : at + 10_000])) for at in range(0, len(data), 10_000)]
    assert sum(sizes) == 100_000
    assert min(sizes[:-1]) > 9_980
    assert reader.rest == b""


def test_each_frame_has_its_own_mask() -> None:
    reader = FrameReader(masked=True)
    data = b"".join(
        frame(TEXT, b"12345", masked=True, key=key) for key in (b"abcd", b"\0\0\0\0", b"\xff\1\2\3")
    )
    assert feed(reader, singly(data)) == b"123451234512345"


@masks
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    places=st.lists(st.integers(0, 2_000), max_size=8),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_mask_turns_however_the_frames_are_cut(masked: bool, sizes: list[int], places: list[int]) -> None:
    payloads = [bytes(i & 0xFF for i in range(size)) for size in sizes]
    data = b"".join(frame(BINARY, payload, masked=masked) for payload in payloads)
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    reader = FrameReader(masked=masked)
    assert feed(reader, (data[start:end] for start, end in pairwise(edges))) == b"".join(payloads)


@masks
def test_fragments_are_as_good_as_whole_messages(masked: bool) -> None:
    reader = FrameReader(masked=masked)
    data = b"".join(
        (
            frame(PARTIAL_TEXT, b"one ", masked=masked),
            frame(PING, b"?", masked=masked),
            frame(CONTINUE, b"message ", masked=masked),
            frame(LAST, b"and ", masked=masked),
            frame(PARTIAL_BINARY, b"", masked=masked),
            frame(LAST, b"another", masked=masked),
        )
    )
    assert feed(reader, singly(data)) == b"one message and another"
    assert not reader.fragmented
    assert pongs_of(reader, masked=masked) == [b"?"]
    assert not reader.ended


@masks
def test_it_knows_of_a_message_under_way(masked: bool) -> None:
    reader = FrameReader(masked=masked)
    rest = frame(TEXT, b"xx", masked=masked)
    assert reader.feed(frame(PARTIAL_TEXT, b"half", masked=masked) + rest) == b"half"
    assert reader.odd
    assert reader.fragmented
    assert reader.rest == rest


# ---- control frames


@masks
def test_pings_are_answered_in_order_and_pongs_dropped(masked: bool) -> None:
    reader = FrameReader(masked=masked)
    data = b"".join(
        frame(first, b"x" * size, masked=masked) + frame(TEXT, b"data", masked=masked)
        for first in (PING, PONG)
        for size in (0, 1, 125)
    )
    assert feed(reader, singly(data)) == b"data" * 6
    assert pongs_of(reader, masked=masked) == [b"", b"x", b"x" * 125]
    assert not reader.ended


@masks
@pytest.mark.parametrize(
    ("payload", "closed"),
    [
        (b"", (1005, "")),
        *((close_payload(code), (code, "")) for code in (1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999)),
        (close_payload(1001, "gone für immer"), (1001, "gone für immer")),
        (close_payload(1000, "x" * 123), (1000, "x" * 123)),
    ],
)
def test_a_close_frame_in_order_ends_the_reading(
    masked: bool, payload: bytes, closed: tuple[int, str]
) -> None:
    data = frame(TEXT, b"last", masked=masked) + frame(CLOSE, payload, masked=masked)
    for pieces in ([data + frame(PING, b"too late", masked=masked)], singly(data)):
        reader = FrameReader(masked=masked)
        assert feed(reader, pieces) == b"last"
        assert reader.closed == closed
        assert reader.ended
        assert not reader.odd
        assert reader.pongs == b""


def closing_with(payload: bytes) -> Callable[[bool], bytes]:
    return lambda masked: frame(CLOSE, payload, masked=masked)


ODD_FRAMES: dict[str, Callable[[bool], bytes]] = {
    **{kind: make for kind, make in BAD_FRAMES.items() if kind != "a message inside another"},
    **{
        f"a close with code {code}": closing_with(close_payload(code))
        for code in (0, 1004, 1005, 1006, 1012, 1015, 2999, 5000, 65535)
    },
    "a close whose reason is no UTF-8": closing_with(close_payload(1000) + b"\xff"),
}


@masks
@pytest.mark.parametrize("kind", ODD_FRAMES)
def test_what_is_not_in_order_is_left_as_it_is_with_all_that_follows(masked: bool, kind: str) -> None:
    reader = FrameReader(masked=masked)
    rest = ODD_FRAMES[kind](masked) + frame(TEXT, b"behind", masked=masked)
    assert reader.feed(frame(TEXT, b"before", masked=masked) + rest) == b"before"
    assert reader.odd
    assert reader.ended
    assert reader.closed is None
    assert reader.rest == rest


@masks
@pytest.mark.parametrize("kind", ODD_FRAMES)
def test_what_is_not_in_order_is_left_when_it_comes_byte_by_byte(masked: bool, kind: str) -> None:
    reader = FrameReader(masked=masked)
    came = b""
    for byte in singly(ODD_FRAMES[kind](masked)):
        assert not reader.odd
        came += byte
        assert reader.feed(byte) == b""
        if reader.odd:
            break
    assert reader.odd
    assert reader.rest == came
