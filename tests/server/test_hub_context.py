"""A hub as seen from outside of it: who is there, whom to call, and whom to send away."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.messages import call, close, result
from trio_hubs import Hub, HubApp, HubException, Request, Transport, User

from .app_peer import PAIRS, hub_app, open_app, visit


class Quiet(Hub):
    """Notes who leaves, and who is there then."""

    left: list[Any]

    def transport(self) -> str:
        return str(self.context.transport)

    def leave(self, reason: str) -> None:
        self.context.abort(reason)

    async def on_disconnected(self, error: Exception | None) -> None:
        here = await self.app.hub(Quiet).connections(user=self.context.user_id)
        self.left.append((type(error), str(error or ""), len(here)))


def quiet_app() -> tuple[HubApp, list[Any]]:
    """An app whose users name themselves, and who has left it."""

    def authenticate(request: Request) -> User | None:
        name = request.headers.get("x-name")
        return User(name) if name else None

    class Noted(Quiet):
        left: list[Any] = []  # noqa: RUF012

    app = HubApp(authenticate=authenticate)
    app.add_hub("/hub", Quiet, factory=Noted)
    return app, Noted.left


async def test_its_clients_are_called_from_outside() -> None:
    app = hub_app(Quiet)
    async with open_app(app) as served:
        client = await visit(served, "/hub")
        await app.hub(Quiet).clients.all.send("News", 1)
        assert await client.receive() == call("News", 1)


def test_a_hub_that_was_not_added_is_not_found() -> None:
    with pytest.raises(LookupError, match="Quiet was not added to this app"):
        HubApp().hub(Quiet)


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
async def test_what_carries_a_connection_is_known(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    app, _ = quiet_app()
    async with open_app(app) as served:
        client = await visit(served, "/hub", transport, protocol)
        await client.send(call("Transport", id="1"))
        assert await client.receive() == result("1", transport)
        (info,) = await app.hub(Quiet).connections()
        assert info.transport is Transport(transport)


async def test_it_tells_who_is_there(autojump_clock: MockClock) -> None:
    app, _ = quiet_app()
    hub = app.hub(Quiet)
    async with open_app(app) as served:
        names = ("ann", "ann", "bob", "")
        for name in names:
            await visit(served, "/hub", **{"X-Name": name})
        infos = await hub.connections()
        assert sorted(info.user.id or "" if info.user else "" for info in infos) == sorted(names)
        assert await hub.users() == {"ann", "bob"}
        anns = [info.id for info in await hub.connections(user="ann")]
        assert len(anns) == 2
        assert await hub.connections(user="carl") == ()
        await hub.groups.add(anns[0], "one", "two")
        assert [(info.id, set(info.groups)) for info in await hub.members("two")] == [
            (anns[0], {"one", "two"})
        ]
        assert await hub.groups.names() == {"one", "two"}
        await hub.groups.remove(anns[0], "one")
        assert await hub.groups.names() == {"two"}


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
@pytest.mark.parametrize("reason", ["", "You are banned."])
@pytest.mark.parametrize("by", ["the hub", "id", "user"])
async def test_who_is_sent_away_hears_why(
    autojump_clock: MockClock, transport: str, protocol: str, reason: str, by: str
) -> None:
    app, left = quiet_app()
    hub = app.hub(Quiet)
    async with open_app(app) as served:
        client = await visit(served, "/hub", transport, protocol, **{"X-Name": "ann"})
        stays = await visit(served, "/hub", **{"X-Name": "bob"})
        (info,) = await hub.connections(user="ann")
        if by == "the hub":
            await client.send(call("Leave", reason))
        elif by == "id":
            await hub.abort(info.id, reason)
        else:
            await hub.abort_user("ann", reason)
        assert await client.receive() == close(reason)
        await trio.sleep(10)
        assert [(text, here) for _, text, here in left] == [(reason, 0)]
        assert issubclass(left[0][0], HubException) == bool(reason)
        assert await hub.users() == {"bob"}
        await hub.clients.all.send("Here")
        assert await stays.receive() == call("Here")
