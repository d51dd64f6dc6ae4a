"""Whatever comes in, the front door answers it, or logs a line; it never raises."""

import logging

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from trio_hubs.connections.http_server import HttpServer

from .http_peer import BAD_REQUESTS, BAD_UPGRADES, LOGGER, ODD_UPGRADES, ROUTES, request, upgrade
from .websocket_peer import BAD_FRAMES, PATIENCE

lanes = pytest.mark.parametrize("express", [True, False], ids=["express", "plain"])

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(list(BAD_REQUESTS.values())),
    st.sampled_from([*BAD_UPGRADES.values(), *ODD_UPGRADES.values()]),
    st.sampled_from(
        [upgrade(), upgrade("/nowhere"), request("GET", "/describe"), request("POST", "/describe", b"x")]
    ),
    st.sampled_from(
        [b"\r\n", b"\r\n\r\n", b"GET ", b" HTTP/1.1\r\n", b"Host: a\r\n", b"Upgrade: websocket\r\n"]
    ),
    st.sampled_from([bad(True) for bad in BAD_FRAMES.values()]),
)


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for place, byte in changes:
        changed[place % len(data)] = byte
    return bytes(changed)


CHANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4)
MUTATED = st.builds(mutated, st.sampled_from([upgrade(), request("POST", "/describe", b"body")]), CHANGES)


class Lines(logging.Handler):
    """Notes what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def serve_once(data: bytes, *, express: bool = True) -> tuple[bytes, list[logging.LogRecord]]:
    """Let a client say this and leave; what it was answered, and what was logged."""
    near, far = memory_stream_pair()
    logger, lines = logging.getLogger(LOGGER), Lines()
    logger.addHandler(lines)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with trio.fail_after(PATIENCE):
            await far.send_all(data)
            await far.send_eof()
            await HttpServer(ROUTES, express=express).serve_stream(near)
        received = b""
        while more := await far.receive_some():
            received += more
        return received, lines.records
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)


@lanes
@given(data=st.one_of(st.lists(PIECES, min_size=1, max_size=4).map(b"".join), MUTATED))
@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_in_is_answered_or_logged_and_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve_once(data, express=express)
        assert received.startswith(b"HTTP/1.1 ") or records or not data.strip(b"\r\n")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))


@lanes
@given(
    data=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([bad(True) for bad in BAD_FRAMES.values()]))
    ).map(b"".join)
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_whatever_comes_in_on_a_websocket_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve_once(upgrade() + data, express=express)
        assert received.startswith(b"HTTP/1.1 101 ")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))
