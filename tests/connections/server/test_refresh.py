"""A connection's user can be renewed: by the same user, if the application agrees, and never to an older token."""

import json
import time
from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.lease import Leases
from trio_hubs.connections.server.options import EndpointOptions, OnAuthenticationRefresh
from trio_hubs.connections.server.refresh import Refresh
from trio_hubs.connections.users import Authenticate, User

from .endpoint_peer import Front, Handler, bearer, known_by, open_front

START = time.time()
ADA = User("ada", expires_at=START + 100_000)
NEWER = User("ada", claims={"new": True}, expires_at=START + 200_000)
OLDER = User("ada", claims={"old": True}, expires_at=START + 50_000)
FOREVER = User("ada", claims={"ever": True})
USERS = {
    "ada": ADA,
    "newer": NEWER,
    "older": OLDER,
    "forever": FOREVER,
    "bob": User("bob"),
    "guest": User(claims={"role": "guest"}),
    "admin": User(claims={"role": "admin"}),
    "expired": User("ada", expires_at=START - 1),
}
KNOWN = known_by(**USERS)


def error(code: str, status: int) -> tuple[int, Any]:
    return status, {"error": code}


CHANGED = error("user_changed", 403)
REJECTED = error("permission_change_rejected", 403)


async def refresh(
    front: Front, token: dict[str, str] | str, who: str = "", method: str = "POST"
) -> tuple[int, Any]:
    answer = await front.ask(method, token, path="/chat/refresh", **(bearer(who) if who else {}))
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(answer.body)


def lasts(answer: tuple[int, Any]) -> float | None:
    """How long the client is told that its token lasts, from the beginning on."""
    status, document = answer
    assert status == 200
    assert document.keys() <= {"tokenLifetimeSeconds"}
    lifetime: int | None = document.get("tokenLifetimeSeconds")
    return None if lifetime is None else round(lifetime + time.time() - START, -1)


class Watching(Handler):
    """Notes each renewal of its one connection's user."""

    def __init__(self, *, resumes: bool = False) -> None:
        super().__init__()
        self.told: list[User | None] = []
        self.resumes = resumes

    async def __call__(self, connection: Duplex) -> None:
        if self.resumes:
            connection.enable_resume()
        connection.on_user_refreshed = lambda: self.told.append(connection.user)
        await super().__call__(connection)


