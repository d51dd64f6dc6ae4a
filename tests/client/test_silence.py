"""A server that is silent is given up without being told, or waited for, whatever the transport."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.connections.client.http_answers import Body
from tests.hub_peer import no_task_left
from trio_hubs import (
    ConnectionClosed,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    Transport,
    open_hub_connection,
)

SILENT_FROM = 3.0
"""Seconds after which the server answers nothing any more."""


@asynccontextmanager
async def connected(transport: Transport) -> AsyncGenerator[HubConnection]:
    """Our client and a server that is silent before long."""
    answers = iter([b"", b"{}\x1e"])
    shaken = trio.Event()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if trio.current_time() >= SILENT_FROM:
            await trio.sleep_forever()
        if request.url.path.endswith("/negotiate"):
            offer = {"transport": transport.value, "transferFormats": ["Text"]}
            return httpx2.Response(200, json={"connectionId": "id", "availableTransports": [offer]})
        if request.method == "POST":
            shaken.set()
            return httpx2.Response(200)
        if transport is Transport.SERVER_SENT_EVENTS:
            return httpx2.Response(200, stream=Body([b"data: {}\x1e\r\n\r\n"], endless=True))
        part = next(answers, None)
        if part is None:
            await trio.sleep_forever()
        elif part:
            await shaken.wait()
        return httpx2.Response(200, content=part)

    options = HubConnectionOptions(keep_alive_interval=1, server_timeout=8, send_timeout=20)
    with no_task_left():
        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http_client,
            open_hub_connection(
                "http://server/hub",
                http_client=http_client,
                reconnect=lambda *_: 1000.0,
                options=options,
            ) as connection,
        ):
            yield connection


async def test_silent_events_are_given_up_at_once(autojump_clock: MockClock) -> None:
    async with connected(Transport.SERVER_SENT_EVENTS) as connection:
        with connection.state_changes() as changes:
            lost = await changes.read()
        assert lost.state is HubConnectionState.RECONNECTING
        assert "Server timeout (8000.00ms) elapsed" in str(lost.reason)
        assert 8 <= trio.current_time() <= 8.3
    assert trio.current_time() <= 8.3


async def test_polls_whose_posts_are_not_taken_are_given_up_at_once(autojump_clock: MockClock) -> None:
    async with connected(Transport.LONG_POLLING) as connection:
        await trio.sleep(5)
        with pytest.raises(ConnectionClosed, match="does not take its messages fast enough"):
            await connection.invoke("Add")
        with connection.state_changes() as changes:
            assert (await changes.read()).state is HubConnectionState.RECONNECTING
        assert 25 <= trio.current_time() <= 25.3
    assert trio.current_time() <= 25.3
