"""The official clients' texts, letter by letter."""

import pytest

from trio_hubs.client import texts
from trio_hubs.protocol.messages import Close


def test_a_silent_server() -> None:
    assert texts.silence(30) == (
        "Server timeout (30000.00ms) elapsed without receiving a message from the server."
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Close(), "The server closed the connection."),
        (Close(allow_reconnect=True), "The server closed the connection."),
        (Close(error="bad"), "The server closed the connection with the following error: bad"),
    ],
)
def test_a_server_that_says_goodbye(message: Close, text: str) -> None:
    assert texts.closed(message) == text


def test_a_handshake_without_success() -> None:
    assert texts.NO_HANDSHAKE == "The server disconnected before sending a handshake response."
    assert texts.handshake_refused("no") == (
        "Unable to complete handshake with the server due to an error: no"
    )
