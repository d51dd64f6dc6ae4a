"""What servers tell each other, byte by byte as ASP.NET Core's do."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hubs.errors import BindingError, ProtocolError
from trio_hubs.fleet.messages import (
    FleetCompletion,
    FleetInvocation,
    GroupAck,
    GroupAction,
    GroupCommand,
    decode,
    encode,
)

JSON_FOO = b'{"type":1,"target":"Foo","arguments":[1]}\x1e'
MESSAGEPACK_FOO = bytes.fromhex("0b960180c0a3466f6f910190")
ASKED = b'{"type":1,"invocationId":"AAECAwQFBgcICQoLDA0ODw","target":"Ask","arguments":[]}\x1e'
ANSWERED = b'{"type":3,"invocationId":"AAECAwQFBgcICQoLDA0ODw","result":7}\x1e'
ID = "AAECAwQFBgcICQoLDA0ODw"
RETURN = "H:internal:return:S"

VECTORS: list[tuple[Any, str]] = [
    (GroupAck(0), "9100"),
    (GroupAck(42), "912a"),
    (GroupAck(180), "91ccb4"),
    (GroupAck(384), "91cd0180"),
    (GroupAck(70000), "91ce00011170"),
    (GroupCommand(42, "S", GroupAction.ADD, "G", "C"), "952aa15301a147a143"),
    (GroupCommand(42, "S", GroupAction.REMOVE, "G", "C"), "952aa15302a147a143"),
    (FleetCompletion("json", ANSWERED), "92a46a736f6ec43e" + ANSWERED.hex()),
]

# Ours have items behind those that .NET's servers send, and read.
INVOCATIONS: list[tuple[FleetInvocation, str]] = [
    (FleetInvocation((), {"p1": b"*", "p2": b"*"}), "9082a27031c4012aa27032c4012a"),
    (FleetInvocation(("a",), {"p1": b"*", "p2": b"*"}), "91a16182a27031c4012aa27032c4012a"),
    (
        FleetInvocation(("c1",), {"json": JSON_FOO, "messagepack": MESSAGEPACK_FOO}),
        f"91a2633182a46a736f6ec42a{JSON_FOO.hex()}ab6d6573736167657061636bc40c{MESSAGEPACK_FOO.hex()}",
    ),
    (
        FleetInvocation((), {"json": ASKED}, ID, RETURN),
        f"9081a46a736f6ec451{ASKED.hex()}b6{ID.encode().hex()}b3{RETURN.encode().hex()}",
    ),
]


@pytest.mark.parametrize(("message", "data"), VECTORS)
def test_bytes(message: Any, data: str) -> None:
    assert encode(message).hex() == data
    assert decode(type(message), bytes.fromhex(data)) == message


@pytest.mark.parametrize(("message", "items"), INVOCATIONS)
def test_invocations_of_others(message: FleetInvocation, items: str) -> None:
    count = 4 if message.invocation_id else 2
    assert decode(FleetInvocation, bytes([0x90 + count]) + bytes.fromhex(items)) == message
    assert encode(message)[1:].startswith(bytes.fromhex(items))


@pytest.mark.parametrize("message", [message for message, _ in [*VECTORS, *INVOCATIONS]])
def test_items_behind_those_that_are_known_are_ignored(message: Any) -> None:
    items = msgspec.msgpack.decode(encode(message))
    assert decode(type(message), msgspec.msgpack.encode([*items, 1, "two", [3]])) == message


@pytest.mark.parametrize("kind", [FleetInvocation, GroupCommand, GroupAck, FleetCompletion])
@given(data=st.one_of(st.binary(max_size=40), st.from_type(type(None)).map(lambda _: b"\x91" * 5000)))
def test_anything_else_is_a_protocol_error(kind: Any, data: bytes) -> None:
    try:
        decode(kind, data)
    except ProtocolError:
        return
    assert data[0] >> 4 == 9 or data[0] in (0xDC, 0xDD)


def test_too_few_items() -> None:
    with pytest.raises(ProtocolError, match="GroupCommand"):
        decode(GroupCommand, bytes.fromhex("942aa15301a147"))


def test_a_key_that_cannot_be_told() -> None:
    with pytest.raises(BindingError, match="Conflate"):
        encode(FleetInvocation((), {}, policy=("conflate", object())))
