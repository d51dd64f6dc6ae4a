"""Credits: how many more items of a stream its receiver has room for, where both sides agreed on them.

A sender begins with the stream's capacity. What has been read gives room back, half of it at a time; and once it is
seen how large items are, there is room for as many as make a stream's share of bytes, if that is more.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeAlias

from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Credit
from .outbox import Outbox

UNLIMITED = 2**63 - 1
"""The most credit that there is; it is never used up."""


def add_credit(credit: float, items: int) -> float:
    """A sender's credit, increased; where credits are not agreed on, it is infinite and stays so."""
    return credit if credit == inf else min(credit + items, UNLIMITED)


class GivenCredit:
    """What the sender of one stream may still send.

    Args:
        protocol: Encodes further credit.
        outbox: Takes it.
        stream_buffer_size: The stream's share of bytes.
        id: The stream's.
        capacity: The first part, which its sender has or is about to get.

    Attributes:
        left: How many items.
        room: How many items may lie unread or be under way.
    """

    def __init__(
        self, protocol: HubProtocol, outbox: Outbox, stream_buffer_size: int, id: str, capacity: int
    ) -> None:
        self.left = self.room = capacity
        self._protocol = protocol
        self._outbox = outbox
        self._stream_buffer_size = stream_buffer_size
        self._id = id
        self._capacity = capacity
        self._largest = 0  # size of an item
        self._message = bytearray()  # the last one that was queued
        self._queued = 0  # items in it
        self._queued_in = -1  # the outbox's batch

    def take(self, items: int, largest: int) -> None:
        """So many items have come, of which none counts for more bytes than that."""
        self.left -= items
        if largest > self._largest:
            self._largest = largest
            self.room = max(self._capacity, self._stream_buffer_size // largest)

    def give_back(self, unread: int) -> None:
        """Items have been read, and so many have not. There is one message of a stream that waits at most."""
        more = self.room - self.left - unread
        if more * 2 < self.room:
            return
        self.left += more
        waits = self._queued_in == self._outbox.batch
        self._queued = more + (self._queued if waits else 0)
        data = self._protocol.encode(Credit(self._id, self._queued))
        if waits:
            self._outbox.rewrite(self._message, data)
        else:
            self._message = bytearray(data)
            self._queued_in = self._outbox.batch
            self._outbox.put(self._message)


GiveCredit: TypeAlias = Callable[[str, int], GivenCredit]
"""Gives the sender of a stream, by its id, credit for the stream's capacity."""
