"""Who asks is known and allowed, at every request; a connection is one user's, and ends or is renewed in time."""

import json
import logging
import time
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.http import Request
from trio_hubs.connections.users import User

from .endpoint_peer import Front, Handler, Reader, bearer, known_by, never, open_front
from .http_peer import Answer

ACCEPT = {"Accept": "text/event-stream"}
ADA, BOB = bearer("a"), bearer("b")


def is_ada(user: User) -> bool:
    return user.id == "ada"


def known() -> Any:
    return known_by(a=User("ada"), b=User("bob"), old=User("ada", expires_at=time.time() - 1))


async def everything(front: Front, token: str, **headers: str) -> list[Answer]:
    """The answers to every kind of request."""
    return [
        await front.ask("POST", {"negotiateVersion": "1"}, path="/chat/negotiate", **headers),
        await front.ask("GET", token, **headers),
        await front.ask("GET", token, **headers, **ACCEPT),
        await front.refused(token, **headers),
        await front.refused(**headers),
        await front.ask("POST", token, b"x", **headers),
        await front.ask("DELETE", token, **headers),
        await front.ask("POST", token, path="/chat/refresh", **headers),
    ]


# ---- who may come in


@pytest.mark.parametrize("shown", [{}, bearer("unknown"), bearer("old"), {"Authorization": "Basic a"}])
async def test_nobody_gets_401_where_a_user_is_needed(
    shown: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_front(
        Handler(), authenticate=known(), policies=[lambda _: True], authentication_refresh=True
    ) as front:
        token = await front.polled(**ADA)
        for answer in await everything(front, token, **shown):
            assert (answer.status, answer.body) == (401, b"")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert front.admission.active == 1
        assert front.admission.refused == 0


async def test_who_does_not_meet_the_policies_gets_403(autojump_clock: MockClock) -> None:
    async with open_front(
        Handler(), authenticate=known(), policies=[is_ada], authentication_refresh=True
    ) as front:
        token = await front.polled(**ADA)
        for answer in await everything(front, token, **BOB):
            assert (answer.status, answer.body) == (403, b"")


async def test_nobody_is_welcome_where_no_user_is_needed(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known()) as front:
        await front.polled()
        await front.events()
        await front.socket()
        assert [connection.user for connection in handler.connections] == [None] * 3


async def test_the_connection_knows_its_user(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known(), stateful_reconnect=True) as front:
        await front.polled(**ADA)
        await front.events(await front.token(**ADA), **ADA)
        await front.socket(await front.token(**ADA), **ADA)
        await front.socket(**ADA)
        await front.socket({"access_token": "a"})
        await front.socket(await front.token(useStatefulReconnect="true", **ADA), **ADA)
        assert [connection.user for connection in handler.connections] == [User("ada")] * 6


async def test_an_expired_user_is_nobody(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known()) as front:
        await front.socket(**bearer("old"))
        assert handler.only.user is None


async def test_authenticate_may_be_async(autojump_clock: MockClock) -> None:
    async def authenticate(request: Request) -> User | None:
        await trio.sleep(3)
        return User(request.bearer_token)

    handler = Handler()
    async with open_front(handler, authenticate=authenticate) as front:
        await front.polled(**ADA)
        assert handler.only.user == User("a")
        assert autojump_clock.current_time() == 6


async def test_policies_may_be_async(autojump_clock: MockClock) -> None:
    async def policy(user: User) -> bool:
        await trio.sleep(3)
        return user.id == "ada"

    async with open_front(Handler(), authenticate=known(), policies=[policy]) as front:
        assert (await front.refused(**BOB)).status == 403
        await front.socket(**ADA)


@pytest.mark.parametrize("where", ["authenticate", "policy"])
async def test_what_fails_lets_nobody_in(
    where: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    def fail(_: object) -> Any:
        raise ZeroDivisionError("private")

    authenticate = fail if where == "authenticate" else known()
    async with open_front(never, authenticate=authenticate, policies=[fail]) as front:
        for answer in await everything(front, "token", **ADA):
            assert answer.status in (500, 404)
            assert b"private" not in answer.body
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 0
    assert [record for record in caplog.records if record.levelno == logging.ERROR]


async def test_a_client_that_leaves_while_it_is_looked_up_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    async def authenticate(request: Request) -> User | None:
        await trio.sleep(3)
        return None

    reader = Reader()
    async with open_front(reader, authenticate=authenticate) as front:
        token = await front.token()
        for headers in ({}, ACCEPT):
            client = await front.send("GET", token, **headers)
            await client.stream.aclose()
        peer = await front.upgrade()
        await peer.stream.aclose()
        await trio.sleep(30)
        assert front.admission.active == 0
        assert len(front.endpoint._leases) == 0


async def test_an_end_during_the_look_up_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async def authenticate(request: Request) -> User | None:
        await trio.sleep_forever()
        raise AssertionError

    async with open_front(never, authenticate=authenticate) as front:
        for headers in ({}, ACCEPT):
            await front.send("GET", "token", **headers)
        await front.upgrade()
        await wait_all_tasks_blocked()
    assert autojump_clock.current_time() == 0


# ---- whose connection it is


async def test_a_connection_is_not_another_users(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known()) as front:
        for token in (await front.polled(**ADA), await front.token(**ADA)):
            for headers, status in ((BOB, 403), ({}, 401), (bearer("unknown"), 401), (bearer("old"), 401)):
                answers = [
                    await front.ask("GET", token, **headers),
                    await front.ask("GET", token, **headers, **ACCEPT),
                    await front.refused(token, **headers),
                    await front.ask("POST", token, b"x", **headers),
                    await front.ask("DELETE", token, **headers),
                ]
                assert [answer.status for answer in answers] == [status] * 5
                assert answers[0].headers["cache-control"] == "no-cache, no-store"
            assert (await front.ask("POST", token, b"x", **ADA)).status == 200
        assert handler.only.user == User("ada")
    assert "a request of another user was refused" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_another_user_does_not_resume_a_connection(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), authenticate=known(), stateful_reconnect=True) as front:
        token = await front.token(useStatefulReconnect="true", **ADA)
        await front.socket(token, **ADA)
        assert (await front.refused(token, **BOB)).status == 403
        assert (await front.refused(token)).status == 401


async def test_who_negotiated_as_nobody_may_connect_as_somebody_and_stays_that(
    autojump_clock: MockClock,
) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=known()) as front:
        token = await front.token()
        assert (await front.ask("GET", token, **ADA)).status == 200
        await wait_all_tasks_blocked()
        assert handler.only.user == User("ada")
        assert (await front.ask("GET", token, **BOB)).status == 403
        assert (await front.ask("GET", token)).status == 401
        token = await front.polled()
        assert (await front.ask("GET", token, **ADA)).status == 403


