"""Bad input: what is no good message ends its own connection with an error, or harms nothing."""

import logging

import pytest
from trio.testing import MockClock

from tests.hub_peer import members_of, no_task_left, open_client
from tests.messages import PING, Message, call, cancel, close, encode, ended, framed, item, result
from trio_hubs import Hub

from .witness import CLOSED, both_protocols, witness


def oversize(protocol: str, size: int) -> bytes:
    """A call whose framed message has just so many bytes."""
    length = 1
    while len(encode(protocol, call("Add", "x" * length))) < size:
        length += 1
    data = encode(protocol, call("Add", "x" * length))
    assert len(data) == size
    return data


@both_protocols
async def test_a_message_of_just_the_limit_is_fine_and_one_above_it_closes(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([], maximum_message_size=200, detailed_errors=True), protocol) as client:
        await client.send_bytes(encode(protocol, call("Add", 1, 2, id="1")) * 50)  # many are no large one
        assert len(await client.arrived()) == 50
        await client.send_bytes(oversize(protocol, 200))
        assert await client.arrived() == []
        await client.send_bytes(encode(protocol, call("Add", 1, 2, id="2")) + oversize(protocol, 201))
        text = "The maximum message size of 200B was exceeded. It can be set by maximum_message_size."
        assert await client.rest() == [
            result("2", 3),
            close(f"{CLOSED} ProtocolError: {text}", allow_reconnect=True),
        ]


@both_protocols
async def test_an_incomplete_message_above_the_limit_closes_at_once(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([], maximum_message_size=200), protocol) as client:
        data = oversize(protocol, 300)
        for at in range(0, 201, 67):
            await client.send_bytes(data[at : at + 67])
        assert await client.rest() == [close(CLOSED, allow_reconnect=True)]


@both_protocols
async def test_without_a_limit_a_large_message_is_fine(autojump_clock: MockClock, protocol: str) -> None:
    class Echo(Hub):
        def echo(self, text: str) -> int:
            return len(text)

    async with open_client(Echo, protocol, maximum_message_size=None) as client:
        await client.send(call("Echo", "x" * 1_000_000, id="1"))
        assert await client.receive() == result("1", 1_000_000)


@both_protocols
async def test_a_message_in_single_bytes_works(autojump_clock: MockClock, protocol: str) -> None:
    async with open_client(witness([]), protocol) as client:
        for byte in encode(protocol, call("Add", 40, 2, id="1")) + encode(protocol, cancel("1")):
            await client.send_bytes(bytes([byte]))
        assert await client.arrived() == [result("1", 42)]


@both_protocols
async def test_input_cut_at_any_byte_of_a_message_closes_with_an_error(
    autojump_clock: MockClock, protocol: str
) -> None:
    data = encode(protocol, call("Add", 1, 2, id="1"))
    for size in range(1, len(data)):
        async with open_client(witness([]), protocol) as client:
            await client.send_bytes(data + data[:size])
            client.connection.close()
            assert await client.rest() == [result("1", 3), close(CLOSED, allow_reconnect=True)]


