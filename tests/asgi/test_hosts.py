"""An app below other frameworks' applications, served by Hypercorn: every transport, at any path, behind middleware."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import hypercorn.middleware.dispatcher as dispatcher
import pytest
import trio
from fastapi import FastAPI
from fastapi import Request as FastApiRequest
from litestar import Litestar
from litestar import asgi as litestar_asgi
from litestar import get as litestar_get
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.connections.server.http_peer import request, upgrade
from trio_hubs import (
    ConnectionClosed,
    Hub,
    HubApp,
    HubConnectionOptions,
    Response,
    Transport,
    User,
    authorize,
    open_hub_connection,
)
from trio_hubs.connections.websocket.frames import TEXT, encode_frame
from trio_hubs.server.app import AsgiApplication

from .hypercorn_server import PATIENCE, open_hypercorn, serve_hypercorn

Mounted: TypeAlias = Callable[[HubApp], tuple[AsgiApplication, str]]
"""Makes an application around an app, and says where in it that is."""


HANDSHAKE = b'{"protocol":"json","version":1}\x1e'


@authorize
class Chat(Hub):
    """What is served below."""

    def who(self) -> str | None:
        return self.context.user.id if self.context.user else None

    async def count(self, end: int) -> AsyncIterator[int]:
        for number in range(end):
            yield number


class Backend(AuthenticationBackend):
    """Knows a user by a header."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(["chat"]), SimpleUser(name))


def running(app: HubApp) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[None]:
        async with app.running():
            yield

    return lifespan


def user_by_header(scope: Any) -> User | None:
    name = dict(scope["headers"]).get(b"x-user")
    return None if name is None else User(name.decode())


def alone(app: HubApp) -> tuple[AsgiApplication, str]:
    return app.asgi(user=user_by_header), ""


def in_starlette(app: HubApp) -> tuple[AsgiApplication, str]:
    routes = [
        Route("/page", lambda _: PlainTextResponse("Starlette's")),
        Mount("/a", routes=[Mount("/b c", app.asgi())]),
    ]
    middleware = [Middleware(AuthenticationMiddleware, backend=Backend()), Middleware(GZipMiddleware)]
    return Starlette(routes=routes, middleware=middleware, lifespan=running(app)), "/a/b%20c"


