"""Whatever comes in, in whatever pieces, the front door answers it, or logs a line; it never raises.

What is in order reaches its handler as it was sent, one request after another.
"""

import logging
import re
from collections.abc import Sequence
from urllib.parse import quote

import attrs
import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.server.http_peer import (
    BAD_REQUESTS,
    BAD_UPGRADES,
    LOGGER,
    ODD_UPGRADES,
    ROUTES,
    Answer,
    describe,
    fail,
    request,
    server,
    upgrade,
)
from tests.connections.websocket.websocket_peer import BAD_FRAMES, PATIENCE
from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import Answering
from trio_hubs.logs import peer_filter

from .pieces import PLACES, cut, examples, mutations, singly

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


MUTATED = mutations(
    st.sampled_from([upgrade(), request("POST", "/describe", b"body"), request("GET", "/describe") * 2]),
    st.one_of(st.binary(max_size=3), st.sampled_from([b"\r", b"\n", b"\r\n", b":", b" ", b"Host: b\r\n"])),
)
ANYTHING = st.one_of(st.lists(PIECES, min_size=1, max_size=4).map(b"".join), MUTATED)


class Lines(logging.Handler):
    """Notes what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def serve(
    pieces: Sequence[bytes], routes: dict[str, Answering] = ROUTES, *, express: bool = True
) -> tuple[bytes, list[logging.LogRecord]]:
    """Let a client say this and leave; what it was answered, and what was logged."""
    peer_filter._periods.clear()  # of a line's kind not all are told, but for those of one example
    near, far = memory_stream_pair()
    logger, lines = logging.getLogger(LOGGER), Lines()
    logger.addHandler(lines)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server(routes, express=express).serve_stream, near)
                for piece in pieces:
                    await wait_all_tasks_blocked()
                    try:
                        await far.send_all(piece)
                    except trio.BrokenResourceError:
                        break
                else:
                    await far.send_eof()
        received = b""
        while more := await far.receive_some():
            received += more
        return received, lines.records
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)


@lanes
@given(data=ANYTHING)
@examples(2)
def test_whatever_comes_in_is_answered_or_logged_and_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve([data], express=express)
        assert received.startswith(b"HTTP/1.1 ") or records or not data.strip(b"\r\n")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))


@lanes
@given(
    data=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([bad(True) for bad in BAD_FRAMES.values()]))
    ).map(b"".join)
)
@examples(2)
def test_whatever_comes_in_on_a_websocket_raises_nothing(express: bool, data: bytes) -> None:
    async def check() -> None:
        received, records = await serve([upgrade() + data], express=express)
        assert received.startswith(b"HTTP/1.1 101 ")
        assert not [record for record in records if record.levelno >= logging.ERROR]

    trio.run(check, clock=MockClock(autojump_threshold=0))


NO_WEBSOCKETS: dict[str, Answering] = {"/describe": describe, "/fail": fail}
STATUSES = {100, 200, 400, 404, 405, 413, 431, 500, 501}


@given(data=ANYTHING, places=PLACES)
def test_the_answers_are_the_same_in_any_pieces(data: bytes, places: list[int]) -> None:
    async def answers(pieces: Sequence[bytes]) -> bytes:
        received, _ = await serve(pieces, NO_WEBSOCKETS)
        return re.sub(rb"\r\ndate: [^\r]*", b"", received, flags=re.IGNORECASE)

    async def check() -> None:
        whole = await answers([data])
        assert {int(status) for status in re.findall(rb"^HTTP/1.1 (\d+) ", whole)} <= STATUSES
        assert await answers(cut(data, places)) == whole
        if len(data) < 500:
            assert await answers(singly(data)) == whole

    trio.run(check, clock=MockClock(autojump_threshold=0))


# ---- requests in order


@attrs.frozen
class Asked:
    """A request, and how its body is sent."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[int] | None
    trailer: bool

    @property
    def target(self) -> str:
        query = "&".join(f"{quote(name)}={quote(text)}" for name, text in self.query)
        return quote(self.path) + (f"?{query}" if query else "")

    @property
    def data(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", "hOST: example"]
        lines += [f"{name}:{text}" for name, text in self.headers]
        body = self.body
        if self.chunks is not None:
            lines.append("Transfer-Encoding: Chunked")
            chunks = [b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in cut(self.body, self.chunks)]
            body = b"".join(chunks) + b"0\r\n" + (b"X-Trailer: a\r\n" if self.trailer else b"") + b"\r\n"
        elif body or self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join((*lines, "", "")).encode("latin-1") + body

    def is_like(self, request: Request) -> bool:
        headers: dict[str, list[str]] = {}
        for name, text in self.headers:
            headers.setdefault(name.lower(), []).append(text.strip(" \t"))
        query: dict[str, list[str]] = {}
        for name, text in self.query:
            query.setdefault(name.lower(), []).append(text)
        return (
            (request.method, request.path, request.body) == (self.method, self.path, self.body)
            and all(request.headers[name] == ",".join(texts) for name, texts in headers.items())
            and all(request.query[name] == ",".join(texts) for name, texts in query.items())
            and len(request.query) == len(query)
            and request.headers["host"] == "example"
        )


NAMES = st.sampled_from(["X-A", "x-a", "X-B", "Accept", "Origin", "x-!#$%&'*+.^_`|~1"])
SPACES = st.sampled_from(["", " ", "\t", "  \t "])
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)
FIELDS = st.tuples(
    NAMES, st.tuples(SPACES, WORDS, st.sampled_from(["", " ", "\xe9"]), WORDS, SPACES).map("".join)
)
ASKED = st.builds(
    Asked,
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=6).map(lambda text: f"/{text}"),
    st.lists(st.tuples(st.text("abcAB", min_size=1, max_size=2), st.text(max_size=4)), max_size=3),
    st.lists(FIELDS, max_size=4),
    st.one_of(st.just(b""), st.binary(max_size=40), st.just(b"GET / HTTP/1.1\r\n\r\n")),
    st.one_of(st.none(), PLACES),
    st.booleans(),
)


