"""What the official clients say of a connection: texts that their users know, in one place."""

from __future__ import annotations

from ..protocol.messages import Close

NO_HANDSHAKE = "The server disconnected before sending a handshake response."


def handshake_refused(error: str) -> str:
    """The server answered the handshake with an error."""
    return f"Unable to complete handshake with the server due to an error: {error}"


def silence(seconds: float) -> str:
    """The server has sent nothing for so long."""
    return f"Server timeout ({seconds * 1000:.2f}ms) elapsed without receiving a message from the server."


def closed(message: Close) -> str:
    """The server has said goodbye."""
    if message.error:
        return f"The server closed the connection with the following error: {message.error}"
    return "The server closed the connection."
