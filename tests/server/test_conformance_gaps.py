"""What docs/conformance.md keeps of ASP.NET Core's server and no other file shows."""

import json
import time

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import open_client, served_hub
from tests.messages import PING, call, close, result
from trio_hubs import Hub, HubApp, HubOptions, Request, User

from .app_peer import TRANSPORTS, open_app, visit


class Slow(Hub):
    """Takes its time to welcome clients."""

    async def on_connected(self) -> None:
        await trio.sleep(100)

    def echo(self, text: str) -> str:
        return text


async def test_pings_are_sent_while_the_hub_hears_of_a_clients_coming(autojump_clock: MockClock) -> None:
    async with open_client(Slow, beating=True, keep_alive_interval=40.0) as client:
        await client.send(call("Echo", "x", id="1"))
        assert await client.take(3) == [PING, PING, result("1", "x")]


class Room(Hub):
    """Tells groups of any name."""

    async def join(self, name: str) -> None:
        await self.groups.add(self.context.connection_id, name)

    async def tell(self, *names: str) -> None:
        await self.clients.groups(*names).send("Hear", "x")


async def test_a_group_may_have_an_empty_name(autojump_clock: MockClock) -> None:
    async with open_client(Room) as client:
        await client.send(call("Join", "room"), call("Tell", "room", "", id="1"))
        assert await client.take(2) == [call("Hear", "x"), result("1", None)]
        await client.send(call("Join", ""), call("Tell", "", id="2"))
        assert await client.take(2) == [call("Hear", "x"), result("2", None)]


async def test_silence_counts_while_the_hub_hears_of_a_clients_coming(autojump_clock: MockClock) -> None:
    served = served_hub(Slow, client_timeout=30.0, keep_alive_interval=1000.0)
    async with open_client(served, beating=True) as client:
        await client.send(PING)
        start = trio.current_time()
        expected = close("Connection closed with an error.", allow_reconnect=True)
        assert await client.rest() == [expected]
        assert 30 <= trio.current_time() - start <= 31


class Plain(Hub):
    """Has nothing to tell."""

    def echo(self, text: str) -> str:
        return text


QUIET = HubOptions(keep_alive_interval=10_000.0)
EXPIRE = attrs.evolve(QUIET, close_on_authentication_expiration=True)


def expiring(seconds: float, options: HubOptions = EXPIRE) -> HubApp:
    """An app whose users all expire after so long from when they are asked for."""

    def authenticate(_: Request) -> User:
        return User("ann", expires_at=time.time() + seconds)

    app = HubApp(authenticate=authenticate)
    app.add_hub("/hub", Plain, options=options)
    return app


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents"])
async def test_a_connection_ends_when_its_user_expires(transport: str, autojump_clock: MockClock) -> None:
    async with open_app(expiring(300)) as served:
        client = await visit(served, "/hub", transport)
        start = trio.current_time()
        assert await client.rest() == [close(allow_reconnect=True)]
        assert 299 <= trio.current_time() - start <= 302


async def test_each_poll_tells_of_its_user_anew(autojump_clock: MockClock) -> None:
    async with open_app(expiring(100)) as served:
        client = await visit(served, "/hub", "LongPolling")
        with trio.move_on_after(500) as polling:  # a poll waits for 90 s
            await client.receive()
        assert polling.cancelled_caught


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_by_default_a_connection_outlives_its_user(transport: str, autojump_clock: MockClock) -> None:
    async with open_app(expiring(5, QUIET)) as served:
        client = await visit(served, "/hub", transport)
        await trio.sleep(10)
        await client.send(call("Echo", "x", id="1"))
        assert await client.receive() == result("1", "x")


async def test_a_user_can_be_renewed(autojump_clock: MockClock) -> None:
    app = expiring(300, attrs.evolve(EXPIRE, authentication_refresh=True))
    async with open_app(app) as served:
        negotiated = json.loads((await served.ask("POST", "/hub/negotiate?negotiateVersion=1")).body)
        assert negotiated["tokenLifetimeSeconds"] in (299, 300)
        token = negotiated["connectionToken"]
        client = await visit(served, f"/hub?id={token}")
        start = trio.current_time()
        await trio.sleep(200)
        answer = await served.ask("POST", f"/hub/refresh?id={token}")
        assert (answer.status, json.loads(answer.body)["tokenLifetimeSeconds"] in (299, 300)) == (200, True)
        assert await client.rest() == [close(allow_reconnect=True)]
        assert 499 <= trio.current_time() - start <= 502


class Exact(Hub):
    """Calls by whatever name."""

    async def on_connected(self) -> None:
        await self.groups.add(self.context.connection_id, "Room")

    async def call(self, way: str, name: str) -> None:
        choose = {"group": self.clients.group, "user": self.clients.user, "client": self.clients.client}
        await choose[way](name).send("Hear", name)


@pytest.mark.parametrize(("way", "name"), [("group", "Room"), ("user", "Ann"), ("client", "Id")])
async def test_ids_groups_and_users_match_in_their_exact_letter_case(
    way: str, name: str, autojump_clock: MockClock
) -> None:
    async with open_client(Exact, id="Id", user=User("Ann")) as client:
        await client.send(call("Call", way, name.lower(), id="1"), call("Call", way, name, id="2"))
        assert await client.take(3) == [result("1", None), call("Hear", name), result("2", None)]
