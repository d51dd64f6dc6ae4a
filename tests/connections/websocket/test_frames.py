"""Frames are encoded as RFC 6455 has them, whatever their size, and masking is its own inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_hubs.connections.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, encode_frame, mask

SIZES = [0, 1, 2, 3, 4, 5, 125, 126, 127, 511, 512, 513, 515, 65535, 65536, 65539]
KEYS = st.binary(min_size=4, max_size=4)


def payload_of(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


@pytest.mark.parametrize("size", SIZES)
def test_masking_turns_each_byte_by_its_own_byte_of_the_key(size: int) -> None:
    payload, key = payload_of(size), b"\x00\xff\x12\x80"
    assert mask(payload, key) == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


@given(st.binary(max_size=2000), KEYS)
def test_masking_twice_changes_nothing(payload: bytes, key: bytes) -> None:
    assert mask(mask(payload, key), key) == payload


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_what_another_library_reads(size: int, masked: bool) -> None:
    payload = payload_of(size)
    wire = FrameProtocol(client=not masked, extensions=[])
    wire.receive_bytes(encode_frame(BINARY, payload, masked=masked))
    (read,) = wire.received_frames()
    assert (read.opcode, read.payload, read.message_finished) == (Opcode.BINARY, payload, True)


def test_a_frame_without_a_mask_is_exact() -> None:
    assert encode_frame(TEXT, b"hello", masked=False) == b"\x81\x05hello"
    assert encode_frame(CLOSE, b"\x03\xe8", masked=False) == b"\x88\x02\x03\xe8"
    assert encode_frame(PING, b"", masked=False) == b"\x89\x00"
    assert encode_frame(PONG, b"!", masked=False) == b"\x8a\x01!"


def test_each_masked_frame_has_a_key_of_its_own() -> None:
    keys = {encode_frame(TEXT, b"hello", masked=True)[2:6] for _ in range(8)}
    assert len(keys) > 1
