"""Our client's handshake: what it takes for an answer, how long it waits, and how it marks what it sends."""

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.connections.websocket.websocket_peer import BINARY, CLOSE, TEXT, Peer, acceptance, connected_to
from tests.hub_peer import PROTOCOLS, RawServer, no_task_left, open_raw_server
from tests.messages import call, credit, encode, stream
from trio_hubs import HandshakeError, HubConnectionOptions, open_hub_connection
from trio_hubs.client.opening import open_over

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'{"error":"no"}\x1e', "Unable to complete handshake with the server due to an error: no"),
        (b'{"type":6}\x1e', "The handshake failed: Expected a handshake response from the server."),
        (b"{oops}\x1e", "The handshake failed: Error reading JSON."),
        (b"7\x1e", "The handshake failed: Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    ],
)
async def test_a_refused_handshake_says_why(autojump_clock: MockClock, answer: bytes, text: str) -> None:
    with no_task_left(), pytest.raises(HandshakeError) as caught:
        async with open_raw_server(answer=answer):
            raise AssertionError
    assert str(caught.value) == text


async def test_a_server_that_leaves_during_the_handshake(autojump_clock: MockClock) -> None:
    server = RawServer()
    server.connection.close()
    with pytest.raises(HandshakeError, match="disconnected before sending a handshake response"):
        async with open_over([server.dial]):
            raise AssertionError


async def test_a_server_that_breaks_off_during_the_handshake(autojump_clock: MockClock) -> None:
    server = RawServer()
    server.leave()
    with pytest.raises(HandshakeError):
        async with open_over([server.dial]):
            raise AssertionError


@pytest.mark.parametrize("sent", [b"", b"{"])
async def test_the_handshake_has_its_time(autojump_clock: MockClock, sent: bytes) -> None:
    server = RawServer()
    if sent:
        await server.send_bytes(sent)
    with no_task_left(), pytest.raises(HandshakeError, match="within 7 s"):
        async with open_over([server.dial], options=HubConnectionOptions(handshake_timeout=7.0)):
            raise AssertionError
    assert trio.current_time() == pytest.approx(7.0)


@both_protocols
async def test_a_call_in_the_piece_of_the_handshakes_answer_is_heard(
    autojump_clock: MockClock, protocol: str
) -> None:
    heard: list[int] = []
    answer = b'{"minorVersion":1}\x1e' + encode(protocol, call("Heard", 5))
    async with open_raw_server(protocol, answer=answer, handlers={"Heard": heard.append}):
        await trio.testing.wait_all_tasks_blocked()
    assert heard == [5]


async def test_an_answer_in_single_bytes_works(autojump_clock: MockClock) -> None:
    server = RawServer()
    for byte in b"{}\x1e":
        await server.send_bytes(bytes([byte]))
    async with open_over([server.dial]) as connection:
        assert connection.connection_id == "memory"


@pytest.mark.parametrize("too_much", [0, 1])
async def test_the_answer_to_the_handshake_has_64_kib(autojump_clock: MockClock, too_much: int) -> None:
    answer = b"{}" + b" " * (65_533 + too_much) + b"\x1e"
    with pytest.raises(HandshakeError) if too_much else nullcontext():
        async with open_raw_server(answer=answer):
            pass


async def test_a_type_of_0_is_no_message_but_an_answer(autojump_clock: MockClock) -> None:
    async with open_raw_server(answer=b'{"type":0}\x1e') as (connection, _):
        assert connection.connection_id == "memory"


@pytest.mark.parametrize(("protocol", "first"), [("json", TEXT), ("messagepack", BINARY)])
async def test_frames_are_marked_as_the_protocol_is(
    autojump_clock: MockClock, protocol: Any, first: int
) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far, client=False)
    marks: list[int] = []

    async def serve() -> None:
        await peer.send(acceptance(await peer.head()))
        marks.append((await peer.next_frame())[0])
        await peer.send(peer.frame(first, b"{}\x1e"))
        frames = await peer.rest()
        assert frames[-1][0] == CLOSE
        marks.extend(mark for mark, _ in frames[:-1])

    with connected_to(near):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_hub_connection(
                "http://raw/hub", protocol=protocol, skip_negotiation=True
            ) as connection:
                await connection.send("Note")
            await near.aclose()
    assert len(marks) > 2  # the handshake's, and those of what follows
    assert set(marks) == {first}


@both_protocols
@pytest.mark.parametrize(
    "answer", [b"{}", b'{"streamCredits":0}', b'{"streamCredits":"1"}', b'{"streamCredits":1}']
)
async def test_credits_are_agreed_on_with_servers_that_know_them(
    autojump_clock: MockClock, protocol: str, answer: bytes
) -> None:
    async with (
        open_raw_server(protocol, answer=answer + b"\x1e") as (connection, server),
        connection.stream("Count", item_type=int, capacity=7),
    ):
        agreed = [credit("1", 7)] if answer == b'{"streamCredits":1}' else []
        assert await server.arrived() == [stream("Count"), *agreed]
