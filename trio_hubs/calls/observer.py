"""The observer: one place that hears of connections' and calls' begins and ends.

It costs nothing where nobody listens. Filters change what happens; observers only see it. What an observer raises is
logged, and has no other effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from enum import StrEnum
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import attrs
import trio
from msgspec import UNSET, Raw

from ..connections.http import Request
from ..logs import get_logger
from ..protocol.messages import Headers
from ..protocol.negotiate import Transport

logger = get_logger(__name__)

T = TypeVar("T")

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

AroundCall: TypeAlias = Callable[[str], AbstractContextManager[Mapping[str, str]]]
"""Held around a call of ours, from before it is sent to its end: gets its target, gives the headers of its message."""

call_headers: ContextVar[Callable[[], Mapping[str, str]] | None] = ContextVar("call_headers", default=None)
"""Gives headers of the messages by which a method asks clients; an observer may set it when the method begins."""


def headers_here() -> Headers:
    """The headers of a call that waits for a result, and is made here and now."""
    give = call_headers.get()
    return UNSET if give is None else {**give()}


Listener: TypeAlias = Callable[[T], None]


class Outcome(StrEnum):
    """What a call has come to."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """By its client, by its deadline, or with its connection."""
    REFUSED = "refused"
    """It has not begun: it fits no method, or exceeds a limit."""


@attrs.define(eq=False)
class ObservedConnection:
    """A connection of a hub, from its handshake to its end, or a raw one.

    Attributes:
        id: Its id.
        request: The HTTP request that made it.
        user_id: The id of the user that opened it; ``None`` for nobody known.
        hub: The name of the hub's class; empty for a raw connection.
        transport: What carries it; ``None`` where that is memory.
        opened_at: When it began, in trio's clock.
        error: What ended it; ``None`` while it is open, and when it ended in order.
        too_slow: Whether it was ended since its client did not take what was sent.
        received_bytes: What its client has sent behind the handshake; 0 while it is open, and of a raw one.
        sent_bytes: What that was sent; 0 while it is open, and of a raw one.
    """

    id: str
    request: Request
    user_id: str | None
    hub: str = ""
    transport: Transport | None = None
    opened_at: float = attrs.field(factory=trio.current_time)
    error: Exception | None = None
    too_slow: bool = False
    received_bytes: int = 0
    sent_bytes: int = 0


@attrs.define(eq=False)
class ObservedCall:
    """A call of a hub method by a client, or of a hub's ``on_connected`` or ``on_disconnected`` for one.

    At a client it is a call of one of its handlers by the server.

    Attributes:
        connection_id: The connection that it came by.
        id: The call's id on that connection; empty where its caller does not wait for an answer.
        target: The method's wire name; where it was refused, as the client wrote it. Of a hook, its name in Python.
        argument_bytes: The size of its arguments on the wire, without uploads.
        headers: Its message's headers, as the client wrote them; none where it was refused.
        began_at: When it began, or was refused, in trio's clock.
        items: How many items of its stream have been queued for the client so far.
        outcome: What it has come to; ``None`` while it runs.
        error: What the method raised, or why the call was refused.
    """

    connection_id: str | None
    id: str
    target: str
    argument_bytes: int
    headers: Mapping[str, str] = _NO_HEADERS
    began_at: float = attrs.field(factory=trio.current_time)
    items: int = 0
    outcome: Outcome | None = None
    error: Exception | None = None

    def note_end(self, error: Exception | None, *, cancelled: bool) -> None:
        """It has ended."""
        self.error = error
        if cancelled:
            self.outcome = Outcome.CANCELLED
        else:
            self.outcome = Outcome.COMPLETED if error is None else Outcome.FAILED


class Observer:
    """Base class of observers. Only what a subclass overrides is listened for.

    The methods are called in the midst of the work and must not block; what they raise is logged.
    """

    def connection_opened(self, connection: ObservedConnection) -> None:
        """A client has shaken hands, or opened a raw connection; its hub, or handler, hears of it next."""

    def connection_closed(self, connection: ObservedConnection) -> None:
        """A connection has ended, and its hub has heard of that; the same object that was given when it opened."""

    def hook_began(self, call: ObservedCall) -> None:
        """A hub hears next that a connection comes or goes, whether or not it does anything then."""

    def hook_ended(self, call: ObservedCall) -> None:
        """It has, in the same task; the same object that was given when that began."""

    def call_began(self, call: ObservedCall) -> None:
        """A method is about to be called; it sees the context variables that are set here."""

    def call_ended(self, call: ObservedCall) -> None:
        """A call that had begun has ended, streams included; the same object that was given when it began."""

    def call_refused(self, call: ObservedCall) -> None:
        """A call does not begin: it fits no method, exceeds a limit, or was cancelled while it waited."""


class Observers:
    """Tells each observer what it listens for.

    Args:
        observers: Whom to tell, in this order.

    Attributes:
        hear_calls: Whether anybody listens for calls that begin or end.
        hear_hooks: Whether anybody listens for hooks that do.

    Raises:
        TypeError: One is not an observer, or has an async method, which nobody would wait for.
    """

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._all: tuple[Observer, ...] = ()
        self.add(*observers)

    def add(self, *observers: Observer) -> None:
        """Tell these, too: of the calls of connections that begin from now on, and of all else.

        Raises:
            TypeError: One is not an observer, or has an async method, which nobody would wait for.
        """
        for each in observers:
            _check(each)
        self._all += observers

        def listening(name: str) -> tuple[Listener[T], ...]:
            return tuple(
                getattr(each, name)
                for each in self._all
                if getattr(type(each), name) is not getattr(Observer, name)
            )

        self._opened: tuple[Listener[ObservedConnection], ...] = listening("connection_opened")
        self._closed: tuple[Listener[ObservedConnection], ...] = listening("connection_closed")
        self._hook_began: tuple[Listener[ObservedCall], ...] = listening("hook_began")
        self._hook_ended: tuple[Listener[ObservedCall], ...] = listening("hook_ended")
        self._began: tuple[Listener[ObservedCall], ...] = listening("call_began")
        self._ended: tuple[Listener[ObservedCall], ...] = listening("call_ended")
        self._refused: tuple[Listener[ObservedCall], ...] = listening("call_refused")
        self.hear_calls = bool(self._began or self._ended)
        self.hear_hooks = bool(self._hook_began or self._hook_ended)

    def connection_opened(self, connection: ObservedConnection) -> None:
        """Tell of a connection that has begun."""
        _tell(self._opened, connection)

    def connection_closed(self, connection: ObservedConnection) -> None:
        """Tell of a connection that has ended."""
        _tell(self._closed, connection)

    def hook_began(self, connection_id: str, name: str) -> ObservedCall | None:
        """Tell of a hook that is about to be called; :meth:`hook_ended` takes what this gives."""
        if not self.hear_hooks:
            return None
        call = ObservedCall(connection_id, "", name, 0)
        _tell(self._hook_began, call)
        return call

    def hook_ended(
        self, call: ObservedCall | None, error: Exception | None, *, cancelled: bool = False
    ) -> None:
        """Tell of a hook that has ended; as :meth:`call_ended`."""
        if call is not None:
            call.note_end(error, cancelled=cancelled)
            _tell(self._hook_ended, call)

    def call_began(
        self,
        connection_id: str | None,
        id: str,
        target: str,
        arguments: Raw,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> ObservedCall:
        """Tell of a call that is about to begin; :meth:`call_ended` takes what this gives."""
        call = ObservedCall(connection_id, id, target, memoryview(arguments).nbytes, headers)
        _tell(self._began, call)
        return call

    def call_ended(self, call: ObservedCall, error: Exception | None, *, cancelled: bool = False) -> None:
        """Tell of a call that has ended.

        Args:
            call: The call.
            error: What it has failed with.
            cancelled: Whether that was since it was cancelled.
        """
        call.note_end(error, cancelled=cancelled)
        _tell(self._ended, call)

    def call_refused(self, connection_id: str | None, id: str, target: str, error: Exception) -> None:
        """Tell of a call that does not begin."""
        if self._refused:
            call = ObservedCall(connection_id, id, target, 0, outcome=Outcome.REFUSED, error=error)
            _tell(self._refused, call)


def _check(observer: object) -> None:
    if not isinstance(observer, Observer):
        raise TypeError(f"an observer is an instance of Observer, which {observer!r} is not")
    for name in vars(Observer):
        if iscoroutinefunction(getattr(observer, name)):
            raise TypeError(f"{type(observer).__qualname__}.{name} must not be async: observers do not wait")


def _tell(listeners: Sequence[Listener[T]], event: T) -> None:
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("an observer failed at %s", getattr(listener, "__qualname__", listener))


NOBODY = Observers()
"""Where nobody listens."""
