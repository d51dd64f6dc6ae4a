"""The two kinds of publish and subscribe that Redis has: a channel is known to every node, or to those of its slot."""

from __future__ import annotations

import attrs


@attrs.frozen
class PubSubCommands:
    """What one kind says to Redis, and hears of it.

    Attributes:
        publish: Publishes.
        subscribe: Subscribes.
        unsubscribe: Ends a subscription.
        count: Asks how many have subscribed.
        message: What was published begins so.
        ended: So begins that a node has ended a subscription, as the channel is another's now.
        together: How many channels one command may have.
    """

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes
    count: bytes
    message: bytes
    ended: bytes | None
    together: int


PLAIN = PubSubCommands(
    b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE", b"PUBSUB NUMSUB", b"message", ended=None, together=500
)
SHARDED = PubSubCommands(
    b"SPUBLISH",
    b"SSUBSCRIBE",
    b"SUNSUBSCRIBE",
    b"PUBSUB SHARDNUMSUB",
    b"smessage",
    ended=b"sunsubscribe",
    together=1,  # others may be of another slot
)
