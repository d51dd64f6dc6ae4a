"""Law 2: reading stops, what waits fails, calls are cancelled and awaited, the hub hears, the last bytes go."""

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import members_of, no_task_left, open_client, served_hub
from tests.messages import call, close, encode, item, stream
from trio_hubs import ChannelReader, Hub, UploadBroken
from trio_hubs.server.served_hub import ServedHub

from .ends import ENDS, each_end
from .witness import both_protocols, witness


class Ordered(Hub):
    """Notes what happens at the end, and in which order."""

    def __init__(self, events: list[str], served: list[ServedHub]) -> None:
        self.events = events
        self.served = served

    def note(self, text: str) -> None:
        self.events.append(text)

    def abort(self) -> None:
        self.context.abort()

    async def work(self, items: ChannelReader[int]) -> None:
        try:
            await items.read()
        except UploadBroken:
            self.events.append("upload broken")
            await trio.sleep(5)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.events.append("method ended")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("hub hears")
        await trio.sleep(1)
        listed = self.context.connection_id in members_of(self.served[0]).by_id
        self.events.append("still listed" if listed else "unlisted")


@both_protocols
@each_end
async def test_the_end_of_a_connection_has_its_order(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    events: list[str] = []
    served: list[ServedHub] = []
    served.append(served_hub(Ordered, lambda: Ordered(events, served)))
    async with open_client(served[0], protocol, beating=end == "the client is silent") as client:
        await client.send(call("Work", uploads=("9",)))
        await client.arrived()
        await ENDS[end](client)
        if end != "the client vanishes":
            assert (await client.rest())[-1]["type"] == 7
        await client.served()
        assert not members_of(served[0]).by_id
    first = [] if end == "the server shuts down" else ["upload broken"]  # a shutdown cancels at once
    assert events == [*first, "method ended", "hub hears", "still listed"]


@both_protocols
@pytest.mark.parametrize("end", ["the client says close", "the hub aborts", "the client sends garbage"])
async def test_nothing_is_read_after_the_end(autojump_clock: MockClock, protocol: str, end: str) -> None:
    events: list[str] = []
    served: list[ServedHub] = []
    served.append(served_hub(Ordered, lambda: Ordered(events, served)))
    async with open_client(served[0], protocol) as client:
        await ENDS[end](client)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(call("Note", "too late", id="1"))
        assert [message["type"] for message in await client.rest()] == [7]
    assert events == ["hub hears", "still listed"]


@both_protocols
async def test_shutdown_in_the_middle_of_everything_is_in_order(
    autojump_clock: MockClock, protocol: str
) -> None:
    events: list[str] = []
    served = witness(events, maximum_parallel_invocations=2)
    with no_task_left():
        async with open_client(served, protocol) as client:
            await client.send(
                stream("CarefulGenerator", 999, id="1"),
                stream("Channel", 999, id="2"),
                call("Total", id="3", uploads=("9",)),
                item("9", 1),
                call("Careful", id="4"),
                call("PlainWithChild", id="5"),
                call("Plain", id="6"),
            )
            await client.send_bytes(encode(protocol, call("Plain", id="7"))[:-1])
            await client.arrived()
            client.serving.cancel()
            messages = await client.rest()
            assert messages[-1] == close(allow_reconnect=True)
            assert messages.count(close(allow_reconnect=True)) == 1
    names = ("generator", "writer", "total", "careful", "plain", "child")
    assert {event for event in events if event.endswith("began")} == {f"{name} began" for name in names}
    assert {event for event in events if event.endswith("ended")} == {f"{name} ended" for name in names}
    assert events.count("careful cleaned up") == 2
    assert events[-1] == "disconnected"
    assert events.count("disconnected") == 1


async def test_shutdown_before_the_handshake_ends_the_connection(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_client(witness(events), handshake=False) as client:
            await client.send_bytes(b'{"protocol"')
            await trio.testing.wait_all_tasks_blocked()
            client.serving.cancel()
            await client.served()
    assert events == []


async def test_a_client_that_takes_nothing_holds_up_no_shutdown(autojump_clock: MockClock) -> None:
    events: list[str] = []
    with no_task_left():
        async with open_client(witness(events), capacity=1) as client:
            await client.send(*[call("Add", 1, 2, id=str(number)) for number in range(500)])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(*[call("Add", 1, 2, id=str(number)) for number in range(500)])
            await trio.testing.wait_all_tasks_blocked()
            client.serving.cancel()
            await client.served()
            assert trio.current_time() <= 10
    assert events == ["disconnected"]