def in_starlette_behind_its_base_middleware(app: HubApp) -> tuple[AsgiApplication, str]:
    async def tag(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-tag"] = "seen"
        return response

    middleware = [
        Middleware(AuthenticationMiddleware, backend=Backend()),
        Middleware(BaseHTTPMiddleware, dispatch=tag),
    ]
    routes = [Route("/page", lambda _: PlainTextResponse("Starlette's")), Mount("/hubs", app.asgi())]
    return Starlette(routes=routes, middleware=middleware, lifespan=running(app)), "/hubs"


def in_fastapi(app: HubApp) -> tuple[AsgiApplication, str]:
    host = FastAPI(lifespan=running(app))

    @host.middleware("http")
    async def tag(request: FastApiRequest, call_next: Callable[[FastApiRequest], Awaitable[Any]]) -> Any:
        response = await call_next(request)
        response.headers["x-tag"] = "seen"
        return response

    @host.get("/page")
    def page() -> str:
        return "FastAPI's"

    host.mount("/hubs", app.asgi(user=user_by_header))
    return host, "/hubs"


def in_litestar(app: HubApp) -> tuple[AsgiApplication, str]:
    @litestar_get("/page", sync_to_thread=False)
    def page() -> str:
        return "Litestar's"

    hubs = litestar_asgi("/hubs", is_mount=True, copy_scope=True)(app.asgi(user=user_by_header))
    return Litestar([page, hubs], lifespan=[lambda _: app.running()], logging_config=None), "/hubs"


def beside_quart(app: HubApp) -> tuple[AsgiApplication, str]:
    quart = QuartTrio(__name__)

    @quart.get("/page")
    async def page() -> str:
        return "Quart's"

    mounts: Any = {"/hubs": app.asgi(user=user_by_header), "": quart}
    together: Any = dispatcher.TrioDispatcherMiddleware(mounts)
    return together, "/hubs"


TAGGING = (in_starlette_behind_its_base_middleware, in_fastapi)
HOSTS = [
    alone,
    in_starlette,
    in_starlette_behind_its_base_middleware,
    in_fastapi,
    in_litestar,
    beside_quart,
]


@pytest.mark.parametrize(
    ("mounted", "root_path"),
    [*((host, "") for host in HOSTS), (in_fastapi, "/api"), (in_litestar, "/api"), (beside_quart, "/api")],
)
async def test_every_transport(mounted: Mounted, root_path: str) -> None:
    """Also behind a proxy that cuts off a part of the path, which Hypercorn is told."""
    app = HubApp()
    app.add_hub("/chat", Chat)
    host, path = mounted(app)
    async with open_hypercorn(host, root_path=root_path) as address:
        for transport in Transport:
            with trio.fail_after(PATIENCE):
                async with open_hub_connection(
                    f"{address}{path}/chat",
                    options=HubConnectionOptions(transports=[transport]),
                    headers={"X-User": "ann"},
                ) as connection:
                    assert await connection.invoke("Who") == "ann"
                    async with connection.stream("Count", 3, item_type=int) as reader:
                        assert [item async for item in reader] == [0, 1, 2]


@pytest.mark.parametrize("mounted", [host for host in HOSTS if host is not alone])
async def test_the_host_keeps_its_own_pages_and_its_middleware_sees_ours(mounted: Mounted) -> None:
    app = HubApp()
    app.add_hub("/chat", Chat)
    app.add_route("/health", lambda _: Response("ours"))
    host, path = mounted(app)
    async with open_hypercorn(host) as address, httpx2.AsyncClient() as http:
        assert "'s" in (await http.get(f"{address}/page")).text
        ours = await http.get(f"{address}{path}/health")
        assert ours.text == "ours"
        assert ("x-tag" in ours.headers) is (mounted in TAGGING)
        for method, below, status in (("POST", "chat/negotiate", 401), ("GET", "nothing", 404)):
            assert (await http.request(method, f"{address}{path}/{below}")).status_code == status


class Noting(Hub):
    """Says when a client has come, and has gone."""

    def __init__(self, notes: trio.MemorySendChannel[str]) -> None:
        self.notes = notes

    async def wait(self) -> None:
        await self.notes.send("called")
        try:
            await trio.sleep_forever()
        finally:
            self.notes.send_nowait("cancelled")

    async def on_disconnected(self, error: Exception | None) -> None:
        await self.notes.send("disconnected")


def noting_app() -> tuple[HubApp, trio.MemoryReceiveChannel[str]]:
    notes, noted = trio.open_memory_channel[str](100)
    app = HubApp()
    app.add_hub("/hub", Noting, factory=lambda: Noting(notes))
    return app, noted


async def test_a_shutdown_is_told_to_clients_and_hubs() -> None:
    app, noted = noting_app()
    stop = trio.Event()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        address = await nursery.start(serve_hypercorn, app.asgi(), stop)
        connections = [
            await stack.enter_async_context(
                open_hub_connection(f"{address}/hub", options=HubConnectionOptions(transports=[transport]))
            )
            for transport in Transport
        ]
        for connection in connections:
            await connection.send("Wait")
            assert await noted.receive() == "called"
        stop.set()
        with trio.fail_after(PATIENCE):
            assert (
                sorted([await noted.receive() for _ in range(6)]) == ["cancelled"] * 3 + ["disconnected"] * 3
            )
        for connection in connections[:2]:  # Hypercorn does not wait for a further poll
            with pytest.raises(ConnectionClosed, match="The server closed the connection"):
                await connection.invoke("Wait")


@pytest.mark.parametrize("transport", list(Transport)[:2])
async def test_a_client_that_leaves_without_a_word_is_noticed(transport: Transport) -> None:
    app, noted = noting_app()
    async with open_hypercorn(app.asgi()) as address, httpx2.AsyncClient() as http:
        stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
        if transport is Transport.WEBSOCKETS:
            await stream.send_all(upgrade("/hub"))
            await stream.receive_some()
            await stream.send_all(encode_frame(TEXT, HANDSHAKE, masked=True))
        else:
            negotiated = await http.post(f"{address}/hub/negotiate?negotiateVersion=1")
            target = f"/hub?id={negotiated.json()['connectionToken']}"
            await stream.send_all(request("GET", target, Accept="text/event-stream"))
            await stream.receive_some()
            assert (await http.post(address + target, content=HANDSHAKE)).status_code == 200
        received = b""
        while b"{}" not in received:
            received += await stream.receive_some()
        await stream.aclose()
        with trio.fail_after(PATIENCE):
            assert await noted.receive() == "disconnected"


async def test_without_its_lifespan_an_app_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    app = HubApp()
    app.add_hub("/chat", Chat)
    host = Starlette(routes=[Mount("/hubs", app.asgi())])
    with caplog.at_level(logging.CRITICAL, "hypercorn.error"):
        async with open_hypercorn(host) as address, httpx2.AsyncClient() as http:
            answer = await http.post(f"{address}/hubs/chat/negotiate")
            assert (answer.status_code, answer.text) == (500, "Internal Server Error")
