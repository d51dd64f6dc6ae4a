"""Stateful reconnect: what a peer has not acknowledged is kept, and sent again when a torn connection goes on.

Messages that mean something for a call count, each way from 1; pings, closes, acknowledgements and sequences do
not. What arrives twice is dropped (HubProtocol.md, stateful reconnect).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from ..errors import ProtocolError
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Ack, Close, Completion, Message, Ping
from ..protocol.messages import Sequence as SequenceMessage

_UNCOUNTED = (Ping, Close)
_BLANK = Completion("0")  # no call has this id


class Replay:
    """Both directions of one connection that can be resumed.

    Args:
        protocol: Encodes acknowledgements and sequences.
        limit: Bytes that may be sent without being acknowledged before nothing more is.
        waiting: Held open while nothing more is sent, so that acknowledgements are read.
    """

    def __init__(
        self,
        protocol: HubProtocol,
        limit: int,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.waiting = waiting
        self._protocol = protocol
        self._limit = limit
        # Sent, oldest first: the number of the last message in each piece, and the piece.
        self._sent: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._last_sent = 0
        self._acknowledged = 0
        self._repeated = 0  # the last one that was sent again
        self._surely_next = 1  # what the peer's count has reached at least: a sequence must not be above it
        self._next = 1  # what the next message of the peer's counts as
        self._received = 0  # the highest that has been acted on
        self._last_ack = 0

    # ---- our messages

    @property
    def full(self) -> bool:
        """Whether the peer has to acknowledge something before more is sent."""
        return self._size > self._limit

    def record(self, data: bytes, count: int) -> None:
        """Keep what is being sent: a piece, and how many of its messages count."""
        if count:
            self._last_sent += count
            self._sent.append((self._last_sent, data))
            self._size += len(data)

    def repeat(self) -> bytes:
        """What a new transport begins with: where we go on, and all that has not been acknowledged."""
        begin = self._surely_next = min(self._surely_next, self._acknowledged + 1)
        self._repeated = self._last_sent
        # What was acknowledged since may be so from before, while the peer's count, which a sequence has set back, has
        # not come so far: then something has to count that the peer drops.
        blanks = self._protocol.encode(_BLANK) * (self._acknowledged + 1 - begin)
        return (
            self._protocol.encode(SequenceMessage(begin)) + blanks + b"".join(data for _, data in self._sent)
        )

    # ---- the peer's messages

    def take(self, messages: Iterable[Message]) -> Iterator[Message]:
        """What is to be acted on of messages that have arrived; those that are about counting are acted on here.

        Raises:
            ProtocolError: The peer says that it goes on behind what it has sent so far.
        """
        for message in messages:
            if isinstance(message, Ack):
                self._acknowledge(message.sequence_id)
            elif isinstance(message, SequenceMessage):
                if message.sequence_id > self._next:
                    raise ProtocolError("Sequence ID greater than amount of messages we've received.")
                self._next = message.sequence_id
            elif isinstance(message, _UNCOUNTED):
                yield message
            else:
                number = self._next
                self._next += 1
                if number > self._received:
                    self._received = number
                    yield message
                else:
                    self._last_ack = 0  # it would not come again if its acknowledgement had not been lost

    def _acknowledge(self, number: int) -> None:
        if number > self._repeated:
            self._surely_next = max(self._surely_next, min(number, self._last_sent) + 1)
        while self._sent and self._sent[0][0] <= number:
            last, data = self._sent.popleft()
            self._acknowledged = last
            self._size -= len(data)

    def take_ack(self) -> bytes:
        """The acknowledgement that is due; empty when there is nothing new to acknowledge."""
        if self._received == self._last_ack:
            return b""
        self._last_ack = self._received
        return self._protocol.encode(Ack(self._received))
