"""What a connection does belongs to who opened it: no post runs with another's rights, whenever its bytes come."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.http import Request
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.exchange import Upgrade
from trio_hubs.connections.users import User, resolve
from trio_hubs.protocol.negotiate import Transport

from .endpoint_peer import Front, Handler, Reader, bearer, known_by, open_front
from .http_peer import Answer

ACCEPT = {"Accept": "text/event-stream"}
ADA, BOB = bearer("a"), bearer("b")
GUEST, VIP = bearer("guest"), bearer("vip")
CHANGED = b"The user associated with this connection changed."
KNOWN = known_by(
    a=User("ada"),
    b=User("bob"),
    guest=User(claims={"role": "guest"}),
    vip=User(claims={"role": "vip"}),
    empty=User("", claims={"role": "vip"}),
)

both_transports = pytest.mark.parametrize("accept", [{}, ACCEPT], ids=["polls", "events"])


class ByWhom(Reader):
    """Notes for whom it received what."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[User | None, bytes]] = []

    async def __call__(self, connection: Duplex) -> None:
        self.connections.append(connection)
        while data := await connection.receive():
            self.heard.append((connection.user, data))


async def opened(front: Front, token: str, accept: dict[str, str], **headers: str) -> int:
    """Open a transport; its status."""
    if accept:
        client = await front.send("GET", token, **accept, **headers)
        with trio.move_on_after(1):
            return (await client.answer()).status
        return 200  # an answer without end
    return (await front.ask("GET", token, **headers)).status


# ---- somebody else's posts