def read_answers(received: bytes, asked: Sequence[Asked]) -> list[Answer]:
    """One well-formed answer for each request, and nothing else."""
    answers: list[Answer] = []
    for one in asked:
        wire = h11.Connection(h11.CLIENT)
        wire.send(h11.Request(method=one.method, target="/", headers=[("Host", "a")]))
        wire.send(h11.EndOfMessage())
        wire.receive_data(received)
        head, body = wire.next_event(), b""
        assert isinstance(head, h11.Response)
        while isinstance(part := wire.next_event(), h11.Data):
            body += part.data
        assert isinstance(part, h11.EndOfMessage)
        received = bytes(wire.trailing_data[0])
        headers = {name.decode(): text.decode() for name, text in head.headers}
        answers.append(Answer(head.status_code, headers, body))
    assert not received
    return answers


@given(asked=st.lists(ASKED, max_size=4), places=PLACES)
def test_requests_in_order_reach_their_handler_as_they_were_sent(
    asked: list[Asked], places: list[int]
) -> None:
    seen: list[Request] = []

    async def note(request: Request) -> Response:
        seen.append(request)
        return Response(f"{len(seen)}")

    async def check() -> None:
        data = b"".join(one.data for one in asked)
        received, _ = await serve(cut(data, places), {one.path: note for one in asked})
        assert len(seen) == len(asked)
        assert all(one.is_like(request) for one, request in zip(asked, seen, strict=True))
        for number, (one, answer) in enumerate(zip(asked, read_answers(received, asked), strict=True), 1):
            assert answer.status == 200
            assert answer.body == (b"" if one.method == "HEAD" else b"%d" % number)

    trio.run(check, clock=MockClock(autojump_threshold=0))
