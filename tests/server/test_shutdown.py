"""Shutdown: with every transport open and busy, serve ends in order, tells each client, and leaves nothing."""

import gc
import weakref
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PATIENCE, RawPeer, members_of, no_task_left
from tests.messages import call, close
from tests.server.app_peer import PAIRS, TRANSPORTS, AppClient, ServedApp, connect, open_app, visit
from tests.server.busy_hub import WORK, Busy, assert_order, busy_app, set_to_work
from trio_hubs import Connection, ConnectionClosed, HubApp, HubOptions

every_pair = pytest.mark.parametrize(("transport", "protocol"), PAIRS)
COME_BACK = close(allow_reconnect=True)


async def last_words(client: RawPeer[Any]) -> list[Any]:
    """What comes until the end, however it comes."""
    messages: list[Any] = []
    try:
        while True:
            messages.append(await client.receive())
    except (trio.EndOfChannel, ConnectionClosed):
        return messages


async def shut_down(served: ServedApp, *clients: AppClient) -> list[list[Any]]:
    """Shut down while the clients listen; gives what each has heard."""
    heard: list[list[Any]] = [[] for _ in clients]

    async def listen(place: int, client: AppClient) -> None:
        heard[place] = await last_words(client)

    async with trio.open_nursery() as nursery:
        for place, client in enumerate(clients):
            nursery.start_soon(listen, place, client)
        await wait_all_tasks_blocked()
        served.serving.cancel()
        with trio.fail_after(PATIENCE):
            await served.over.wait()
    return heard


