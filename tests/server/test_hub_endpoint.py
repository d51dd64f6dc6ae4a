"""A hub's side of one connection: its handshake, the official texts, and who hears of its coming and going."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import (
    PING,
    PROTOCOLS,
    RawClient,
    call,
    close,
    encode,
    ended,
    endpoint,
    item,
    no_task_left,
    open_client,
    result,
    stream,
)
from trio_hubs import ChannelReader, Hub, HubException, Request, open_channel
from trio_hubs.connections.http import CaseInsensitive
from trio_hubs.protocol.hub_protocol import TransferFormat

UNEXPECTED = "An unexpected error occurred during connection handshake."
CLOSED = "Connection closed with an error."


class Custom(HubException):
    """A subclass, whose name travels."""


class Calls(Hub):
    """One method for every text."""

    def add(self, a: int, b: int = 1) -> int:
        return a + b

    async def fail(self, kind: str) -> None:
        self._fail(kind)

    def fail_inline(self, kind: str) -> None:
        self._fail(kind)

    @staticmethod
    def _fail(kind: str) -> None:
        raise {"hub": HubException("told"), "custom": Custom("told"), "other": KeyError("secret")}[kind]

    async def unwritable(self) -> object:
        return object()

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def fail_after(self, count: int, kind: str) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        self._fail(kind)

    async def unwritable_item(self) -> AsyncIterator[object]:
        yield 1
        yield object()

    def fail_channel(self, kind: str) -> ChannelReader[int]:
        writer, reader = open_channel(int)
        writer.try_write(1)
        try:
            self._fail(kind)
        except (HubException, KeyError) as error:
            writer.complete(error)
        return reader

    def fail_before(self, kind: str) -> ChannelReader[int]:
        self._fail(kind)
        raise AssertionError

    def no_reader(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def no_reader_later(self) -> ChannelReader[int]:
        return None  # type: ignore[return-value]

    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([number async for number in items])


async def hello(client: RawClient, *pieces: bytes) -> dict[str, Any]:
    """Send the pieces of a handshake request, each when the one before has been read; the server's answer."""
    for piece in pieces:
        await client.send_bytes(piece)
        await trio.testing.wait_all_tasks_blocked()
    return await client.receive_record()


def request(protocol: object, version: object = 1) -> bytes:
    return json.dumps({"protocol": protocol, "version": version}).encode() + b"\x1e"


# ---- the handshake


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
    assert f"connection c1: handshake failed: {text}" in caplog.text


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

    served = endpoint(Listening)
    async with open_client(served, handshake=False) as client:
        await hello(client, request("xml"))
        await client.served()
    assert heard == []
    assert not served.roster.sessions


# ---- the official texts

