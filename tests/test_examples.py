"""The examples do what they say."""

from pathlib import Path

import httpx2
import pytest
import trio

from examples import counter_client, counter_server, fastapi_site, news_client, news_server
from tests.asgi.hypercorn_server import open_hypercorn
from trio_hubs import ConnectionClosed, NegotiationError, open_channel, open_hub_connection

EXAMPLES = Path(counter_server.__file__).parent


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text("utf-8").splitlines()) <= 120


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
