"""WebSockets of an application behind ours: it decides, its messages stay whole, and each end is told to both sides."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
import trio_websocket
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.server.http_peer import Client, upgrade
from tests.connections.websocket.websocket_peer import BINARY, CLOSE, TEXT, Peer
from tests.server.app_peer import FarStream, ServedApp, open_app
from trio_hubs import HubApp

from .server_in_memory import open_scope, websocket

LOGGER = "trio_hubs.asgi.fallback_websocket"

Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[None]]


class Application:
    """An application that does as a test says, once a WebSocket is asked for.

    Attributes:
        scope: The scope.
        received: What it has received.
    """

    def __init__(self, behave: Behaviour) -> None:
        self.scope: dict[str, Any] = {}
        self.received: list[dict[str, Any]] = []
        self._behave = behave

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        self.scope = scope

        async def noting() -> dict[str, Any]:
            self.received.append(await receive())
            return self.received[-1]

        assert (await noting())["type"] == "websocket.connect"
        await self._behave(noting, send)


async def echo(receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def refuse(receive: Any, send: Any) -> None:
    await send({"type": "websocket.close", "code": 4000})


async def accept_and_fail(receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    raise ZeroDivisionError


async def fail(receive: Any, send: Any) -> None:
    raise ZeroDivisionError


async def say_nothing(receive: Any, send: Any) -> None:
    pass


@asynccontextmanager
async def asked(served: ServedApp, **headers: str) -> AsyncGenerator[tuple[FarStream, Peer, bytes]]:
    """A client that has asked for a WebSocket: its stream, its frames, and the head of the answer."""
    stream = served.open_stream()
    peer = Peer(stream, client=True)
    await stream.send_all(upgrade("/theirs?x=1", **headers))
    yield stream, peer, await peer.head()
    await stream.aclose()


async def test_messages_stay_whole(autojump_clock: MockClock) -> None:
    application = Application(echo)
    async with open_app(HubApp(fallback=application)) as served, asked(served) as (_, peer, head):
        assert head.startswith(b"HTTP/1.1 101 ")
        assert (application.scope["path"], application.scope["scheme"]) == ("/theirs", "ws")
        assert application.scope["query_string"] == b"x=1"
        for first, payload in ((TEXT, "hällo".encode()), (BINARY, b"\xff" * 100_000), (TEXT, b"")):
            await peer.send(peer.frame(first, payload))
            assert await peer.next_frame() == (first, payload)
        await peer.send(peer.frame(CLOSE, b"\x03\xe9bye"))
        assert await peer.next_frame() == (CLOSE, b"\x03\xe9bye")
        await wait_all_tasks_blocked()
        assert application.received[-1] == {"type": "websocket.disconnect", "code": 1001, "reason": "bye"}


async def test_an_acceptance_is_the_applications(autojump_clock: MockClock) -> None:
    async def accept(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-a", b"1")]})

    application = Application(accept)
    async with (
        open_app(HubApp(fallback=application)) as served,
        asked(served, Sec_WebSocket_Protocol="a, b") as (_, peer, head),
    ):
        assert application.scope["subprotocols"] == ["a", "b"]
        assert b"Sec-WebSocket-Protocol: b\r\n" in head
        assert b"x-a: 1\r\n" in head
        assert await peer.next_frame() == (CLOSE, b"\x03\xe8")  # as it has returned


@pytest.mark.parametrize(
    ("behave", "status", "lines"),
    [
        (refuse, 403, []),
        (say_nothing, 403, []),
        (fail, 500, ["the fallback application failed at a WebSocket"]),
    ],
)
async def test_a_refusal_is_an_answer(
    behave: Behaviour,
    status: int,
    lines: list[str],
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    async with open_app(HubApp(fallback=Application(behave))) as served:
        stream = served.open_stream()
        client = Client(stream)
        await client.send(upgrade("/theirs"))
        assert (await client.answer()).status == status
        await stream.aclose()
    assert [record.message for record in caplog.records if record.name == LOGGER] == lines


async def test_a_request_that_is_not_in_order_does_not_reach_it(autojump_clock: MockClock) -> None:
    application = Application(echo)
    async with open_app(HubApp(fallback=application)) as served:
        answer = await served.ask("GET", "/theirs", Upgrade="websocket")
        assert answer.status == 400
        assert not application.scope


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"type": "websocket.send", "text": "early"}, "'websocket.send'"),
        ({"type": "http.wrong"}, "'http.wrong'"),
    ],
)
async def test_what_is_out_of_place_fails(
    message: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def misbehave(receive: Any, send: Any) -> None:
        await send(message)

    async with open_app(HubApp(fallback=Application(misbehave))) as served:
        stream = served.open_stream()
        client = Client(stream)
        await client.send(upgrade("/theirs"))
        assert (await client.answer()).status == 500
        await stream.aclose()
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert f"the fallback application sent {fault} out of place" in (record.exc_text or "")


async def test_a_failure_closes_with_1011(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with (
        open_app(HubApp(fallback=Application(accept_and_fail))) as served,
        asked(served) as (_, peer, _),
    ):
        assert await peer.next_frame() == (CLOSE, b"\x03\xf3")
    assert "the fallback application failed at a WebSocket" in caplog.messages


async def test_it_closes_as_it_likes_and_sends_nothing_more(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    failures: list[str] = []

    async def close(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            failures.append(str(error))
            raise

    async with open_app(HubApp(fallback=Application(close))) as served, asked(served) as (_, peer, _):
        assert await peer.next_frame() == (CLOSE, b"\x0f\xa1enough")
        await peer.send(peer.frame(CLOSE, b"\x0f\xa1"))
        await wait_all_tasks_blocked()
    assert failures == ["The client left."]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_breaks_off_is_told(autojump_clock: MockClock) -> None:
    application = Application(echo)
    async with open_app(HubApp(fallback=application)) as served, asked(served) as (stream, _, _):
        await stream.aclose()
        await wait_all_tasks_blocked()
        assert application.received[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


async def test_a_client_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    failures: list[str] = []

    async def flood(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 1000})
        except OSError as error:
            failures.append(str(error))
            raise

    async with open_app(HubApp(fallback=Application(flood))) as served:
        stream = served.open_stream()
        served.narrows[-1].room = 5000
        await stream.send_all(upgrade("/theirs"))
        await trio.sleep(50)
        assert failures == ["The client took nothing for 30 s."]


async def test_a_client_that_does_not_take_the_answer_is_let_go(autojump_clock: MockClock) -> None:
    async with open_app(HubApp(fallback=Application(echo))) as served:
        stream = served.open_stream()
        served.narrows[-1].room = 10
        await stream.send_all(upgrade("/theirs"))
        await trio.sleep(40)
        assert len(await stream.receive_some()) == 10


async def test_a_shutdown_closes_it(autojump_clock: MockClock) -> None:
    async with open_app(HubApp(fallback=Application(echo))) as served, asked(served) as (_, peer, _):
        served.serving.cancel()
        assert await peer.next_frame() == (CLOSE, b"\x03\xe8")


async def test_behind_another_server_it_is_refused(autojump_clock: MockClock) -> None:
    app = HubApp(fallback=Application(echo))
    async with app.running(), open_scope(app.asgi(), websocket("/theirs")) as server:
        assert server.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_fastapi_has_its_websockets() -> None:
    site = FastAPI()
    ends: list[int] = []

    @site.websocket("/rooms/{name}")
    async def room(socket: WebSocket, name: str) -> None:
        if name == "closed":
            await socket.close()
            return
        await socket.accept()
        try:
            while True:
                await socket.send_text(f"{name}: {await socket.receive_text()}")
        except WebSocketDisconnect as end:
            ends.append(end.code)

    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(HubApp(fallback=site).serve, "127.0.0.1", 0)
        url = address.replace("http", "ws") + "/rooms/"
        async with trio_websocket.open_websocket_url(url + "garden") as client:
            await client.send_message("hello")
            assert await client.get_message() == "garden: hello"
        async with await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2])) as stream:
            await stream.send_all(upgrade("/rooms/closed"))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")
        nursery.cancel_scope.cancel()
    assert ends == [1000]


async def test_a_message_has_its_limit(autojump_clock: MockClock) -> None:
    application = Application(echo)
    async with open_app(HubApp(fallback=application)) as served, asked(served) as (_, peer, _):
        await peer.send(peer.frame(BINARY, b"x" * (1 << 20)))
        assert await peer.next_frame() == (BINARY, b"x" * (1 << 20))
        await peer.send(peer.frame(BINARY, b"x" * ((1 << 20) + 1)))
        first, payload = await peer.next_frame()
        assert (first, payload[:2]) == (CLOSE, b"\x03\xf1")
        await peer.send(peer.frame(CLOSE, payload))
        await wait_all_tasks_blocked()
        assert application.received[-1]["type"] == "websocket.disconnect"
