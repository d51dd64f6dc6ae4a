"""An app with a monitor, and clients of its own whose names are meant to break what shows them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from trio_hubs import ConnectionClosed, Hub, HubApp, HubException, Request, User, open_hub_connection
from trio_hubs.monitor import add_monitor

TOKEN = "the-admins-token"
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e[bold]"
CLIENTS = 12


class Chat(Hub):
    """A hub that is called all the time."""

    async def join(self, group: str) -> None:
        """Come into a group."""
        await self.groups.add(self.context.connection_id, group)

    async def say(self, seconds: float) -> None:
        """Take some time."""
        await trio.sleep(seconds)

    def fail(self) -> None:
        """Fail."""
        raise HubException("no")

    async def count(self) -> AsyncIterator[int]:
        """Stream numbers without end."""
        number = 0
        while True:
            yield number
            number += 1
            await trio.sleep(0.01)

    async def flood(self) -> None:
        """Send what a client cannot have taken for a while."""
        for _ in range(10):
            await self.clients.caller.send("Flood", "x" * 60_000)
            await trio.sleep(0.1)


def authenticate(request: Request) -> User | None:
    """The admin by a token or a cookie, anybody else by name."""
    if TOKEN in (request.bearer_token, request.cookies.get("token")):
        return User("admin", claims={"admin": True})
    name = request.headers.get("x-name")
    return None if name is None else User(name if name != "0" else HOSTILE)


async def call(app: HubApp, number: int) -> None:
    """Be a client that calls for ever, once the app is served."""
    with suppress(ConnectionClosed):  # when the app ends
        await call_on(app, number)


async def call_on(app: HubApp, number: int) -> None:
    """Call until the app ends."""
    while not app.addresses:  # noqa: ASYNC110 - nothing tells of it
        await trio.sleep(0.01)
    async with (
        open_hub_connection(f"{app.addresses[0]}/chat", headers={"X-Name": f"{number}"}) as connection,
        connection.stream("Count") as numbers,
    ):
        for group in ("lobby", f"room {number % 3}", HOSTILE if number == 0 else "all"):
            await connection.invoke("Join", group)
        while True:
            await connection.invoke("Say", 0.005 * number)
            numbers.read_ready()
            if number == 1:
                await connection.send("Fail")
                await trio.sleep(0.5)


@asynccontextmanager
async def lifespan(app: HubApp) -> AsyncGenerator[None]:
    """Clients call while the app is served."""
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(call, app, number)
        yield
        nursery.cancel_scope.cancel()


app = HubApp(lifespan=lifespan, authenticate=authenticate)
app.add_hub("/chat", Chat)
add_monitor(app, authorize=lambda user: bool(user.claims.get("admin")))
