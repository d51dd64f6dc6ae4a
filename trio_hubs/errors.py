"""The tree of the package's own exceptions.

Every failure between two peers is a :exc:`HubsError`, so one ``except HubsError`` catches all of them, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

Failure = TypeVar("Failure", bound="ConnectionFailed")


class HubsError(Exception):
    """The root of the tree; never raised itself."""


class ProtocolError(HubsError):
    """The peer sent something malformed or too large.

    Raised by the parsers, on either side; it ends the connection it happened on, and only that one.
    The text says what was wrong and where.
    """


class BadRequest(HubsError):
    """A plain HTTP request is not as it has to be.

    Raised by :meth:`.Request.json`, and by handlers of routes, to tell the client: it gets 400, with the text.
    """


class ConnectionFailed(HubsError):
    """A connection could not be opened, or is over; never raised itself.

    Attributes:
        status: The HTTP status of the answer that failed it, if it was one.
        retry_after: Seconds after which the server wants to be asked again, if it said so.
        close_code: The code of the WebSocket's close, if that ended it.
        server_text: What the server said of it, or "".
        retriable: Whether connecting again may help: not when the server refused this client, or sent it away.
        failures: The transports that were tried or left out, by name, each with the reason.
    """

    def __init__(
        self,
        *args: object,
        status: int | None = None,
        retry_after: float | None = None,
        close_code: int | None = None,
        server_text: str = "",
        retriable: bool = True,
        failures: Mapping[str, ConnectionFailed] = MappingProxyType({}),
    ) -> None:
        super().__init__(*args)
        self.status = status
        self.retry_after = retry_after
        self.close_code = close_code
        self.server_text = server_text
        self.retriable = retriable
        self.failures = failures

    def retold(self, kind: type[Failure], text: str) -> Failure:
        """The same failure of another kind, told in other words."""
        return kind(
            text,
            status=self.status,
            retry_after=self.retry_after,
            close_code=self.close_code,
            server_text=self.server_text,
            retriable=self.retriable,
            failures=self.failures,
        )


class HandshakeError(ConnectionFailed):
    """The hub handshake failed.

    Raised in a client when the server refuses the handshake or answers with something else.
    """


class NegotiationError(ConnectionFailed):
    """Negotiating a connection failed.

    Raised in a client when the server's answer to negotiate is an error, malformed, or offers no usable
    transport, or when none of them can be opened.
    """


class ConnectionClosed(ConnectionFailed):
    """The connection is over.

    Raised on either side in tasks that wait on the connection or try to use it; the text says why it ended.
    """


class BindingError(HubsError):
    """Values do not fit the types they are meant for.

    Raised on either side: for arguments, items and results that came from the peer and do not fit the
    annotated types, and for values of our own that cannot be written. Python's detail stands in the notes.
    """


class HubException(HubsError):
    """An error whose text crosses the wire.

    Raised by hub methods, to tell the client something; and raised in callers, with the text the peer sent.
    """


class BackplaneError(HubsError):
    """The other servers of a fleet cannot be reached, or did not answer in time.

    Raised in servers, by what concerns clients that are connected elsewhere.
    """


class ChannelClosed(HubsError):
    """A channel cannot be used any more at this end.

    Raised on either side: by writing to a channel that is complete or whose reader has left, and by reading from a
    reader that was closed.
    """


class StreamBroken(HubsError):
    """A stream or channel was cut off before its end: items are missing.

    Raised on the reading side: as one of its subclasses, or itself where a writer has left its block by cancellation.
    """


class UploadBroken(StreamBroken):
    """An upload was cut off, since its client has left.

    Raised in hub methods, from the upload's reader.
    """


class StreamOverflow(StreamBroken):
    """A stream was cut off, since its sender sent more than may lie unread.

    Raised on either side, from the stream's reader.
    """


def text_of(error: BaseException) -> str:
    """The text of an exception, as it can cross the wire: characters that cannot be encoded are replaced."""
    try:
        return str(error).encode(errors="replace").decode()
    except Exception:  # noqa: BLE001 - a user's exception may fail even here
        return "(an error without a text)"
