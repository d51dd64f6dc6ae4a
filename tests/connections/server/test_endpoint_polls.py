"""Long polling: one poll waits at a time, each answer is whole or the connection is over, and ends are told."""

import logging

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import narrow_stream_pair
from trio_hubs.connections.duplex import Duplex

from .endpoint_peer import Handler, Reader, echo, open_front
from .http_peer import Answer, request

OCTETS, TEXT = "application/octet-stream", "text/plain"


def told(answer: Answer) -> tuple[int, bytes, str]:
    """What a poll's answer says; it is never to be cached."""
    assert answer.headers["cache-control"] == "no-cache, no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    if answer.status != 204:
        assert answer.headers["content-length"] == str(len(answer.body))
    return answer.status, answer.body, answer.headers["content-type"]


# ---- polls and data


async def test_the_first_poll_makes_the_connection_and_carries_nothing(autojump_clock: MockClock) -> None:
    async def speak(connection: Duplex) -> None:
        await connection.send(b"early")
        await handler(connection)

    handler = Handler()
    async with open_front(speak) as front:
        document = await front.negotiate()
        answer = await front.ask("GET", document["connectionToken"], X_Test="yes")
        assert told(answer) == (200, b"", OCTETS)
        await wait_all_tasks_blocked()
        assert handler.only.id == document["connectionId"]
        assert handler.only.request.headers["x-test"] == "yes"
        assert handler.only.inherent_keep_alive
        assert autojump_clock.current_time() == 0
        assert told(await front.ask("GET", document["connectionToken"])) == (200, b"early", OCTETS)


