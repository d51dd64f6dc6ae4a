"""The chat: rooms for who has logged in, until they log out; and its page."""

import re

import httpx2
import pytest
import trio
from trio.testing import MockClock

from examples import chat_server
from trio_hubs import HubException, NegotiationError, Request, User, open_channel, open_hub_connection
from trio_hubs.testing import open_test_client, open_test_http

ANN, BOB = User("ann"), User("bob")


@pytest.fixture(autouse=True)
def no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "sessions", {})


async def log_in(http: httpx2.AsyncClient, name: object, password: object) -> int:
    return (await http.post("/login", json={"name": name, "password": password})).status_code


async def test_a_room_hears_what_is_said_in_it_and_who_comes_and_goes(autojump_clock: MockClock) -> None:
    writer, heard = open_channel(str)

    async def note(text: str) -> None:
        await writer.write(text)

    async def said(name: str, text: str) -> None:
        await writer.write(f"{name}: {text}")

    handlers = {"Noted": note, "Said": said}
    async with open_test_client(chat_server.app, "/chat", user=ANN, handlers=handlers) as ann:
        await ann.invoke("Join", "trio")
        async with open_test_client(chat_server.app, "/chat", user=BOB) as bob:
            with pytest.raises(HubException, match=r"Join a room first\."):
                await bob.invoke("Say", "hello?")
            await bob.invoke("Join", "elsewhere")
            await bob.invoke("Say", "nobody hears this")
            await bob.invoke("Join", "trio")
            await bob.invoke("Say", "hello")
        assert [await heard.read() for _ in range(4)] == [
            "ann is here",
            "bob is here",
            "bob: hello",
            "bob has left",
        ]
        await ann.invoke("Join", "elsewhere")
        assert await heard.read() == "ann is here"


async def test_who_has_logged_in_is_let_in_until_they_log_out(autojump_clock: MockClock) -> None:
    async with open_test_http(chat_server.app) as http:
        for name, password in (
            ("ann", "a guess"),
            ("nobody", "wonderland"),
            ("nobody", ""),
            ("ann", None),
            (1, 2),
        ):
            assert await log_in(http, name, password) == 401
        assert (await http.post("/login", content=b"{")).status_code == 400
        with pytest.raises(NegotiationError, match="401"):
            async with open_hub_connection("http://test/chat", http_client=http):
                raise AssertionError
        assert await log_in(http, "ann", "wonderland") == 200
        async with open_hub_connection("http://test/chat", http_client=http) as connection:
            async with connection.messages("Said", str, str) as said:
                await connection.invoke("Join", "trio")
                await connection.invoke("Say", "hello")
                assert await said.read() == ("ann", "hello")
            await http.post("/logout")
            with trio.fail_after(5):
                assert "You have logged out." in str(await connection.wait_closed())
        assert not http.cookies
        assert not chat_server.sessions
        with pytest.raises(NegotiationError, match="401"):
            async with open_hub_connection("http://test/chat", http_client=http):
                raise AssertionError


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_cookie_is_for_this_site_alone(scheme: str) -> None:
    body = b'{"name": "ann", "password": "wonderland"}'
    cookie = str(chat_server.login(Request(scheme=scheme, body=body)).headers["Set-Cookie"]).split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie)
    assert ("Secure" in cookie) == (scheme == "https")
    async with open_test_http(chat_server.app) as http:
        answer = await http.post("/login", content=body, headers={"Origin": "http://evil"})
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


async def test_logins_without_end_take_the_places_of_old_ones(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_server, "MAXIMUM_SESSIONS", 2)
    async with open_test_http(chat_server.app) as http:
        for name in ("ann", "ann", "bob"):
            assert await log_in(http, name, chat_server.PASSWORDS[name]) == 200
    assert list(chat_server.sessions.values()) == ["ann", "bob"]


async def test_the_page_of_the_chat_needs_no_other_server() -> None:
    async with open_test_http(chat_server.app) as http:
        page = (await http.get("/")).text
        assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/pages/signalr.min.js"]
        script = await http.get("/pages/signalr.min.js")
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "HubConnectionBuilder" in script.text
    assert not re.search(r"https?://", page)
