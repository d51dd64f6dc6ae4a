"""The examples do what they say."""

import re

import httpx2
import pytest
import trio

from examples import chat_server, counter_client, counter_server, fastapi_site, news_client, news_server
from tests.asgi.hypercorn_server import open_hypercorn
from trio_hubs import ConnectionClosed, HubException, NegotiationError, open_channel, open_hub_connection


async def test_the_client_prints_what_the_server_counts(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    address = await nursery.start(counter_server.app.serve, "127.0.0.1", 0)
    await counter_client.main(f"{address}/counter")
    assert capsys.readouterr().out.splitlines() == [
        *"01234",
        "the sum of five odd numbers: 25",
        "An error occurred on the server while streaming results. HubException: cannot count backwards",
    ]


async def test_a_room_hears_what_is_said_in_it_and_who_comes_and_goes(nursery: trio.Nursery) -> None:
    url = await nursery.start(chat_server.app.serve, "127.0.0.1", 0) + "/chat"
    writer, heard = open_channel(str)

    async def note(text: str) -> None:
        await writer.write(text)

    async def said(name: str, text: str) -> None:
        await writer.write(f"{name}: {text}")

    async with open_hub_connection(url, handlers={"Noted": note, "Said": said}) as ann:
        await ann.invoke("Join", "Ann", "trio")
        async with open_hub_connection(url) as bob:
            with pytest.raises(HubException, match=r"Join a room first\."):
                await bob.invoke("Say", "hello?")
            await bob.invoke("Join", "Bob", "elsewhere")
            await bob.invoke("Say", "nobody hears this")
            await bob.invoke("Join", "Bob", "trio")
            await bob.invoke("Say", "hello")
        assert [await heard.read() for _ in range(4)] == [
            "Ann is here",
            "Bob is here",
            "Bob: hello",
            "Bob has left",
        ]
        await ann.invoke("Join", "Ann", "elsewhere")
        assert await heard.read() == "Ann is here"


async def test_the_page_of_the_chat_needs_no_other_server(nursery: trio.Nursery) -> None:
    address = await nursery.start(chat_server.app.serve, "127.0.0.1", 0)
    async with httpx2.AsyncClient(base_url=address) as http:
        page = (await http.get("/")).text
        assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/pages/signalr.min.js"]
        script = await http.get("/pages/signalr.min.js")
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "HubConnectionBuilder" in script.text
    assert not re.search(r"https?://", page)


async def test_a_client_that_lives_for_days_outlives_its_server(nursery: trio.Nursery) -> None:
    writer, shown = open_channel(str, capacity=100)

    async def shown_until(wanted: str) -> list[str]:
        lines = [await shown.read()]
        while not lines[-1].startswith(wanted):
            lines.append(await shown.read())
        return lines

    async def serve(port: int, *, task_status: trio.TaskStatus[tuple[str, trio.CancelScope]]) -> None:
        async with trio.open_nursery() as servers:
            address = await servers.start(news_server.make_app(lifetime=2.0).serve, "127.0.0.1", port)
            task_status.started((address, servers.cancel_scope))

    address, server = await nursery.start(serve, 0)
    nursery.start_soon(news_client.main, address, writer.write_nowait)
    before = await shown_until("token: expiring")
    before += await shown_until("token: expiring")  # so the server has taken the one before
    assert before[:3] == ["token: first", "subscribed", "1: weather 1"]
    server.cancel()
    lost = await shown_until("reconnecting: ")
    await nursery.start(serve, int(address.rpartition(":")[2]))
    after = await shown_until("the stream goes on")
    number = len([line for line in before + lost + after if "weather" in line])
    after += await shown_until(f"{number + 1}: weather {number + 1}")
    assert {"token: first", "subscribed", "connected"} <= set(after)
    await shown_until("token: expiring")


async def test_a_site_lets_in_who_has_logged_in_until_they_log_out() -> None:
    async with open_hypercorn(fastapi_site.site) as address, httpx2.AsyncClient() as http:
        assert "Log in" in (await http.get(address)).text
        with pytest.raises(NegotiationError, match="401"):
            async with open_hub_connection(f"{address}/hubs/board"):
                raise AssertionError
        for name, password in (("ann", "a guess"), ("nobody", "wonderland")):
            answer = await http.post(f"{address}/login", json={"name": name, "password": password})
            assert answer.status_code == 401
        answer = await http.post(f"{address}/login", json={"name": "ann", "password": "wonderland"})
        assert answer.json() == "ann"
        cookie = {"Cookie": f"session={answer.cookies['session']}"}
        async with open_hub_connection(f"{address}/hubs/board", headers=cookie) as connection:
            async with connection.messages("Written", str, str) as written:
                await connection.invoke("Write", "hello")
                assert await anext(written) == ("ann", "hello")
            await http.post(f"{address}/logout", headers=cookie)
            with pytest.raises(ConnectionClosed, match=r"You have logged out\."):
                async with connection.stream("Clock", item_type=int) as reader:
                    async for _ in reader:
                        pass
        assert not fastapi_site.sessions
