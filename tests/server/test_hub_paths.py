"""A hub at two paths is one hub."""

from trio.testing import MockClock

from tests.hub_peer import local_roster
from tests.messages import call, result
from tests.server.app_peer import open_app, visit
from trio_hubs import Hub, HubApp, HubOptions


class Chat(Hub):
    """A room and its visitors."""

    async def join(self, room: str) -> int:
        await self.groups.add(self.context.connection_id, room)
        return 0

    async def tell(self, room: str, text: str) -> int:
        await self.clients.group(room).send("Told", text)
        return 0

    async def tell_all(self, text: str) -> None:
        await self.clients.all.send("Told", text)


class Other(Hub):
    """Another hub."""


def chat_app() -> HubApp:
    app = HubApp()
    app.add_hub("/chat", Chat)
    app.add_hub("/other", Other)
    app.add_hub("/old/chat", Chat, options=HubOptions(keep_alive_interval=5.0, maximum_message_size=200))
    return app


async def test_clients_and_groups_are_shared(autojump_clock: MockClock) -> None:
    app = chat_app()
    async with open_app(app) as served:
        clients = [await visit(served, path) for path in ("/chat", "/old/chat")]
        other = await visit(served, "/other")
        for client in clients:
            await client.send(call("Join", "room", id="1"))
            assert await client.receive() == result("1", 0)
        await clients[1].send(call("Tell", "room", "one", id="2"))
        await clients[0].send(call("TellAll", "two"))
        assert await clients[0].take(2) == [call("Told", "one"), call("Told", "two")]
        assert sorted(await clients[1].take(3), key=str) == sorted(
            [call("Told", "one"), result("2", 0), call("Told", "two")], key=str
        )
        await app.hub(Chat).clients.all.send("Told", "three")
        await app.hub(Chat).clients.group("room").send("Told", "four")
        for client in clients:
            assert await client.take(2) == [call("Told", "three"), call("Told", "four")]
        assert await other.arrived() == []
        assert app.statistics().connections == 3


async def test_each_path_keeps_its_own_options(autojump_clock: MockClock) -> None:
    async with open_app(chat_app()) as served:
        old = await visit(served, "/old/chat")
        new = await visit(served, "/chat")
        for client in (old, new):
            await client.send(call("Tell", "nobody", "x" * 300, id="1"))
        assert (await old.rest())[-1]["type"] == 7
        assert await new.receive() == result("1", 0)


async def test_one_timer_looks_after_both_as_often_as_either_needs(autojump_clock: MockClock) -> None:
    async with open_app(chat_app()) as served:
        old = await visit(served, "/old/chat")
        for _ in range(3):
            begin = autojump_clock.current_time()
            assert (await old.receive())["type"] == 6
            assert autojump_clock.current_time() - begin <= 6.0


async def test_what_was_dropped_at_both_paths_counts_once() -> None:
    app = chat_app()
    assert len({served.roster for _, served in app.site.hubs}) == 2
    for _, served in app.site.hubs:
        local_roster(served)._dropped = 1
    assert app.statistics().dropped_messages == 2


async def test_a_drain_ends_both(autojump_clock: MockClock) -> None:
    app = chat_app()
    async with open_app(app) as served:
        clients = [await visit(served, path) for path in ("/chat", "/old/chat")]
        await app.drain(1)
        for client in clients:
            assert (await client.rest())[-1] == {"type": 7, "allowReconnect": True}
