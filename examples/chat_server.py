"""Rooms to chat in, for who has logged in, with a page for browsers: `trio-hubs serve examples.chat_server:app`.

Who has logged in is in the memory of the one process that serves it.
"""

import secrets
from pathlib import Path

from trio_hubs import FileResponse, Hub, HubApp, HubException, Request, Response, User, authorize

PAGES = Path(__file__).with_name("pages")
PASSWORDS = {
    "ann": "wonderland",
    "bob": "can we fix it",
}  # a real site keeps hashes of them, and a count of guesses
MAXIMUM_SESSIONS = 1000
sessions: dict[str, str] = {}
"""The users who have logged in, by the secret in their cookie."""


@authorize
class Chat(Hub):
    """A client is in one room at a time, and hears all that is said there."""

    async def on_disconnected(self, error: Exception | None) -> None:
        """Whoever leaves the server leaves the room."""
        await self.leave()

    async def join(self, room: str) -> None:
        """Enter a room, and leave the one before."""
        await self.leave()
        self.context.items["room"] = room
        await self.groups.add(self.context.connection_id, room)
        await self.clients.group(room).send("Noted", f"{self.context.user_id} is here")

    async def say(self, text: str) -> None:
        """Tell the room something."""
        if "room" not in self.context.items:
            raise HubException("Join a room first.")
        await self.clients.group(self.context.items["room"]).send("Said", self.context.user_id, text)

    async def leave(self) -> None:
        """Leave the room."""
        if room := self.context.items.pop("room", None):
            await self.groups.remove(self.context.connection_id, room)
            await self.clients.group(room).send("Noted", f"{self.context.user_id} has left")


def authenticate(request: Request) -> User | None:
    """Find out who makes a request, by their cookie."""
    name = sessions.get(request.cookies.get("session", ""))
    return None if name is None else User(name)


def login(request: Request) -> Response:
    """Give a user a cookie, which no script can read and no other site can use."""
    match request.json():
        case {"name": str(name), "password": str(password)} if is_right(name, password):
            if len(sessions) == MAXIMUM_SESSIONS:
                del sessions[next(iter(sessions))]  # the oldest
            sessions[secret := secrets.token_urlsafe()] = name
            secure = "; Secure" if request.scheme == "https" else ""
            cookie = f"session={secret}; Path=/; HttpOnly; SameSite=Strict{secure}"
            return Response(headers={"Set-Cookie": cookie})
        case _:
            return Response("The name or the password is wrong.", status=401)


def is_right(name: str, password: str) -> bool:
    """Whether a user has this password; how long that takes tells nothing about it."""
    known = PASSWORDS.get(name)
    return known is not None and secrets.compare_digest(known.encode(), password.encode())


async def logout(request: Request) -> Response:
    """Take the cookie back, and send the user away from all rooms."""
    if name := sessions.pop(request.cookies.get("session", ""), None):
        await app.hub(Chat).abort_user(name, "You have logged out.")
    return Response(headers={"Set-Cookie": "session=; Path=/; Max-Age=0"})


app = HubApp(authenticate=authenticate)
app.add_hub("/chat", Chat)
app.add_route("/login", login, methods=["POST"])
app.add_route("/logout", logout, methods=["POST"])
app.add_route("/", lambda _: FileResponse(PAGES / "chat.html"))
app.add_static("/pages", PAGES)  # with SignalR's client for browsers
