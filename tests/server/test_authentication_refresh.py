"""A hub's user that is renewed: what runs keeps the user it began with, what comes after sees the new one."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS
from tests.messages import call, ended, item, result, stream
from trio_hubs import Hub, HubApp, HubFilter, HubOptions, Request, User, authorize, hub_method

from .app_peer import TRANSPORTS, AppClient, ServedApp, open_app, visit

NOW = time.time()
TOKENS = {
    f"ann-{claim}": User("ann", claims={"role": claim}, expires_at=NOW + 100_000 + position)
    for position, claim in enumerate(("guest", "user", "admin", "owner"))
}
TOKENS["bob"] = User("bob")


def authenticate(request: Request) -> User | None:
    return TOKENS.get(request.bearer_token or "")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Log:
    """What happened, and what methods wait for."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.go = trio.Event()


class Roles(Hub):
    """Tells which role its user has."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def note(self, what: str) -> None:
        user = self.context.user
        self.log.events.append(f"{what} {user.claims['role'] if user else 'nobody'}")

    @property
    def _role(self) -> str:
        assert self.context.user is not None
        role: str = self.context.user.claims["role"]
        return role

    async def on_connected(self) -> None:
        self.context.items["connected"] = self._role
        self.note("connected")

    async def on_authentication_refreshed(self) -> None:
        self.note("refreshed")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.note("disconnected")

    def role(self) -> str:
        return f"{self._role}, connected as {self.context.items['connected']}"

    async def wait(self) -> list[str]:
        before = self._role
        await self.log.go.wait()
        return [before, self._role]

    async def count(self) -> AsyncIterator[str]:
        yield self._role
        await self.log.go.wait()
        yield self._role

    @authorize(lambda user: user.claims["role"] == "admin")
    def guarded(self) -> str:
        return self._role

    async def tell(self) -> None:
        await self.clients.user("ann").send("Told", self.context.user_id)


@attrs.define
class Served:
    """A served hub, and one client of it."""

    app: ServedApp
    client: AppClient
    token: str

    async def refresh(self, who: str) -> int:
        answer = await self.app.ask("POST", f"/hub/refresh?id={self.token}", **bearer(who))
        await wait_all_tasks_blocked()
        return answer.status


def app_of(hub: Any, factory: Any = None, filters: Any = (), **options: Any) -> HubApp:
    app = HubApp(authenticate=authenticate)
    chosen: dict[str, Any] = {"authentication_refresh": True, "keep_alive_interval": 10_000.0, **options}
    app.add_hub("/hub", hub, factory=factory, options=HubOptions(**chosen), filters=filters)
    return app


async def join(
    served: ServedApp, who: str = "ann-guest", transport: str = "WebSockets", protocol: str = "json"
) -> Served:
    answer = await served.ask("POST", "/hub/negotiate?negotiateVersion=1", **bearer(who))
    token = json.loads(answer.body)["connectionToken"]
    if transport == "WebSockets":
        client = await visit(served, f"/hub?id={token}", transport, protocol, **bearer(who))
    else:
        client = await visit(served, "/hub", transport, protocol, **bearer(who))
        (token,) = (
            lease.token
            for endpoint in served.app.site.endpoints
            for lease in endpoint._leases
            if lease.carrier
        )
    await wait_all_tasks_blocked()
    return Served(served, client, token)


# ---- what is seen of the user


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_begins_after_a_refresh_sees_the_new_user(
    protocol: str, autojump_clock: MockClock
) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log), maximum_parallel_invocations=9)) as served:
        it = await join(served, protocol=protocol)
        client = it.client
        await client.send(
            call("Role", id="1"), call("Guarded", id="2"), call("Wait", id="3"), stream("Count", id="4")
        )
        assert await client.take(3) == [
            result("1", "guest, connected as guest"),
            ended("2", "Failed to invoke 'Guarded' because user is unauthorized"),
            item("4", "guest"),
        ]
        assert await it.refresh("ann-admin") == 200
        await client.send(call("Role", id="5"), call("Guarded", id="6"))
        assert await client.take(2) == [result("5", "admin, connected as guest"), result("6", "admin")]
        log.go.set()
        got = await client.take(3)
        assert result("3", ["guest", "guest"]) in got
        assert [each for each in got if each != result("3", ["guest", "guest"])] == [
            item("4", "guest"),
            ended("4"),
        ]
    assert log.events == ["connected guest", "refreshed admin", "disconnected admin"]


async def test_a_call_that_waits_begins_with_the_user_that_is_known_then(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        it = await join(served)
        await it.client.send(call("Wait", id="1"), call("Role", id="2"))
        await wait_all_tasks_blocked()
        await it.refresh("ann-admin")
        log.go.set()
        assert await it.client.take(2) == [
            result("1", ["guest", "guest"]),
            result("2", "admin, connected as guest"),
        ]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refresh_over_every_transport(transport: str, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        it = await join(served, transport=transport)
        assert await it.refresh("ann-user") == 200
        assert await it.refresh("bob") == 403
        assert await it.refresh("ann-guest") == 200  # which is older, and changes nothing
        await it.client.send(call("Role", id="1"), call("Tell"))
        told = call("Told", "ann")
        assert await it.client.take(2) == [result("1", "user, connected as guest"), told]
        assert log.events == ["connected guest", "refreshed user"]


async def test_where_there_is_no_refresh_the_user_stays_as_at_the_handshake(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log), authentication_refresh=False)) as served:
        it = await join(served, transport="LongPolling")
        await it.client.send(call("Role", id="1"))
        answer = await served.ask("GET", f"/hub?id={it.token}", **bearer("ann-admin"))
        assert b"guest, connected as guest" in answer.body
        await it.client.send(call("Role", id="2"))
        assert await it.client.receive() == result("2", "guest, connected as guest")
        assert log.events == ["connected guest"]
        assert await it.refresh("ann-admin") == 404


async def test_a_poll_with_a_newer_token_is_a_refresh(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        it = await join(served, transport="LongPolling")
        await it.client.send(call("Wait", id="1"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: served.ask("GET", f"/hub?id={it.token}", **bearer("ann-admin")))
            await wait_all_tasks_blocked()
            log.go.set()
        await wait_all_tasks_blocked()
        assert log.events == ["connected guest", "refreshed admin"]


async def test_before_the_hub_knows_a_client_it_hears_of_no_refresh(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        token = await served.negotiate("/hub", **bearer("ann-guest"))
        it = Served(served, None, token)  # type: ignore[arg-type]
        assert await it.refresh("ann-user") == 200
        await visit(served, f"/hub?id={token}", **bearer("ann-user"))
        await wait_all_tasks_blocked()
        assert log.events == ["connected user"]


# ---- the hook


async def test_each_refresh_is_told_once_and_in_order(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        it = await join(served)
        for who in ("ann-guest", "ann-user", "ann-user", "ann-guest", "ann-admin"):
            assert await it.refresh(who) == 200
        assert log.events == [
            "connected guest",
            *(f"refreshed {role}" for role in ("guest", "user", "user", "admin")),
        ]


async def test_the_hook_takes_a_place_among_the_calls(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log))) as served:
        it = await join(served)
        await it.client.send(call("Wait", id="1"))
        await wait_all_tasks_blocked()
        assert await it.refresh("ann-user") == 200
        assert await it.refresh("ann-admin") == 200
        assert log.events == ["connected guest"]
        log.go.set()
        assert await it.client.receive() == result("1", ["guest", "guest"])
        await wait_all_tasks_blocked()
        assert log.events == ["connected guest", "refreshed admin", "refreshed admin"]


class Slow(Roles):
    """Takes its time over a refresh, and then asks its client."""

    async def on_connected(self) -> None:
        await self.log.go.wait()
        await super().on_connected()

    async def on_authentication_refreshed(self) -> None:
        answer = await self.clients.caller.invoke("Ask", result_type=str)
        self.note(f"{answer}:")


async def test_a_refresh_waits_for_on_connected_and_may_ask_its_client(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Slow, lambda: Slow(log))) as served:
        it = await join(served)
        assert await it.refresh("ann-admin") == 200
        assert log.events == []
        log.go.set()
        asked = await it.client.receive()
        assert asked["target"] == "Ask"
        await it.client.send(result(asked["invocationId"], "hello"))
        await wait_all_tasks_blocked()
        assert log.events == ["connected guest", "hello: admin"]


class Failing(Roles):
    """Fails at a refresh."""

    async def on_authentication_refreshed(self) -> None:
        raise ZeroDivisionError


async def test_a_hook_that_fails_is_logged_and_no_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app_of(Failing, lambda: Failing(Log()))) as served:
        it = await join(served)
        assert await it.refresh("ann-admin") == 200
        assert "ZeroDivisionError" in caplog.text
        assert "'on_authentication_refreshed'" in caplog.text
        await it.client.send(call("Role", id="1"))
        assert await it.client.receive() == result("1", "admin, connected as guest")


class Plain(Roles):
    """Needs no task for a refresh."""

    def on_authentication_refreshed(self) -> None:  # type: ignore[override]
        self.note("plainly")


async def test_a_hook_need_not_be_async(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_app(app_of(Plain, lambda: Plain(log))) as served:
        it = await join(served)
        assert await it.refresh("ann-admin") == 200
        assert log.events == ["connected guest", "plainly admin"]


class Seeing(HubFilter):
    """Sees what it stands around."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def invoke(self, context: Any, next: Any) -> Any:
        self.seen.append(context.method.__name__)
        return await next(context)


