"""A hub's handshake: what is accepted, what is refused and with which text, and how long it may take."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, RawClient, members_of, no_task_left, open_client, served_hub
from tests.messages import call, encode, result
from trio_hubs import HandshakeError, Hub
from trio_hubs.protocol.hub_protocol import TransferFormat

from .calls_hub import Calls

UNEXPECTED = "An unexpected error occurred during connection handshake."


async def hello(client: RawClient, *pieces: bytes) -> dict[str, Any]:
    """Send the pieces of a handshake request, each when the one before has been read; the server's answer."""
    for piece in pieces:
        await client.send_bytes(piece)
        await trio.testing.wait_all_tasks_blocked()
    return await client.receive_record()


def request(protocol: object, version: object = 1) -> bytes:
    return json.dumps({"protocol": protocol, "version": version}).encode() + b"\x1e"


@pytest.mark.parametrize("name", ["json", "messagepack", "JSON", "MessagePack"])
async def test_a_protocol_is_known_in_any_letter_case(autojump_clock: MockClock, name: str) -> None:
    async with open_client(Calls, name.lower(), handshake=False) as client:
        assert await hello(client, request(name)) == {}
        await client.send(call("Add", 40, 2, id="1"))
        assert await client.receive() == result("1", 42)


@pytest.mark.parametrize("version", [-1, 0, 1, 2])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_each_version_up_to_ours_is_accepted(
    autojump_clock: MockClock, protocol: str, version: int
) -> None:
    async with open_client(Calls, protocol, handshake=False) as client:
        assert await hello(client, request(protocol, version)) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_handshake_in_single_bytes_works(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Calls, protocol, handshake=False) as client:
        data = request(protocol)
        assert await hello(client, *[data[at : at + 1] for at in range(len(data))]) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_invocation_in_the_piece_of_the_handshake_works(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Calls, protocol, handshake=False) as client:
        await client.shake_hands(call("Add", 1, 2, id="1"), call("Add", 3, 4, id="2"))
        assert await client.take(2) == [result("1", 3), result("2", 7)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_half_an_invocation_in_the_piece_of_the_handshake_works(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Calls, protocol, handshake=False) as client:
        data = request(protocol) + encode(protocol, call("Add", 1, 2, id="1"))
        assert await hello(client, data[:-5], data[-5:]) == {}
        assert await client.receive() == result("1", 3)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (request("xml"), "The protocol 'xml' is not supported."),
        (request("json", 3), "The server does not support version 3 of the 'json' protocol."),
        (
            request("MessagePack", 9001),
            "The server does not support version 9001 of the 'MessagePack' protocol.",
        ),
        (b"5\x1e", UNEXPECTED),
        (encode("json", call("Add", 1, id="1")), UNEXPECTED),
        (b"\x96\x01\x80\xa1\x31\xa3Add\x91\x01\x90\x1e", UNEXPECTED),
        (b"{\x1e", UNEXPECTED),
        (b"\x1e", UNEXPECTED),
        (b"[" * 20000 + b"\x1e", UNEXPECTED),
    ],
)
async def test_a_handshake_that_fails_is_answered_with_its_text_and_nothing_else(
    autojump_clock: MockClock, sent: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with no_task_left():
        async with open_client(Calls, handshake=False, id="c1") as client:
            assert await hello(client, sent) == {"error": text}
            assert await client.rest() == []
            await client.served()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"connection c1: handshake failed: {HandshakeError(text)!r}" in caplog.text


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"5", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
        (b'"a"', "Unexpected JSON Token Type 'String'. Expected a JSON Object."),
        (b"null", "Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
        (b"[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
        (b"{}", "Missing required property 'protocol'. Message content: {}"),
        (
            b'{"type":1,"target":"Add"}',
            'Missing required property \'protocol\'. Message content: {"type":1,"target":"Add"}',
        ),
        (
            b'{"protocol":"json"}',
            'Missing required property \'version\'. Message content: {"protocol":"json"}',
        ),
        (b'{"protocol":"json","version":"1"}', "Expected 'version' to be of type Number."),
        (b'{"protocol":null,"version":1}', "Expected 'protocol' to be of type String."),
    ],
)
async def test_with_detailed_errors_a_bad_handshake_says_what_is_wrong(
    autojump_clock: MockClock, sent: bytes, text: str
) -> None:
    async with open_client(Calls, handshake=False, detailed_errors=True) as client:
        answer = await hello(client, sent + b"\x1e")
        assert answer == {"error": f"{UNEXPECTED} ProtocolError: {text}"}


@pytest.mark.parametrize("sent", [b"", b'{"protocol":'])
async def test_a_handshake_has_its_time_and_no_longer(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_client(Calls, handshake=False, handshake_timeout=7.0) as client:
        if sent:
            await client.send_bytes(sent)
        before = trio.current_time()
        assert await client.receive_record() == {"error": "Handshake was canceled."}
        assert trio.current_time() - before == pytest.approx(7.0)
        assert await client.rest() == []


async def test_a_handshake_that_trickles_in_gets_no_more_time(autojump_clock: MockClock) -> None:
    async with open_client(Calls, handshake=False, handshake_timeout=7.0) as client:
        for byte in request("json")[:10]:
            await client.send_bytes(bytes([byte]))
            await trio.sleep(1)
        assert await client.receive_record() == {"error": "Handshake was canceled."}
        assert trio.current_time() == pytest.approx(10.0)


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("sent", [b"{" + b" " * 100, b"{" + b" " * 100 + request("json")[1:]])
async def test_an_oversize_handshake_is_canceled(
    autojump_clock: MockClock, sent: bytes, detailed: bool
) -> None:
    async with open_client(
        Calls, handshake=False, maximum_message_size=100, detailed_errors=detailed
    ) as client:
        assert await hello(client, sent) == {"error": "Handshake was canceled."}
        assert await client.rest() == []


async def test_a_handshake_of_just_the_limit_is_accepted(autojump_clock: MockClock) -> None:
    data = request("json")
    async with open_client(Calls, handshake=False, maximum_message_size=len(data)) as client:
        assert await hello(client, data) == {}


@pytest.mark.parametrize("too_much", [0, 1])
@pytest.mark.parametrize("whole", [False, True])
async def test_where_messages_may_have_any_size_a_handshake_has_64_kib(
    autojump_clock: MockClock, whole: bool, too_much: int
) -> None:
    data = request("json")
    data = data[:-1] + b" " * (65_536 + too_much - len(data)) + data[-1:]
    async with open_client(Calls, handshake=False, maximum_message_size=None) as client:
        answer = await hello(client, *((data,) if whole else (data[:-1], data[-1:])))
        assert answer == ({"error": "Handshake was canceled."} if too_much else {})


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("sent", [b"", request("json")[:-1]])
async def test_a_client_that_leaves_before_its_handshake_is_whole_gets_no_answer(
    autojump_clock: MockClock, sent: bytes, cut: bool
) -> None:
    with no_task_left():
        async with open_client(Calls, handshake=False) as client:
            if sent:
                await client.send_bytes(sent)
            if cut:
                client.leave()
            else:
                client.connection.close()
                with pytest.raises(trio.EndOfChannel):
                    await client.receive_record()
            await client.served()


async def test_a_protocol_needs_a_transport_that_carries_its_format(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trio_hubs.connections.memory.MemoryConnection.transfer_formats", frozenset([TransferFormat.TEXT])
    )
    async with open_client(Calls, handshake=False) as client:
        assert await hello(client, request("messagepack")) == {
            "error": "Cannot use the 'messagepack' protocol on the current transport. "
            "The transport does not support 'Binary' transfer format."
        }
    async with open_client(Calls) as client:
        await client.send(call("Add", 1, id="1"))
        assert await client.receive() == result("1", 2)


async def test_no_hub_hears_of_a_handshake_that_failed(autojump_clock: MockClock) -> None:
    heard: list[str] = []

    class Listening(Hub):
        async def on_connected(self) -> None:
            heard.append("connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            heard.append("disconnected")

    served = served_hub(Listening)
    async with open_client(served, handshake=False) as client:
        await hello(client, request("xml"))
        await client.served()
    assert heard == []
    assert not members_of(served).by_id


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("offered", "answer"),
    [(b"1", {"streamCredits": 7}), (b"0", {}), (b"null", {}), (b'"1"', {}), (b"{}", {}), (b"1e99", {})],
)
async def test_credits_are_agreed_on_with_clients_that_offer_them(
    autojump_clock: MockClock, protocol: str, offered: bytes, answer: dict[str, int]
) -> None:
    data = request(protocol)[:-2] + b',"streamCredits":' + offered + b"}\x1e"
    async with open_client(Calls, protocol, handshake=False, stream_buffer_capacity=7) as client:
        assert await hello(client, data) == answer
        await client.send(call("Add", 40, 2, id="1"))
        assert await client.receive() == result("1", 42)
