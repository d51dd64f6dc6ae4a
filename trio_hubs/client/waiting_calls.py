"""Calls that wait until a lost connection is regained: what they shall send is bounded, in bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import ConnectionClosed
from ..protocol.payloads import Payloads

CALL_SIZE = 1024
"""Bytes that a call counts for, besides its arguments."""


class WaitingCalls:
    """Counts the calls of one connection that wait.

    Args:
        payloads: Encodes their arguments.
        limit: Bytes that they may count for.
    """

    def __init__(self, payloads: Payloads, limit: int) -> None:
        self._payloads = payloads
        self._limit = limit
        self._size = 0

    @contextmanager
    def one_more(self, args: Sequence[Any]) -> Iterator[None]:
        """Hold this open while a call with these arguments waits; its uploads do not count.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: There is no room for it.
        """
        plain = [arg for arg in args if not isinstance(arg, AsyncIterable)]
        size = CALL_SIZE + len(self._payloads.dump_arguments(plain))
        if self._size + size > self._limit:
            raise ConnectionClosed(
                f"The connection is lost, and calls of {self._size} bytes wait for it already: there is no room for "
                f"{size} more within {self._limit}."
            )
        self._size += size
        try:
            yield
        finally:
            self._size -= size
