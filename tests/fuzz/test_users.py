"""What a connection does is always of one user: who opened it has asked for all of it, and nobody else got anything.

Several users, nobody and users without an id among them, do what they can with each other's tokens, over every
transport and in any order.
"""

import re
from collections.abc import Callable
from contextlib import suppress

import attrs
import h11
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.server.endpoint_peer import Front, bearer, open_front
from tests.connections.server.http_peer import Client, request, upgrade
from tests.connections.websocket.websocket_peer import TEXT, frame
from trio_hubs.connections.duplex import Duplex, Resumed
from trio_hubs.connections.http import Request
from trio_hubs.connections.users import User
from trio_hubs.errors import ConnectionClosed

USERS = {
    "ann": User("ann", claims={"who": "ann"}),
    "ann2": User("ann", claims={"who": "ann", "since": 2}),
    "bob": User("bob", claims={"who": "bob"}),
    "guest": User(claims={"who": "guest"}),
    "admin": User(claims={"who": "admin"}),
    "anonymous": User(),
}
"""By their tokens; without one, a request is nobody's."""

ALLOWED = {
    "negotiate": {200},
    "poll": {200, 204, 400, 401, 403, 404, 409},
    "events": {200, 400, 401, 403, 404, 409},
    "socket": {101, 400, 401, 403, 404, 409},
    "post": {200, 400, 401, 403, 404, 405, 429},
    "delete": {202, 400, 401, 403, 404},
}
GOOD = {101, 200, 202, 204}


def who(user: User | None) -> str:
    """One name for all that are one user."""
    return "nobody" if user is None else user.claims.get("who", "anonymous")


@attrs.define
class Place:
    """One token, and what has come of it."""

    token: str
    negotiator: str
    opener: str = ""
    users: set[str] = attrs.field(factory=set)
    posted: set[str] = attrs.field(factory=set)
    received: bytes = b""


@attrs.frozen
class Step:
    """What a user does with a token; the token is the one that the number leads to."""

    action: str
    user: str
    number: int


