"""The peer's calls that wait or run: their order, their ids, their uploads, and what the waiting ones count for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any

import trio
from msgspec import UNSET, Raw

from ..protocol.messages import Headers
from .children import Children
from .incoming import IncomingStream, IncomingStreams
from .methods import Method
from .observer import ObservedCall


class TheirCall:
    """One invocation of the peer's."""

    __slots__ = (
        "arguments",
        "began",
        "cancelled",
        "children",
        "credit",
        "has_place",
        "headers",
        "id",
        "method",
        "observed",
        "scope",
        "size",
        "uploads",
    )

    def __init__(
        self, id: str, method: Method, arguments: Raw, uploads: list[IncomingStream[Any]], size: int
    ) -> None:
        self.id = id
        self.method = method
        self.arguments = arguments  # decoded when it begins: objects are many times larger
        self.uploads = uploads
        self.size = size
        self.scope = trio.CancelScope()
        self.children: Children | None = None  # once it runs
        self.cancelled = False  # by the peer
        self.credit = (
            inf  # of its stream, until it begins; that is told behind the call where credits are agreed on
        )
        self.has_place = True  # among those that may run at a time
        self.began = False  # to stream
        self.headers: Headers = UNSET  # of its message, where anybody listens
        self.observed: ObservedCall | None = None  # once it runs, where anybody listens

    def cancel(self) -> None:
        """Cancel it, and its children."""
        self.scope.cancel()
        if self.children is not None:
            self.children.cancel()


class CallRegister:
    """The calls of one connection.

    Args:
        incoming: Their uploads; those that wait count for its reading.
        on_idle: Called when the last call has ended.

    Attributes:
        on_idle: The same, until the connection is over.
        by_id: Those with an id.
        waiting: Those that wait, in their order.
        unfinished: All of them.
        streams: How many of them stream, either way.
    """

    def __init__(self, incoming: IncomingStreams, on_idle: Callable[[], None]) -> None:
        self.by_id: dict[str, TheirCall] = {}
        self.waiting: OrderedDict[TheirCall, None] = OrderedDict()
        self.unfinished: set[TheirCall] = set()
        self.streams = 0
        self._incoming = incoming
        self.on_idle: Callable[[], None] | None = on_idle

    def add(self, call: TheirCall) -> None:
        """File a call that runs."""
        if call.id:
            self.by_id.setdefault(call.id, call)
        self.unfinished.add(call)
        self.streams += call.method.streams

    def add_waiting(self, call: TheirCall) -> None:
        """File a call that waits, behind the others."""
        self.add(call)
        self.waiting[call] = None
        self._incoming.reading.count_call(call.size)

    def next(self) -> TheirCall:
        """Take the first of those that wait, to run it."""
        call, _ = self.waiting.popitem(last=False)
        self._incoming.reading.count_call(-call.size)
        return call

    def next_with_id(self) -> TheirCall | None:
        """Take the first that waits of those with an id, if there is one, to run it."""
        call = next((call for call in self.by_id.values() if call in self.waiting), None)
        if call is not None:
            del self.waiting[call]
            self._incoming.reading.count_call(-call.size)
        return call

    def drop(self, call: TheirCall) -> None:
        """A call will not run that waits."""
        del self.waiting[call]
        self._incoming.reading.count_call(-call.size)
        self.forget(call)

    def forget(self, call: TheirCall) -> None:
        """A call has ended: its id, and its share of the streams, are free for others before it is answered."""
        for stream in call.uploads:
            self._incoming.forget(stream)
        self.streams -= call.method.streams
        if self.by_id.get(call.id) is call:
            del self.by_id[call.id]

    def note_ended(self, call: TheirCall) -> None:
        """A call has ended, and been answered."""
        self.unfinished.remove(call)
        if not self.unfinished and self.on_idle is not None:
            self.on_idle()