@pytest.mark.parametrize(("transport", "protocol"), PAIRS[:3])
async def test_one_connection_ends_in_order(autojump_clock: MockClock, transport: str, protocol: str) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_app(busy_app(events)) as served:
            client = await visit(served, "/hub", transport, protocol)
            id = await set_to_work(client)
            (heard,) = await shut_down(served, client)
            assert heard[-1] == COME_BACK
            assert served.app.statistics().connections == served.leases() == served.sessions() == 0
    assert_order(events, id)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_one_that_polls_ends_in_order(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_app(busy_app(events)) as served:
            client = await visit(served, "/hub", "LongPolling", protocol)
            id = await set_to_work(client)
            await shut_down(served, client)
            assert served.sessions() == 0
    assert_order(events, id)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_one_that_polls_is_told(autojump_clock: MockClock, protocol: str) -> None:
    async with open_app(busy_app([])) as served:
        client = await visit(served, "/hub", "LongPolling", protocol)
        (heard,) = await shut_down(served, client)
        assert heard == [COME_BACK]


@pytest.mark.parametrize("polls", [True, False])
async def test_nothing_is_kept_of_one_that_polls(autojump_clock: MockClock, polls: bool) -> None:
    async with open_app(busy_app([])) as served:
        client = await visit(served, "/hub", "LongPolling")
        await shut_down(served, *([client] if polls else []))
        assert served.app.statistics().connections == served.leases() == 0


async def test_all_transports_at_once_end_in_order(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_app(busy_app(events)) as served:
            clients = [await visit(served, "/hub", *PAIRS[n % len(PAIRS)]) for n in range(15)]
            ids = [await set_to_work(client) for client in clients]
            for id in ids:
                await served.app.hub(Busy).groups.add(id, "g")
            heard = await shut_down(served, *clients)
            for number, words in enumerate(heard):
                if PAIRS[number % len(PAIRS)][0] != "LongPolling":
                    assert words[-1] == COME_BACK
            assert served.sessions() == 0
            assert not members_of(served.app.site.hubs[0][1])._groups
    for id in ids:
        assert_order(events, id)
    assert len(events) == 15 * (len(WORK) + 1) + len([event for event in events if "broken" in event])


async def test_clients_that_vanish_meanwhile_change_nothing(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_app(busy_app(events)) as served:
            clients = [await visit(served, "/hub", *PAIRS[n % len(PAIRS)]) for n in range(10)]
            ids = [await set_to_work(client) for client in clients]
            served.serving.cancel()
            await trio.sleep(0.5)
            for client in clients:
                client.leave()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
    for id in ids:
        assert_order(events, id)


@every_pair
async def test_a_client_that_takes_nothing_holds_nothing_up_for_long(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    with no_task_left():
        async with open_app(busy_app([])) as served:
            client = await visit(served, "/hub", transport, protocol)
            await set_to_work(client)
            for narrow in served.narrows:
                narrow.room = 0
            served.serving.cancel()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
            assert trio.current_time() < 20


@every_pair
async def test_one_that_has_yet_to_shake_hands_ends_too(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    with no_task_left():
        async with open_app(busy_app([])) as served:
            await connect(served, "/hub", transport, protocol)
            served.serving.cancel()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
            assert trio.current_time() < 6


async def test_requests_that_are_half_sent_end_too(autojump_clock: MockClock) -> None:
    with no_task_left():
        async with open_app(busy_app([])) as served:
            await served.open_stream().send_all(b"POST /hub/negot")
            await served.open_stream().send_all(
                b"POST /hub?id=x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
            )
            served.open_stream()
            await wait_all_tasks_blocked()
            served.serving.cancel()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
            assert trio.current_time() < 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_raw_connections_are_cancelled(autojump_clock: MockClock, transport: str) -> None:
    events: list[str] = []

    async def handler(connection: Connection) -> None:
        try:
            await connection.send(b"hello")
            await connection.receive()
        finally:
            events.append("handler ended")

    app = HubApp()
    app.add_connection_handler("/raw", handler)
    with no_task_left():
        async with open_app(app) as served:
            client = await connect(served, "/raw", transport)
            assert await client.connection.receive() == b"hello"
            served.serving.cancel()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
    assert events == ["handler ended"]


async def test_a_torn_connection_that_could_come_back_ends_too(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_app(busy_app(events, stateful_reconnect=True)) as served:
            answer = await served.ask("POST", "/hub/negotiate?negotiateVersion=1&useStatefulReconnect=true")
            token = answer.body.split(b'"connectionToken":"')[1].split(b'"')[0].decode()
            client = await connect(served, f"/hub?id={token}")
            await client.send_bytes(b'{"protocol":"json","version":2}\x1e')
            assert await client.receive_record() == {}
            id = await set_to_work(client)
            client.leave()
            await trio.sleep(3)
            assert served.sessions() == 1
            served.serving.cancel()
            with trio.fail_after(PATIENCE):
                await served.over.wait()
            assert trio.current_time() < 12
            assert served.sessions() == 0
    assert_order(events, id)


async def test_what_was_served_is_no_object_any_more(autojump_clock: MockClock) -> None:
    kept: list[weakref.ref[Any]] = []
    async with open_app(busy_app([])) as served:
        clients = [await visit(served, "/hub", transport) for transport in TRANSPORTS[:2]]
        for client in clients:
            await set_to_work(client)
        hub = served.app.site.hubs[0][1]
        kept += [weakref.ref(session) for session in hub.sessions]
        kept += [weakref.ref(session.connection) for session in hub.sessions]
        await shut_down(served, *clients)
        await wait_all_tasks_blocked()
        gc.collect()
        assert [ref() for ref in kept] == [None] * 4


@pytest.mark.parametrize("transport", TRANSPORTS[:2])
async def test_an_app_may_be_served_again(autojump_clock: MockClock, transport: str) -> None:
    events: list[str] = []
    app = busy_app(events, on_disconnected_timeout=3.0)
    for _ in range(3):
        async with open_app(app) as served:
            client = await visit(served, "/hub", transport)
            await set_to_work(client)
            (heard,) = await shut_down(served, client)
            assert heard[-1] == COME_BACK
            assert app.statistics().connections == 0
    assert len([event for event in events if "disconnected" in event]) == 3


async def test_an_app_without_clients_ends_at_once(autojump_clock: MockClock) -> None:
    app = HubApp(options=HubOptions())
    app.add_hub("/hub", Busy, factory=lambda: Busy([]))
    with no_task_left():
        async with open_app(app) as served:
            await trio.sleep(100)
            served.serving.cancel()
            await served.over.wait()
            assert trio.current_time() == 100


async def test_results_that_are_ready_are_sent_before_the_end(autojump_clock: MockClock) -> None:
    async with open_app(busy_app([])) as served:
        client = await visit(served, "/hub")
        await client.send(call("Who", id="1"))
        await wait_all_tasks_blocked()
        (heard,) = await shut_down(served, client)
        assert [message["type"] for message in heard] == [3, 7]
