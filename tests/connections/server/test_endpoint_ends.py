"""Whatever way a connection ends, or fails to begin, it counts no longer; limits hold for all transports together."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import CLOSE, Peer, close_payload, narrow_stream_pair
from trio_hubs.connections.duplex import Duplex
from trio_hubs.errors import ConnectionClosed

from .endpoint_peer import Front, Handler, Reader, open_front
from .http_peer import Answer, upgrade

ACCEPT = {"Accept": "text/event-stream"}
TRANSPORTS = ("polls", "events", "socket", "resumable")

Leave: TypeAlias = Callable[[], Awaitable[None]]


async def enter(front: Front, transport: str) -> Leave:
    """Make a connection; gives the way to leave it without a word."""
    if transport == "polls":
        return (await front.poll(await front.polled())).stream.aclose
    if transport == "events":
        return (await front.events()).stream.aclose
    token = await front.token(useStatefulReconnect="true") if transport == "resumable" else ""
    return (await front.socket(token)).stream.aclose


async def attempts(front: Front, tokens: list[str]) -> list[Answer]:
    """The answers to an attempt at each way in."""
    return [
        await front.ask("POST", {"negotiateVersion": "1"}, path="/chat/negotiate"),
        await front.ask("GET", tokens[0]),
        await front.ask("GET", tokens[1], **ACCEPT),
        await front.refused(tokens[2]),
        await front.refused(),
    ]


def assert_refused(answers: list[Answer], text: str) -> None:
    for answer in answers:
        assert (answer.status, answer.body.decode()) == (503, text)
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["content-type"] == "text/plain"
    assert answers[1].headers["cache-control"] == "no-cache, no-store"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_maximum_holds_for_every_transport(transport: str, autojump_clock: MockClock) -> None:
    async with open_front(Reader(), maximum=2, stateful_reconnect=True, poll_timeout=900) as front:
        tokens = [await front.token() for _ in range(3)]
        leave = await enter(front, transport)
        await enter(front, transport)
        assert_refused(await attempts(front, tokens), "The server has too many connections.")
        assert front.admission.refused == 5
        await leave()
        await trio.sleep(17)
        assert front.admission.active == 1
        await enter(front, transport)
        assert front.admission.active == 2


async def test_who_is_in_stays_in_at_the_maximum(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, maximum=1) as front:
        token = await front.polled()
        poll = await front.poll(token)
        await handler.only.send(b"data")
        assert (await poll.answer()).body == b"data"
        assert (await front.ask("POST", token, b"x")).status == 200
        assert (await front.ask("DELETE", token)).status == 202


async def test_the_maximum_holds_for_those_who_come_together(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, maximum=2) as front:
        tokens = [await front.token() for _ in range(6)]
        for token in tokens[:3]:
            await front.upgrade(token)
        for token in tokens[3:]:
            await front.send("GET", token, **ACCEPT)
        for _ in range(3):
            await front.upgrade()
        await wait_all_tasks_blocked()
        assert len(handler.connections) == front.admission.active == 2


async def test_while_draining_nobody_comes_in(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler) as front:
        tokens = [await front.token() for _ in range(3)]
        polled = await front.polled()
        front.admission.draining = True
        assert_refused(await attempts(front, tokens), "The server is shutting down.")
        assert (await front.ask("POST", polled, b"x")).status == 200
        poll = await front.poll(polled)
        front.endpoint.ask_all_to_end()
        assert (await poll.answer()).status == 204
        with trio.fail_after(1):
            await front.admission.wait_empty()
        assert handler.ended == 1


# ---- counts after every end


async def left(front: Front, transport: str) -> None:
    await (await enter(front, transport))()


async def ended(front: Front, transport: str) -> None:
    await enter(front, transport)
    front.endpoint.ask_all_to_end()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("end", [left, ended], ids=["left", "ended"])
async def test_whoever_ends_it_it_counts_no_longer(
    transport: str, end: Callable[[Front, str], Awaitable[None]], autojump_clock: MockClock
) -> None:
    reader = Reader()
    async with open_front(reader, stateful_reconnect=True) as front:
        await end(front, transport)
        await trio.sleep(17)
        assert reader.ended == 1
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("client_left", [False, True])
async def test_a_handler_that_fails_counts_no_longer(
    transport: str, client_left: bool, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def fail(connection: Duplex) -> None:
        await wait_all_tasks_blocked()
        if client_left:  # which hides no fault
            raise ExceptionGroup("both", [ConnectionClosed("the client left"), ZeroDivisionError()])
        raise ZeroDivisionError

    async with open_front(fail, stateful_reconnect=True) as front:
        await enter(front, transport)
        await trio.sleep(17)
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 0
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_shutdown_ends_every_connection(transport: str, autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, stateful_reconnect=True) as front:
        for _ in range(3):
            await enter(front, transport)
        assert front.admission.active == 3
    assert handler.ended == 3
    assert len(front.endpoint._leases) == 0
    assert autojump_clock.current_time() <= 5  # which a WebSocket's close may take


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_shutdown_just_as_a_connection_begins(transport: str, autojump_clock: MockClock) -> None:
    for passes in range(25):
        async with open_front(Handler(), stateful_reconnect=True) as front:
            token = await front.token(useStatefulReconnect="true")
            if transport in ("polls", "events"):
                await front.send("GET", token, **(ACCEPT if transport == "events" else {}))
            else:
                await front.upgrade(token if transport == "resumable" else "")
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
        # the count is looked at there


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_leaves_just_as_its_connection_begins(
    transport: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Reader(), stateful_reconnect=True) as front:
        for passes in range(25):
            token = await front.token(useStatefulReconnect="true")
            if transport in ("polls", "events"):
                client = await front.send("GET", token, **(ACCEPT if transport == "events" else {}))
                stream = client.stream
            else:
                stream = (await front.upgrade(token if transport == "resumable" else "")).stream
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            await stream.aclose()
        await trio.sleep(17)
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_upgrade_that_fails_counts_nothing_and_uses_nothing_up(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, websocket_subprotocol=lambda offered: offered[0]) as front:
        token = await front.token()
        assert (await front.refused(token, Sec_WebSocket_Key="short")).status == 400
        assert (await front.refused(token, Sec_WebSocket_Protocol="\u00e9")).status == 400
        await wait_all_tasks_blocked()
        assert front.admission.active == len(handler.connections) == 0
        await front.socket(token)
        assert front.admission.active == 1
        handler.release.set()


async def test_a_client_that_does_not_take_its_acceptance_counts_nothing(autojump_clock: MockClock) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 10
    async with open_front(Handler()) as front:
        await front.client(near, far).send(upgrade("/chat"))
        await trio.sleep(60)
        assert front.admission.active == 0


async def test_a_first_poll_whose_answer_is_not_taken_is_over_in_time(autojump_clock: MockClock) -> None:
    reader = Reader()
    near, far = memory_stream_pair()
    async with open_front(reader) as front:
        token = await front.token()
        client = front.client(near, far)
        near.send_stream.send_all_hook = trio.sleep_forever
        await client.send(f"GET /chat?id={token} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await trio.sleep(17)
        assert reader.ended == 1
        assert front.admission.active == 0


async def test_an_unused_token_counts_nothing_and_is_dropped(autojump_clock: MockClock) -> None:
    async with open_front(Handler()) as front:
        for _ in range(10):
            await front.token()
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 10
        await trio.sleep(16)
        assert len(front.endpoint._leases) == 0


async def test_a_socket_that_is_accepted_after_its_token_expired_is_served(autojump_clock: MockClock) -> None:
    handler = Handler()
    near, far = memory_stream_pair()
    accepted = trio.Event()
    near.send_stream.send_all_hook = accepted.wait
    async with open_front(handler) as front:
        token = await front.token()
        peer = Peer(front.client(near, far).stream, client=True)
        await peer.send(upgrade(f"/chat?id={token}"))
        await trio.sleep(20)
        accepted.set()
        await wait_all_tasks_blocked()
        assert front.admission.active == len(handler.connections) == 1
        assert (await front.refused(token)).status == 409


async def test_what_comes_after_the_endpoints_end_is_sent_away(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Requests are still answered then: another endpoint may take its time to end."""
    handler = Handler()
    async with open_front(handler, stateful_reconnect=True) as front:
        polled, unused = await front.polled(), await front.token()
        stateful = await front.token(useStatefulReconnect="true")
        poll = await front.poll(polled)
        front.running.cancel()
        assert (await poll.answer()).status == 204
        answer = await front.ask("GET", unused)
        assert (answer.status, answer.body) == (503, b"The server is shutting down.")
        assert answer.headers["retry-after"] == "5"
        peer = await front.upgrade(stateful)
        assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        await peer.send_close()
        await wait_all_tasks_blocked()
        assert front.admission.active == 0
        assert handler.ended == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_poll_at_the_shutdown_fetches_the_last_data_and_the_end(autojump_clock: MockClock) -> None:
    async def speak(connection: Duplex) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await connection.send(b"last")

    async with open_front(speak) as front:
        token = await front.polled()
        poll = await front.poll(token)
        front.running.cancel()
        assert (await poll.answer()).body == b"last"
        await wait_all_tasks_blocked()
        assert front.admission.active == 0


@pytest.mark.parametrize("stateful", ["true", "false"])
async def test_the_time_that_closing_may_take_is_an_option(stateful: str, autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, close_timeout=2, stateful_reconnect=True) as front:
        peer = await front.socket(await front.token(useStatefulReconnect=stateful))
        handler.release.set()
        assert await peer.rest() == [(CLOSE, close_payload(1000))]
        assert autojump_clock.current_time() == 2
        assert front.admission.active == 0