@both_transports
async def test_nobodys_post_does_not_become_the_openers(
    accept: dict[str, str], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A page makes a victim's browser open what an attacker has posted to."""
    handler = ByWhom()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.token()
        assert (await front.ask("POST", token, b"attack")).status == 200
        answer = await front.ask("GET", token, **accept, **ADA)
        assert (answer.status, answer.body) == (403, CHANGED)
        assert front.admission.active == 0
        assert handler.connections == []
        assert await opened(front, token, accept) == 200  # whoever posted may
        await wait_all_tasks_blocked()
        assert handler.heard == [(None, b"attack")]
    assert "a request of another user was refused" in caplog.text


@both_transports
async def test_a_body_that_is_held_back_does_not_become_the_openers(
    accept: dict[str, str], autojump_clock: MockClock
) -> None:
    handler = ByWhom()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.token()
        held = await front.send("POST", token, Content_Length="6")
        await wait_all_tasks_blocked()
        assert (await front.ask("GET", token, **accept, **ADA)).status == 403
        await held.send(b"attack")
        assert (await held.answer("POST")).status == 200
        await wait_all_tasks_blocked()
        assert handler.heard == []


@both_transports
async def test_a_post_that_comes_while_its_sender_is_looked_up_does_not_become_the_openers(
    accept: dict[str, str], autojump_clock: MockClock
) -> None:
    async def authenticate(request: Request) -> User | None:
        user = await resolve(KNOWN(request))
        await trio.sleep(0 if user else 5)
        return user

    handler = ByWhom()
    async with open_front(handler, authenticate=authenticate) as front:
        token = await front.token()
        held = await front.send("POST", token, b"attack")
        assert await opened(front, token, accept, **ADA) == 200
        answer = await held.answer("POST")
        assert answer.status == 401
        await wait_all_tasks_blocked()
        assert handler.heard == []
        assert handler.only.user == User("ada")


@both_transports
async def test_a_post_before_the_transport_by_the_same_user_is_the_openers(
    accept: dict[str, str], autojump_clock: MockClock
) -> None:
    handler = ByWhom()
    async with open_front(handler, authenticate=KNOWN) as front:
        for negotiator, user in (({}, {}), ({}, ADA), (ADA, ADA)):
            token = await front.token(**negotiator)
            held = await front.send("POST", token, Content_Length="4", **user)
            assert await opened(front, token, accept, **user) == 200
            await held.send(b"mine")
            assert (await held.answer("POST")).status == 200
            await wait_all_tasks_blocked()
        assert handler.heard == [(None, b"mine"), (User("ada"), b"mine"), (User("ada"), b"mine")]


async def test_the_first_who_posts_has_the_connection(autojump_clock: MockClock) -> None:
    async with open_front(Handler(), authenticate=KNOWN) as front:
        token = await front.token()
        assert (await front.ask("POST", token, b"x", **ADA)).status == 200
        assert (await front.ask("POST", token, b"x", **BOB)).status == 403
        assert (await front.ask("POST", token, b"x")).status == 401
        assert (await front.ask("GET", token)).status == 401
        assert (await front.refused(token, **BOB)).status == 403
        assert (await front.ask("GET", token, **ADA)).status == 200


async def test_a_refused_post_takes_nothing(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.token()
        assert (await front.ask("DELETE", token, **BOB)).status == 400
        assert (await front.ask("PUT", token, **BOB)).status == 405
        assert (await front.ask("GET", token, **ADA)).status == 200
        await wait_all_tasks_blocked()
        assert handler.only.user == User("ada")


# ---- posts that come before the transport are bounded, for all connections together


async def test_what_connections_without_a_transport_may_hold_is_bounded(autojump_clock: MockClock) -> None:
    reader = Reader()
    async with open_front(reader, early_posts_buffer_size=100_000, disconnect_timeout=15) as front:
        tokens = [await front.token() for _ in range(50)]
        posts = [await front.send("POST", token, bytes(10_000)) for token in tokens]
        await wait_all_tasks_blocked()
        held = [lease for lease in front.endpoint._leases if lease.has_posts]
        assert sum(len(lease.posts.incoming) for lease in held) == 100_000
        waiting = next(lease.token for lease in front.endpoint._leases if not lease.has_posts)
        await front.ask("GET", waiting)  # its post may go on
        await wait_all_tasks_blocked()
        assert reader.received == bytes(10_000)
        statuses = sorted([(await post.answer("POST")).status for post in posts])
        assert statuses == [200] * 11 + [404] * 39  # for whose connections no transport came
        assert autojump_clock.current_time() <= 17
        answer = await front.ask("POST", await front.token(), bytes(50_000))  # there is room again
        assert answer.status == 200


async def test_bodies_that_are_held_back_count_as_what_they_say(autojump_clock: MockClock) -> None:
    """Else thousands of heads first, and then thousands of bodies, would all be let in."""
    async with open_front(Reader(), early_posts_buffer_size=300_000) as front:
        sizes = (
            {"Content_Length": "10000"},
            {"Content_Length": "10000000"},
            {"Transfer_Encoding": "chunked"},
        )
        for size in sizes:
            await front.send("POST", await front.token(), **size)
            await wait_all_tasks_blocked()
        assert front.endpoint._leases.early.size == 10_000 + 2 * 128 * 1024
        waiting = await front.send("POST", await front.token(), bytes(40_000))
        await wait_all_tasks_blocked()
        assert not any(lease.has_posts for lease in front.endpoint._leases)
        assert (await front.ask("POST", await front.token(), bytes(1000))).status == 200
        assert (await waiting.answer("POST")).status == 404


# ---- users without an id


async def ways(front: Front, token: str, **headers: str) -> list[Answer]:
    return [
        await front.ask("GET", token, **headers),
        await front.ask("POST", token, b"x", **headers),
        await front.ask("DELETE", token, **headers),
    ]


async def test_users_without_an_id_are_told_apart_by_their_claims(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.polled(**GUEST)
        for headers in (VIP, bearer("empty"), ADA):
            assert [answer.status for answer in await ways(front, token, **headers)] == [403] * 3
        assert [answer.status for answer in await ways(front, token)] == [401] * 3
        assert handler.only.user == User(claims={"role": "guest"})
        assert (await front.ask("POST", token, b"x", **GUEST)).status == 200
        token = await front.token(**VIP)
        assert (await front.ask("GET", token, **bearer("empty"))).status == 200
        assert (await front.ask("GET", token, **ADA)).status == 403


# ---- refused requests change nothing


def look(handler: Handler) -> object:
    """Which look of its user a connection has."""
    user = handler.only.user
    return user and user.claims["look"]


class Looks:
    """Each request shows another look of the same user."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: object) -> User:
        self.count += 1
        return User("ada", claims={"look": self.count})


async def test_a_refused_request_does_not_replace_the_user(autojump_clock: MockClock) -> None:
    handler = Handler()
    async with open_front(handler, authenticate=Looks(), stateful_reconnect=True) as front:
        token = await front.polled()
        poll = await front.poll(token)
        await front.poll(token)
        before = look(handler)
        sent_home = await poll.answer()
        assert sent_home.status == 204
        for parts, headers, status in (
            (("GET", token), ACCEPT, 400),
            (("PUT", token), {}, 405),
            (("GET", "unknown"), {}, 404),
        ):
            assert (await front.ask(*parts, **headers)).status == status
        assert (await front.refused(token)).status == 400
        assert look(handler) == before

    handler = Handler()
    async with open_front(handler, authenticate=Looks()) as front:
        token = await front.token()
        await front.socket(token)
        before = look(handler)
        assert (await front.refused(token)).status == 409
        assert (await front.refused(token, Sec_WebSocket_Version="8")).status == 409
        assert (await front.ask("POST", token, b"x")).status == 405
        assert look(handler) == before


async def test_a_bad_request_for_a_websocket_does_not_replace_the_user_of_a_torn_connection(
    autojump_clock: MockClock,
) -> None:
    class Resuming(Handler):
        async def __call__(self, connection: Duplex) -> None:
            connection.enable_resume()
            await super().__call__(connection)

    handler = Resuming()
    async with open_front(handler, authenticate=Looks(), stateful_reconnect=True) as front:
        token = await front.token(useStatefulReconnect="true")
        await front.socket(token)
        before = look(handler)
        assert (await front.refused(token, Sec_WebSocket_Version="8")).status == 400
        assert look(handler) == before
        await front.socket(token)
        assert look(handler) == 4


async def test_who_loses_the_race_for_a_token_does_not_replace_the_user(autojump_clock: MockClock) -> None:
    """Both were admitted while the connection was nobody's yet; the slower one is sent away."""
    handler = Handler()
    async with open_front(handler, authenticate=KNOWN) as front:
        token = await front.token()
        await front.race(token, ADA, BOB)
        await wait_all_tasks_blocked()
        winner = handler.only.user
        assert winner in (User("ada"), User("bob"))
        (lease,) = front.endpoint._leases
        assert lease.owner.user == winner


@pytest.mark.parametrize("stateful", ["true", "false"])
async def test_a_post_that_overtakes_a_websocket_keeps_another_user_from_it(
    stateful: str, autojump_clock: MockClock
) -> None:
    """The WebSocket was admitted while the connection was nobody's yet, and is opened after the post."""
    handler = Handler()
    async with open_front(handler, authenticate=KNOWN, stateful_reconnect=True) as front:
        token = await front.token(useStatefulReconnect=stateful)
        (lease,) = front.endpoint._leases
        upgrade = front.endpoint._carrier(Transport.WEBSOCKETS, lease).answer(Request(), User("ada"))
        assert isinstance(upgrade, Upgrade)
        assert (await front.ask("POST", token)).status == 200
        await upgrade.serve(memory_connection_pair()[0])
        assert handler.connections == []
        assert lease.owner.user is None


# ---- a WebSocket without negotiation


async def test_a_websocket_without_negotiation_is_not_reached_by_its_public_id(
    autojump_clock: MockClock,
) -> None:
    handler = Handler()
    async with open_front(handler, authentication_refresh=True) as front:
        await front.socket()
        id = handler.only.id
        assert id is not None
        unknown = (404, b"No Connection with that ID")
        for parts in (("GET", id), ("POST", id, b"x"), ("DELETE", id)):
            answer = await front.ask(*parts)
            assert (answer.status, answer.body) == unknown
        answer = await front.refused(id)
        assert (answer.status, answer.body) == unknown
        answer = await front.ask("POST", id, path="/chat/refresh")
        assert (answer.status, answer.body) == (404, b'{"error":"connection_not_found"}')
        (lease,) = front.endpoint._leases
        assert len(lease.token) == 22
        assert lease.token != lease.id == id
