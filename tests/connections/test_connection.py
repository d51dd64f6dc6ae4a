"""What every connection has, and what it must bring itself."""

from math import inf

import pytest

from trio_hubs.connections.connection import Connection
from trio_hubs.connections.http import Request
from trio_hubs.protocol.hub_protocol import TransferFormat


class Deaf(Connection):
    async def send(self, data: bytes) -> None:
        pass


class Duplex(Deaf):
    async def receive(self) -> bytes:
        return b""


def test_a_connection_has_both_directions() -> None:
    with pytest.raises(TypeError, match="receive"):
        Deaf("id", Request())  # type: ignore[abstract]


def test_a_connection_begins_with_text_and_pings() -> None:
    request = Request(path="/chat")
    connection = Duplex("id", request)
    assert connection.id == "id"
    assert connection.request is request
    assert connection.transfer_format is TransferFormat.TEXT
    assert connection.transfer_formats == {TransferFormat.TEXT, TransferFormat.BINARY}
    assert not connection.inherent_keep_alive
    assert not connection.resumable
    assert not connection.away
    assert connection.user is None


def test_a_connection_that_cannot_send_without_waiting_takes_nothing_then() -> None:
    connection = Duplex("id", Request())
    assert not connection.send_nowait(b"data")
    assert not connection.unsent
    assert connection.last_progress == -inf


def test_most_connections_end_when_they_are_torn() -> None:
    connection = Duplex("id", Request())
    connection.enable_resume()
    assert not connection.can_resume
    assert not connection.resumable


def test_what_nobody_waits_for_may_be_called() -> None:
    connection = Duplex("id", Request())
    connection.on_end_asked()
    connection.on_resumed()
