"""Policies for messages to a client that does not take them as fast as they come."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..calls.policies import Conflate, DropOldest, Wait


@attrs.frozen
class Disconnect:
    """The message is queued; the client is disconnected when it lies there for too long, or too much does.

    Attributes:
        after: Seconds that a message may lie; ``HubOptions.send_timeout`` by default.
    """

    after: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(0))
    )


SlowClientPolicy: TypeAlias = Wait | Disconnect | DropOldest | Conflate
"""What happens to a client that does not take its messages as fast as they come."""


def checked(policy: object) -> SlowClientPolicy:
    """A policy that is one.

    Raises:
        TypeError: It is something else, such as the class of one.
    """
    if not isinstance(policy, SlowClientPolicy):
        raise TypeError(f"{policy!r} is no policy: write Wait(), Disconnect(), DropOldest() or Conflate(key)")
    return policy
