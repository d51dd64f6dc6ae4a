"""What becomes of messages that come faster than they are taken, whether by a slow client or by a slow reader."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

import attrs


@attrs.frozen
class Wait:
    """The sender waits until there is room. So streams, results, and ``clients.caller`` always do."""


@attrs.frozen
class DropOldest:
    """While too much is queued, the oldest messages that were sent so are dropped, and counted."""


@attrs.frozen
class Conflate:
    """A message replaces the one of the same method and key that still waits: the client gets the latest only.

    Attributes:
        key: What the message is about, such as a share's name; for a reader, a function that tells it of a message.
        every: Seconds in which a client gets at most one message of a key: the first at once, then the newest when
            they are over. What has left our hands waits in the network, where nothing can replace it; so this is what
            keeps the messages of a slow client new. Not for readers.
    """

    key: Hashable = None
    every: float | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(attrs.validators.gt(0))
    )


ReaderPolicy: TypeAlias = Wait | DropOldest | Conflate
"""What becomes of what a reader does not take as fast as it comes."""

WAIT = Wait()
