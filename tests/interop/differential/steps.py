"""A case is data: a named list of steps. This is all that a step can be.

In what a step sends, <id>, <token> and <asked> stand for what the server gave out.
"""

from collections.abc import Mapping, Sequence

import attrs

from .messages import Pack

PATIENCE = 10.0  # how long an answer may take before the record says that it did not come


@attrs.frozen
class Http:
    """One request on a socket of its own, and its whole answer."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: str | bytes = b""
    quiet: bool = False  # an answer that another case has in its record


@attrs.frozen
class Requests:
    """Bytes of requests on one socket, piece by piece, and so many answers to them."""

    pieces: Sequence[bytes]
    answers: int = 1


@attrs.frozen
class Told:
    """What the hub was told of the connection that asked for it by `log=<id>`, once it was told of its end."""


@attrs.frozen
class Begin:
    """A request whose answer comes later: see `Finish`."""

    name: str
    request: Http


@attrs.frozen
class Finish:
    """The answers of begun requests, in an order that does not tell which came first."""

    names: Sequence[str]


@attrs.frozen
class Negotiate:
    """Fetch <id> and <token> for the steps that follow."""

    path: str = "/conformance"
    query: str = "negotiateVersion=1"
    headers: Sequence[tuple[str, str]] = ()


@attrs.frozen
class WebSocket:
    """Ask for a WebSocket."""

    target: str = "/conformance"
    headers: Sequence[tuple[str, str]] = ()
    on: str = "it"
    quiet: bool = False
    wait: bool = True  # for the answer; without, see `Upgraded`
    binary: bool = False  # MessagePack from the start: the handshake has been
    upgrade: Mapping[str, str] = attrs.field(
        factory=dict
    )  # headers of the upgrade, changed; empty ones left out


@attrs.frozen
class Upgraded:
    """The answer to a WebSocket's request."""

    on: str = "it"
    quiet: bool = False


@attrs.frozen
class Events:
    """Ask for Server-Sent Events; messages go out by POST."""

    target: str = "/conformance?id=<token>"
    headers: Sequence[tuple[str, str]] = (("Accept", "text/event-stream"),)
    on: str = "it"


@attrs.frozen
class Polls:
    """Long polling: each read is a poll, messages go out by POST. The first poll is made here."""

    target: str = "/conformance?id=<token>"
    on: str = "it"


@attrs.frozen
class Send:
    """Messages, each in a frame or request of its own: text, bytes or values for MessagePack."""

    messages: Sequence[str | bytes | Pack]
    on: str = "it"


@attrs.frozen
class Raw:
    """Bytes of WebSocket frames, as they are."""

    data: bytes
    on: str = "it"


@attrs.frozen
class Read:
    """Messages up to the completions of these invocations, or the end."""

    until: Sequence[str]
    on: str = "it"
    items: bool = True  # whether items belong in the record: how many come before a cancel is not promised
    patience: float = PATIENCE


@attrs.frozen
class Next:
    """So many messages."""

    count: int = 1
    on: str = "it"
    quiet: bool = False
    acks: bool = False


@attrs.frozen
class Learn:
    """The next message's result is the <id> for the steps that follow."""

    on: str = "it"


@attrs.frozen
class End:
    """All messages until the server ends the connection, and how it does."""

    on: str = "it"
    pings: bool = (
        True  # whether they belong in the record: how many there are before a time limit is not promised
    )
    broken: bool = (
        False  # the frames were: whether the close frame with 1002 outruns the socket's end is a race
    )


@attrs.frozen
class Leave:
    """Close the WebSocket in order; what the server does then, apart from last items and a goodbye that cross it."""

    on: str = "it"
    code: int | None = 1000


@attrs.frozen
class Drop:
    """Close the socket without a word."""

    on: str = "it"


Step = (
    Http
    | Requests
    | Told
    | Begin
    | Finish
    | Negotiate
    | WebSocket
    | Upgraded
    | Events
    | Polls
    | Send
    | Raw
    | Read
    | Next
    | Learn
    | End
    | Leave
    | Drop
)


@attrs.frozen
class Case:
    """A named list of steps."""

    id: str
    steps: Sequence[Step]
    protocol: str = "json"