async def test_no_filter_stands_around_the_hook_and_no_client_calls_it(autojump_clock: MockClock) -> None:
    log, seeing = Log(), Seeing()
    async with open_app(app_of(Roles, lambda: Roles(log), filters=[seeing])) as served:
        it = await join(served)
        assert await it.refresh("ann-admin") == 200
        for name in (
            "on_authentication_refreshed",
            "OnAuthenticationRefreshed",
            "OnAuthenticationRefreshedAsync",
        ):
            await it.client.send(call(name, id="1"))
            assert "error" in await it.client.receive()
        assert log.events == ["connected guest", "refreshed admin"]
        assert seeing.seen == []


class Bare(Hub):
    """Does not care for refreshes."""

    @hub_method("Role")
    def role(self) -> str:
        assert self.context.user is not None
        return str(self.context.user.claims["role"])


async def test_a_hub_without_the_hook_runs_nothing(autojump_clock: MockClock) -> None:
    async with open_app(app_of(Bare)) as served:
        it = await join(served)
        before = trio.lowlevel.current_statistics().tasks_living
        assert await it.refresh("ann-admin") == 200
        assert trio.lowlevel.current_statistics().tasks_living == before
        await it.client.send(call("Role", id="1"))
        assert await it.client.receive() == result("1", "admin")


