"""Our client gets the same from the real ASP.NET Core server as from ours, over all transports, in both protocols.

The tests that take `ours` are of what the official server cannot do.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import trio

from tests.interop.conformance_hubs import Color, Person
from tests.interop.ways import PATIENCE, Server
from trio_hubs import (
    ConnectionClosed,
    DropOldest,
    HubConnectionOptions,
    HubException,
    HubsError,
    NegotiationError,
    Transport,
    open_channel,
)

pytestmark = pytest.mark.interop

UNEXPECTED = "An unexpected error occurred invoking '{}' on the server."
FAILED = "Failed to invoke '{}' due to an error on the server."
MISMATCH = "The client attempted to invoke"
NO_READER = "The value returned by the streaming method '{}' is not a ChannelReader<> or IAsyncEnumerable<>."


async def numbers(count: int) -> AsyncIterator[int]:
    """An upload that ends well."""
    for i in range(count):
        yield i


async def broken() -> AsyncIterator[int]:
    """An upload that does not."""
    yield 1
    raise ValueError("the client's stream broke")


async def endless(begun: Callable[[], None] = lambda: None) -> AsyncIterator[int]:
    """An upload without an end; it says when it is well under way."""
    for i in count():
        if i == 5:
            begun()
        yield 1
        await trio.sleep(0.01)


# ---- invoke and send


async def test_invoke(server: Server) -> None:
    async with server.connect() as connection:
        assert await connection.invoke("Add", 40, 2, result_type=int) == 42
        assert await connection.invoke("aDD", 40, 2) == 42
        assert await connection.invoke("renamed", result_type=str) == "renamed"
        assert await connection.invoke("DoNothing") is None
        assert await connection.invoke("GetNull", result_type=str | None) is None


async def test_a_hundred_invocations_at_once(server: Server) -> None:
    answers: dict[int, int] = {}

    async def add(i: int) -> None:
        answers[i] = await connection.invoke("Add", i, i, result_type=int)

    async with server.connect() as connection, trio.open_nursery() as nursery:
        for i in range(100):
            nursery.start_soon(add, i)
    assert answers == {i: 2 * i for i in range(100)}


async def test_send(server: Server, key: str) -> None:
    async with server.connect() as connection:
        await connection.send("Drain", key, numbers(3))
        await server.seen_becomes(key, "completed")


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("ThrowHubException", ["mine"], f"{UNEXPECTED} HubException: mine"),
        ("ThrowOther", [], UNEXPECTED),
        ("Nope", [], f"{FAILED} HubException: Method does not exist."),
        ("Add", [1], FAILED),
        ("Add", ["one", [2]], FAILED),
        ("Counter", [1, 0], f"{MISMATCH} the streaming 'Counter' method with a non-streaming invocation."),
    ],
    ids=["hub exception", "other exception", "unknown", "too few", "wrong types", "streaming"],
)
async def test_invoke_fails(server: Server, method: str, arguments: list[object], message: str) -> None:
    async with server.connect() as connection:
        with pytest.raises(HubException) as failure:
            await connection.invoke(method, *arguments)
        assert str(failure.value) == message.format(method)
        assert await connection.invoke("Add", 1, 1) == 2


async def test_detailed_errors(server: Server) -> None:
    async with server.connect("/detailed") as connection:
        with pytest.raises(HubException, match="secret"):
            await connection.invoke("ThrowOther")


async def test_a_result_of_the_wrong_type_fails_its_call_only(server: Server) -> None:
    async with server.connect() as connection:
        with pytest.raises(HubsError):
            await connection.invoke("Echo", "text", result_type=int)
        assert await connection.invoke("Add", 1, 1) == 2


async def test_cancelling_an_invocation_reaches_the_method(ours: Server, key: str) -> None:
    async with ours.connect() as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.invoke, "Hang", key)
            await ours.seen_becomes(key, "started")
            nursery.cancel_scope.cancel()
        await ours.seen_becomes(key, "started,cancelled")
        assert await connection.invoke("Add", 1, 1) == 2


# ---- payloads

ADA = Person(
    name="Ada",
    age=36,
    born=datetime(1815, 12, 10, tzinfo=UTC),
    id=UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
    tags=["x", "y"],
    favourite=Color.GREEN,
    avatar=b"\x01\x02\xfa",
    balance=Decimal("12.50"),
    parent=Person(name="Anne", born=datetime(1792, 5, 17, tzinfo=UTC)),
)


PAYLOADS: dict[str, tuple[Any, list[Any]]] = {
    "Echo": (
        str,
        ["", "\x1e", "a\x1eb", "\0\x01\x7f", "żółć", "日本語", "👩‍🚀", '"\\/\b\f\n\r\t', "x" * 20_000],
    ),
    "EchoBytes": (bytes, [bytes(n % 256 for n in range(size)) for size in (0, 1, 255, 256, 20_000)]),
    "EchoDateTime": (
        datetime,
        [
            datetime(2026, 11, 22, 12, 34, 56, 789123, UTC),
            datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        ],
    ),
    "EchoGuid": (UUID, [UUID(int=0), ADA.id]),
    "EchoDecimal": (Decimal, [Decimal(79228162514264337593543950335), Decimal("0.10"), Decimal(-7)]),
    "EchoLong": (int, [0, 2**63 - 1, -(2**63)]),
    "EchoDouble": (float, [0.1, -1e300, 5e-324, 12345678901234567.0, 7.0]),
    "EchoBool": (bool, [True, False]),
    "EchoColor": (Color, list(Color)),
    "EchoMap": (dict[str, int], [{}, {"a": 1, "B c": 2}]),
    "EchoNested": (list[list[int]], [[], [[1, 2], [], [3]]]),
    "EchoNullable": (str | None, [None, "text"]),
    "EchoPerson": (Person, [ADA]),
}


@pytest.mark.parametrize("method", PAYLOADS)
async def test_payloads_come_back_the_same(server: Server, method: str) -> None:
    result_type, values = PAYLOADS[method]
    async with server.connect() as connection:
        for value in values:
            back = await connection.invoke(method, value, result_type=result_type)
            assert back == value
            assert type(back) is type(value)
            assert str(back) == str(value)


# ---- streams from the server


@pytest.mark.parametrize("method", ["Counter", "CounterChannel", "CounterChannelAsync"])
async def test_stream(server: Server, method: str) -> None:
    async with server.connect() as connection:
        for count in (0, 1, 2000):
            async with connection.stream(method, count, 0, item_type=int) as reader:
                assert [item async for item in reader] == list(range(count))


async def test_the_documented_loop(server: Server) -> None:
    got: list[int] = []
    async with server.connect("/counter") as connection, connection.stream("Counter", 10, 20) as reader:
        while await reader.wait_to_read():
            got += reader.read_ready()
    assert got == list(range(10))


async def test_items_arrive_as_they_are_written(server: Server) -> None:
    async with server.connect() as connection, connection.stream("Counter", 2, 2000) as reader:
        at = [trio.current_time() async for _ in reader]
    assert at[1] - at[0] > 1.0


async def test_large_items_and_objects(server: Server) -> None:
    async with server.connect() as connection:
        async with connection.stream("Blobs", 10, 200_000) as blobs:
            assert [len(item) async for item in blobs] == [200_000] * 10
        async with connection.stream("People", 3, item_type=Person) as people:
            assert [(one.name, one.age, one.favourite) async for one in people] == [
                (f"person {i}", i, Color.GREEN) for i in range(3)
            ]


@pytest.mark.parametrize(
    ("hub_exception", "detail"), [(True, " HubException: stream failed"), (False, "")], ids=["hub", "other"]
)
async def test_a_failure_comes_after_the_items(server: Server, hub_exception: bool, detail: str) -> None:
    async with server.connect() as connection:
        async with connection.stream("FailAfter", 3, hub_exception, item_type=int) as reader:
            assert [await reader.read() for _ in range(3)] == [0, 1, 2]
            with pytest.raises(HubException) as failure:
                await reader.read()
        assert str(failure.value) == f"An error occurred on the server while streaming results.{detail}"
        assert await connection.invoke("Add", 1, 1) == 2


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("NullReader", [], NO_READER),
        ("ThrowBeforeReader", [], f"{UNEXPECTED} HubException: no reader"),
        ("Nope", [], f"{FAILED} HubException: Method does not exist."),
        ("Counter", ["many", "slow"], FAILED),
        ("Add", [1, 2], f"{MISMATCH} the non-streaming 'Add' method with a streaming invocation."),
    ],
    ids=["null", "hub exception", "unknown", "wrong types", "plain"],
)
async def test_no_stream(server: Server, method: str, arguments: list[object], message: str) -> None:
    async with server.connect() as connection:
        async with connection.stream(method, *arguments) as reader:
            with pytest.raises(HubException) as failure:
                await reader.read()
        assert str(failure.value) == message.format(method)
        assert await connection.invoke("Add", 1, 1) == 2


@pytest.mark.parametrize("method", ["Forever", "Silent"])
async def test_leaving_a_stream_cancels_the_method(server: Server, method: str, key: str) -> None:
    async with server.connect() as connection:
        async with connection.stream(method, key):
            await server.seen_becomes(key, "started")
        await server.seen_becomes(key, "started,cancelled")
        assert await connection.invoke("Add", 1, 1) == 2


@pytest.mark.parametrize("method", ["Forever", "Silent"])
async def test_a_disconnect_cancels_the_method(server: Server, method: str, key: str) -> None:
    with trio.CancelScope() as scope:
        async with server.connect() as connection, connection.stream(method, key):
            await server.seen_becomes(key, "started")
            scope.cancel()
            await trio.sleep_forever()
    await server.seen_becomes(key, "started,cancelled")


async def test_invoking_in_the_body_of_a_stream(server: Server) -> None:
    async with server.connect() as connection, connection.stream("Counter", 200, 0, capacity=2) as reader:
        sums = [await connection.invoke("Add", item, 1) async for item in reader]
    assert sums == list(range(1, 201))


async def test_a_stream_that_nobody_reads_holds_up_nothing(server: Server) -> None:
    async with server.connect() as connection, connection.stream("Blobs", 50, 10_000):
        assert await connection.invoke("Add", 1, 1) == 2
        async with connection.stream("Counter", 50, 2, item_type=int) as reader:
            assert [item async for item in reader] == list(range(50))


# ---- streams from the client


async def test_uploads(server: Server) -> None:
    async with server.connect() as connection:
        assert await connection.invoke("Sum", numbers(0), result_type=int) == 0
        assert await connection.invoke("Sum", numbers(5000), result_type=int) == 12497500
        writer, reader = open_channel(str, capacity=10)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for word in ["a", "b", "c"]:
                    await writer.write(word)
                writer.complete()

            nursery.start_soon(write)
            assert await connection.invoke("Join", "-", reader, result_type=str) == "a-b-c"


async def test_two_uploads_in_one_call(server: Server) -> None:
    async with server.connect() as connection:
        assert await connection.invoke("SumTwo", numbers(4), numbers(5), result_type=int) == 6 * 1000 + 10


async def test_an_upload_that_has_to_wait_for_another(ours: Server) -> None:
    async with ours.connect() as connection:
        answer = await connection.invoke("SumTwo", numbers(500), numbers(100), result_type=int)
    assert answer == 124750 * 1000 + 4950


async def test_a_stream_both_ways(server: Server) -> None:
    async with server.connect() as connection, connection.stream("Double", numbers(500)) as reader:
        assert [item async for item in reader] == [2 * i for i in range(500)]


async def test_a_broken_upload_fails_on_the_server(server: Server, key: str) -> None:
    async with server.connect() as connection:
        assert (await connection.invoke("Drain", key, broken(), result_type=str)).startswith("failed: ")
        await server.seen_becomes(key, "failed: .+")
        assert await connection.invoke("Add", 1, 1) == 2


async def test_a_cancelled_upload_fails_on_the_server(ours: Server, key: str) -> None:
    async with ours.connect() as connection:
        with trio.CancelScope() as scope:
            await connection.invoke("Drain", key, endless(begun=scope.cancel))
        await ours.seen_becomes(key, "failed: .+")
        assert await connection.invoke("Add", 1, 1) == 2


async def test_a_disconnect_in_mid_upload_looks_like_a_failure(server: Server, key: str) -> None:
    async with server.connect() as connection:
        with trio.CancelScope() as scope:
            await connection.invoke("Drain", key, endless(begun=scope.cancel))
    await server.seen_becomes(key, "failed: .+")


async def test_a_method_that_leaves_its_stream_early(ours: Server) -> None:
    async with ours.connect() as connection:
        assert await connection.invoke("First", numbers(500), result_type=int) == 0
        assert await connection.invoke("First", endless(), result_type=int) == 1
        assert await connection.invoke("Add", 1, 1) == 2


async def test_a_method_that_never_reads_its_stream(ours: Server, key: str) -> None:
    async with ours.connect("/parallel") as connection:
        await connection.send("Ignore", key, numbers(500))
        await ours.seen_becomes(key, "started")
        with trio.fail_after(PATIENCE):
            assert await connection.invoke("Add", 1, 1) == 2


# ---- the server calls its clients


async def test_handlers(server: Server) -> None:
    got: list[str] = []
    done = trio.Event()

    def hello(text: str) -> None:
        got.append(text)

    async def end(text: str) -> None:
        got.append(text)
        done.set()

    async with server.connect(handlers={"Hello": hello}) as connection:
        connection.on("End", end)
        for i in range(100):
            await connection.send("CallCaller", "Hello", f"{i}")
        await connection.invoke("CallCaller", "NoSuchMethod", "x")
        await connection.invoke("CallCaller", "End", "end")
        with trio.fail_after(PATIENCE):
            await done.wait()
    assert got == [*map(str, range(100)), "end"]


async def test_a_handler_with_an_argument_of_every_kind(server: Server) -> None:
    got: list[object] = []
    done = trio.Event()

    def everything(
        a: int, b: str, c: float, d: bool, e: str | None, f: list[int], g: Person, h: bytes
    ) -> None:
        got.extend([a, b, c, d, e, f, g.name, g.age, h])
        done.set()

    async with server.connect() as connection:
        connection.on("Everything", everything)
        await connection.invoke("CallWithEverything")
        with trio.fail_after(PATIENCE):
            await done.wait()
    assert got == [1, "two", 3.5, True, None, [1, 2], "six", 6, b"\x07\x08\x09"]


# ---- the life of a connection


async def test_connected_and_disconnected(server: Server, key: str) -> None:
    async with server.connect(f"/conformance?log={key}") as connection:
        await connection.invoke("DoNothing")
        await server.seen_becomes(key, "connected")
    await server.seen_becomes(key, "connected,disconnected")


@pytest.mark.parametrize("skip_negotiation", [False, True], ids=["negotiated", "direct"])
async def test_the_connection_and_its_request(server: Server, skip_negotiation: bool) -> None:
    options: Mapping[str, Any] = {"headers": {"X-Test": "yes"}, "skip_negotiation": skip_negotiation}
    async with server.connect("/conformance?room=blue%20one", **options) as connection:
        here = connection.connection_id
        assert here == (None if skip_negotiation else await connection.invoke("ConnectionId"))
        assert await connection.invoke("QueryValue", "room") == "blue one"
        assert await connection.invoke("HeaderValue", "X-Test") == "yes"


async def test_no_hub_there(server: Server) -> None:
    with pytest.raises(NegotiationError, match="404"):
        async with server.connect("/nothing-here"):
            pass


async def test_a_refused_connection(server: Server) -> None:
    with pytest.raises(ConnectionClosed, match="refused"):
        async with server.connect("/conformance?refuse=1") as connection:
            await connection.invoke("Hang", "never")


async def test_an_aborted_connection_ends_what_waits(server: Server, key: str) -> None:
    async with server.connect() as connection, connection.stream("Forever", key) as reader:
        await connection.send("Abort")
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionClosed):
            async for _ in reader:
                pass
        with pytest.raises(ConnectionClosed):
            await connection.invoke("Add", 1, 1)


async def test_a_message_above_the_limit_closes_the_connection(server: Server) -> None:
    async with server.connect() as connection:
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionClosed):
            await connection.invoke("Echo", "x" * 40_000)


async def test_pings_keep_an_idle_connection(server: Server) -> None:
    async with server.connect(
        "/impatient", options=HubConnectionOptions(keep_alive_interval=0.3, server_timeout=2.0)
    ) as connection:
        await trio.sleep(3)
        assert await connection.invoke("Add", 1, 2) == 3


async def test_a_silent_client_is_disconnected_unless_it_polls(server: Server) -> None:
    async with server.connect(
        "/impatient", options=HubConnectionOptions(keep_alive_interval=60.0)
    ) as connection:
        if server.transport is Transport.LONG_POLLING:
            await trio.sleep(3)
            assert await connection.invoke("Add", 1, 2) == 3
            return
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionClosed):
            async with connection.stream("Silent", "nobody") as reader:
                await reader.read()


# ---- handlers that wait, and streams that nobody reads


async def test_a_handler_that_waits_for_the_server_may_be_asked_meanwhile(server: Server) -> None:
    answers: list[str] = []
    done = trio.Event()

    async def hello(text: str) -> None:
        answers.append(await connection.invoke("AskCaller", text, result_type=str))
        done.set()

    async with server.connect(handlers={"Answer": lambda question: question[::-1]}) as connection:
        connection.on("Hello", hello)
        await connection.send("CallCaller", "Hello", "abc")
        await done.wait()
    assert answers == ["cba"]


async def test_a_stream_that_is_not_read_does_not_keep_handlers_from_hearing(server: Server) -> None:
    heard = trio.Event()
    async with (
        server.connect(handlers={"Hello": lambda _: heard.set()}) as connection,
        connection.stream("Blobs", 100, 10_000, item_type=str) as blobs,
    ):
        await blobs.read()
        await connection.send("CallCaller", "Hello", "you")
        await heard.wait()
        assert len([blob async for blob in blobs]) == 99


async def test_a_reader_that_stops_stops_a_server_that_floods(server: Server) -> None:
    async with server.connect() as connection, connection.messages("Hello", str) as hellos:
        async with connection.stream("Counter", 1_000_000, 0, item_type=int, capacity=10) as reader:
            for number in range(10):
                assert await reader.read() == number
            await trio.sleep(1)
            assert connection._link._session.reading._unread < 1_000_000
            assert await connection.invoke("Add", 40, 2, result_type=int) == 42
            await connection.send("CallCaller", "Hello", "you")
            assert await hellos.read() == "you"
            for number in range(10, 5000):
                assert await reader.read() == number
        assert await connection.invoke("Add", 40, 2, result_type=int) == 42


async def test_a_flood_of_which_the_newest_are_kept(server: Server) -> None:
    async with (
        server.connect() as connection,
        connection.stream("Counter", 20_000, 0, item_type=int, capacity=3, when_full=DropOldest()) as reader,
    ):
        assert await connection.invoke("Add", 40, 2, result_type=int) == 42
        last = None
        while await reader.wait_to_read():
            last = reader.read_ready()[-1]
        assert last == 19_999
        assert reader.dropped > 0