async def test_a_poll_waits_for_data(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        client = await front.poll(await front.polled())
        await trio.sleep(50)
        await handler.only.send(b"data")
        assert told(await client.answer()) == (200, b"data", OCTETS)
        assert autojump_clock.current_time() == 50


async def test_what_was_sent_between_polls_comes_in_one_answer(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        for part in (b"one ", b"two ", b"three"):
            await handler.only.send(part)
        assert told(await front.ask("GET", token)) == (200, b"one two three", OCTETS)


async def test_polls_may_follow_on_one_stream(autojump_clock: MockClock) -> None:
    async with open_front(echo) as front:
        token = await front.token()
        client = front.client()
        assert told(await client.ask("GET", f"/chat?id={token}")) == (200, b"", OCTETS)
        for i in range(5):
            assert (await front.ask("POST", token, b"%d" % i)).status == 200
            assert (await client.ask("GET", f"/chat?id={token}")).body == b"%d" % i
        await client.send(request("GET", f"/chat?id={token}") * 2)  # the second waits in line
        await wait_all_tasks_blocked()
        await front.ask("POST", token, b"a")
        assert (await client.answer()).body == b"a"
        await wait_all_tasks_blocked()
        await front.ask("POST", token, b"b")
        assert (await client.answer()).body == b"b"


async def test_a_poll_without_data_ends_after_ninety_seconds(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        token = await front.polled()
        for i in range(1, 4):
            assert told(await front.ask("GET", token)) == (200, b"", TEXT)
            assert autojump_clock.current_time() == 90 * i


async def test_the_time_of_a_poll_is_an_option(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), poll_timeout=3) as front:
        assert told(await front.ask("GET", await front.polled())) == (200, b"", TEXT)
        assert autojump_clock.current_time() == 3


async def test_who_sends_waits_for_a_poll_when_the_pipe_is_full(autojump_clock: MockClock) -> None:
    sent: list[int] = []

    async def flood(connection: Duplex) -> None:
        for i in range(5):
            await connection.send(bytes(40_000))
            sent.append(i)
        await trio.sleep_forever()

    async with open_front(flood) as front:
        token = await front.polled()
        assert sent == [0]
        assert len((await front.ask("GET", token)).body) == 80_000
        await wait_all_tasks_blocked()
        assert sent == [0, 1, 2]
        assert len((await front.ask("GET", token)).body) == 80_000
        assert len((await front.ask("GET", token)).body) == 40_000
        assert sent == [0, 1, 2, 3, 4]


# ---- more polls than one


async def test_a_newer_poll_sends_the_older_home(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        clients = [await front.poll(token) for _ in range(4)]
        for client in clients[:-1]:
            assert told(await client.answer()) == (204, b"", TEXT)
        await trio.sleep(20)  # the newest waits, so the connection is in use
        await handler.only.send(b"data")
        assert told(await clients[-1].answer()) == (200, b"data", OCTETS)
        assert front.admission.active == 1
        assert not handler.ended


async def test_of_two_newer_polls_one_wins(autojump_clock: MockClock) -> None:
    handler = Handler()
    near, far = memory_stream_pair()
    gone = trio.Event()
    pump = near.send_stream.send_all_hook
    assert pump is not None

    async def go() -> None:  # so that the older one takes its time
        await gone.wait()
        await pump()

    near.send_stream.send_all_hook = go
    async with open_front(handler) as front:
        token = await front.polled()
        older = front.client(near, far)
        await older.send(request("GET", f"/chat?id={token}"))
        await wait_all_tasks_blocked()
        newer = [await front.poll(token) for _ in range(3)]
        for client in newer[1:]:
            assert told(await client.answer()) == (409, b"", TEXT)
        await handler.only.send(b"data")
        await trio.sleep(5)
        gone.set()
        assert told(await older.answer()) == (204, b"", TEXT)
        assert told(await newer[0].answer()) == (200, b"data", OCTETS)
        assert front.admission.active == 1


async def test_polls_that_arrive_together_leave_one_that_waits(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        clients = [await front.send("GET", token) for _ in range(6)]
        await wait_all_tasks_blocked()
        await handler.only.send(b"data")
        answers = [await client.answer() for client in clients]
        bodies = [answer.body for answer in answers if answer.status == 200]
        assert bodies == [b"data"]
        assert {answer.status for answer in answers} <= {200, 204, 409}
        assert not handler.ended


async def test_data_that_a_superseded_poll_has_taken_is_delivered_by_it(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        older = await front.poll(token)
        await handler.only.send(b"one ")
        newer = await front.send("GET", token)
        await wait_all_tasks_blocked()
        await handler.only.send(b"two")
        answers = [await older.answer(), await newer.answer()]
        assert b"".join(answer.body for answer in answers) == b"one two"


# ---- clients that leave


async def test_a_client_that_leaves_its_poll_may_come_back(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        for _ in range(3):
            client = await front.poll(token)
            await trio.sleep(20)
            await client.stream.aclose()
            await trio.sleep(10)
        await handler.only.send(b"data")
        assert told(await front.ask("GET", token)) == (200, b"data", OCTETS)
        assert not handler.ended


async def test_a_client_that_leaves_its_poll_and_stays_away_is_gone(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        client = await front.poll(token)
        await client.stream.aclose()
        await trio.sleep(14)
        assert not reader.ended
        await trio.sleep(3)
        assert (reader.ended, reader.errors) == (1, ["The client did not come back."])
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).status == 404


async def test_a_waiting_newer_poll_whose_client_leaves_is_forgotten(autojump_clock: MockClock) -> None:
    handler = Handler()
    near, far = memory_stream_pair()
    gone = trio.Event()
    near.send_stream.send_all_hook = gone.wait
    async with open_front(handler) as front:
        token = await front.polled()
        older = front.client(near, far)
        await older.send(request("GET", f"/chat?id={token}"))
        await wait_all_tasks_blocked()
        newer = await front.poll(token)
        await newer.stream.aclose()
        await wait_all_tasks_blocked()
        newest = await front.poll(token)
        gone.set()
        assert (await older.answer()).status == 204
        await handler.only.send(b"data")
        assert told(await newest.answer()) == (200, b"data", OCTETS)


async def test_an_answer_that_cannot_be_delivered_ends_the_connection(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    reader = Reader()
    near, far = narrow_stream_pair()
    async with open_front(reader) as front:
        token = await front.polled()
        near.send_stream.room = 20
        client = front.client(near, far)
        await client.send(request("GET", f"/chat?id={token}"))
        await wait_all_tasks_blocked()
        await reader.only.send(b"lost")
        await wait_all_tasks_blocked()
        await reader.only.send(b"later")
        await trio.sleep(11)
        assert reader.errors == ["The client did not take the answer of its poll."]
        assert front.admission.active == 0
        answer = await front.ask("GET", token)
        assert b"later" not in answer.body  # which would hide that something is missing
        assert answer.status == 404
        assert (await front.ask("POST", token, b"x")).status == 404
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("away", [14, 16.5])
async def test_a_client_has_fifteen_seconds_between_polls(away: float, autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        await trio.sleep(away)
        assert reader.ended == (away > 15)
        answer = await front.ask("GET", token)
        assert answer.status == (404 if away > 15 else 200)


async def test_our_own_lateness_does_not_count_as_theirs_and_puts_nothing_off_for_ever(
    autojump_clock: MockClock,
) -> None:
    """Of each three seconds two are ours, so that fifteen of the client's are forty-five."""
    reader = Reader()
    async with open_front(reader) as front:
        await front.polled()
        for look in range(20):
            assert look > 13 or not reader.ended
            await trio.sleep(0.9)
            autojump_clock.jump(2.1)
        assert reader.ended == 1


async def test_posts_do_not_keep_a_connection_that_is_not_polled(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        for _ in range(4):
            await trio.sleep(4)
            await front.ask("POST", token, b"x")
        await trio.sleep(1)
        assert reader.ended == 1


async def test_a_client_whose_upgrade_header_asks_for_something_else_is_seen_leaving(
    autojump_clock: MockClock,
) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        client = await front.poll(token, Connection="Upgrade", Upgrade="h2c")
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        await handler.only.send(b"data")
        assert told(await front.ask("GET", token)) == (200, b"data", OCTETS)


async def test_a_poll_by_http_1_0(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        client = front.client()
        await client.send(f"GET /chat?id={token} HTTP/1.0\r\n\r\n".encode())
        await wait_all_tasks_blocked()
        await handler.only.send(b"data")
        assert told(await client.answer()) == (200, b"data", OCTETS)
        assert await client.rest() == b""


# ---- the end


async def test_an_end_is_told_by_the_poll_that_waits(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        client = await front.poll(token)
        handler.release.set()
        assert told(await client.answer()) == (204, b"", TEXT)
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
        answer = await front.ask("GET", token)
        assert told(answer) == (404, b"No Connection with that ID", TEXT)


async def test_the_last_data_comes_before_the_end(autojump_clock: MockClock) -> None:
    async def speak(connection: Duplex) -> None:
        await connection.send(b"last")

    async with open_front(speak) as front:
        token = await front.polled()
        assert (await front.ask("POST", token, b"x")).status == 404
        assert told(await front.ask("GET", token)) == (200, b"last", OCTETS)
        assert front.admission.active == 1
        assert told(await front.ask("GET", token)) == (204, b"", TEXT)
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).status == 404


async def test_an_end_that_nobody_asks_for_is_forgotten(autojump_clock: MockClock) -> None:
    handler = Handler()
    handler.release.set()
    async with open_front(handler) as front:
        token = await front.polled()
        await trio.sleep(14)
        assert front.admission.active == 1
        await trio.sleep(2.5)
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).body == b"No Connection with that ID"


async def test_a_superseded_poll_at_the_end_leaves_the_telling_to_the_newer(
    autojump_clock: MockClock,
) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        older = await front.poll(token)
        newer = await front.send("GET", token)
        handler.release.set()
        assert (await older.answer()).status == (await newer.answer()).status == 204
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).status == 404


async def test_a_handler_that_fails_ends_its_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def fail(connection: Duplex) -> None:
        await connection.receive()
        await connection.send(b"before")
        raise ZeroDivisionError("private")

    async with open_front(fail) as front:
        token = await front.polled()
        client = await front.poll(token)
        await front.ask("POST", token, b"x")
        assert told(await client.answer()) == (200, b"before", OCTETS)
        assert told(await front.ask("GET", token)) == (204, b"", TEXT)
        assert front.admission.active == 0
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None


async def test_a_handler_that_lets_the_end_pass_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """As on the other transports: a raw handler need not catch that its client has left."""
    near, far = memory_stream_pair()
    connections: list[Duplex] = []

    async def handle(connection: Duplex) -> None:
        connections.append(connection)
        await echo(connection)

    async with open_front(handle) as front:
        token = await front.polled()
        client = front.client(near, far)
        await client.send(request("GET", f"/chat?id={token}"))
        await wait_all_tasks_blocked()
        await connections[0].send(b"x")
        await far.aclose()
        await trio.sleep(20)
        assert front.admission.active == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# ---- DELETE


async def test_delete_ends_the_connection_and_the_poll_that_waits(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        client = await front.poll(token)
        answer = await front.ask("DELETE", token)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (202, b"", TEXT)
        assert "cache-control" not in answer.headers
        assert told(await client.answer()) == (204, b"", TEXT)
        await wait_all_tasks_blocked()
        assert (reader.ends, reader.ended) == (1, 1)
        assert front.admission.active == 0
        assert (await front.ask("DELETE", token)).body == b"No Connection with that ID"


async def test_delete_between_polls(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader) as front:
        token = await front.polled()
        assert (await front.ask("POST", token, b"last")).status == 200
        assert (await front.ask("DELETE", token)).status == 202
        await wait_all_tasks_blocked()
        assert (reader.received, reader.ends) == (b"last", 1)
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).status == 404
        assert autojump_clock.current_time() == 0


@pytest.mark.parametrize("polling", [True, False])
async def test_delete_with_a_handler_that_hangs(polling: bool, autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        client = await front.poll(token) if polling else None
        assert (await front.ask("DELETE", token)).status == 202
        if client is not None:
            assert told(await client.answer()) == (204, b"", TEXT)
        for method in ("GET", "POST", "DELETE"):
            answer = await front.ask(method, token, b"x" if method == "POST" else b"")
            assert (answer.status, answer.body) == (404, b"")  # still listed, but over
        assert front.admission.active == 1
        await trio.sleep(17)  # and then it is cancelled
        assert front.admission.active == 0


async def test_delete_while_the_last_data_is_on_its_way(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        token = await front.polled()
        client = await front.poll(token)
        await handler.only.send(b"data")
        deletion = await front.send("DELETE", token)
        assert (await deletion.answer()).status == 202
        assert told(await client.answer()) == (200, b"data", OCTETS)
        for method in ("GET", "POST", "DELETE"):
            assert (await front.ask(method, token)).status == 404
        handler.release.set()
        await wait_all_tasks_blocked()
        assert front.admission.active == 0


async def test_delete_after_the_handlers_end(autojump_clock: MockClock) -> None:
    handler = Handler()
    handler.release.set()
    async with open_front(handler) as front:
        token = await front.polled()
        assert front.admission.active == 1
        assert (await front.ask("DELETE", token)).status == 202
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
        assert (await front.ask("GET", token)).status == 404


async def test_the_server_ends_with_polls_that_wait(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        for _ in range(3):
            await front.poll(await front.polled())
        assert front.admission.active == 3
    assert handler.ended == 3
    assert autojump_clock.current_time() == 0
