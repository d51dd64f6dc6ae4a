"""The WebSocket as a client's transport: opened for good, or refused at once with the reason, and nothing stays."""

import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair

from tests.connections.websocket.websocket_peer import (
    CLOSE,
    TEXT,
    BreakingStream,
    Peer,
    acceptance,
    connected_to,
)
from trio_hubs import Connection, ConnectionClosed, ConnectionOptions, open_connection

Answer = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
) -> AsyncGenerator[Connection]:
    """Open a WebSocket at once."""
    options = ConnectionOptions(connect_timeout=timeout)
    async with open_connection(
        url, headers=headers, ssl_context=ssl_context, skip_negotiation=True, options=options
    ) as connection:
        yield connection


async def receive_all(connection: Connection, size: int) -> bytes:
    """So many bytes, and not one more."""
    received = b""
    while len(received) < size:
        data = await connection.receive()
        assert data, "the connection ended"
        received += data
    assert len(received) == size
    return received


@asynccontextmanager
async def open_against(
    answer: Answer, *, url: str = "http://example/chat", timeout: float = 30.0
) -> AsyncGenerator[tuple[Connection, Peer]]:
    """Open a client's WebSocket against a server that answers in its own way."""
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near):
            async with open_websocket(url, timeout=timeout) as connection:
                yield connection, peer


async def refusal(answer: Answer) -> str:
    """What a client says of a server that does not open the WebSocket; its stream is closed then."""
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near), trio.fail_after(100), pytest.raises(ConnectionClosed) as caught:
            async with open_websocket("http://example/chat"):
                raise AssertionError
        nursery.cancel_scope.cancel()
    assert await is_closed(far)
    return str(caught.value)


async def is_closed(far: trio.abc.Stream) -> bool:
    """Whether the other end has closed the stream; reads what it has sent."""
    with trio.move_on_after(0.001):
        while await far.receive_some():
            pass
        return True
    return False


def says(data: bytes) -> Answer:
    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(data)

    return answer


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n", "HTTP/1.1 401 Unauthorized"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", "HTTP/1.0 101 Switching Protocols"),
    ],
    ids=["404", "200", "401", "old"],
)
async def test_a_server_that_answers_otherwise_is_quoted(
    data: bytes, line: str, autojump_clock: MockClock
) -> None:
    said = await refusal(says(data))
    assert said == f"The server did not open a WebSocket at http://example/chat: it answered '{line}'."
    assert autojump_clock.current_time() < 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "SSH-2.0-OpenSSH_9.6"),
        (b"\xff\x00 garbage\r\n\r\n", "garbage"),
        (b"x" * 110_000, "too long"),
        (b"HTTP/1.1 101 Switching Protocols\r\nno header\r\n\r\n", "no header"),
        (b"HTTP/1.1 1010\r\n\r\n", "1010"),
        (b"HTTP/1.1 101" + b"x" * 110_000, "too long"),
    ],
    ids=["ssh", "garbage", "endless", "bad header", "bad status", "endless acceptance"],
)
async def test_a_server_that_does_not_speak_http_is_quoted(
    data: bytes, text: str, autojump_clock: MockClock
) -> None:
    said = await refusal(says(data))
    assert said.startswith(
        "The server did not open a WebSocket at http://example/chat: it did not answer in HTTP: "
    )
    assert text in said
    assert len(said) < 400
    assert autojump_clock.current_time() < 1


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2Ugc29tZXRo\r\n\r\n",
    ],
    ids=["bare", "no accept", "wrong accept"],
)
async def test_an_acceptance_that_is_none_fails_at_once(data: bytes, autojump_clock: MockClock) -> None:
    said = await refusal(says(data))
    assert said.startswith(
        "The server did not open a WebSocket at http://example/chat: it answered 'HTTP/1.1 101"
    )
    assert autojump_clock.current_time() < 1


@pytest.mark.parametrize("header", [b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: deflate"])
async def test_what_was_not_asked_for_is_not_accepted(header: bytes, autojump_clock: MockClock) -> None:
    async def answer(peer: Peer) -> None:
        await peer.send(acceptance(await peer.head()).replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n"))

    await refusal(answer)
    assert autojump_clock.current_time() < 1


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "disconnected without"), (b"HTTP/1.1 101 Switch", "disconnected without")],
    ids=["before", "within"],
)
async def test_a_server_that_hangs_up_fails_at_once(
    data: bytes, text: str, autojump_clock: MockClock
) -> None:
    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.send(data)
        await peer.stream.aclose()

    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, peer)
        with connected_to(near), pytest.raises(ConnectionClosed, match=text):
            async with open_websocket("http://example/chat"):
                raise AssertionError
    assert autojump_clock.current_time() < 1


async def test_a_server_that_resets_fails_at_once(autojump_clock: MockClock) -> None:
    inner, _far = memory_stream_pair()
    near = BreakingStream(inner)
    near.broken.set()
    with connected_to(near), pytest.raises(ConnectionClosed, match="http://example/chat"):
        async with open_websocket("http://example/chat"):
            raise AssertionError
    assert autojump_clock.current_time() < 1


