"""Over every transport: who says goodbye in order loses nothing that it sent; who is lost is cancelled at once."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.messages import call, close
from tests.server.app_peer import PAIRS, open_app, visit
from trio_hubs import ConnectionClosed, Hub, HubApp, HubOptions

EVENTS: list[str] = []


class Saving(Hub):
    """Takes its time."""

    opening = 0.0
    """Seconds that a connection takes to open."""

    async def on_connected(self) -> None:
        await trio.sleep(self.opening)

    async def save(self, name: str, seconds: float = 1.0) -> None:
        EVENTS.append(f"{name} began")
        try:
            await self.clients.caller.send("Saving", name)
            await trio.sleep(seconds)
            await self.clients.caller.send("Saved", name)
            EVENTS.append(f"{name} done")
        except trio.Cancelled:
            EVENTS.append(f"{name} cancelled")
            raise

    async def ask(self) -> None:
        try:
            await self.clients.caller.invoke("Answer")
        except ConnectionClosed:
            EVENTS.append("nobody answers")

    async def on_disconnected(self, error: Exception | None) -> None:
        EVENTS.append(f"disconnected: {error}")


def saving_app(**options: float) -> HubApp:
    EVENTS.clear()
    app = HubApp()
    app.add_hub("/hub", Saving, options=HubOptions(stateful_reconnect=True, **options))  # type: ignore[arg-type]
    return app


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_was_sent_before_the_goodbye_is_done(
    autojump_clock: MockClock, pair: tuple[str, str], apart: bool
) -> None:
    async with open_app(saving_app()) as served:
        client = await visit(served, "/hub", *pair)
        messages = [call("Save", "a"), call("Save", "b"), call("Ask"), close()]
        if apart:
            for message in messages:
                await client.send(message)
        else:
            await client.send(*messages)
        await trio.sleep(3)
        assert EVENTS == [
            "a began",
            "a done",
            "b began",
            "b done",
            "nobody answers",
            "disconnected: None",
        ]
        client.leave()


async def test_an_event_stream_that_its_client_closes_is_a_goodbye(autojump_clock: MockClock) -> None:
    async with open_app(saving_app()) as served:
        client = await visit(served, "/hub", "ServerSentEvents")
        await client.send(call("Save", "a"))
        await wait_all_tasks_blocked()
        client.leave()
        await trio.sleep(2)
        assert EVENTS == ["a began", "a done", "disconnected: None"]


@pytest.mark.parametrize("transport", ["WebSockets", "LongPolling"])
async def test_who_is_lost_is_cancelled_at_once(autojump_clock: MockClock, transport: str) -> None:
    async with open_app(saving_app()) as served:
        client = await visit(served, "/hub", transport)
        await client.send(call("Save", "a", 100.0))
        await wait_all_tasks_blocked()
        client.leave()
        await trio.sleep(18)
        assert EVENTS == ["a began", "a cancelled", "disconnected: None"]


async def test_the_time_for_it_is_chosen(autojump_clock: MockClock) -> None:
    async with open_app(saving_app(goodbye_timeout=20.0)) as served:
        client = await visit(served, "/hub")
        await client.send(call("Save", "a", 19.0), call("Save", "b", 19.0), close())
        await trio.sleep(21)
        assert EVENTS == ["a began", "a done", "b began", "b cancelled", "disconnected: None"]
        client.leave()


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents", "LongPolling"])
@pytest.mark.parametrize("leaves", ["says goodbye", "is lost"])
async def test_a_call_that_waits_for_a_slow_beginning_begins_though_its_client_leaves(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, transport: str, leaves: str
) -> None:
    monkeypatch.setattr(Saving, "opening", 2.0)
    async with open_app(saving_app()) as served:
        client = await visit(served, "/hub", transport)
        await client.send(call("Save", "a", id="1"))
        if leaves == "says goodbye":
            await client.send(close())
        else:
            client.leave()
        await trio.sleep(30)
        noticed_late = transport == "LongPolling" and leaves == "is lost"
        end = "done" if noticed_late else "cancelled"
        assert EVENTS[:2] == ["a began", f"a {end}"]
        assert EVENTS[2].startswith("disconnected: ")
        client.leave()