class Play:
    """All users, at one endpoint."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.places: list[Place] = []
        self._nursery = nursery
        self._held: list[Callable[[], None]] = []
        self._count = 0
        self.front: Front

    async def handle(self, connection: Duplex) -> None:
        """A hub, in short: it notes what it hears, for whom, and answers."""
        place = next(
            (place for place in self.places if connection.request.query.get("id") == place.token), None
        )
        if place is None:  # a WebSocket without negotiation
            place = Place("", who(connection.user))
        assert not place.opener
        place.opener = who(connection.user)
        connection.enable_resume()
        while True:
            try:
                data = await connection.receive()
            except Resumed:
                continue
            except ConnectionClosed:
                data = b""
            assert who(connection.user) == place.opener
            if not data:
                return
            place.received += data
            await connection.send(f"for {place.opener};".encode())

    async def step(self, step: Step) -> None:
        headers = bearer(step.user) if step.user in USERS else {}
        user = who(USERS.get(step.user))
        if step.action == "wait":
            await trio.sleep(step.number)
        elif step.action == "negotiate":
            stateful = "true" if step.number % 2 else "false"
            token = await self.front.token(useStatefulReconnect=stateful, **headers)
            self.places.append(Place(token, user))
        elif step.action == "finish":
            if self._held:
                self._held.pop(step.number % len(self._held))()
        elif self.places:
            place = self.places[step.number % len(self.places)]
            self._nursery.start_soon(getattr(self, step.action), place, user, headers)
        await wait_all_tasks_blocked()

    def finish(self) -> None:
        for go_on in self._held:
            go_on()

    def _message(self, user: str) -> bytes:
        self._count += 1
        return f"<{user}:{self._count}>".encode()

    # ---- what users do

    async def post(self, place: Place, user: str, headers: dict[str, str]) -> None:
        await self._post(place, user, headers, trio.Event())

    async def post_slowly(self, place: Place, user: str, headers: dict[str, str]) -> None:
        going_on = trio.Event()
        self._held.append(going_on.set)
        await self._post(place, user, headers, going_on)

    async def _post(self, place: Place, user: str, headers: dict[str, str], going_on: trio.Event) -> None:
        body = self._message(user)
        data = request("POST", f"/chat?id={place.token}", body, **headers)
        client = self.front.client()
        if going_on.is_set():
            await client.send(data)
        else:
            await client.send(data[: -len(body) // 2])
            await going_on.wait()
            with suppress(trio.BrokenResourceError):  # the server has waited for long enough
                await client.send(data[-len(body) // 2 :])
        if await self._outcome("post", client, place, user) == 200:
            place.posted.add(body.decode())

    async def delete(self, place: Place, user: str, headers: dict[str, str]) -> None:
        client = self.front.client()
        await client.send(request("DELETE", f"/chat?id={place.token}", **headers))
        await self._outcome("delete", client, place, user)

    async def poll(self, place: Place, user: str, headers: dict[str, str]) -> None:
        client = self.front.client()
        await client.send(request("GET", f"/chat?id={place.token}", **headers))
        await self._outcome("poll", client, place, user)

    async def events(self, place: Place, user: str, headers: dict[str, str]) -> None:
        client = self.front.client()
        await client.send(request("GET", f"/chat?id={place.token}", Accept="text/event-stream", **headers))
        await self._outcome("events", client, place, user)

    async def socket(self, place: Place, user: str, headers: dict[str, str]) -> None:
        client = self.front.client()
        await client.send(upgrade(f"/chat?id={place.token}", **headers))
        await self._outcome("socket", client, place, user)

    async def _outcome(self, action: str, client: Client, place: Place, user: str) -> int:
        """Read whatever comes to the end of the answer, which must be for this user; its status."""
        wire = h11.Connection(h11.CLIENT)
        switch = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        wire.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), *switch]))
        wire.send(h11.EndOfMessage())
        status, body = 0, b""
        while True:
            match wire.next_event():
                case h11.NEED_DATA:
                    if not (data := bytes(await client.stream.receive_some())):
                        break
                    wire.receive_data(data)
                case h11.Response() | h11.InformationalResponse() as head:
                    status = head.status_code
                    assert status in ALLOWED[action]
                    if status in GOOD:
                        place.users.add(user)
                    if status == 101:
                        body = await self._talk(client.stream, place, user)
                        break
                case h11.Data() as part:
                    body += part.data
                case _:
                    break
        assert set(re.findall(rb"for (\w+);", body)) <= {user.encode()}
        return status

    async def _talk(self, stream: trio.abc.Stream, place: Place, user: str) -> bytes:
        """Use an open WebSocket; the bytes that come over it."""
        message = self._message(user)
        await stream.send_all(frame(TEXT, message, masked=True))
        place.posted.add(message.decode())
        received = b""
        while data := await stream.receive_some():
            received += data
        return received


ACTIONS = [
    "negotiate",
    "post",
    "post",
    "post_slowly",
    "finish",
    "delete",
    "poll",
    "poll",
    "events",
    "socket",
    "wait",
]
STEPS = st.builds(
    Step,
    st.sampled_from(ACTIONS),
    st.sampled_from([*USERS, "nobody", "nobody"]),
    st.integers(0, 20),
)


@example(first="ann", steps=[Step("post_slowly", "ann", 0), Step("socket", "ann", 0)])
@given(first=st.sampled_from([*USERS, "nobody", "nobody"]), steps=st.lists(STEPS, max_size=14))
def test_one_connection_is_one_users(first: str, steps: list[Step]) -> None:
    def authenticate(asked: Request) -> User | None:
        return USERS.get(asked.bearer_token or "")

    async def check() -> None:
        async with trio.open_nursery() as nursery:
            play = Play(nursery)
            front = open_front(play.handle, authenticate=authenticate, stateful_reconnect=True)
            async with front as play.front:
                for step in (Step("negotiate", first, 0), *steps):
                    await play.step(step)
                play.finish()
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        for place in play.places:
            assert len(place.users) <= 1, place
            if place.negotiator != "nobody":
                assert place.users <= {place.negotiator}, place
            if place.opener:
                assert place.users == {place.opener}, place
                received = set(re.findall(r"<\w+:\d+>", place.received.decode()))
                assert received == place.posted, place

    trio.run(check, clock=MockClock(autojump_threshold=0))
