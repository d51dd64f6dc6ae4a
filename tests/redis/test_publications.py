"""Whoever waits for the count of what is published learns how it went, whatever Redis answers."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
from coredis.connection import BaseConnection
from coredis.exceptions import MovedError
from trio.testing import MockClock

from trio_hubs.errors import BackplaneError
from trio_hubs.redis.nodes import Server
from trio_hubs.redis.publications import Publication, Publications


class MovingConnection:
    """Says of everything that it is another node's."""

    async def create_request_batch(self, batch: Sequence[object], timeout: float) -> list[MovedError]:
        return [MovedError("5 127.0.0.1:7001") for _ in batch]


async def test_a_single_server_that_says_moved_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    server = Server(cast("Any", None))
    publications = Publications(lambda: None, lambda _, error: server.note_moved(None, error))
    counted = trio.Event()
    publication = Publication(b"SPUBLISH", b"channel", b"data", counted)
    publications.put(publication)
    with pytest.raises(MovedError):
        await publications.run(cast("BaseConnection", MovingConnection()))
    assert publications.lose() == 1
    assert counted.is_set()
    assert isinstance(publication.outcome, BackplaneError)
    assert publications.bytes == 0
