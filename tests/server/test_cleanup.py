"""However a connection ends, and whatever carries it: its work is cancelled, cleans up, and then the hub hears."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.connections.websocket.websocket_peer import CLOSE, close_payload
from tests.hub_peer import PATIENCE, members_of, no_task_left
from tests.messages import PING, call, close, framed
from tests.server.app_peer import PAIRS, AppClient, ServedApp, open_app, visit
from tests.server.busy_hub import Busy, assert_order, busy_app, set_to_work

End = Callable[[ServedApp, AppClient], Awaitable[object]]


async def vanish(served: ServedApp, client: AppClient) -> None:
    client.leave()


async def say_close(served: ServedApp, client: AppClient) -> None:
    await client.send(close())


async def send_garbage(served: ServedApp, client: AppClient) -> None:
    await client.send_bytes(b"{oops}\x1e" if client.protocol == "json" else framed(b"\xc1"))


async def be_aborted(served: ServedApp, client: AppClient) -> None:
    await client.send(call("Abort"))


async def be_silent(served: ServedApp, client: AppClient) -> None:
    await client.send(PING)


async def take_nothing(served: ServedApp, client: AppClient) -> None:
    for narrow in served.narrows:
        narrow.room = 0
    await served.app.hub(Aborting).clients.all.send("Word")


async def close_the_websocket(served: ServedApp, client: AppClient) -> None:
    peer: Any = client.connection
    await peer.peer.send(peer.peer.frame(CLOSE, close_payload(1000)))


async def delete(served: ServedApp, client: AppClient) -> None:
    wire: Any = client.connection
    assert (await served.ask("DELETE", wire._target)).status == 202


async def poll_no_more(served: ServedApp, client: AppClient) -> None:
    pass


class Aborting(Busy):
    """Can be told to end its connection."""

    def abort(self) -> None:
        self.context.abort()


# How it ends, within how many seconds, and whether that is an error.
EVERYWHERE: dict[str, tuple[End, float, set[bool]]] = {
    "says close": (say_close, 7, {False}),
    "sends garbage": (send_garbage, 7, {True}),
    "is aborted": (be_aborted, 7, {False}),
}
SOMEWHERE: dict[str, dict[str, tuple[End, float, set[bool]]]] = {
    "WebSockets": {
        "vanishes": (vanish, 7, {False}),
        "closes the WebSocket": (close_the_websocket, 7, {False}),
        "is silent": (be_silent, 36, {True}),
        "takes nothing": (take_nothing, 17, {True}),
    },
    "ServerSentEvents": {
        "vanishes": (vanish, 7, {False}),
        "is silent": (be_silent, 36, {True}),
        "takes nothing": (take_nothing, 17, {True}),
    },
    "LongPolling": {
        "vanishes": (vanish, 20, {False}),
        "deletes": (delete, 7, {False}),
        "polls no more": (poll_no_more, 20, {False}),
        "takes nothing": (take_nothing, 20, {False, True}),
    },
}
CASES = [
    pytest.param(transport, protocol, *case, id=f"{transport}-{protocol}-{name}")
    for transport, protocol in PAIRS
    for name, case in {**EVERYWHERE, **SOMEWHERE[transport]}.items()
]


@pytest.mark.parametrize(("transport", "protocol", "end", "patience", "fails"), CASES)
async def test_work_ends_before_the_hub_hears(
    autojump_clock: MockClock, transport: str, protocol: str, end: End, patience: float, fails: set[bool]
) -> None:
    events: list[str] = []
    app = busy_app(events, Aborting)
    with no_task_left():
        async with open_app(app) as served:
            client = await visit(served, "/hub", transport, protocol)
            id = await set_to_work(client)
            await served.app.hub(Aborting).groups.add(id, "g")
            assert served.app.statistics().connections == served.leases() == served.sessions() == 1
            await end(served, client)
            with trio.fail_after(PATIENCE):
                while served.sessions():  # noqa: ASYNC110
                    await trio.sleep(0.1)
            assert trio.current_time() <= patience
            assert (events[-1] != f"{id}: disconnected: None") in fails
            assert not members_of(served.app.site.hubs[0][1])._groups
            await trio.sleep(30)  # so long a client has to fetch its end
            assert served.app.statistics().connections == served.leases() == 0
    assert_order(events, id)
