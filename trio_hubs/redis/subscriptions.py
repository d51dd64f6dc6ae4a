"""The channels that are heard over a connection.

Redis answers a subscription by what it pushes, but a refusal by an ordinary error, which belongs to no request. So each
is followed by a ping: what comes before its answer is a refusal.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError, MovedError, ResponseError
from coredis.typing import ResponseType

from ..fleet.bus import Hear, hear_safely
from ..logs import get_logger
from .commands import PubSubCommands
from .nodes import REPLY_TIMEOUT

logger = get_logger(__name__)


class _Change:
    """A subscription, or the end of one, that Redis has not answered.

    Args:
        connection: Where it is sent.
        command: What is.
        names: The channels.
        awaited: Whether these are unconfirmed until then.

    Attributes:
        refusal: Why Redis did not do it.
    """

    def __init__(
        self, connection: BaseConnection, command: bytes, names: Sequence[bytes], awaited: bool
    ) -> None:
        self.names = names
        self.awaited = awaited
        self.refusal: ResponseError | None = None
        connection.send_command(command, *names)
        self._pong = connection.create_request(b"PING", decode=False, timeout=REPLY_TIMEOUT)
        self._consume = self._pong.consume
        self._pong.consume = self._take  # type: ignore[method-assign]

    def _take(self, response: ResponseType | BaseException) -> None:
        if isinstance(response, ResponseError) and self.refusal is None:
            self.refusal = response
        elif response == b"PONG" or isinstance(response, BaseException):
            self._consume(response)
        else:  # the ping was refused itself, and this belongs to the next request
            self._consume(self.refusal or ConnectionError("Redis answers in disorder."))

    @property
    def is_answered(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._pong.complete

    async def wait(self) -> None:
        """Wait until Redis has answered."""
        await self._pong


class Subscriptions:
    """The channels that are heard over one connection after the other.

    Args:
        commands: How to subscribe.
        maximum: Bytes that a message may have; larger ones are logged, and not heard.
        on_progress: Hears that some have been answered.
        on_moved: Hears that a channel is another node's, and moves it there; gives whether it did.

    Attributes:
        heard: Who hears what is published, by channel.
        refused: Why a channel is not heard, by channel.
    """

    def __init__(
        self,
        commands: PubSubCommands,
        maximum: int,
        on_progress: Callable[[], object],
        on_moved: Callable[[bytes, MovedError], bool],
    ) -> None:
        self.heard: dict[bytes, Hear] = {}
        self.refused: dict[bytes, ResponseError] = {}
        self._commands = commands
        self._maximum = maximum
        self._on_progress = on_progress
        self._on_moved = on_moved
        self._connection: BaseConnection | None = None
        self._changes: deque[_Change] = deque()
        self._unconfirmed: Counter[bytes] = Counter()
        self._work = trio.lowlevel.ParkingLot()

    def add(self, name: bytes, hear: Hear) -> None:
        """Hear a channel, as soon as there is a connection."""
        self.heard[name] = hear
        self._ask(name)

    def remove(self, name: bytes) -> Hear:
        """Hear a channel no more; gives who did."""
        self.refused.pop(name, None)
        if self._connection is not None and self._connection.usable:
            if self._commands.ended is None:
                self._connection.send_command(self._commands.unsubscribe, name)
            else:  # which is refused where the channel is another node's by now
                self._send(self._connection, self._commands.unsubscribe, (name,), awaited=False)
        return self.heard.pop(name)

    def is_confirmed(self, name: bytes) -> bool:
        """Whether Redis has answered the subscription."""
        return self._connection is not None and name not in self._unconfirmed

    async def run(self, connection: BaseConnection) -> None:
        """Hear channels over a connection, until it is lost."""
        self._connection = connection
        self._ask(*self.heard)
        while True:
            while not self._changes:
                self._on_progress()
                await self._work.park()
            change = self._changes[0]
            if not change.is_answered:
                self._on_progress()
            await change.wait()
            self._changes.popleft()
            if change.refusal is not None:
                self._take_refusal(change, change.refusal)
            if change.awaited:
                self._confirm(*change.names)

    def take(self, push: list[Any]) -> None:
        """Something has come that nobody has asked for."""
        match push:
            case [self._commands.message, name, data]:
                if len(data) > self._maximum:
                    logger.error("a message of %d bytes is more than another server may send", len(data))
                elif (hear := self.heard.get(name)) is not None:
                    hear_safely(hear, data)
            case [self._commands.ended, name, _] if name in self.heard:
                self._ask(name)  # its node, or else where that is
            case _:
                pass  # of subscribing, which is answered otherwise

    def lose(self) -> None:
        """The connection was lost: nothing is heard."""
        self._connection = None
        self._changes.clear()
        self._unconfirmed.clear()
        self.refused.clear()

    def _ask(self, *names: bytes) -> None:
        if self._connection is not None and self._connection.usable:
            self._unconfirmed.update(names)
            for start in range(0, len(names), self._commands.together):
                part = names[start : start + self._commands.together]
                self._send(self._connection, self._commands.subscribe, part, awaited=True)

    def _send(
        self, connection: BaseConnection, command: bytes, names: Sequence[bytes], *, awaited: bool
    ) -> None:
        self._changes.append(_Change(connection, command, names, awaited))
        self._work.unpark_all()

    def _confirm(self, *names: bytes) -> None:
        for name in names:
            self._unconfirmed[name] -= 1
            if self._unconfirmed[name] <= 0:
                del self._unconfirmed[name]

    def _take_refusal(self, change: _Change, refusal: ResponseError) -> None:
        names = [name for name in change.names if name in self.heard]
        if not change.awaited or not names:
            return
        if len(change.names) > 1:  # one of them: which one?
            for name in names:
                self._ask(name)
        elif not isinstance(refusal, MovedError) or not self._on_moved(names[0], refusal):
            self.refused[names[0]] = refusal
            logger.error("Redis refuses to let this server hear a channel: %s", refusal)
