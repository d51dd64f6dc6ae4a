"""What a transport may leave out, and what is said then."""

from math import inf

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.protocol.hub_protocol import TransferFormat


class Plain(Duplex):
    async def receive(self) -> bytes:
        return b""

    async def send(self, data: bytes) -> None:
        pass


def test_a_connection_begins_with_text_and_pings() -> None:
    connection = Plain("id", Request())
    assert connection.transfer_format is TransferFormat.TEXT
    assert connection.transfer_formats == {TransferFormat.TEXT, TransferFormat.BINARY}
    assert not connection.inherent_keep_alive
    assert not connection.resumable
    assert not connection.away


def test_a_connection_that_cannot_send_without_waiting_takes_nothing_then() -> None:
    connection = Plain("id", Request())
    assert not connection.send_nowait(b"data")
    assert not connection.unsent
    assert connection.last_progress == -inf


def test_most_connections_end_when_they_are_torn() -> None:
    connection = Plain("id", Request())
    connection.enable_resume()
    assert not connection.can_resume
    assert not connection.resumable


def test_a_callback_that_nobody_set_may_be_called() -> None:
    connection = Plain("id", Request())
    connection.on_resumed()
    connection.on_user_refreshed()


def test_only_its_handler_says_how_it_is_asked_to_end() -> None:
    assert Plain("id", Request()).on_end_asked is None