INVOKING = "An unexpected error occurred invoking '{}' on the server."
BINDING = "Failed to invoke '{}' due to an error on the server."
STREAMING = "An error occurred on the server while streaming results."
UNFIT = (
    "Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("message", "name", "base", "detail", "always"),
    [
        (call("Nope", id="1"), "Nope", BINDING, "HubException: Method does not exist.", True),
        (call("nOPE", 1, 2, id="1"), "nOPE", BINDING, "HubException: Method does not exist.", True),
        (stream("Nope"), "Nope", BINDING, "HubException: Method does not exist.", True),
        (call("on_connected", id="1"), "on_connected", BINDING, "HubException: Method does not exist.", True),
        (call("_fail", "hub", id="1"), "_fail", BINDING, "HubException: Method does not exist.", True),
        (call("start_soon", id="1"), "start_soon", BINDING, "HubException: Method does not exist.", True),
        (call("__init__", id="1"), "__init__", BINDING, "HubException: Method does not exist.", True),
        (
            call("add", id="1"),
            "Add",
            BINDING,
            "BindingError: Invocation provides 0 argument(s) but target expects 2.",
            False,
        ),
        (
            call("ADD", 1, 2, 3, id="1"),
            "Add",
            BINDING,
            "BindingError: Invocation provides 3 argument(s) but target expects 2.",
            False,
        ),
        (
            stream("count"),
            "Count",
            BINDING,
            "BindingError: Invocation provides 0 argument(s) but target expects 1.",
            False,
        ),
        (call("add", "x", 2, id="1"), "Add", BINDING, f"BindingError: {UNFIT}", False),
        (call("add", 1, None, id="1"), "Add", BINDING, f"BindingError: {UNFIT}", False),
        (stream("COUNT", "x"), "Count", BINDING, f"BindingError: {UNFIT}", False),
        (call("fail", "hub", id="1"), "Fail", INVOKING, "HubException: told", True),
        (call("fail", "custom", id="1"), "Fail", INVOKING, "Custom: told", True),
        (call("fail", "other", id="1"), "Fail", INVOKING, "KeyError: 'secret'", False),
        (call("fail_inline", "hub", id="1"), "FailInline", INVOKING, "HubException: told", True),
        (call("FailInline", "other", id="1"), "FailInline", INVOKING, "KeyError: 'secret'", False),
        (stream("FailBefore", "hub"), "FailBefore", INVOKING, "HubException: told", True),
        (stream("FailBefore", "other"), "FailBefore", INVOKING, "KeyError: 'secret'", False),
        (stream("FailAfter", 0, "hub"), "", STREAMING, "HubException: told", True),
        (stream("FailAfter", 0, "other"), "", STREAMING, "KeyError: 'secret'", False),
    ],
)
async def test_what_fails_is_answered_with_the_official_text(
    autojump_clock: MockClock,
    protocol: str,
    detailed: bool,
    message: dict[str, Any],
    name: str,
    base: str,
    detail: str,
    always: bool,
) -> None:
    text = base.format(name) + (f" {detail}" if always or detailed else "")
    async with open_client(Calls, protocol, detailed_errors=detailed) as client:
        await client.send(message, call("Add", 1, 1, id="2"))
        answers = sorted(await client.arrived(), key=lambda answer: str(answer["invocationId"]))
        assert answers == [ended("1", text), result("2", 2)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            call("COUNT", 1, id="1"),
            "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
        ),
        (
            stream("add", 1),
            "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.",
        ),
        (
            stream("NoReader"),
            "The value returned by the streaming method 'NoReader' is not a ChannelReader<> or IAsyncEnumerable<>.",
        ),
        (
            stream("NoReaderLater"),
            "The value returned by the streaming method 'NoReaderLater' is not a ChannelReader<> or "
            "IAsyncEnumerable<>.",
        ),
        (
            call("Total", id="1"),
            "An unexpected error occurred invoking 'Total' on the server. HubException: "
            "Client sent 0 stream(s), Hub method expects 1.",
        ),
        (
            call("Total", id="1", uploads=("8", "9")),
            "An unexpected error occurred invoking 'Total' on the server. HubException: "
            "Client sent 2 stream(s), Hub method expects 1.",
        ),
        (
            call("Add", 1, id="1", uploads=("9",)),
            "An unexpected error occurred invoking 'Add' on the server. HubException: "
            "Client sent 1 stream(s), Hub method expects 0.",
        ),
    ],
)
async def test_a_call_of_the_wrong_kind_is_told_so(
    autojump_clock: MockClock, protocol: str, message: dict[str, Any], text: str
) -> None:
    async with open_client(Calls, protocol) as client:
        await client.send(message)
        assert await client.receive() == ended("1", text)
        await client.send(call("Add", 1, 1, id="2"))
        assert await client.arrived() == [result("2", 2)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_reader_completed_with_an_error_fails_the_stream_after_its_items(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Calls, protocol) as client:
        await client.send(stream("FailChannel", "hub", id="1"), stream("FailChannel", "other", id="2"))
        answers = await client.arrived()
    assert [answer for answer in answers if answer["invocationId"] == "1"] == [
        item("1", 1),
        ended("1", f"{STREAMING} HubException: told"),
    ]
    assert [answer for answer in answers if answer["invocationId"] == "2"] == [
        item("2", 1),
        ended("2", STREAMING),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_items_before_an_error_go_out_first(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Calls, protocol) as client:
        await client.send(stream("FailAfter", 3, "other"))
        assert await client.arrived() == [item("1", 0), item("1", 1), item("1", 2), ended("1", STREAMING)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_result_that_cannot_be_written_fails_its_call_alone(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(Calls, protocol) as client:
        await client.send(call("Unwritable", id="1"), stream("UnwritableItem", id="2"))
        answers = await client.arrived()
        assert ended("1", INVOKING.format("Unwritable")) in answers
        assert [answer for answer in answers if answer["invocationId"] == "2"] == [
            item("2", 1),
            ended("2", STREAMING),
        ]
        await client.send(call("Add", 1, 1, id="3"))
        assert await client.arrived() == [result("3", 2)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_argument_with_a_default_may_be_left_out(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(Calls, protocol) as client:
        await client.send(call("add", 41, id="1"))
        assert await client.receive() == result("1", 42)


# ---- the log


@pytest.mark.parametrize(
    ("message", "level", "expected"),
    [
        (call("Fail", "other", id="1"), logging.ERROR, "connection c1: 'Fail' failed"),
        (call("Fail", "hub", id="1"), logging.WARNING, "connection c1: 'Fail' answered: told"),
        (call("Fail", "other"), logging.ERROR, "connection c1: 'Fail' failed"),
        (call("FailInline", "other", id="1"), logging.ERROR, "connection c1: 'FailInline' failed"),
        (stream("FailAfter", 1, "other"), logging.ERROR, "connection c1: 'FailAfter' failed"),
        (call("Unwritable", id="1"), logging.ERROR, "connection c1: 'Unwritable' failed"),
        (call("Nope"), logging.WARNING, "connection c1: call of 'Nope' refused"),
        (call("Add", "x"), logging.WARNING, "connection c1: call of 'Add' refused"),
        (call("Count", 1), logging.WARNING, "connection c1: call of 'Count' refused"),
        (
            stream("NoReader"),
            logging.WARNING,
            "connection c1: call of 'NoReader' refused: The value returned",
        ),
    ],
)
async def test_what_fails_is_logged_with_its_method_and_connection(
    autojump_clock: MockClock,
    message: dict[str, Any],
    level: int,
    expected: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with open_client(Calls, id="c1") as client:
        await client.send(message)
        await client.arrived()
        records = [record for record in caplog.records if record.getMessage().startswith(expected)]
    assert [record.levelno for record in records] == [level]


async def test_the_log_of_a_bug_has_its_traceback(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_client(Calls) as client:
        await client.send(call("Fail", "other", id="1"))
        await client.arrived()
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] != []
    assert "KeyError: 'secret'" in caplog.text


async def test_the_log_of_a_wrong_argument_says_which_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_client(Calls) as client:
        await client.send(call("Add", 1, "x", id="1"))
        await client.arrived()
    assert "argument 1" in caplog.text


# ---- coming and going


class Visits(Hub):
    """Tells what it hears; each visit's events are in the order they happened."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    async def on_connected(self) -> None:
        self.events.append("connected")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append(error)

    def same(self) -> bool:
        first = self.context.items.setdefault("first", self)
        return first is self

    def who(self) -> list[Any]:
        request = self.context.request
        return [self.context.connection_id, request.path, request.query["Room"], request.headers["x-who"]]

    def abort(self) -> None:
        self.context.abort()

    async def abort_and_wait(self) -> None:
        self.context.abort()
        await trio.sleep_forever()


def visits(events: list[Any], **options: Any) -> Any:
    return endpoint(Visits, lambda: Visits(events), **options)


async def test_each_invocation_has_a_hub_of_its_own_and_the_connection_its_items(
    autojump_clock: MockClock,
) -> None:
    async with open_client(visits([])) as client:
        await client.send(call("Same", id="1"), call("Same", id="2"))
        assert await client.take(2) == [result("1", True), result("2", False)]


async def test_a_hub_knows_its_connection_and_the_request_that_made_it(autojump_clock: MockClock) -> None:
    request = Request(
        path="/chat", query=CaseInsensitive([("room", "7")]), headers=CaseInsensitive([("X-Who", "me")])
    )
    async with open_client(visits([]), id="c1", request=request) as client:
        await client.send(call("Who", id="1"))
        assert await client.receive() == result("1", ["c1", "/chat", "7", "me"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_end_in_order_is_no_error_and_lets_the_client_reconnect(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        client.connection.close()
        assert await client.rest() == [close(allow_reconnect=True)]
    assert events == ["connected", None]


async def test_a_lost_connection_is_no_error(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    async with open_client(visits(events)) as client:
        await client.send(call("Same", id="1"))
        await client.receive()
        client.leave()
    assert events == ["connected", None]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_close_message_is_answered_with_one(autojump_clock: MockClock, protocol: str) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        await client.send(close())
        assert await client.rest() == [close()]
    assert events == ["connected", None]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_error_of_a_clients_close_is_told_to_the_hub_alone(
    autojump_clock: MockClock, protocol: str, detailed: bool
) -> None:
    events: list[Any] = []
    async with open_client(visits(events, detailed_errors=detailed), protocol) as client:
        await client.send(close("my fault"))
        assert await client.rest() == [close()]
    _, error = events
    assert isinstance(error, HubException)
    assert str(error) == "my fault"


@pytest.mark.parametrize("method", ["Abort", "AbortAndWait"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_abort_closes_and_the_client_is_not_to_reconnect(
    autojump_clock: MockClock, protocol: str, method: str
) -> None:
    events: list[Any] = []
    async with open_client(visits(events), protocol) as client:
        await client.send(call(method))
        assert await client.rest() == [close()]
    assert events == ["connected", None]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_silent_client_that_used_to_ping_is_closed_with_an_error(
    autojump_clock: MockClock, protocol: str, detailed: bool
) -> None:
    events: list[Any] = []
    served = visits(events, client_timeout=30.0, keep_alive_interval=100.0, detailed_errors=detailed)
    async with open_client(served, protocol, beating=True) as client:
        await client.send(PING)
        text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
        expected = f"{CLOSED} TimeoutError: {text}" if detailed else CLOSED
        assert await client.rest() == [close(expected, allow_reconnect=True)]
        assert 30.0 <= trio.current_time() <= 32.0
    _, error = events
    assert isinstance(error, TimeoutError)
    assert str(error) == text


async def test_a_client_that_never_pings_may_be_silent(autojump_clock: MockClock) -> None:
    async with open_client(visits([]), beating=True) as client:
        await trio.sleep(300)
        await client.send(call("Same", id="1"))
        assert result("1", True) in await client.arrived()


async def test_any_bytes_are_life(autojump_clock: MockClock) -> None:
    async with open_client(visits([]), beating=True) as client:
        await client.send(PING)
        for _ in range(5):
            await trio.sleep(29)
            await client.send_bytes(encode("json", call("Same", id="1"))[:1] or b"")
            await client.send_bytes(encode("json", call("Same", id="1"))[1:])
        answers = await client.arrived()
        assert [answer for answer in answers if answer["type"] == 3] == [
            result("1", True),
            *[result("1", False)] * 4,
        ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_pings_come_after_each_interval_busy_or_not(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(visits([], keep_alive_interval=10.0), protocol, beating=True) as client:
        for _ in range(8):
            await trio.sleep(5.1)
            await client.send(call("Same"))
        pings = await client.arrived()
        assert pings == [PING] * 4
        await trio.sleep(30)
        assert await client.arrived() == [PING] * 3


async def test_calls_wait_until_on_connected_has_returned(autojump_clock: MockClock) -> None:
    events: list[str] = []
    go = trio.Event()

    class Slow(Hub):
        async def on_connected(self) -> None:
            events.append("connecting")
            await go.wait()
            events.append("connected")

        def inline(self) -> None:
            events.append("inline")

        async def plain(self) -> None:
            events.append("plain")

    async with open_client(Slow) as client:
        await client.send(call("Inline", id="1"), call("Plain", id="2"), call("Inline", id="3"))
        assert await client.arrived() == []
        assert events == ["connecting"]
        go.set()
        assert await client.take(3) == [result("1", None), result("2", None), result("3", None)]
    assert events == ["connecting", "connected", "inline", "plain", "inline"]


async def test_on_connected_may_send_and_is_in_the_roster(autojump_clock: MockClock) -> None:
    class Greeting(Hub):
        async def on_connected(self) -> None:
            await self.clients.caller.send("Hello", self.context.connection_id)
            await self.clients.all.send("Joined", self.context.connection_id)

    served = endpoint(Greeting)
    async with open_client(served, id="a") as first, open_client(served, id="b") as second:
        assert await first.take(3) == [call("Hello", "a"), call("Joined", "a"), call("Joined", "b")]
        assert await second.take(2) == [call("Hello", "b"), call("Joined", "b")]


@pytest.mark.parametrize(
    ("error", "detailed", "text"),
    [
        (ValueError("secret"), False, CLOSED),
        (ValueError("secret"), True, f"{CLOSED} ValueError: secret"),
        (HubException("not you"), False, f"{CLOSED} HubException: not you"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_raising_in_on_connected_refuses_the_client(
    autojump_clock: MockClock,
    protocol: str,
    error: Exception,
    detailed: bool,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events: list[str] = []

    class Refusing(Hub):
        async def on_connected(self) -> None:
            raise error

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

        def inline(self) -> None:
            events.append("called")

    served = endpoint(Refusing, detailed_errors=detailed)
    with no_task_left():
        async with open_client(served, protocol, id="c1", handshake=False) as client:
            await client.shake_hands(call("Inline", id="1"))
            assert await client.rest() == [close(text)]
            await client.served()
            assert not served.roster.sessions
    assert events == []
    assert "connection c1 was refused" in caplog.text


async def test_on_connected_is_cancelled_when_its_client_leaves(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Hanging(Hub):
        async def on_connected(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                events.append("cancelled")

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    served = endpoint(Hanging)
    with no_task_left():
        async with open_client(served) as client:
            client.leave()
            await client.served()
    assert events == ["cancelled"]
    assert not served.roster.sessions


async def test_raising_in_on_disconnected_is_logged_and_the_connection_ends_in_order(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            raise ValueError("oops")

    served = endpoint(Failing)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "connection c1: on_disconnected failed" in caplog.text
    assert "ValueError: oops" in caplog.text
    assert not served.roster.sessions


async def test_on_disconnected_has_its_grace_and_no_longer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            await trio.sleep_forever()

    served = endpoint(Hanging, disconnect_timeout=3.0)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
            assert trio.current_time() == pytest.approx(3.0)
    assert "connection c1: on_disconnected was cancelled after 3 s" in caplog.text
    assert not served.roster.sessions


@pytest.mark.parametrize("with_child", [False, True])
async def test_on_disconnected_may_fail_when_its_grace_is_over(
    autojump_clock: MockClock, with_child: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            if with_child:
                self.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("oops")

    served = endpoint(Stubborn)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "ValueError: oops" in caplog.text
    assert not served.roster.sessions


@pytest.mark.parametrize("with_child", [False, True])
async def test_on_connected_may_fail_while_it_is_cancelled(
    autojump_clock: MockClock, with_child: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Hub):
        async def on_connected(self) -> None:
            if with_child:
                self.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("oops")

    served = endpoint(Stubborn)
    with no_task_left():
        async with open_client(served, id="c1") as client:
            client.connection.close()
            assert await client.rest() == [close(allow_reconnect=True)]
    assert "ValueError: oops" in caplog.text
    assert not served.roster.sessions


async def test_hooks_wait_for_their_children(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Parent(Hub):
        async def child(self, name: str) -> None:
            await trio.sleep(1)
            events.append(f"{name} child")

        async def on_connected(self) -> None:
            self.start_soon(self.child, "connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            self.start_soon(self.child, "disconnected")

        def inline(self) -> None:
            events.append("inline")

    async with open_client(Parent) as client:
        await client.send(call("Inline", id="1"))
        await client.receive()
        client.connection.close()
        await client.rest()
    assert events == ["connected child", "inline", "disconnected child"]


@pytest.mark.parametrize("place", ["connect", "call", "disconnect"])
async def test_a_factory_that_fails_harms_its_own_call_only(
    autojump_clock: MockClock, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    turn = {"connect": 1, "call": 2, "disconnect": 3}[place]
    made: list[int] = []

    def factory() -> Hub:
        made.append(1)
        if len(made) == turn:
            raise ValueError("no hub today")
        return Calls()

    with no_task_left():
        async with open_client(endpoint(Calls, factory), handshake=False) as client:
            await client.shake_hands(call("Add", 1, id="1"))
            answers = [await client.receive()]
            client.connection.close()
            answers += await client.rest()
    assert (
        answers
        == {
            "connect": [close(CLOSED)],
            "call": [ended("1", INVOKING.format("Add")), close(allow_reconnect=True)],
            "disconnect": [result("1", 2), close(allow_reconnect=True)],
        }[place]
    )
    assert "no hub today" in caplog.text


# ---- the protocol's own errors


@pytest.mark.parametrize("detailed", [False, True])
async def test_a_malformed_message_closes_with_the_official_text(
    autojump_clock: MockClock, detailed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    async with open_client(visits(events, detailed_errors=detailed), id="c1") as client:
        await client.send_bytes(encode("json", call("Same", id="1")) + b"{oops}\x1e")
        text = f"{CLOSED} ProtocolError: Error reading JSON." if detailed else CLOSED
        assert await client.rest() == [result("1", True), close(text, allow_reconnect=True)]
    assert [str(event) for event in events] == ["connected", "Error reading JSON."]
    assert "connection c1: Error reading JSON." in caplog.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_input_that_ends_inside_a_message_closes_with_an_error(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(visits([], detailed_errors=True), protocol) as client:
        await client.send_bytes(encode(protocol, call("Same"))[:-1])
        client.connection.close()
        text = f"{CLOSED} ProtocolError: Connection terminated while reading a message."
        assert await client.rest() == [close(text, allow_reconnect=True)]
