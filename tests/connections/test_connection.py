"""What every connection has, and what it must bring itself."""

import pytest

from trio_hubs.connections.connection import Connection
from trio_hubs.connections.http import Request
from trio_hubs.protocol.hub_protocol import TransferFormat


class Deaf(Connection):
    async def send(self, data: bytes) -> None:
        pass


class Silent(Deaf):
    async def receive(self) -> bytes:
        return b""


def test_a_connection_has_both_directions() -> None:
    with pytest.raises(TypeError, match="receive"):
        Deaf("id", Request())  # type: ignore[abstract]


def test_a_connection_has_an_id_a_request_and_a_user_and_begins_with_text() -> None:
    request = Request(path="/chat")
    connection = Silent("id", request)
    assert vars(connection) == {
        "id": "id",
        "request": request,
        "user": None,
        "transport": None,
        "transfer_format": TransferFormat.TEXT,
    }
    assert connection.request is request


def test_a_raw_handler_is_given_little_more_than_two_directions() -> None:
    assert {name for name in vars(Connection) if not name.startswith("_")} == {"receive", "send"}
