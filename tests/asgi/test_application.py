"""An app in ASGI: every scope reaches the same routes, in the app's time, and each fault has its answer."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import (
    Connection,
    FileResponse,
    Hub,
    HubApp,
    HubOptions,
    Request,
    Response,
    StreamedResponse,
    User,
    authorize,
)
from trio_hubs.asgi.application import NOT_RUNNING
from trio_hubs.server.app_life import NO_TRIO

from .server_in_memory import Server, ask, http, open_scope, websocket

LOGGER = "trio_hubs.asgi.application"
HANDSHAKE = '{"protocol":"json","version":1}\x1e'


class Chat(Hub):
    """What is served here."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def who(self) -> str | None:
        user = self.context.user
        return None if user is None else user.id

    async def flood(self, size: int) -> str:
        return "x" * size

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append(f"disconnected: {error}")


@authorize
class Club(Hub):
    """For users only."""


async def echo(connection: Connection) -> None:
    while data := await connection.receive():
        await connection.send(data)


async def fail(connection: Connection) -> None:
    await connection.receive()
    raise ZeroDivisionError


def make_app(events: list[str] | None = None, **options: Any) -> HubApp:
    known: list[str] = [] if events is None else events
    app = HubApp()
    app.add_hub("/chat", Chat, factory=lambda: Chat(known), options=HubOptions(**options))
    app.add_hub("/club", Club)
    app.add_connection_handler("/echo", echo)
    app.add_connection_handler("/fail", fail)
    app.add_route("/describe", describe, methods=["GET", "POST"])
    app.add_route("/broken", break_down)
    app.add_route("/unsendable", lambda _: Response("body", status=204))
    app.add_route("/streamed", lambda _: StreamedResponse(parts(known)))
    app.add_route("/file", lambda _: FileResponse(__file__))
    app.add_route("/large", lambda _: Response(b"x" * 150_000))
    return app


def break_down(request: Request) -> Response:
    raise ZeroDivisionError


async def parts(events: list[str]) -> AsyncGenerator[str]:
    try:
        yield "one "
        yield "two"
        await trio.sleep(1)
        yield " three"
    finally:
        events.append("no more parts")


def describe(request: Request) -> Response:
    user = request.user.id if request.user else None
    return Response(f"{request.method} {request.path} {request.body!r} {request.client} {user}")


@asynccontextmanager
async def running(events: list[str] | None = None, **options: Any) -> AsyncGenerator[Any]:
    app = make_app(events, **options)
    async with app.running():
        yield app.asgi()


# ---- HTTP


async def test_a_route_answers(autojump_clock: MockClock) -> None:
    async with running() as asgi:
        server = await ask(asgi, "POST", "/describe", b"one ", b"two", client=("10.0.0.7", 5))
        assert (server.status, server.body) == (200, b"POST /describe b'one two' 10.0.0.7 None")
        assert server.headers[b"content-length"] == b"%d" % len(server.body)
        assert b"date" not in server.headers  # which the server adds
        server = await ask(asgi, "GET", "/large")
        assert len(server.body) == 150_000
        assert [message.get("more_body") for message in server.sent[1:]] == [True, True, False]


