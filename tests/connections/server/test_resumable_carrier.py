"""Stateful reconnect on the wire: who is torn off may come back with its token, in time, and takes over at once."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import BINARY, CLOSE, TEXT, Peer, close_payload
from trio_hubs.connections.duplex import Duplex, Resumed
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.hub_protocol import TransferFormat

from .endpoint_peer import Front, Handler, open_front


class Resuming(Handler):
    """Receives whatever comes, also over gaps.

    Attributes:
        events: What was received, and ``"resumed"`` for each gap.
        resumable: Whether it wants that at all.
    """

    def __init__(self, *, resumable: bool = True) -> None:
        super().__init__()
        self.resumable = resumable
        self.events: list[bytes | str] = []

    async def __call__(self, connection: Duplex) -> None:
        self.connections.append(connection)
        if self.resumable:
            connection.enable_resume()
        try:
            while True:
                try:
                    data = await connection.receive()
                    if not data:
                        self.events.append("end")
                        return
                    self.events.append(data)
                except Resumed:
                    self.events.append("resumed")
        except ConnectionClosed as error:
            self.events.append(str(error))
        finally:
            self.ended += 1


async def stateful(front: Front) -> str:
    return await front.token(useStatefulReconnect="true")


async def test_a_torn_websocket_is_replaced(autojump_clock: MockClock) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        await peer.send(peer.frame(TEXT, b"one"))
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await trio.sleep(14)
        assert not handler.ended
        assert handler.only.away
        peer = await front.socket(token)
        handler.only.transfer_format = TransferFormat.BINARY
        await handler.only.send(b"hello")
        assert await peer.next_frame() == (BINARY, b"hello")
        await peer.send(peer.frame(TEXT, b"two"))
        await trio.sleep(100)
        assert handler.events == [b"one", "resumed", b"two"]
        assert front.admission.active == 1


async def test_a_websocket_that_is_not_known_to_be_torn_is_replaced_and_closed(
    autojump_clock: MockClock,
) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        older = await front.socket(token)
        newer = await front.socket(token)
        assert await older.next_frame() == (CLOSE, close_payload(1000))
        await older.send(older.frame(TEXT, b"late"))
        await newer.send(newer.frame(TEXT, b"data"))
        await older.send_close()
        assert await older.rest() == []
        await wait_all_tasks_blocked()
        assert handler.events == ["resumed", b"data"]
        assert autojump_clock.current_time() == 0


async def test_a_dead_websocket_is_no_hindrance_for_its_replacement(autojump_clock: MockClock) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        older = await front.socket(token)
        newer = await front.socket(token)
        await handler.only.send(b"hello")
        assert await newer.next_frame() == (TEXT, b"hello")
        assert autojump_clock.current_time() == 0
        await older.rest()
        assert autojump_clock.current_time() == 5


async def test_replaced_again_and_again_at_once(autojump_clock: MockClock) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peers: list[Peer] = [await front.socket(token)]
        peers += [await front.upgrade(token) for _ in range(5)]
        for peer in peers[1:]:
            assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        await wait_all_tasks_blocked()
        assert front.admission.active == len(handler.connections) == 1
        await handler.only.send(b"hello")
        frames = {peer: await peer.next_frame() for peer in peers}
        assert sorted(frames.values()) == [(TEXT, b"hello")] + 5 * [(CLOSE, close_payload(1000))]
        assert set(handler.events) <= {"resumed"}


async def test_a_client_that_closes_in_order_cannot_come_back(autojump_clock: MockClock) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        await peer.send_close()
        assert await peer.rest() == [(CLOSE, close_payload(1000))]
        await wait_all_tasks_blocked()
        assert handler.events == ["end"]
        assert front.admission.active == 0
        assert (await front.refused(token)).body == b"No Connection with that ID"


async def test_the_end_of_the_handler_is_final(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        handler.release.set()
        assert await peer.next_frame() == (CLOSE, close_payload(1000))
        assert (await front.refused(token)).status == 404
        await peer.send_close()
        await wait_all_tasks_blocked()
        assert front.admission.active == 0


async def test_who_stays_away_too_long_is_over(autojump_clock: MockClock) -> None:
    handler = Resuming()
    async with open_front(handler, stateful_reconnect=True, disconnect_timeout=7) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        await peer.stream.aclose()
        await trio.sleep(6.9)
        assert not handler.ended
        await trio.sleep(1.2)
        assert handler.events == ["The connection was lost, and not taken up again."]
        assert front.admission.active == 0
        assert (await front.refused(token)).body == b"No Connection with that ID"


async def test_a_handler_that_hangs_after_its_client_stayed_away(autojump_clock: MockClock) -> None:
    handler = Resuming()

    async def hang(connection: Duplex) -> None:
        await handler(connection)
        await handler.release.wait()

    async with open_front(hang, stateful_reconnect=True) as front:
        token = await stateful(front)
        await (await front.socket(token)).stream.aclose()
        await trio.sleep(20)
        answer = await front.refused(token)
        assert (answer.status, answer.body) == (404, b"")
        assert front.admission.active == 1
        handler.release.set()
        await wait_all_tasks_blocked()
        assert front.admission.active == 0


async def test_where_the_handler_wants_no_resuming_a_second_websocket_is_a_conflict(
    autojump_clock: MockClock,
) -> None:
    handler = Resuming(resumable=False)
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        assert (await front.refused(token)).status == 409
        await peer.send(peer.frame(TEXT, b"works"))
        await wait_all_tasks_blocked()
        assert handler.events == [b"works"]
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert handler.events == [b"works", "The connection was lost."]
        assert front.admission.active == 0


async def test_a_race_with_a_handler_that_wants_no_resuming(autojump_clock: MockClock) -> None:
    handler = Resuming(resumable=False)
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peers = await front.race(token, {}, {})
        await wait_all_tasks_blocked()
        assert handler.events == []
        assert len(handler.connections) == 1
        closed = [peer for peer in peers if await ends(peer)]
        assert len(closed) == 1


async def ends(peer: Peer) -> bool:
    """Whether the server closes a WebSocket in order, soon."""
    with trio.move_on_after(1):
        return await peer.next_frame() == (CLOSE, close_payload(1000))
    return False


async def test_two_that_race_before_the_handler_wants_resuming(autojump_clock: MockClock) -> None:
    handler = Resuming()

    async def late(connection: Duplex) -> None:
        await trio.sleep(3)
        await handler(connection)

    async with open_front(late, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        assert (await front.refused(token)).status == 409
        await trio.sleep(4)
        newer = await front.socket(token)
        assert await ends(peer)
        assert not await ends(newer)
        assert handler.events == ["resumed"]


async def test_who_is_torn_off_before_the_handler_wants_resuming_is_gone(autojump_clock: MockClock) -> None:
    handler = Resuming(resumable=False)
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert handler.events == ["The connection was lost."]
        assert (await front.refused(token)).status == 404


async def test_who_has_closed_in_order_has_no_connection_even_while_its_handler_goes_on(
    autojump_clock: MockClock,
) -> None:
    handler = Resuming()

    async def lingering(connection: Duplex) -> None:
        await handler(connection)
        await trio.sleep(4)

    async with open_front(lingering, stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.socket(token)
        await peer.send_close()
        await wait_all_tasks_blocked()
        assert handler.events == ["end"]
        answer = await front.refused(token)
        assert (answer.status, answer.body) == (404, b"No Connection with that ID")
        await trio.sleep(5)
        assert front.admission.active == 0


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"], ids=["polls", "events"])
async def test_a_race_with_another_transport(
    accept: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_front(Handler(), stateful_reconnect=True) as front:
        token = await stateful(front)
        peer = await front.upgrade(token)
        await front.send("GET", token, Accept=accept)
        await peer.head()
        await wait_all_tasks_blocked()
        assert front.admission.active == 1
    assert not caplog.records


@pytest.mark.parametrize("transport", ["polls", "events"])
async def test_other_transports_know_nothing_of_it(transport: str, autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, stateful_reconnect=True) as front:
        token = await stateful(front)
        if transport == "polls":
            await front.ask("GET", token)
        else:
            await front.events(token)
        await wait_all_tasks_blocked()
        assert not handler.only.resumable
        assert (await front.refused(token)).status == 400


async def test_at_the_maximum_and_while_draining_a_torn_connection_may_come_back(
    autojump_clock: MockClock,
) -> None:
    handler = Resuming()
    async with open_front(handler, maximum=1, stateful_reconnect=True) as front:
        token = await stateful(front)
        for draining in (False, True):
            front.admission.draining = draining
            peer = await front.socket(token)
            await peer.stream.aclose()
            await wait_all_tasks_blocked()
            await front.socket(token)
            assert front.admission.active == 1
            assert front.admission.refused == 0
        assert set(handler.events) == {"resumed"}
