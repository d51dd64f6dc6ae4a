"""Calls that another server has encoded."""

import pytest

from trio_hubs import ProtocolError
from trio_hubs.fleet.call_from_elsewhere import CallFromElsewhere, invocation_in, message_in
from trio_hubs.fleet.messages import FleetInvocation
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.messages import Ping

from .test_messages import JSON_FOO, MESSAGEPACK_FOO

JSON, MESSAGEPACK = JsonHubProtocol(), MessagePackHubProtocol()
PROTOCOLS = {"json": JSON, "messagepack": MESSAGEPACK}


@pytest.mark.parametrize("blobs", [{"json": JSON_FOO}, {"messagepack": MESSAGEPACK_FOO, "blazorpack": b"?"}])
def test_its_bytes_are_passed_on_and_its_target_is_read_where_it_matters(blobs: dict[str, bytes]) -> None:
    call = CallFromElsewhere(FleetInvocation((), blobs), PROTOCOLS)
    assert call.target == "Foo"
    name = next(iter(blobs))
    assert call.encoded(PROTOCOLS[name]) == blobs[name]


def test_a_target_that_cannot_be_read() -> None:
    with pytest.raises(ProtocolError):
        _ = CallFromElsewhere(FleetInvocation((), {"json": b"?"}), PROTOCOLS).target


def test_one_message_and_nothing_else() -> None:
    assert invocation_in(JSON_FOO, JSON).target == "Foo"
    assert message_in(b'{"type":6}\x1e', JSON) == Ping()
    for blob in (b"", JSON_FOO[:-1], JSON_FOO + JSON_FOO, JSON_FOO + b"{"):
        with pytest.raises(ProtocolError):
            message_in(blob, JSON)
    with pytest.raises(ProtocolError, match="a Ping"):
        invocation_in(b'{"type":6}\x1e', JSON)