async def test_an_answer_is_streamed_until_the_client_leaves(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with running(events) as asgi:
        server = await ask(asgi, "GET", "/streamed")
        assert (server.status, server.body) == (200, b"one two three")
        events.clear()
        async with open_scope(asgi, http(path="/streamed")) as server:
            assert server.body == b"one two"
            assert not events
        assert events == ["no more parts"]
        assert server.body == b"one two"


async def test_a_file_is_an_answer() -> None:
    content = Path(__file__).read_bytes()  # noqa: ASYNC240
    async with running() as asgi:
        for method, body in (("GET", content), ("HEAD", b"")):
            server = await ask(asgi, method, "/file")
            assert server.body == body
            assert server.headers[b"content-length"] == b"%d" % len(content)


@pytest.mark.parametrize(
    ("path", "parts", "status", "body"),
    [
        ("/nothing", (), 404, b"Nothing is served at /nothing"),
        ("/describe", (b"x" * 40_000, b"x" * 40_000), 413, b"The body is above 65536 bytes."),
        ("/club/negotiate", (), 401, b""),
    ],
)
async def test_what_is_refused(
    path: str, parts: tuple[bytes, ...], status: int, body: bytes, autojump_clock: MockClock
) -> None:
    async with running() as asgi:
        server = await ask(asgi, "POST", path, *parts)
        assert (server.status, server.body) == (status, body)


@pytest.mark.parametrize(
    ("path", "line"), [("/broken", "the handler of GET /broken failed"), ("/unsendable", "an answer failed")]
)
async def test_a_handler_that_fails_is_logged(
    path: str, line: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running() as asgi:
        server = await ask(asgi, "GET", path)
        assert (server.status, server.body) == (500, b"The handler failed.")
        assert [(record.name, record.message) for record in caplog.records] == [(LOGGER, line)]


async def test_a_client_that_leaves_in_its_body_is_nobodys_fault(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running() as asgi:
        server = Server()
        server.tell("http.request", body=b"half", more_body=True)
        server.tell("http.disconnect")
        await server.serve(asgi, http("POST", "/describe"))
        assert not server.sent
        silent = Server()
        await silent.serve(asgi, http("POST", "/describe"))
        assert trio.current_time() == 30
        assert not silent.sent
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_websocket_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    """As Hypercorn gives a request to upgrade that is not in order."""
    async with running() as asgi:
        server = await ask(asgi, "GET", "/echo", headers=[(b"host", b"here"), (b"upgrade", b"websocket")])
        assert (server.status, server.body) == (400, b"A WebSocket takes a good request for one.")


# ---- transports


async def negotiate(asgi: Any, path: str, **fields: Any) -> str:
    server = await ask(asgi, "POST", f"{path}/negotiate", query_string=b"negotiateVersion=1", **fields)
    token: str = json.loads(server.body)["connectionToken"]
    return token


async def test_a_websocket_carries_a_connection(autojump_clock: MockClock) -> None:
    async with running() as asgi, open_scope(asgi, websocket("/echo")) as server:
        server.tell("websocket.receive", text="hello")
        await wait_all_tasks_blocked()
        server.tell("websocket.disconnect", code=1000)
        await server.over.wait()
        assert server.sent == [
            {"type": "websocket.accept", "subprotocol": None, "headers": []},
            {"type": "websocket.send", "text": "hello"},
        ]


@pytest.mark.parametrize("text", ["a=1", "a=1\n"])
async def test_an_acceptance_has_the_hubs_headers(text: str, autojump_clock: MockClock) -> None:
    def answer_headers(request: Request) -> dict[str, str]:
        return {"Set-Cookie": text}

    async with running(answer_headers=answer_headers) as asgi, open_scope(asgi, websocket("/chat")) as server:
        if text.isprintable():
            assert server.sent[0]["headers"] == [(b"set-cookie", b"a=1")]
        else:
            assert server.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_a_websocket_whose_handler_fails_closes_with_1011(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running() as asgi, open_scope(asgi, websocket("/fail")) as server:
        server.tell("websocket.receive", text="hello")
        await wait_all_tasks_blocked()
        assert server.sent[-1] == {"type": "websocket.close", "code": 1011}
        assert [record.message for record in caplog.records] == []
        server.tell("websocket.disconnect", code=1011)
        await server.over.wait()
        assert [record.message for record in caplog.records] == ["a connection failed"]


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", [], 404),
        ("/broken", [], 500),
        ("/describe", [], 200),
        ("/club", [], 401),
        ("/chat", [(b"origin", b"https://elsewhere.example")], 403),
        ("/chat", [(b"accept", b"text/event-stream")], 400),
    ],
)
async def test_a_websocket_is_refused(
    path: str, headers: list[Any], status: int, extension: bool, autojump_clock: MockClock
) -> None:
    async with running() as asgi:
        token = await negotiate(asgi, "/chat")
        extensions: dict[str, Any] = {"websocket.http.response": {}} if extension else {}
        scope = websocket(
            path,
            headers=[(b"host", b"here"), *headers],
            query_string=b"id=" + token.encode(),
            extensions=extensions,
        )
        async with open_scope(asgi, scope) as server:
            if extension:
                assert [message["type"] for message in server.sent] == [
                    "websocket.http.response.start",
                    "websocket.http.response.body",
                ]
                assert server.status == status
            else:
                assert server.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_events_carry_a_connection_until_the_client_leaves(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with running(events) as asgi:
        token = await negotiate(asgi, "/chat")
        query = b"id=" + token.encode()
        scope = http(path="/chat", query_string=query, headers=[(b"accept", b"text/event-stream")])
        async with open_scope(asgi, scope) as server:
            assert server.headers[b"content-type"] == b"text/event-stream"
            assert server.body == b":\r\n"
            assert (await ask(asgi, "POST", "/chat", HANDSHAKE.encode(), query_string=query)).status == 200
            await wait_all_tasks_blocked()
            assert server.body == b":\r\ndata: {}\x1e\r\n\r\n"
            assert not events
        assert events == ["disconnected: None"]


async def test_polls_carry_a_connection(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with running(events) as asgi:
        token = await negotiate(asgi, "/chat")
        query = b"id=" + token.encode()
        assert (await ask(asgi, "GET", "/chat", query_string=query)).body == b""
        assert (await ask(asgi, "POST", "/chat", HANDSHAKE.encode(), query_string=query)).status == 200
        assert (await ask(asgi, "GET", "/chat", query_string=query)).body == b"{}\x1e"
        async with open_scope(asgi, http(path="/chat", query_string=query)) as server:
            await wait_all_tasks_blocked()
            assert not server.sent
        assert (await ask(asgi, "DELETE", "/chat", query_string=query)).status == 202
        await wait_all_tasks_blocked()
        assert events == ["disconnected: None"]


@pytest.mark.parametrize("over", ["websocket", "events"])
async def test_a_client_that_takes_nothing_is_disconnected_though_the_server_shields_its_sends(
    over: str, autojump_clock: MockClock
) -> None:
    events: list[str] = []
    app = make_app(events, send_timeout=5.0)
    asgi = app.asgi()
    async with app.running():
        token = await negotiate(asgi, "/chat")
        query = b"id=" + token.encode()
        call = '{"type":1,"invocationId":"1","target":"Flood","arguments":[100000]}\x1e'
        if over == "websocket":
            scope = websocket("/chat", query_string=query)
        else:
            scope = http(path="/chat", query_string=query, headers=[(b"accept", b"text/event-stream")])
        async with open_scope(asgi, scope) as server:
            if over == "websocket":
                server.tell("websocket.receive", text=HANDSHAKE)
            else:
                await ask(asgi, "POST", "/chat", HANDSHAKE.encode(), query_string=query)
            await wait_all_tasks_blocked()
            server.room = 0
            if over == "websocket":
                server.tell("websocket.receive", text=call)
            else:
                await ask(asgi, "POST", "/chat", call.encode(), query_string=query)
            await trio.sleep(20)
            assert len(events) == 1
            assert app.statistics().connections == 0
            assert not server.over.is_set()  # the server's task is its own matter
            server.make_room()


# ---- who makes it


async def test_the_user_is_the_hosts(autojump_clock: MockClock) -> None:
    async with running() as asgi:
        assert (await ask(asgi, "GET", "/describe", user=User("ann"))).body.endswith(b" ann")
        assert (await ask(asgi, "POST", "/club/negotiate", user=User("ann"))).status == 200
        async with open_scope(asgi, websocket("/chat", user=User("ann"))) as server:
            server.tell("websocket.receive", text=HANDSHAKE)
            server.tell(
                "websocket.receive", text='{"type":1,"invocationId":"1","target":"Who","arguments":[]}\x1e'
            )
            await wait_all_tasks_blocked()
            assert '"result":"ann"' in server.sent[-1]["text"]


async def test_a_function_says_who_it_is(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def user(scope: Any) -> User | None:
        name = scope["session"].get("name")
        return None if name is None else User(name)

    app = make_app()
    async with app.running():
        asgi = app.asgi(user=user)
        assert (await ask(asgi, "GET", "/describe", session={"name": "ann"})).body.endswith(b" ann")
        assert (await ask(asgi, "GET", "/describe", session={})).body.endswith(b" None")
        wrong: Any = str
        assert (await ask(app.asgi(user=wrong), "GET", "/describe")).status == 500
    assert "who makes a request is a User or None, which a str is not" in caplog.text


async def test_authenticate_is_asked_where_the_host_knows_nobody(autojump_clock: MockClock) -> None:
    app = HubApp(authenticate=lambda request: User(request.headers["x-name"]))
    app.add_hub("/chat", Chat, factory=lambda: Chat([]))
    app.add_route("/describe", describe, authorize=True)
    async with app.running():
        headers = [(b"host", b"here"), (b"x-name", b"bob")]
        for user, name in ((User("ann"), b" ann"), (None, b" bob")):
            server = await ask(app.asgi(), "GET", "/describe", user=user, headers=headers)
            assert server.body.endswith(name)


# ---- its life


async def test_requests_end_before_the_app_does(autojump_clock: MockClock) -> None:
    events: list[str] = []
    app = make_app(events)
    asgi = app.asgi()
    servers = [Server(), Server()]
    async with trio.open_nursery() as nursery:
        async with app.running():
            for server, path in zip(servers, ("/chat", "/echo"), strict=True):
                server.tell("websocket.connect")
                server.tell("websocket.receive", text=HANDSHAKE)
                nursery.start_soon(server.serve, asgi, websocket(path))
            await wait_all_tasks_blocked()
        assert events == ["disconnected: None"]
        assert [server.sent[-1] for server in servers] == [{"type": "websocket.close", "code": 1000}] * 2
        assert '"type":7' in servers[0].sent[-2]["text"]  # that the server goes, and it may come back
    assert all(server.over.is_set() for server in servers)


async def test_the_servers_own_cancellation_ends_a_request_in_order(autojump_clock: MockClock) -> None:
    events: list[str] = []
    async with running(events) as asgi:
        server = Server()
        async with trio.open_nursery() as nursery:
            server.tell("websocket.connect")
            server.tell("websocket.receive", text=HANDSHAKE)
            nursery.start_soon(server.serve, asgi, websocket("/chat"))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert events == ["disconnected: None"]
        assert server.sent[-1] == {"type": "websocket.close", "code": 1000}


async def test_an_app_that_does_not_run_says_so(autojump_clock: MockClock) -> None:
    app = make_app()
    for scope in (http(path="/describe"), websocket("/echo")):
        with pytest.raises(RuntimeError, match="the HubApp does not run") as caught:
            await Server().serve(app.asgi(), scope)
        assert str(caught.value) == NOT_RUNNING


async def test_another_kind_of_scope_is_an_error(autojump_clock: MockClock) -> None:
    async with running() as asgi:
        with pytest.raises(ValueError, match="there is no ASGI scope of type 'webtransport' here"):
            await Server().serve(asgi, {"type": "webtransport"})


def test_another_event_loop_is_told_at_once() -> None:
    app = make_app()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(_called(app.asgi(), {"type": "lifespan"}, receive, send))
    assert sent == [{"type": "lifespan.startup.failed", "message": NO_TRIO}]
    for scope in (http(path="/describe"), websocket("/echo")):
        with pytest.raises(RuntimeError, match="a HubApp runs on trio") as caught:
            asyncio.run(_called(app.asgi(), scope, receive, send))
        assert str(caught.value) == NO_TRIO


def test_another_event_loop_is_told_where_a_lifespan_runs_the_app() -> None:
    async def lifespan() -> None:
        async with make_app().running():
            raise AssertionError

    with pytest.raises(RuntimeError, match="a HubApp runs on trio"):
        asyncio.run(lifespan())


async def _called(asgi: Any, *arguments: Any) -> None:
    await asgi(*arguments)


class Lifespan:
    """What an app's lifespan does at each step."""

    def __init__(self, fails: str = "") -> None:
        self.events: list[str] = []
        self.fails = fails
        self.broken = trio.Event()

    @asynccontextmanager
    async def __call__(self, app: HubApp) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            self._step("startup")
            nursery.start_soon(self._work)
            yield
            nursery.cancel_scope.cancel()
        self._step("shutdown")

    async def _work(self) -> None:
        await self.broken.wait()
        raise ZeroDivisionError("work")

    def _step(self, name: str) -> None:
        self.events.append(name)
        if name == self.fails:
            raise ZeroDivisionError(name)


async def test_its_lifespan_is_the_servers(autojump_clock: MockClock) -> None:
    lifespan = Lifespan()
    app = HubApp(lifespan=lifespan)
    app.add_route("/describe", describe)
    server = Server()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, app.asgi(), {"type": "lifespan"})
        server.tell("lifespan.startup")
        await wait_all_tasks_blocked()
        assert server.sent == [{"type": "lifespan.startup.complete"}]
        assert (await ask(app.asgi(), "GET", "/describe")).status == 200
        assert lifespan.events == ["startup"]
        server.tell("lifespan.shutdown")
        await server.over.wait()
    assert server.sent[1:] == [{"type": "lifespan.shutdown.complete"}]
    assert lifespan.events == ["startup", "shutdown"]


@pytest.mark.parametrize("step", ["startup", "shutdown"])
async def test_a_lifespan_that_fails_is_told(
    step: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    server = Server()
    server.tell("lifespan.startup")
    server.tell("lifespan.shutdown")
    await server.serve(HubApp(lifespan=Lifespan(step)).asgi(), {"type": "lifespan"})
    message = {"type": f"lifespan.{step}.failed", "message": f"ZeroDivisionError: {step}"}
    assert server.sent[-1] == message
    assert [record.message for record in caplog.records] == [f"the app's {step} failed"]


async def test_work_that_fails_meanwhile_ends_the_app(autojump_clock: MockClock) -> None:
    lifespan = Lifespan()
    app = HubApp(lifespan=lifespan)
    server = Server()
    server.tell("lifespan.startup")
    async with trio.open_nursery() as nursery:

        async def live() -> None:
            with pytest.raises(ZeroDivisionError, match="work"):
                await server.serve(app.asgi(), {"type": "lifespan"})

        nursery.start_soon(live)
        await wait_all_tasks_blocked()
        lifespan.broken.set()
        await server.over.wait()
    with pytest.raises(RuntimeError, match="the HubApp does not run"):
        await ask(app.asgi(), "GET", "/describe")
    assert server.sent == [{"type": "lifespan.startup.complete"}]


async def test_a_server_that_breaks_is_logged(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def send(message: object) -> None:
        raise KeyError("no such message")

    async with running() as asgi:
        server = Server()
        server.tell("http.request")
        await asgi(http(path="/describe"), server.receive, send)
    assert [record.message for record in caplog.records] == ["an answer failed"]
