"""A FastAPI site with login, and a hub for who has logged in: `hypercorn -k trio examples.fastapi_site:site`."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from trio_hubs import Hub, HubApp, User, authorize

PAGES = Path(__file__).with_name("pages")
PASSWORDS = {
    "ann": "wonderland",
    "bob": "can we fix it",
}  # a real site keeps no passwords, but hashes of them
sessions: dict[str, str] = {}
"""The users who have logged in, by the secret in their cookie."""


@authorize
class Board(Hub):
    """All who have logged in write on one board."""

    async def write(self, text: str) -> None:
        """Show everybody a line."""
        await self.clients.all.send("Written", self.context.user_id, text)

    async def clock(self) -> AsyncIterator[int]:
        """Count the seconds."""
        seconds = 0
        while True:
            yield seconds
            seconds += 1
            await trio.sleep(1)


def user_of(scope: Any) -> User | None:
    """Who makes a request of the hub: the same cookie says so as on the site."""
    name = sessions.get(HTTPConnection(scope).cookies.get("session", ""))
    return None if name is None else User(name)


hubs = HubApp()
hubs.add_hub("/board", Board)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """FastAPI does not run the lifespans of what is mounted in it: this does."""
    async with hubs.running():
        yield


site = FastAPI(lifespan=lifespan)
site.mount("/hubs", hubs.asgi(user=user_of))
site.mount("/pages", StaticFiles(directory=PAGES))


class Login(BaseModel):
    """What the page sends."""

    name: str
    password: str


@site.get("/")
async def page() -> FileResponse:
    """The site's only page."""
    return FileResponse(PAGES / "board.html")


@site.post("/login")
async def login(given: Login, response: Response) -> str:
    """Give a user a cookie, which no script can read and no other site can use."""
    known = PASSWORDS.get(given.name)
    if known is None or not secrets.compare_digest(known.encode(), given.password.encode()):
        raise HTTPException(401, "The name or the password is wrong.")
    secret = secrets.token_urlsafe()
    sessions[secret] = given.name
    response.set_cookie("session", secret, httponly=True, samesite="strict")
    return given.name


@site.post("/logout")
async def logout(request: Request, response: Response) -> None:
    """Take it back, and send the user away from the board."""
    name = sessions.pop(request.cookies.get("session", ""), None)
    response.delete_cookie("session")
    if name is not None:
        await hubs.hub(Board).abort_user(name, "You have logged out.")
