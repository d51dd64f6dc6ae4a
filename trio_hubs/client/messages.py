"""Readers of what the server calls, for those who would rather wait for it than have a handler called.

A reader takes part in nothing of a handler's: it has no turn, keeps no handler waiting, and answers nobody. It
outlives links: what comes by the next one goes on where the last one broke off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

from msgspec import Raw

from ..calls.channels import ChannelReader
from ..calls.incoming import IncomingStreams
from ..calls.policies import ReaderPolicy
from ..calls.reading import Reading
from ..calls.unread import ItemLoader
from ..errors import BindingError, ConnectionClosed
from ..logs import get_logger
from ..protocol.payloads import Payloads

logger = get_logger(__name__)


class MessageReaders:
    """The readers of one hub connection.

    Args:
        payloads: Decodes what they read.
        ignore_extra_arguments: Whether a call may have more arguments than a reader has types.
    """

    _incoming: IncomingStreams  # from the first link on

    def __init__(self, payloads: Payloads, *, ignore_extra_arguments: bool) -> None:
        self._payloads = payloads
        self._extra = ignore_extra_arguments
        self._numbers = count(1)
        self._readers: dict[str, list[str]] = {}  # their numbers, by name

    # ---- links

    def move(self, reading: Reading) -> None:
        """There is another link: what lies unread counts for that, and so do those who wait."""
        if hasattr(self, "_incoming"):
            self._incoming.move(reading)
        else:
            self._incoming = IncomingStreams(reading, self._payloads)

    def waiting(self) -> AbstractContextManager[None]:
        """Hold this open while a task waits for something of the server's, on the link of the moment."""
        return self._incoming.reading.waiting()

    def fail(self, error: ConnectionClosed) -> None:
        """There will be no other link: the readers fail, after what has come."""
        if hasattr(self, "_incoming"):
            self._incoming.fail_all(error)

    # ---- messages

    def hear(self, target: str, arguments: Raw) -> bool:
        """Give a call's arguments to the readers of its name; whether there are any."""
        numbers = self._readers.get(target)
        if not numbers:
            return False
        for number in numbers:
            self._incoming.feed(number, [arguments])
        return True

    @contextmanager
    def open(
        self, name: str, types: Sequence[Any], capacity: int, policy: ReaderPolicy
    ) -> Iterator[ChannelReader[Any]]:
        """Read the calls of a name from now on, for the body."""
        load, split = self._loader(types), self._payloads.split

        def load_many(joined: bytes) -> list[Any]:
            return [load(arguments) for arguments in split(joined)]

        def leave_out(error: BindingError) -> None:
            logger.warning("a message of %.100r does not fit its reader: %s", name, error)

        number = f"{next(self._numbers)}"
        stream = self._incoming.open(number, ItemLoader(load_many, load, leave_out), capacity, policy)
        numbers = self._readers.setdefault(name, [])
        numbers.append(number)
        try:
            yield stream.reader
        finally:
            numbers.remove(number)
            self._incoming.forget(stream)

    def _loader(self, types: Sequence[Any]) -> Callable[[Raw], Any]:
        """What makes of a call's arguments what a reader gets: the one that it has a type for, or a tuple."""
        load = (
            self._payloads.arguments_loader(types, extra=self._extra)
            if types
            else self._payloads.variadic_loader(Any)
        )
        if len(types) == 1:
            return lambda arguments: load(arguments)[0]
        return lambda arguments: tuple(load(arguments))