async def test_each_poll_shows_the_user_anew(autojump_clock: MockClock) -> None:
    look = {"count": 0}

    def authenticate(request: Request) -> User:
        look["count"] += 1
        return User("ada", claims=dict(look))

    handler = Handler()
    async with open_front(handler, authenticate=authenticate, poll_timeout=1) as front:
        token = await front.polled()
        assert handler.only.user == User("ada", claims={"count": 2})
        await front.ask("GET", token)
        assert handler.only.user == User("ada", claims={"count": 3})


# ---- expiry


class Expiring(Handler):
    """Counts how often its connections are asked to end."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def __call__(self, connection: Any) -> None:
        connection.on_end_asked = lambda: self.asked.append(trio.current_time())
        await super().__call__(connection)


async def open_by(front: Front, transport: str, **headers: str) -> str:
    if transport == "polls":
        return await front.polled(**headers)
    token = await front.token(**headers)
    if transport == "events":
        await front.events(token, **headers)
    else:
        await front.socket(token, **headers)
    await wait_all_tasks_blocked()
    return token


@pytest.mark.parametrize("transport", ["polls", "events", "socket"])
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_connection_is_asked_once_to_end_when_its_user_expires(
    transport: str, wanted: bool, autojump_clock: MockClock
) -> None:
    user = User("ada", expires_at=time.time() + 50)
    handler = Expiring()
    async with open_front(
        handler,
        authenticate=known_by(a=user),
        close_on_authentication_expiration=wanted,
        disconnect_timeout=900,
    ) as front:
        await open_by(front, transport, **ADA)
        await trio.sleep(200)
        assert len(handler.asked) == int(wanted)
        assert all(49 <= at <= 52 for at in handler.asked)


@pytest.mark.parametrize("transport", ["polls", "events", "socket"])
async def test_a_raw_connection_whose_user_expires_ends(transport: str, autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(
        handler,
        authenticate=known_by(a=User("ada", expires_at=time.time() + 50)),
        close_on_authentication_expiration=True,
        disconnect_timeout=60,
    ) as front:
        await open_by(front, transport, **ADA)
        await trio.sleep(49)
        assert handler.ended < 1
        await trio.sleep(3)
        assert handler.ended == 1


# ---- refresh


async def refresh(front: Front, *parts: Any, **headers: str) -> tuple[int, Any]:
    answer = await front.ask(*parts, path="/chat/refresh", **headers)
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(answer.body)


async def test_a_refresh_and_all_that_can_be_wrong_with_it(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), authenticate=known(), authentication_refresh=True) as front:
        token = await front.polled(**ADA)
        assert await refresh(front, "POST", token, **ADA) == (200, {})
        assert await refresh(front, "POST", **ADA) == (400, {"error": "missing_connection_token"})
        assert await refresh(front, "POST", {"id": ""}) == (400, {"error": "missing_connection_token"})
        assert await refresh(front, "POST", "x", **ADA) == (404, {"error": "connection_not_found"})
        for other in ({}, bearer("old"), BOB):
            assert await refresh(front, "POST", token, **other) == (403, {"error": "user_changed"})
        answer = await front.ask("GET", token, path="/chat/refresh", **ADA)
        assert (answer.status, answer.body) == (405, b"")
        await front.ask("DELETE", token, **ADA)
        assert await refresh(front, "POST", token, **ADA) == (404, {"error": "connection_not_found"})


async def test_a_refresh_is_not_offered_unless_it_is_wanted(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), authenticate=known()) as front:
        answer = await front.ask("POST", await front.polled(**ADA), path="/chat/refresh", **ADA)
        assert answer.status == 404


async def test_a_refresh_gives_the_user_more_time(autojump_clock: MockClock) -> None:
    start = time.time()
    users = {"a": User("ada", expires_at=start + 50), "new": User("ada", expires_at=start + 500)}
    handler = Expiring()
    async with open_front(
        handler,
        authenticate=known_by(**users),
        authentication_refresh=True,
        close_on_authentication_expiration=True,
    ) as front:
        token = await open_by(front, "socket", **ADA)
        await trio.sleep(40)
        status, body = await refresh(front, "POST", token, **bearer("new"))
        assert status == 200
        assert body["tokenLifetimeSeconds"] in (499, 500)
        assert handler.only.user == users["new"]
        await trio.sleep(400)
        assert handler.asked == []
        await trio.sleep(200)
        assert len(handler.asked) == 1


@pytest.mark.parametrize(
    ("version", "refreshed", "expires", "told"),
    [("1", True, True, True), ("0", True, True, False), ("1", False, True, False), ("1", True, False, False)],
)
async def test_negotiate_tells_how_long_the_user_lasts(
    version: str, refreshed: bool, expires: bool, told: bool, autojump_clock: MockClock
) -> None:
    user = User("ada", expires_at=time.time() + 100 if expires else None)
    async with open_front(
        Handler(), authenticate=known_by(a=user), authentication_refresh=refreshed
    ) as front:
        document = await front.negotiate(version, **ADA)
        assert ("tokenLifetimeSeconds" in document) is told
        if told:
            assert document["tokenLifetimeSeconds"] in (98, 99, 100)
