"""What is to be published over a connection, in order, until Redis has answered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import MovedError, ResponseError

from ..errors import BackplaneError
from ..logs import get_logger
from .nodes import REPLY_TIMEOUT

logger = get_logger(__name__)


class Publication:
    """A message, and who waits for its count; to coredis, a command of a batch.

    Args:
        name: The command.
        channel: Where it is published.
        data: What is.
        counted: Set when the outcome is known.

    Attributes:
        moves: How often its channel turned out to be another node's.
        deadline: When it fails if there is still no connection.
        size: Its bytes.
        outcome: How many have been sent it, or what went wrong.
    """

    __slots__ = ("channel", "counted", "data", "deadline", "moves", "name", "outcome", "size")

    decode = False

    def __init__(self, name: bytes, channel: bytes, data: bytes, counted: trio.Event | None = None) -> None:
        self.name = name
        self.channel = channel
        self.data = data
        self.counted = counted
        self.size = len(channel) + len(data)
        self.moves = 0
        self.deadline = math.inf
        self.outcome: int | Exception = 0

    @property
    def serialized_arguments(self) -> tuple[bytes, bytes]:
        """What coredis sends behind the command."""
        return self.channel, self.data

    def settle(self, outcome: int | Exception) -> None:
        """Tell whoever waits."""
        self.outcome = outcome
        if self.counted is not None:
            self.counted.set()


class Publications:
    """All that is published over one connection after the other.

    Args:
        on_progress: Hears that some have been answered.
        on_moved: Takes one whose channel is another node's.

    Attributes:
        bytes: Those that Redis has not answered, together.
    """

    def __init__(
        self,
        on_progress: Callable[[], object],
        on_moved: Callable[[Publication, MovedError], None],
    ) -> None:
        self.bytes = 0
        self._on_progress = on_progress
        self._on_moved = on_moved
        self._waiting: list[Publication] = []
        self._work = trio.lowlevel.ParkingLot()

    def put(self, publication: Publication) -> None:
        """Publish something, as soon as there is a connection."""
        self.bytes += publication.size
        self._waiting.append(publication)
        self._work.unpark_all()

    def take_waiting(self) -> list[Publication]:
        """Take away those that have not been sent."""
        waiting, self._waiting = self._waiting, []
        self.bytes -= sum(each.size for each in waiting)
        return waiting

    async def run(self, connection: BaseConnection) -> None:
        """Publish over a connection, until it is lost. What comes while Redis answers leaves together then."""
        while True:
            while not self._waiting:
                await self._work.park()
            batch, self._waiting = self._waiting, []
            answered = 0
            try:
                # One request for all of them: one for each took 40 % of the time of a send.
                outcomes = await connection.create_request_batch(cast("Any", batch), timeout=REPLY_TIMEOUT)
                outcome: Any
                for publication, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, Exception) and not isinstance(outcome, ResponseError):
                        raise outcome
                    self._take_outcome(publication, outcome)  # or it is lost with the connection
                    answered += 1
                    self.bytes -= publication.size
            finally:
                self._waiting[:0] = batch[answered:]
            self._on_progress()

    def expire(self) -> int:
        """What has waited for a connection for too long is lost; gives its number."""
        now = trio.current_time()
        waiting = self.take_waiting()
        for publication in waiting:
            if publication.deadline > now:
                self.put(publication)
            else:
                publication.settle(BackplaneError("What was published is lost: Redis could not be reached."))
        return len(waiting) - len(self._waiting)

    def lose(self) -> int:
        """The connection was lost: so is all that was not answered; gives its number."""
        lost = self.take_waiting()
        for publication in lost:
            publication.settle(BackplaneError("What was published may be lost: the connection to Redis was."))
        return len(lost)

    def _take_outcome(self, publication: Publication, outcome: int | Exception) -> None:
        if isinstance(outcome, MovedError):
            self._on_moved(publication, outcome)
            return
        if isinstance(outcome, ResponseError):
            logger.error("Redis refuses what is published: %s", outcome)
            outcome = BackplaneError(f"Redis refuses what is published: {outcome}")
        publication.settle(outcome)
