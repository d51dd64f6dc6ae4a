"""A hub may abort its connection from each place, and what is kept of a connection after its end says so."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

import trio_hubs
from tests.hub_peer import no_task_left, open_client
from tests.messages import call, close, item, stream
from trio_hubs import ChannelReader, Hub

from .witness import both_protocols


@both_protocols
@pytest.mark.parametrize(
    "place", ["connected", "inline", "plain", "generator", "child", "upload", "disconnected"]
)
async def test_abort_works_from_each_place(autojump_clock: MockClock, protocol: str, place: str) -> None:
    events: list[str] = []

    class Aborting(Hub):
        def _abort(self, here: str) -> None:
            if here == place:
                self.context.abort()

        async def on_connected(self) -> None:
            self._abort("connected")

        async def on_disconnected(self, error: Exception | None) -> None:
            self._abort("disconnected")
            events.append(f"disconnected: {error}")

        def inline(self) -> None:
            self._abort("inline")

        async def plain(self) -> None:
            self._abort("plain")
            self._abort("plain")  # again does no harm

        async def generator(self) -> AsyncIterator[int]:
            self._abort("generator")
            yield 1

        async def _child(self) -> None:
            self._abort("child")

        async def child(self) -> None:
            self.start_soon(self._child)

        async def upload(self, items: ChannelReader[int]) -> None:
            async for _ in items:
                self._abort("upload")

    calls = {
        "inline": [call("Inline")],
        "plain": [call("Plain")],
        "generator": [stream("Generator")],
        "child": [call("Child")],
        "upload": [call("Upload", uploads=("9",)), item("9", 1)],
        "disconnected": [close()],
    }
    with no_task_left():
        async with open_client(Aborting, protocol, handshake=False) as client:
            await client.shake_hands(*calls.get(place, []))
            messages = await client.rest()
            assert messages[-1] == close()
    assert events == ["disconnected: None"]


async def test_what_is_kept_of_a_connection_after_its_end_says_so(autojump_clock: MockClock) -> None:
    kept: list[Hub] = []

    class Kept(Hub):
        def keep(self) -> None:
            kept.append(self)

    async with open_client(Kept) as client:
        await client.send(call("Keep", id="1"))
        await client.receive()
        client.connection.close()
        await client.rest()
        await client.served()
        with pytest.raises(trio_hubs.ConnectionClosed):
            await kept[0].clients.caller.send("Late")
        with pytest.raises(RuntimeError, match="The invocation is over"):
            kept[0].start_soon(trio.sleep_forever)
        kept[0].context.abort()
        await kept[0].clients.all.send("Late")


@both_protocols
@pytest.mark.parametrize("end", ["abort", "close"])
async def test_what_stands_behind_the_end_in_its_packet_is_not_run(
    autojump_clock: MockClock, protocol: str, end: str
) -> None:
    ran: list[str] = []

    class Aborting(Hub):
        def abort(self) -> None:
            self.context.abort()

        def inline(self) -> None:
            ran.append("inline")

        async def plain(self) -> None:
            ran.append("plain")

        async def generator(self) -> AsyncIterator[int]:
            ran.append("generator")
            yield 1

    first = call("Abort", id="0") if end == "abort" else close()
    async with open_client(Aborting, protocol) as client:
        await client.send(first, call("Inline", id="1"), call("Plain", id="2"), stream("Generator", id="3"))
        messages = await client.rest()
    assert ran == []
    assert messages[-1] == close()
    assert not any(message.get("invocationId") in ("1", "2", "3") for message in messages)
