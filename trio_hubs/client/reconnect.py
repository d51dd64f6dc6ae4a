"""When a lost connection is tried again: its user's policy decides, after the server's word.

A connection that the server has ended for good, or that cannot be had, is not tried again; the attempts count on
until a connection has lasted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import trio

from ..connections.validators import non_negative
from ..errors import ConnectionFailed

ReconnectPolicy: TypeAlias = Callable[[int, float, ConnectionFailed], float | None]
"""Decides when a lost connection is tried again.

It is given how many attempts have failed since the connection was last stable, the seconds since it was lost, and why
it was lost, or why the last attempt failed. It gives the seconds to wait before the next attempt, to which those that
the server has asked for are added; ``None`` is the end of the connection.
"""


@attrs.frozen
class Backoff:
    """A :data:`ReconnectPolicy` of growing delays, with full jitter: each wait is a random part of its delay.

    Sources: the delays of the .NET client's ``WithAutomaticReconnect``; the rest is this project's own.
    """

    delays: Sequence[float] = attrs.field(
        default=(0.0, 2.0, 10.0, 30.0),
        validator=[attrs.validators.min_len(1), attrs.validators.deep_iterable(non_negative)],
    )
    """The most seconds before each attempt."""
    forever: bool = attrs.field(default=False, kw_only=True)
    """Whether attempts go on after these, each within the last delay."""

    def __call__(self, attempt: int, elapsed: float, error: ConnectionFailed) -> float | None:
        """The seconds before the next attempt."""
        if attempt >= len(self.delays) and not self.forever:
            return None
        return random.uniform(0.0, self.delays[min(attempt, len(self.delays) - 1)])


class Retries:
    """The attempts to regain one connection.

    Args:
        policy: The user's; ``None`` for no attempts.
        stable_time: Seconds that a connection lasts before its loss begins the counting anew.
        maximum_retry_after: Seconds that the server may ask for, on top of the policy's.
        first: Whether the first connection is tried again, too.

    Attributes:
        failed: Attempts since the connection was last stable.
    """

    def __init__(
        self,
        policy: ReconnectPolicy | None,
        stable_time: float,
        maximum_retry_after: float,
        *,
        first: bool = True,
    ) -> None:
        self.failed = 0
        self._policy = policy
        self._stable_time = stable_time
        self._maximum_retry_after = maximum_retry_after
        self._since = 0.0  # the first loss of those that count together
        self._opened: float | None = None
        self._may_begin = first  # the attempts: after the first connection in any case

    @property
    def elapsed(self) -> float:
        """Seconds since the connection was lost."""
        return trio.current_time() - self._since if self.failed else 0.0

    def opened(self) -> None:
        """There is a connection."""
        self._may_begin = True
        self._opened = trio.current_time()

    def next_delay(self, error: ConnectionFailed) -> float | None:
        """The connection was lost, or an attempt has failed: the seconds to wait, or ``None`` for the end."""
        now = trio.current_time()
        if self._opened is not None and now - self._opened >= self._stable_time:
            self.failed = 0
        self._opened = None
        if not self.failed:
            self._since = now
        if self._policy is None or not self._may_begin or not error.retriable:
            return None
        delay = self._policy(self.failed, self.elapsed, error)
        if delay is None:
            return None
        self.failed += 1
        return delay + min(error.retry_after or 0.0, self._maximum_retry_after)
