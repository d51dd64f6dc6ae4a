"""What fails in a hub is answered with the official text, and is logged."""

import logging
from typing import Any

import pytest
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, open_client
from tests.messages import call, close, ended, item, result, stream
from trio_hubs import Hub, HubException, Request
from trio_hubs.connections.http import CaseInsensitive

from .calls_hub import INVOKING, Calls

# ---- the official texts

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
            "BindingError: Invocation provides 0 argument(s) but target expects 1.",
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
        (
            call("Fail", "hub", id="1"),
            logging.DEBUG,
            "connection c1: 'Fail' answered: HubException('told')",
        ),
        (call("Fail", "other"), logging.ERROR, "connection c1: 'Fail' failed"),
        (call("FailInline", "other", id="1"), logging.ERROR, "connection c1: 'FailInline' failed"),
        (stream("FailAfter", 1, "other"), logging.ERROR, "connection c1: 'FailAfter' failed"),
        (call("Unwritable", id="1"), logging.ERROR, "connection c1: 'Unwritable' failed"),
        (call("Nope"), logging.WARNING, "connection c1: nothing answers to 'Nope'"),
        (call("Nope", id="1"), logging.WARNING, "connection c1: nothing answers to 'Nope'"),
        (
            call("Add", "x"),
            logging.WARNING,
            f"connection c1: call of 'Add' refused: {BINDING.format('Add')} {UNFIT} argument 1: "
            "Expected `int`, got `str` @ $",
        ),
        (
            call("Add"),
            logging.WARNING,
            f"connection c1: call of 'Add' refused: {BINDING.format('Add')} Invocation provides 0 argument(s)",
        ),
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
    caplog.set_level(logging.DEBUG)
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


@pytest.mark.parametrize("detailed", [False, True])
async def test_the_log_of_a_wrong_argument_says_which_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, detailed: bool
) -> None:
    async with open_client(Calls, detailed_errors=detailed) as client:
        await client.send(call("Add", 1, "x", id="1"))
        await client.arrived()
    assert "argument 2: Expected `int`, got `str` @ $" in caplog.text
    assert caplog.text.count("Error binding arguments") == 1


class Mute(HubException):
    """An error whose text cannot be told."""

    def __str__(self) -> str:
        raise ValueError("oops")


class Odd(Hub):
    """Raises what cannot be written."""

    async def on_connected(self) -> None:
        if "name" in self.context.request.query:
            raise HubException("no user \ud800")

    def half(self) -> None:
        raise HubException("half of \ud800")

    async def later(self) -> None:
        raise HubException("half of \ud800")

    def mute(self) -> None:
        raise Mute

    def fine(self) -> str:
        return "fine"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("Half", "HubException: half of ?"),
        ("Later", "HubException: half of ?"),
        ("Mute", "Mute: (an error without a text)"),
    ],
)
async def test_a_text_that_cannot_be_written_is_replaced(
    protocol: str, method: str, text: str, autojump_clock: MockClock
) -> None:
    async with open_client(Odd, protocol) as client:
        await client.send(call(method, id="1"), call("Fine", id="2"))
        assert await client.take(2) == [ended("1", f"{INVOKING.format(method)} {text}"), result("2", "fine")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_so_it_is_in_a_refusal(protocol: str, autojump_clock: MockClock) -> None:
    request = Request(query=CaseInsensitive([("name", "x")]))
    async with open_client(Odd, protocol, request=request) as client:
        text = "Connection closed with an error. HubException: no user ?"
        assert await client.rest() == [close(text)]
