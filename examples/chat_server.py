"""Rooms to chat in, with a page for browsers: `trio-hubs serve examples.chat_server:app`."""

from pathlib import Path

from trio_hubs import FileResponse, Hub, HubApp, HubException

PAGES = Path(__file__).with_name("pages")


class Chat(Hub):
    """A client is in one room at a time, and hears all that is said there."""

    async def on_disconnected(self, error: Exception | None) -> None:
        """Whoever leaves the server leaves the room."""
        await self.leave()

    async def join(self, name: str, room: str) -> None:
        """Enter a room, and leave the one before."""
        await self.leave()
        self.context.items.update(name=name, room=room)
        await self.groups.add(self.context.connection_id, room)
        await self.clients.group(room).send("Noted", f"{name} is here")

    async def say(self, text: str) -> None:
        """Tell the room something."""
        if "room" not in self.context.items:
            raise HubException("Join a room first.")
        await self.clients.group(self.context.items["room"]).send("Said", self.context.items["name"], text)

    async def leave(self) -> None:
        """Leave the room."""
        if room := self.context.items.pop("room", None):
            await self.groups.remove(self.context.connection_id, room)
            await self.clients.group(room).send("Noted", f"{self.context.items['name']} has left")


app = HubApp()
app.add_hub("/chat", Chat)
app.add_route("/", lambda _: FileResponse(PAGES / "chat.html"))
app.add_static("/pages", PAGES)  # with SignalR's client for browsers