BAD_JSON = {
    "no JSON": (b"{oops}", "Error reading JSON."),
    "nothing": (b"", "Error reading JSON."),
    "a handshake": (b'{"protocol":"json","version":1}', "Missing required property 'type'."),
    "MessagePack": (b"\x91\x06", "Error reading JSON."),
    "no UTF-8": (b'{"type":1,"target":"\xff","arguments":[]}', "Error reading JSON."),
    "a number": (b"7", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    "an array": (b"[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    "a deep array": (b"[" * 20_000, "Error reading JSON."),
    "a deep argument": (
        b'{"type":1,"target":"Add","arguments":' + b"[" * 15_000 + b"]" * 15_000 + b"}",
        "",
    ),
    "no type": (b"{}", "Missing required property 'type'."),
    "a text for a type": (b'{"type":"1"}', "Expected 'type' to be of type Number."),
    "no target": (b'{"type":1,"arguments":[]}', "Missing required property 'target'."),
    "no arguments": (b'{"type":1,"target":"Add"}', "Missing required property 'arguments'."),
    "arguments in an object": (
        b'{"type":1,"target":"Add","arguments":{}}',
        "Expected 'arguments' to be of type Array.",
    ),
    "a null id": (
        b'{"type":1,"invocationId":null,"target":"Add","arguments":[]}',
        "Expected 'invocationId' to be of type String.",
    ),
    "a stream without an id": (
        b'{"type":4,"target":"Add","arguments":[]}',
        "Missing required property 'invocationId'.",
    ),
    "an item without a value": (b'{"type":2,"invocationId":"1"}', "Missing required property 'item'."),
    "a cancel without an id": (b'{"type":5}', "Missing required property 'invocationId'."),
    "error and result": (
        b'{"type":3,"invocationId":"1","error":"x","result":1}',
        "The 'error' and 'result' properties are mutually exclusive.",
    ),
    "a number for a header": (
        b'{"type":1,"headers":{"a":1},"target":"Add","arguments":[]}',
        "Expected header 'a' to be of type String.",
    ),
    "null stream ids": (
        b'{"type":1,"target":"Add","arguments":[],"streamIds":[null]}',
        "Null value for 'streamIds' is not valid.",
    ),
    "an ack without a number": (b'{"type":8}', "Missing required property 'sequenceId'."),
}
BAD_MESSAGEPACK = {
    "never valid": (b"\xc1", ""),
    "nothing": (b"", ""),
    "a map": (b"\x80", ""),
    "a type that is text": (b"\x91\xa1\x31", "Reading 'messageType' as Int32 failed."),
    "headers that are no map": (b"\x96\x01\x01\xc0\xa1A\x90\x90", "Reading map length for 'headers' failed."),
    "no target": (b"\x96\x01\x80\xc0\xa0\x90\x90", "Null or empty target for Invocation message."),
    "a stream without an id": (
        b"\x96\x04\x80\xc0\xa1A\x90\x90",
        "Null or empty invocation ID for StreamInvocation message.",
    ),
    "a cancel without an id": (
        b"\x93\x05\x80\xc0",
        "Null or empty invocation ID for CancelInvocation message.",
    ),
    "an odd result kind": (b"\x94\x03\x80\xa1\x31\x09", "Invalid invocation result kind."),
    "a header that is a number": (
        b"\x96\x01\x81\xa1a\x01\xc0\xa1A\x90\x90",
        "Reading 'headers[0].Value' as String failed.",
    ),
    "null stream ids": (b"\x96\x01\x80\xc0\xa1A\x90\x91\xc0", "Null or empty value in streamIds received."),
    "an ack without a number": (b"\x91\x08", "Reading 'sequenceId' as Int64 failed."),
    "a deep argument": (b"\x96\x01\x80\xc0\xa1A" + b"\x91" * 20_000 + b"\x90\x90", ""),
}
BAD = [
    *[
        pytest.param("json", body + b"\x1e", text, id=f"json, {name}")
        for name, (body, text) in BAD_JSON.items()
    ],
    *[
        pytest.param("messagepack", framed(body), text, id=f"messagepack, {name}")
        for name, (body, text) in BAD_MESSAGEPACK.items()
    ],
    pytest.param(
        "messagepack",
        b"\xff\xff\xff\xff\xff\x01",
        "Messages over 2GB in size are not supported.",
        id="messagepack, a length above 2 GB",
    ),
]


@pytest.mark.parametrize(("protocol", "data", "text"), BAD)
async def test_a_malformed_message_closes_its_connection_with_an_error_and_a_log_line(
    autojump_clock: MockClock, protocol: str, data: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty text stands for any."""
    events: list[str] = []
    served = witness(events, detailed_errors=True)
    with no_task_left():
        async with open_client(served, protocol, id="c1") as client:
            good = encode(protocol, call("Add", 1, 2, id="1"))
            await client.send_bytes(good + data + good)
            first, last = await client.rest()
            assert first == result("1", 3)
            assert last["type"] == 7
            assert last["allowReconnect"]
            assert last["error"].startswith(f"{CLOSED} ProtocolError: {text}")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("connection c1: ProtocolError(")
    assert text in warnings[0]
    assert events == ["disconnected"]
    assert not members_of(served).by_id


@both_protocols
@pytest.mark.parametrize(
    "message",
    [
        cancel("nobody"),
        item("nobody", 1),
        ended("nobody"),
        ended("nobody", "error"),
        result("nobody", 1),
        PING,
    ],
    ids=lambda message: f"type {message['type']}",
)
async def test_ids_that_nobody_knows_harm_nothing(
    autojump_clock: MockClock, protocol: str, message: Message
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(message, call("Add", 1, 2, id="1"), message)
        assert await client.arrived() == [result("1", 3)]


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("json", b'{"type":77,"target":[null]}\x1e'),
        ("json", b'{"type":8,"sequenceId":5}\x1e{"type":9,"sequenceId":5}\x1e'),
        ("json", b'{"arguments":[1,2],"odd":[{}],"target":"add","invocationId":"0","type":1}\x1e'),
        ("messagepack", framed(b"\x92\x4d\x01")),
        ("messagepack", framed(b"\x92\x08\x05") + framed(b"\x92\x09\x05")),
        ("messagepack", framed(b"\x98\x01\x80\xa1\x30\xa3add\x92\x01\x02\x90\xc0\x01")),
    ],
)
async def test_what_later_protocols_may_add_harms_nothing(
    autojump_clock: MockClock, protocol: str, data: bytes
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send_bytes(data + encode(protocol, call("Add", 1, 2, id="1")))
        answers = [answer for answer in await client.arrived() if answer["invocationId"] != "0"]
        assert answers == [result("1", 3)]


def in_use(id: str, target: str, stream_id: str) -> Message:
    return ended(
        id,
        f"An unexpected error occurred invoking '{target}' on the server. "
        f"HubException: Stream ID '{stream_id}' is already in use.",
    )


@both_protocols
async def test_the_id_of_a_running_upload_is_refused_and_the_upload_goes_on(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Total", id="1", uploads=("9",)), item("9", 1))
        await client.send(call("Total", id="2", uploads=("9",)))
        assert await client.receive() == in_use("2", "Total", "9")
        await client.send(call("TotalTwo", id="3", uploads=("8", "9")))
        assert await client.receive() == in_use("3", "TotalTwo", "9")
        await client.send(call("TotalTwo", id="4", uploads=("7", "7")))
        assert await client.receive() == in_use("4", "TotalTwo", "7")
        await client.send(item("9", 2), ended("9"))
        assert await client.receive() == result("1", 3)
        await client.send(call("TotalTwo", id="5", uploads=("8", "7")), ended("7"), item("8", 1), ended("8"))
        assert await client.receive() == result("5", 1000)


@both_protocols
async def test_an_upload_of_a_call_that_was_refused_is_ignored(
    autojump_clock: MockClock, protocol: str
) -> None:
    async with open_client(witness([]), protocol) as client:
        await client.send(call("Nope", id="1", uploads=("9",)), item("9", 1), ended("9"))
        assert (await client.receive())["invocationId"] == "1"
        await client.send(call("Total", 5, id="2", uploads=("9",)), item("9", 1), ended("9"))
        assert (await client.receive())["invocationId"] == "2"
        await client.send(call("Total", id="3", uploads=("9",)), item("9", 1), ended("9"))
        assert await client.receive() == result("3", 1)