class Asked:
    """The application's word, and what it was asked."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, User | None, User | None]] = []
        self.delay = 0.0

    async def __call__(
        self, request: Request, connection_id: str, previous: User | None, new: User | None
    ) -> bool:
        await trio.sleep(self.delay)
        self.calls.append((request.path, connection_id, previous, new))
        return self.answer


def front_of(
    handler: Handler,
    callback: OnAuthenticationRefresh | None = None,
    *,
    authenticate: Authenticate = KNOWN,
    **options: Any,
) -> Any:
    return open_front(
        handler,
        authenticate=authenticate,
        authentication_refresh=True,
        on_authentication_refresh=callback,
        **options,
    )


# ---- the endpoint's gates, in their order


async def test_the_gates_and_their_order(autojump_clock: MockClock) -> None:
    callback = Asked(answer=False)
    async with front_of(Handler(), callback) as front:
        token = await front.polled(**bearer("ada"))
        old = (await front.negotiate("0", **bearer("ada")))["connectionId"]
        for method in ("GET", "PUT", "DELETE"):
            answer = await front.ask(method, "unknown", path="/chat/refresh", **bearer("bob"))
            assert (answer.status, answer.body) == (405, b"")
            assert answer.headers["content-type"] == "text/plain"
        for nothing in ({}, {"id": ""}):
            assert await refresh(front, nothing, "bob") == error("missing_connection_token", 400)
        assert await refresh(front, "unknown", "bob") == error("connection_not_found", 404)
        assert await refresh(front, old, "bob") == error("unsupported_negotiate_version", 400)
        assert await refresh(front, token, "bob") == CHANGED
        assert callback.calls == []
        assert await refresh(front, token, "ada") == REJECTED
        callback.answer = True
        assert lasts(await refresh(front, token, "ada")) == 100_000
        await front.ask("DELETE", token, **bearer("ada"))
        assert await refresh(front, token, "ada") == error("connection_not_found", 404)


async def test_a_guarded_path_has_its_own_refusals_first(autojump_clock: MockClock) -> None:
    async with front_of(Handler(), policies=[lambda user: user.id == "ada"]) as front:
        for who, status in (("", 401), ("expired", 401), ("bob", 403)):
            answer = await front.ask("POST", path="/chat/refresh", **(bearer(who) if who else {}))
            assert (answer.status, answer.body) == (status, b"")


async def test_the_public_id_is_no_token(autojump_clock: MockClock) -> None:
    async with front_of(Handler()) as front:
        id = (await front.negotiate(**bearer("ada")))["connectionId"]
        assert await refresh(front, id, "ada") == error("connection_not_found", 404)


@pytest.mark.parametrize(
    ("whose", "by", "accepted"),
    [
        ("", "", True),
        ("", "ada", False),
        ("ada", "", False),
        ("ada", "expired", False),
        ("ada", "newer", True),
        ("ada", "bob", False),
        ("guest", "guest", True),
        ("guest", "admin", False),
        ("guest", "", False),
    ],
)
async def test_only_the_same_user_renews_a_connection(
    whose: str, by: str, accepted: bool, autojump_clock: MockClock
) -> None:
    handler = Watching()
    async with front_of(handler) as front:
        token = await front.polled(**(bearer(whose) if whose else {}))
        before = handler.only.user
        answer = await refresh(front, token, by)
        if accepted:
            lasts(answer)
            assert handler.told == [USERS.get(by)]
        else:
            assert answer == CHANGED
            assert handler.told == []
            assert handler.only.user == before
        assert (await front.ask("POST", token, b"x", **(bearer(whose) if whose else {}))).status == 200


async def test_a_refresh_before_the_transport_makes_the_connection_its_users(
    autojump_clock: MockClock,
) -> None:
    handler = Watching()
    async with front_of(handler) as front:
        token = await front.token()
        lasts(await refresh(front, token, "ada"))
        assert await refresh(front, token, "bob") == CHANGED
        assert (await front.ask("GET", token, **bearer("bob"))).status == 403
        assert (await front.ask("GET", token, **bearer("newer"))).status == 200
        await wait_all_tasks_blocked()
        assert handler.only.user == NEWER
        assert handler.told == []


@pytest.mark.parametrize("transport", ["polls", "events", "socket"])
async def test_each_accepted_refresh_is_told_in_order(transport: str, autojump_clock: MockClock) -> None:
    handler = Watching()
    async with front_of(handler) as front:
        token = await front.token(**bearer("ada"))
        if transport == "polls":
            await front.ask("GET", token, **bearer("ada"))
        elif transport == "events":
            await front.events(token, **bearer("ada"))
        else:
            await front.socket(token, **bearer("ada"))
        await wait_all_tasks_blocked()
        assert lasts(await refresh(front, token, "ada")) == 100_000
        assert lasts(await refresh(front, token, "newer")) == 200_000
        assert lasts(await refresh(front, token, "newer")) == 200_000
        assert handler.told == [ADA, NEWER, NEWER]


async def test_an_older_token_changes_nothing(autojump_clock: MockClock) -> None:
    handler = Watching()
    async with front_of(handler) as front:
        token = await front.polled(**bearer("newer"))
        assert lasts(await refresh(front, token, "older")) == 50_000  # which is true of that token
        assert handler.told == []
        assert handler.only.user == NEWER
        assert lasts(await refresh(front, token, "forever")) is None
        assert handler.told == [FOREVER]
        assert lasts(await refresh(front, token, "older")) == 50_000
        assert handler.told == [FOREVER, OLDER]  # there is no telling which is older


async def test_an_older_token_brings_no_earlier_end(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    class Ending(Handler):
        async def __call__(self, connection: Duplex) -> None:
            connection.on_end_asked = lambda: asked.append(trio.current_time())
            await super().__call__(connection)

    now = time.time()
    users = known_by(first=User("ada", expires_at=now + 200), older=User("ada", expires_at=now + 100))
    async with front_of(Ending(), authenticate=users, close_on_authentication_expiration=True) as front:
        token = await front.token(**bearer("first"))
        await front.socket(token, **bearer("first"))
        lasts(await refresh(front, token, "older"))
        await trio.sleep(150)
        assert asked == []
        await trio.sleep(100)
        assert len(asked) == 1


# ---- the application's word


async def test_the_application_is_asked(autojump_clock: MockClock) -> None:
    callback = Asked()
    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        lasts(await refresh(front, token, "newer"))
        assert callback.calls == [("/chat/refresh", handler.only.id, ADA, NEWER)]
        callback.answer = False
        assert await refresh(front, token, "forever") == REJECTED
        assert handler.told == [NEWER]
        assert handler.only.user == NEWER
        assert (await front.ask("POST", token, b"x", **bearer("ada"))).status == 200


@pytest.mark.parametrize("accepted", [True, False])
async def test_the_application_need_not_be_async(accepted: bool, autojump_clock: MockClock) -> None:
    def callback(request: Request, id: str, previous: User | None, new: User | None) -> bool:
        return accepted

    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        status, _ = await refresh(front, token, "newer")
        assert status == (200 if accepted else 403)
        assert handler.told == ([NEWER] if accepted else [])


async def test_an_application_that_fails_is_the_servers_fault(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(*_: object) -> Awaitable[bool]:
        raise ZeroDivisionError

    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        answer = await front.ask("POST", token, path="/chat/refresh", **bearer("newer"))
        assert answer.status == 500
        answer = await front.ask("GET", token, **bearer("newer"))
        assert answer.status == 500
        assert "ZeroDivisionError" in caplog.text
        assert handler.told == []
        assert handler.only.user == ADA
        assert handler.ended == 0


async def test_the_slower_of_two_refreshes_does_not_bring_back_the_older_token(
    autojump_clock: MockClock,
) -> None:
    handler = Watching()
    callback = Asked()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("older"))
        callback.delay = 5
        slow = await front.send("POST", token, path="/chat/refresh", **bearer("ada"))
        await wait_all_tasks_blocked()
        callback.delay = 0
        lasts(await refresh(front, token, "newer"))
        assert (await slow.answer("POST")).status == 200
        assert handler.told == [NEWER]


async def test_a_connection_that_somebody_takes_while_the_application_thinks_stays_theirs(
    autojump_clock: MockClock,
) -> None:
    handler = Watching()
    callback = Asked()
    callback.delay = 5
    async with front_of(handler, callback) as front:
        token = await front.token()
        slow = await front.send("POST", token, path="/chat/refresh", **bearer("ada"))
        await wait_all_tasks_blocked()
        assert (await front.ask("GET", token, **bearer("bob"))).status == 200
        answer = await slow.answer("POST")
        assert (answer.status, json.loads(answer.body)) == CHANGED
        await wait_all_tasks_blocked()
        assert handler.only.user == USERS["bob"]


# ---- later requests that show the user


async def seen(front: Front, token: str, who: str) -> int | None:
    """Make a poll, which is left; its status, where it does not wait."""
    client = await front.poll(token, **bearer(who))
    status = None
    with trio.move_on_after(0.1):
        status = (await client.answer()).status
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    return status


async def test_a_poll_with_a_newer_token_is_a_refresh(autojump_clock: MockClock) -> None:
    callback = Asked()
    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        for who in ("ada", "older", "newer", "newer", "ada", "older"):
            assert await seen(front, token, who) is None
        assert callback.calls == [("/chat", handler.only.id, ADA, NEWER)]
        assert handler.told == [NEWER]
        assert handler.only.user == NEWER
        await front.ask("POST", token, b"x", **bearer("forever"))
        assert handler.only.user == NEWER  # posts renew nothing


async def test_without_refresh_each_poll_shows_the_user_anew(autojump_clock: MockClock) -> None:
    handler = Watching()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.polled(**bearer("newer"))
        await seen(front, token, "older")
        assert handler.only.user == OLDER
        assert handler.told == []


async def test_a_poll_whose_token_is_rejected_ends_the_connection(autojump_clock: MockClock) -> None:
    callback = Asked(answer=False)
    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        answer = await front.ask("GET", token, **bearer("newer"))
        assert (answer.status, json.loads(answer.body)) == REJECTED
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert (await front.ask("POST", token, b"x", **bearer("ada"))).status == 404
        await trio.sleep(20)
        assert handler.ended == 1
        assert handler.told == []
        assert len(front.endpoint._leases) == 0


async def test_a_poll_whose_token_is_rejected_too_late_goes_on(autojump_clock: MockClock) -> None:
    """Meanwhile a newer one was accepted."""
    callback = Asked()
    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("older"))
        callback.delay = 5
        poll = await front.poll(token, **bearer("ada"))
        callback.delay = 0
        lasts(await refresh(front, token, "newer"))
        callback.answer = False
        await trio.sleep(6)
        await handler.only.send(b"data")
        assert (await poll.answer()).body == b"data"
        assert handler.told == [NEWER]


async def test_a_poll_is_judged_again_after_the_application_was_asked(autojump_clock: MockClock) -> None:
    callback = Asked()
    callback.delay = 5
    handler = Watching()
    async with front_of(handler, callback) as front:
        token = await front.polled(**bearer("ada"))
        poll = await front.poll(token, **bearer("newer"))
        await front.ask("DELETE", token, **bearer("ada"))
        assert (await poll.answer()).status == 404
        assert handler.told == []


async def test_what_is_wrong_with_a_poll_comes_before_the_application_is_asked(
    autojump_clock: MockClock,
) -> None:
    callback = Asked()
    async with front_of(Watching(), callback) as front:
        token = await front.polled(**bearer("ada"))
        answer = await front.ask("GET", token, Accept="text/event-stream", **bearer("newer"))
        assert answer.status == 400
        await front.socket(await front.token(**bearer("ada")), **bearer("ada"))
        assert callback.calls == []


async def test_a_torn_connection_is_taken_up_again_with_a_newer_token(autojump_clock: MockClock) -> None:
    callback = Asked()
    handler = Watching(resumes=True)
    async with front_of(handler, callback, stateful_reconnect=True) as front:
        token = await front.token(useStatefulReconnect="true", **bearer("ada"))
        await front.socket(token, **bearer("ada"))
        await front.socket(token, **bearer("newer"))
        assert handler.told == [NEWER]
        await front.socket(token, **bearer("older"))
        assert handler.told == [NEWER]
        assert handler.only.user == NEWER
        callback.answer = False
        answer = await front.refused(token, **bearer("forever"))
        assert (answer.status, json.loads(answer.body)) == REJECTED
        assert (await front.refused(token, **bearer("newer"))).status == 404
        handler.release.set()


# ---- what clients are told


@pytest.mark.parametrize(
    ("expires", "leeway", "told"),
    [
        (None, 0, None),
        (float("inf"), 0, None),
        (100.5, 0, 100),
        (130.5, 30, 100),
        (0.5, 0, 1),
        (30.5, 30, 1),
        (29.5, 30, None),  # it holds for ours to grant alone
        (0.0, 0, None),
        (-1.0, 0, None),
        (2.0**31, 0, 2**31 - 1),
        (1e300, 0, 2**31 - 1),
    ],
)
def test_how_long_a_token_lasts(
    expires: float | None, leeway: float, told: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    user = User("ada", expires_at=None if expires is None else 1000 + expires, leeway=leeway)
    leases = Leases(EndpointOptions(), Admission(1))
    assert Refresh(EndpointOptions(authentication_refresh=True), leases).lifetime(user) == told
    assert Refresh(EndpointOptions(authentication_refresh=True), leases).lifetime(None) is None
    assert Refresh(EndpointOptions(), leases).lifetime(user) is None


async def test_the_lifetime_stands_in_its_place(autojump_clock: MockClock) -> None:
    async with front_of(Handler()) as front:
        document = await front.negotiate(**bearer("ada"))
        assert list(document) == [
            "negotiateVersion",
            "connectionId",
            "connectionToken",
            "tokenLifetimeSeconds",
            "availableTransports",
        ]
        assert type(document["tokenLifetimeSeconds"]) is int
        assert "tokenLifetimeSeconds" not in await front.negotiate("0", **bearer("ada"))
        assert "tokenLifetimeSeconds" not in await front.negotiate(**bearer("forever"))
