"""What the official clients say of a connection: texts that their users know, in one place."""

from __future__ import annotations

from ..calls.refusals import (
    ArgumentsUnfit,
    CallCancelled,
    CallFailed,
    DeadlinePassed,
    Refusal,
    StreamForResult,
    TooManyCalls,
    UnknownMethod,
    UploadCancelled,
    UploadFailed,
)
from ..errors import text_of
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


def two_results(name: str) -> str:
    """A second handler of a name gives a result."""
    return f"'{name}' already has a value returning handler. Multiple return values are not supported."


def refused(refusal: Refusal) -> str:
    """What the server is told of a refusal, and our user of what it made of a call."""
    match refusal:
        case UnknownMethod():
            return "Client didn't provide a result."
        case ArgumentsUnfit():
            return "Client failed to parse argument(s)."
        case CallFailed(_, error):
            return text_of(error)
        case CallCancelled():
            return "The invocation was canceled by the server."
        case DeadlinePassed(target):
            return f"The deadline of '{target}' has passed."
        case TooManyCalls(target):
            return f"Too many calls wait: '{target}' was not queued."
        case StreamForResult():
            return "The server answers with a stream: call this method with stream(), not invoke()."
        case UploadCancelled():
            return "Stream canceled by client."
        case UploadFailed(error):
            return f"Stream errored by client: '{text_of(error)}'"
        case _:  # all that is left is about streams
            return "Client methods do not stream."
