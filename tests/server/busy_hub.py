"""A hub that is at work in every way when its connection ends, and notes in which order its work does."""

from collections.abc import AsyncIterator
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import call, item, stream
from tests.server.app_peer import AppClient, hub_app
from trio_hubs import ChannelReader, Hub, HubApp, UploadBroken


class Busy(Hub):
    """Is at work whenever it is shut down."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def _note(self, text: str) -> None:
        self.events.append(f"{self.context.connection_id}: {text}")

    async def careful(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self._note("call ended")

    async def count(self) -> AsyncIterator[int]:
        try:
            yield 0
            await trio.sleep_forever()
        finally:
            self._note("stream ended")

    async def total(self, items: ChannelReader[int]) -> None:
        try:
            async for _ in items:
                pass
        except UploadBroken:
            self._note("upload broken")
            raise
        finally:
            self._note("upload ended")

    async def ask(self) -> None:
        try:
            await self.clients.caller.invoke("Answer")
        finally:
            self._note("question ended")

    async def child(self) -> None:
        self.start_soon(self._child)

    async def _child(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._note("child ended")

    async def who(self) -> str:
        return self.context.connection_id

    async def on_disconnected(self, error: Exception | None) -> None:
        await trio.sleep(1)
        self._note(f"disconnected: {error}")


WORK = {
    "call ended": [call("Careful", id="1")],
    "stream ended": [stream("Count", id="2")],
    "upload ended": [call("Total", id="3", uploads=("u",)), item("u", 1)],
    "question ended": [call("Ask", id="4")],
    "child ended": [call("Child", id="5")],
}


def busy_app(events: list[str], hub: type[Busy] = Busy, **options: Any) -> HubApp:
    return hub_app(hub, lambda: hub(events), maximum_parallel_invocations=10, **options)


async def set_to_work(client: AppClient) -> str:
    """Have a client's connection do one of everything; gives its id."""
    await client.send(call("Who", id="0"))
    while (message := await client.receive()).get("invocationId") != "0":
        pass
    for messages in WORK.values():
        await client.send(*messages)
    await wait_all_tasks_blocked()
    return str(message["result"])


def assert_order(events: list[str], id: str) -> None:
    """All work of a connection has ended, once, and then the hub has heard that it is over, once."""
    own = [event.removeprefix(f"{id}: ") for event in events if event.startswith(id)]
    assert own[-1].startswith("disconnected: ")
    assert sorted(name for name in own[:-1] if name != "upload broken") == sorted(WORK)
