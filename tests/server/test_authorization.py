"""Who may connect to a hub, and who may call its methods."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.server.http_peer import Client, request
from tests.hub_peer import PROTOCOLS, open_client, served_hub
from tests.messages import call, ended, item, result, stream
from tests.server.app_peer import PAIRS, TRANSPORTS, connect, hub_app, open_app, visit
from trio_hubs import (
    ChannelReader,
    Connection,
    ConnectionClosed,
    Hub,
    HubApp,
    HubException,
    HubFilter,
    Request,
    User,
    authorize,
)

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
UNAUTHORIZED = "Failed to invoke '{}' because user is unauthorized"

ANN = User("ann", claims={"role": "admin"})
BOB = User("bob")
USERS = {"ann": ANN, "bob": BOB}


def by_token(request: Request) -> User | None:
    return USERS.get(request.bearer_token or "")


async def by_token_later(request: Request) -> User | None:
    await trio.sleep(1)
    return by_token(request)


def is_admin(user: User) -> bool:
    return user.claims.get("role") == "admin"


async def is_admin_later(user: User) -> bool:
    await trio.sleep(1)
    return is_admin(user)


class Guarded(Hub):
    """Methods of every kind, with and without a guard."""

    def __init__(self, events: list[str] | None = None) -> None:
        self.events = [] if events is None else events

    def open(self) -> str:
        self.events.append("open")
        return self.context.user_id or "nobody"

    @authorize()
    def inline(self) -> str:
        self.events.append("inline")
        return self.context.user_id or "nobody"

    @authorize()
    async def plain(self) -> str:
        self.events.append("plain")
        return self.context.user_id or "nobody"

    @authorize(is_admin)
    def admin(self) -> str:
        self.events.append("admin")
        return "secret"

    @authorize(is_admin_later)
    def admin_later(self) -> str:
        self.events.append("admin_later")
        return "secret"

    @authorize(is_admin)
    @authorize(lambda user: user.id == "bob")
    def impossible(self) -> None:
        raise AssertionError

    @authorize(is_admin)
    async def count(self, count: int) -> AsyncIterator[int]:
        self.events.append("count")
        for number in range(count):
            yield number

    @authorize(is_admin)
    async def total(self, items: ChannelReader[int]) -> int:
        self.events.append("total")
        return sum([number async for number in items])

    @authorize(lambda _: 1 / 0 > 0)
    def broken(self) -> None:
        raise AssertionError


# ---- methods


@both_protocols
@pytest.mark.parametrize(
    ("method", "nobody", "bob", "ann"),
    [
        ("Open", "nobody", "bob", "ann"),
        ("Inline", None, "bob", "ann"),
        ("Plain", None, "bob", "ann"),
        ("Admin", None, None, "secret"),
        ("AdminLater", None, None, "secret"),
        ("Impossible", None, None, None),
    ],
)
@pytest.mark.parametrize("detailed", [False, True])
async def test_a_method_answers_those_who_may_call_it(
    autojump_clock: MockClock,
    protocol: str,
    method: str,
    nobody: str | None,
    bob: str | None,
    ann: str | None,
    detailed: bool,
) -> None:
    for user, expected in ((None, nobody), (BOB, bob), (ANN, ann)):
        events: list[str] = []
        served = served_hub(Guarded, lambda: Guarded(events), detailed_errors=detailed)  # noqa: B023
        async with open_client(served, protocol, user=user) as client:
            await client.send(call(method, id="1"), call("Open", id="2"))
            refused = ended("1", UNAUTHORIZED.format(method))
            assert await client.receive() == (refused if expected is None else result("1", expected))
            assert await client.receive() == result("2", user.id if user else "nobody")
        assert len(events) == (1 if expected is None else 2)


@both_protocols
async def test_streams_and_uploads_are_guarded_too(autojump_clock: MockClock, protocol: str) -> None:
    events: list[str] = []
    served = served_hub(Guarded, lambda: Guarded(events))
    async with open_client(served, protocol, user=BOB) as client:
        await client.send(
            stream("Count", 2), call("Total", id="2", uploads=("u",)), item("u", 1), ended("u"), call("Admin")
        )
        assert sorted(await client.take(2), key=str) == [
            ended("1", UNAUTHORIZED.format("Count")),
            ended("2", UNAUTHORIZED.format("Total")),
        ]
        assert await client.arrived() == []
        assert events == []
    async with open_client(served, protocol, user=ANN) as client:
        await client.send(stream("Count", 1))
        assert await client.take(2) == [item("1", 0), ended("1")]
        await client.send(call("Total", id="2", uploads=("u",)), item("u", 5), ended("u"))
        assert await client.receive() == result("2", 5)


async def test_a_refusal_is_no_news_for_those_who_ask_for_no_answer(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_client(Guarded, user=BOB) as client:
        await client.send(call("Admin"))
        assert await client.arrived() == []
    assert "connection memory: its user may not call 'admin'" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_policy_that_fails_lets_nobody_in(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_client(Guarded, user=ANN) as client:
        await client.send(call("Broken", id="1"), call("Open", id="2"))
        assert await client.take(2) == [
            ended("1", "An unexpected error occurred invoking 'Broken' on the server."),
            result("2", "ann"),
        ]
    assert "ZeroDivisionError" in caplog.text


async def test_what_does_not_fit_is_said_before_who_may(autojump_clock: MockClock) -> None:
    async with open_client(Guarded) as client:
        await client.send(call("Admin", 1, id="1"), stream("Admin", id="2"), call("Count", 1, id="3"))
        texts = [answer["error"] for answer in await client.take(3)]
        assert not any("unauthorized" in text for text in texts)


async def test_filters_stand_behind_the_guard(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    class Seeing(HubFilter):
        async def invoke(self, context: Any, next: Any) -> Any:
            seen.append(context.method.__name__)
            return await next(context)

    async with open_client(served_hub(Guarded, filters=[Seeing()]), user=BOB) as client:
        await client.send(call("Admin", id="1"), call("Inline", id="2"))
        assert await client.take(2) == [ended("1", UNAUTHORIZED.format("Admin")), result("2", "bob")]
    assert seen == ["inline"]


async def test_an_error_of_the_method_itself_is_no_refusal(autojump_clock: MockClock) -> None:
    class Raising(Hub):
        @authorize()
        async def method(self) -> None:
            raise HubException("the user may not call it")

    async with open_client(Raising, user=ANN) as client:
        await client.send(call("Method", id="1"))
        text = "An unexpected error occurred invoking 'Method' on the server. HubException: the user may not call it"
        assert await client.receive() == ended("1", text)


async def test_guarded_methods_that_need_no_task_keep_their_order(autojump_clock: MockClock) -> None:
    order: list[int] = []

    class Ordered(Hub):
        @authorize()
        def note(self, number: int) -> None:
            order.append(number)

    async with open_client(Ordered, user=ANN, maximum_parallel_invocations=8) as client:
        for start in range(0, 400, 8):
            await client.send(*(call("Note", n, id=f"{n}") for n in range(start, start + 8)))
            await client.take(8)
    assert order == list(range(400))


async def test_a_slow_policy_holds_its_place(autojump_clock: MockClock) -> None:
    async with open_client(Guarded, user=ANN) as client:
        await client.send(call("AdminLater", id="1"), call("Open", id="2"))
        assert await client.take(2) == [result("1", "secret"), result("2", "ann")]
        assert trio.current_time() == pytest.approx(1)


async def test_a_policy_is_cancelled_with_its_connection(autojump_clock: MockClock) -> None:
    events: list[str] = []

    async def hang(user: User) -> bool:
        try:
            await trio.sleep_forever()
        finally:
            events.append("policy ended")
        raise AssertionError

    class Hanging(Hub):
        @authorize(hang)
        def method(self) -> None:
            raise AssertionError

        async def on_disconnected(self, error: Exception | None) -> None:
            events.append("disconnected")

    async with open_client(Hanging, user=ANN) as client:
        await client.send(call("Method", id="1"))
        await client.arrived()
        client.leave()
        await client.served()
    assert events == ["policy ended", "disconnected"]


class Inheriting(Guarded):
    """Overrides guarded methods, without and with guards of its own."""

    def inline(self) -> str:
        return "overridden"

    @authorize(is_admin)
    async def plain(self) -> str:
        return "overridden"


async def test_an_inherited_method_keeps_its_guard(autojump_clock: MockClock) -> None:
    async with open_client(Inheriting, user=BOB) as client:
        await client.send(call("Admin", id="1"), call("Plain", id="2"))
        assert await client.take(2) == [
            ended("1", UNAUTHORIZED.format("Admin")),
            ended("2", UNAUTHORIZED.format("Plain")),
        ]


async def test_an_override_keeps_the_guard_of_what_it_overrides(autojump_clock: MockClock) -> None:
    """As in ASP.NET Core, whose attributes are inherited; else to override is to open."""
    async with open_client(Inheriting) as client:
        await client.send(call("Inline", id="1"))
        assert await client.receive() == ended("1", UNAUTHORIZED.format("Inline"))


# ---- hubs


@authorize()
class ForUsers(Hub):
    """For users."""

    def who(self) -> str | None:
        return self.context.user_id


class ForUsersToo(ForUsers):
    """Inherits its guard."""


@authorize(is_admin)
class ForAdmins(ForUsers):
    """Has one more guard than what it inherits from."""


@authorize(is_admin_later)
class ForAdminsLater(Hub):
    """Takes its time."""

    def who(self) -> str | None:
        return self.context.user_id


class WithMixin(ForUsers, Guarded):
    """Inherits the guards of a class and methods of another."""


def guarded_app(authenticate: Any = by_token) -> HubApp:
    app = HubApp(authenticate=authenticate)
    for hub in (ForUsers, ForUsersToo, ForAdmins, ForAdminsLater, Guarded, WithMixin):
        app.add_hub(f"/{hub.__name__}", hub)
    return app


STATUSES = {
    "ForUsers": (401, 200, 200),
    "ForUsersToo": (401, 200, 200),
    "ForAdmins": (401, 403, 200),
    "ForAdminsLater": (401, 403, 200),
    "Guarded": (200, 200, 200),
    "WithMixin": (401, 200, 200),
}


@pytest.mark.parametrize("authenticate", [by_token, by_token_later])
@pytest.mark.parametrize("hub", STATUSES)
async def test_who_may_negotiate(autojump_clock: MockClock, authenticate: Any, hub: str) -> None:
    async with open_app(guarded_app(authenticate)) as served:
        for token, status in zip(("", "bob", "ann"), STATUSES[hub], strict=True):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = await served.ask("POST", f"/{hub}/negotiate?negotiateVersion=1", **headers)
            assert answer.status == status
            assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
            assert served.leases() == 0 or status == 200


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
async def test_who_is_let_in_is_known_to_the_hub(
    autojump_clock: MockClock, transport: str, protocol: str
) -> None:
    async with open_app(guarded_app()) as served:
        client = await visit(served, "/ForAdmins", transport, protocol, Authorization="Bearer ann")
        await client.send(call("Who", id="1"))
        assert await client.receive() == result("1", "ann")


@pytest.mark.parametrize("hub", ["ForUsers", "ForAdmins", "ForAdminsLater"])
@pytest.mark.parametrize("token", ["", "bob"])
async def test_a_websocket_without_negotiation_is_guarded_too(
    autojump_clock: MockClock, hub: str, token: str
) -> None:
    async with open_app(guarded_app()) as served:
        if (hub, token) == ("ForUsers", "bob"):
            await visit(served, f"/{hub}?access_token=bob")
            return
        with pytest.raises(ConnectionClosed, match=r"HTTP/1\.1 40[13] "):
            await connect(served, f"/{hub}?access_token={token}")
        assert served.app.statistics().connections == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_request_of_a_connection_is_guarded(autojump_clock: MockClock, transport: str) -> None:
    async with open_app(guarded_app()) as served:
        token = await served.negotiate("/ForUsers", Authorization="Bearer bob")
        target = f"/ForUsers?id={token}"
        extra = {"Accept": "text/event-stream"} if transport == "ServerSentEvents" else {}
        for who, status in (("", 401), ("nobody-known", 401), ("ann", 403)):
            headers = {"Authorization": f"Bearer {who}"} if who else {}
            assert (await served.ask("GET", target, **headers, **extra)).status == status
            assert (await served.ask("POST", target, b"x", **headers)).status == status
            assert (await served.ask("DELETE", target, **headers)).status == status
        assert served.app.statistics().connections == 0


async def test_a_policy_of_a_hub_that_fails_lets_nobody_in(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @authorize(lambda _: 1 / 0 > 0)
    class Broken(Hub):
        """Cannot be entered."""

    app = HubApp(authenticate=by_token)
    app.add_hub("/hub", Broken)
    async with open_app(app) as served:
        answer = await served.ask("POST", "/hub/negotiate", Authorization="Bearer ann")
        assert answer.status == 500
        assert served.leases() == 0
    assert "ZeroDivisionError" in caplog.text


async def test_a_guard_without_anybody_to_know_users_lets_nobody_in(autojump_clock: MockClock) -> None:
    async with open_app(hub_app(ForUsers)) as served:
        assert (await served.ask("POST", "/hub/negotiate", Authorization="Bearer ann")).status == 401


@authorize(lambda user: user.id == "bob")
class ForBob(Hub):
    """For Bob."""


@authorize(is_admin)
class ForAnyAdmin(Hub):
    """For admins."""


class ForBobAsAdmin(ForBob, ForAnyAdmin):
    """Has two bases with guards."""


async def test_the_guards_of_all_bases_must_be_met(autojump_clock: MockClock) -> None:
    app = HubApp(authenticate=by_token)
    app.add_hub("/hub", ForBobAsAdmin)
    async with open_app(app) as served:
        assert (await served.ask("POST", "/hub/negotiate", Authorization="Bearer bob")).status == 403
        assert (await served.ask("POST", "/hub/negotiate", Authorization="Bearer ann")).status == 403


# ---- raw connections


@pytest.mark.parametrize(("token", "status"), [("", 401), ("bob", 403), ("ann", 200)])
async def test_a_handler_of_raw_connections_is_guarded(
    autojump_clock: MockClock, token: str, status: int
) -> None:
    @authorize(is_admin)
    async def handler(connection: Connection) -> None:
        await connection.send((connection.user.id or "" if connection.user else "").encode())

    app = HubApp(authenticate=by_token)
    app.add_connection_handler("/raw", handler)
    async with open_app(app) as served:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await served.ask("POST", "/raw/negotiate", **headers)
        assert answer.status == status
        if status == 200:
            client = await connect(served, "/raw", **headers)
            assert await client.connection.receive() == b"ann"
            assert await client.connection.receive() == b""


# ---- nobody acts in another's name


class Deeds(Hub):
    """Notes who did what."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    async def on_connected(self) -> None:
        self.done.append(f"{self.context.user_id} connected")

    def act(self) -> None:
        self.done.append(f"{self.context.user_id} acted")


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"], ids=["events", "polls"])
@pytest.mark.parametrize("held_back", [True, False])
async def test_what_nobody_has_posted_does_not_run_as_whoever_opens_the_connection(
    accept: str, held_back: bool, autojump_clock: MockClock
) -> None:
    done: list[str] = []
    app = HubApp(authenticate=by_token)
    app.add_hub("/hub", Deeds, factory=lambda: Deeds(done))
    attack = b'{"protocol":"json","version":1}\x1e{"type":1,"target":"Act","arguments":[]}\x1e'
    async with open_app(app) as served:
        target = f"/hub?id={await served.negotiate('/hub')}"
        poster = Client(served.open_stream())
        await poster.send(request("POST", target, Content_Length=str(len(attack))))
        await wait_all_tasks_blocked()
        if not held_back:
            await poster.send(attack)
        answer = await served.ask("GET", target, Accept=accept, Authorization="Bearer ann")
        assert (answer.status, answer.body) == (403, b"The user associated with this connection changed.")
        if held_back:
            await poster.send(attack)
        await trio.sleep(1)
        assert done == []
