"""Bytes of the peer's, parsed into messages, each of which has its effect at once and in order.

Nothing here waits for user code, but calls that need no task run here; when they have run for long, other tasks have
a turn. The items of one stream that follow each other are taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import trio
from msgspec import Raw

from ..errors import HubException, ProtocolError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Credit,
    Invocation,
    Message,
    Ping,
    StreamInvocation,
    StreamItem,
)
from ..protocol.messages import Sequence as SequenceMessage
from .incoming import IncomingStreams
from .keep_alive import KeepAlive
from .our_calls import OurCalls
from .outbox import Outbox
from .replay import Replay
from .their_calls import TheirCalls
from .workers import LONGEST_TURN

logger = get_logger(__name__)

_HALF_A_MESSAGE = "Connection terminated while reading a message."


class Dispatcher:
    """Acts on what the peer sends.

    Args:
        protocol: What the peer speaks.
        maximum_message_size: Bytes of one of its messages; ``None`` for any size.
        our_calls: What we call.
        their_calls: What the peer calls.
        incoming: The peer's streams.
        keep_alive: Hears of pings.
        replay: Drops what has come before, on a connection that can be resumed.

    Attributes:
        reading: When the connection is read.
        close: The peer's close message, once it has come.
        stopped: Whether messages have no effect any more, as behind that.
    """

    def __init__(
        self,
        protocol: HubProtocol,
        maximum_message_size: int | None,
        *,
        our_calls: OurCalls,
        their_calls: TheirCalls,
        incoming: IncomingStreams,
        keep_alive: KeepAlive,
        replay: Replay | None,
    ) -> None:
        self.close: Close | None = None
        self.stopped = False
        self._new_parser = partial(protocol.parser, maximum_message_size)
        self._parser = self._new_parser()
        self._our_calls = our_calls
        self._their_calls = their_calls
        self._incoming = incoming
        self._keep_alive = keep_alive
        self.reading = incoming.reading
        self._replay = replay
        self._clock = trio.lowlevel.current_clock().current_time

    async def feed(self, data: bytes, outbox: Outbox) -> None:
        """Act on what has been received. A checkpoint when calls have run for long.

        Args:
            data: What has been received.
            outbox: What it leads to is sent together.

        Raises:
            ProtocolError: It is malformed; what came before it has had its effect.
        """
        outbox.cork()
        try:
            for batch in self._parser.feed(data):
                if self.stopped:
                    break
                messages = iter(batch) if self._replay is None else self._replay.take(batch)
                while self._dispatch(messages):
                    outbox.uncork()
                    await trio.lowlevel.checkpoint()
                    outbox.cork()
        finally:
            outbox.uncork()

    def resume(self) -> None:
        """The connection was torn and goes on: half a message may have been lost, and will come again."""
        self._parser = self._new_parser()

    def check_whole(self) -> None:
        """Nothing more comes.

        Raises:
            ProtocolError: The last message is not whole.
        """
        if self._parser.pending:
            raise ProtocolError(_HALF_A_MESSAGE)

    def fail_streams(self, error: Exception) -> None:
        """The connection is over: the peer's streams that have not ended fail."""
        self._incoming.fail_all(error)

    def take_ack(self) -> bytes:
        """The acknowledgement that is due; empty when there is none."""
        return self._replay.take_ack() if self._replay is not None else b""

    def _dispatch(self, messages: Iterator[Message]) -> bool:
        """Act on messages.

        Returns:
            Whether more may be left, but calls have run for so long that other tasks shall have a turn first.
        """
        until = self._clock() + LONGEST_TURN
        invoke = self._their_calls.invoke
        stream = ""
        items: list[Raw] = []
        try:
            for message in messages:
                if self.stopped:
                    break
                if type(message) is StreamItem:
                    if message.invocation_id != stream and items:
                        self._on_items(stream, items)
                        items = []
                    stream = message.invocation_id
                    items.append(message.item)
                    continue
                if items:
                    self._on_items(stream, items)
                    items = []
                if type(message) is Invocation or type(message) is StreamInvocation:
                    invoke(message)
                    # A call of a stream does not run here, but it may be refused, which takes its time, too.
                    if self._clock() >= until:
                        return True
                else:
                    _EFFECTS[type(message)](self, message)
        finally:
            if items:
                self._on_items(stream, items)
        return False

    def _on_items(self, stream: str, items: Sequence[Raw]) -> None:
        if self._incoming.feed(stream, items):
            self._our_calls.stop_stream(stream)
        elif stream not in self._incoming:
            self._our_calls.reject_item(stream)

    def _on_cancel(self, message: CancelInvocation) -> None:
        self._their_calls.cancel(message.invocation_id)

    def _on_credit(self, message: Credit) -> None:
        self._their_calls.credit(message)

    def _on_ping(self, _: Ping) -> None:
        self._keep_alive.note_ping()

    def _on_close(self, message: Close) -> None:
        self.close = message
        self.stopped = True

    def _on_completion(self, message: Completion) -> None:
        error = HubException(message.error) if message.error else None
        if not self._incoming.complete(message.invocation_id, error) and not self._our_calls.complete(
            message
        ):
            logger.debug("nothing waits for a completion of %r", message.invocation_id)

    def _ignore(self, _: Message) -> None:
        """Stateful reconnect is not negotiated, so its messages mean nothing."""


_EFFECTS: Mapping[type[Message], Callable[[Dispatcher, Any], None]] = {
    CancelInvocation: Dispatcher._on_cancel,
    Completion: Dispatcher._on_completion,
    Credit: Dispatcher._on_credit,
    Ping: Dispatcher._on_ping,
    Close: Dispatcher._on_close,
    Ack: Dispatcher._ignore,
    SequenceMessage: Dispatcher._ignore,
}