@pytest.mark.parametrize("pause", [1000, 0.7], ids=["nothing", "byte by byte"])
async def test_a_silent_or_slow_server_has_until_the_timeout(pause: float, autojump_clock: MockClock) -> None:
    async def answer(peer: Peer) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in acceptance(await peer.head()):
                await trio.sleep(pause)
                await peer.send(bytes((byte,)))

    assert "within 30 s" in await refusal(answer)
    assert 30 <= autojump_clock.current_time() < 31


async def test_an_answer_in_pieces_opens_the_websocket(autojump_clock: MockClock) -> None:
    async def answer(peer: Peer) -> None:
        data = acceptance(await peer.head()) + peer.frame(TEXT, b"early") + peer.frame(TEXT, b"bird")[:3]
        for start in range(0, len(data), 11):
            await peer.send(data[start : start + 11])
            await trio.sleep(0.1)
        await peer.send(peer.frame(TEXT, b"bird")[3:])
        await peer.send_close()

    async with open_against(answer) as (connection, _):
        assert await receive_all(connection, 9) == b"earlybird"
        assert await connection.receive() == b""


async def test_the_request_names_what_the_url_and_the_headers_say(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    heads: list[bytes] = []

    async def answer() -> None:
        heads.append(await peer.head())
        await peer.send(acceptance(heads[0]))
        await peer.send_close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with connected_to(near) as places:
            url = "http://example:8000/chat/room?id=a%20b&x=1"
            async with open_websocket(url, headers={"X-Test": "yes"}) as connection:
                assert connection.id is None
                assert connection.request.path == "/chat/room"
    assert places == [("example", 8000)]
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /chat/room?id=a%20b&x=1 HTTP/1.1"
    assert b"Host: example:8000" in lines
    assert b"X-Test: yes" in lines
    assert b"Sec-WebSocket-Version: 13" in lines


@pytest.mark.parametrize(
    ("url", "place", "line", "host"),
    [
        ("http://example", ("example", 80), b"GET / HTTP/1.1", b"Host: example"),
        ("ws://example:80/a", ("example", 80), b"GET /a HTTP/1.1", b"Host: example"),
        ("http://[::1]:8000/a", ("::1", 8000), b"GET /a HTTP/1.1", b"Host: [::1]:8000"),
        ("http://[::1]/a", ("::1", 80), b"GET /a HTTP/1.1", b"Host: [::1]"),
        ("http://example/ch\u00e4t", ("example", 80), b"GET /ch%C3%A4t HTTP/1.1", b"Host: example"),
    ],
)
async def test_where_a_url_leads(
    url: str, place: tuple[str, int], line: bytes, host: bytes, autojump_clock: MockClock
) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)

    async def answer() -> None:
        head = await peer.head()
        assert head.split(b"\r\n")[0] == line
        assert host in head.split(b"\r\n")
        await peer.send(acceptance(head))
        await peer.send_close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with connected_to(near) as places:
            async with open_websocket(url):
                assert places == [place]


async def test_a_server_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def open_tcp_stream(host: str, port: int, **_: object) -> trio.SocketStream:
        raise OSError("nobody home")

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(ConnectionClosed, match=r"cannot connect to example:80: nobody home\.$"):
        async with open_websocket("http://example/chat"):
            raise AssertionError


async def test_connecting_has_until_the_timeout(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def open_tcp_stream(host: str, port: int, **_: object) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(ConnectionClosed, match=r"^Cannot connect to http://example/chat within 7 s\.$"):
        async with open_websocket("http://example/chat", timeout=7):
            raise AssertionError
    assert autojump_clock.current_time() == 7


async def test_a_cancelled_opening_closes_the_stream(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    with connected_to(near), trio.move_on_after(1) as scope:
        async with open_websocket("http://example/chat"):
            raise AssertionError
    assert scope.cancelled_caught
    assert await is_closed(far)


# ---- TLS


async def answer_close(peer: Peer) -> None:
    """Answer the other side's close frame."""
    while (await peer.next_frame())[0] != CLOSE:
        pass
    await peer.send_close()


@asynccontextmanager
async def serve_tls(name: str) -> AsyncGenerator[tuple[trio.abc.Stream, ssl.SSLContext]]:
    """A server in memory that echoes one piece; gives the client's stream and a context that trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    near, far = memory_stream_pair()

    async def serve() -> None:
        stream = trio.SSLStream(far, server, server_side=True, https_compatible=True)
        peer = Peer(stream, client=False)
        try:
            await peer.send(acceptance(await peer.head()))
            await peer.send(peer.frame(*await peer.next_frame()))
            await answer_close(peer)
        except (trio.BrokenResourceError, AssertionError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with connected_to(near) as places:
            yield near, client
        assert places == [("example", 443)]


async def test_data_goes_through_tls(autojump_clock: MockClock) -> None:
    async with (
        serve_tls("example") as (_, context),
        open_websocket("https://example/", ssl_context=context) as c,
    ):
        await c.send(b"hello")
        assert await c.receive() == b"hello"


@pytest.mark.parametrize("name", ["example", "another"])
async def test_a_certificate_that_is_not_trusted_fails_at_once(name: str, autojump_clock: MockClock) -> None:
    async with serve_tls(name) as (_, trusting):
        context = ssl.create_default_context() if name == "example" else trusting
        with pytest.raises(ConnectionClosed, match="example"):
            async with open_websocket("wss://example/", ssl_context=context):
                raise AssertionError
    assert autojump_clock.current_time() < 1