async def test_hooks_that_wait_are_bounded(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who refreshes without end while the only place is taken is told of in the log, and fills no memory."""
    log = Log()
    async with open_app(app_of(Roles, lambda: Roles(log), connection_buffer_limit=1000)) as served:
        it = await join(served)
        await it.client.send(call("Wait", id="1"))
        await wait_all_tasks_blocked()
        for _ in range(9):
            assert await it.refresh("ann-user") == 200
        log.go.set()
        await it.client.receive()
        await wait_all_tasks_blocked()
        told = log.events.count("refreshed user")
        assert 1 <= told < 9
        assert (
            caplog.text.count("Too many calls wait: 'on_authentication_refreshed' was not queued.")
            == 9 - told
        )


async def test_after_the_end_there_is_nothing_to_hear(autojump_clock: MockClock) -> None:
    log = Log()

    class Leaving(Roles):
        """Takes its time to say goodbye."""

        async def on_disconnected(self, error: Exception | None) -> None:
            await trio.sleep(3)
            self.note("disconnected")

    async with open_app(app_of(Leaving, lambda: Leaving(log))) as served:
        it = await join(served)
        it.client.leave()
        await wait_all_tasks_blocked()
        assert await it.refresh("ann-admin") == 200
        await trio.sleep(4)
        assert log.events == ["connected guest", "disconnected guest"]
        assert await it.refresh("ann-admin") == 404
