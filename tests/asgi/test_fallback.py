"""Another application behind ours: its requests, bodies, ends, faults and lifespan, alone and under real frameworks."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.server.http_peer import Client, request
from tests.server.app_peer import open_app
from trio_hubs import Hub, HubApp, Response, open_hub_connection

from .server_in_memory import ask


class Calculator(Hub):
    """What is served beside."""

    def add(self, a: int, b: int) -> int:
        return a + b


class Application:
    """An application that does as a test says, with what it was asked and told.

    Attributes:
        scope: The last scope of a request.
        received: What it has received.
        failure: What a send has raised.
        lifespan: The lifespan's messages.
    """

    def __init__(self, *messages: dict[str, Any], reads: int = 1) -> None:
        self.messages = messages
        self.reads = reads
        self.scope: dict[str, Any] = {}
        self.received: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # so that it has no lifespan
        self.scope = scope
        for _ in range(self.reads):
            self.received.append(await receive())
        try:
            for message in self.messages:
                await send(message)
        except OSError as error:
            self.failure = error
            raise


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def app_before(application: Any) -> HubApp:
    app = HubApp(fallback=application)
    app.add_hub("/hub", Calculator)
    app.add_route("/health", lambda _: Response("ours"))
    return app


async def test_it_answers_where_nothing_of_ours_is(autojump_clock: MockClock) -> None:
    application = Application(
        start(201, (b"x-a", b"1"), (b"x-a", b"2"), (b"date", b"never")), body(b"theirs")
    )
    async with open_app(app_before(application)) as served:
        assert (await served.ask("GET", "/health")).body == b"ours"
        assert not application.scope
        answer = await served.ask("GET", "/a%20b?x=1", Cookie="a=1")
        assert (answer.status, answer.body) == (201, b"theirs")
        assert answer.headers["x-a"] == "2"  # the last of both
        assert answer.headers["date"] != "never"
        scope = application.scope
        assert (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/a b", b"x=1")
        assert (scope["scheme"], scope["root_path"], scope["client"]) == ("http", "", None)
        assert (b"cookie", b"a=1") in scope["headers"]
        assert application.received == [{"type": "http.request", "body": b"", "more_body": False}]
        assert (await served.ask("POST", "/hub/negotiate")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_bodies_pass_both_ways_in_parts(method: str, autojump_clock: MockClock) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-type", b"text/plain")))
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            sizes.append(len(message["body"]))
            await send(body(message["body"], more=more))

    sizes: list[int] = []
    data = bytes(range(256)) * 1000
    async with open_app(app_before(echo)) as served:
        answer = await served.ask(method, "/", data)
        assert (answer.status, answer.body) == (200, data)
        assert max(sizes) <= 64 * 1024
        assert len(sizes) > 4


async def test_a_body_of_another_method_is_read_before(autojump_clock: MockClock) -> None:
    application = Application(start(), body(b"done"))
    async with open_app(app_before(application)) as served:
        assert (await served.ask("GET", "/", b"odd")).body == b"done"
        assert application.received == [{"type": "http.request", "body": b"odd", "more_body": False}]
        assert (await served.ask("GET", "/", b"x" * 70_000)).status == 413


async def test_head_has_no_body(autojump_clock: MockClock) -> None:
    application = Application(start(200, (b"content-length", b"6")), body(b"theirs"))
    async with open_app(app_before(application)) as served:
        stream = served.open_stream()
        client = Client(stream)
        await client.send(request("HEAD", "/"))
        answer = await client.answer("HEAD")
        assert (answer.headers["content-length"], answer.body) == ("6", b"")
        assert (await client.ask("GET", "/health")).body == b"ours"  # on the same stream
        await stream.aclose()


@pytest.mark.parametrize(
    ("messages", "status", "line"),
    [
        ((), 500, "RuntimeError: the fallback application gave no whole answer"),
        ((start(),), 500, "RuntimeError: the fallback application gave no whole answer"),
        ((body(),), 500, "RuntimeError: the fallback application sent 'http.response.body' out of place"),
        ((start(), start()), 500, "RuntimeError: the fallback application sent 'http.response.start' out"),
        (
            ({"type": "http.wrong"},),
            500,
            "RuntimeError: the fallback application sent 'http.wrong' out of place",
        ),
        ((start(200, (b"a b", b"c")), body()), 500, "LocalProtocolError: Illegal header name"),
        ((start(), body(b"half", more=True)), 200, "gave no whole answer"),
        ((start(200, (b"content-length", b"2")), body(b"much")), 200, "LocalProtocolError"),
    ],
)
async def test_an_application_that_fails_is_logged(
    messages: tuple[dict[str, Any], ...],
    status: int,
    line: str,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    async with open_app(app_before(Application(*messages))) as served:
        stream = served.open_stream()
        client = Client(stream)
        await client.send(request("GET", "/"))
        if status == 500:
            assert (await client.answer()).body == b"The handler failed."
        else:
            head, _, rest = (await client.rest()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert not rest.endswith(b"0\r\n\r\n")  # so that the client sees that it was cut
        await stream.aclose()
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.message == "an answer failed"
        assert line in (record.exc_text or "")


async def test_an_exception_is_logged_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async with open_app(app_before(broken)) as served:
        assert (await served.ask("GET", "/")).status == 500
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "an answer failed"
    ]


async def test_an_application_hears_that_its_client_has_left(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    application = Application(start(), body(b"late", more=True), reads=2)
    async with open_app(app_before(application)) as served:
        stream = served.open_stream()
        await stream.send_all(request("GET", "/"))
        await wait_all_tasks_blocked()
        await stream.aclose()
        await wait_all_tasks_blocked()
        assert application.received[1] == {"type": "http.disconnect"}
        assert str(application.failure) == "The client left."
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_leaves_in_its_body_is_told(autojump_clock: MockClock) -> None:
    application = Application(start(), reads=3)
    async with open_app(app_before(application)) as served:
        stream = served.open_stream()
        await stream.send_all(request("POST", "/", Content_Length="10") + b"12345")
        await trio.sleep(40)
        assert [message["type"] for message in application.received] == ["http.request"] + [
            "http.disconnect"
        ] * 2


async def test_a_client_that_leaves_behind_its_body_is_told_to_who_sends(autojump_clock: MockClock) -> None:
    async def answer_late(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await trio.sleep(1)
        try:
            await send(start())
            await send(body(b"late"))
        except OSError as error:
            failures.append(str(error))
            raise

    failures: list[str] = []
    async with open_app(app_before(answer_late)) as served:
        stream = served.open_stream()
        await stream.send_all(request("POST", "/", Content_Length="3") + b"abc")
        await wait_all_tasks_blocked()
        await stream.aclose()
        await trio.sleep(2)
    assert failures == ["The client left."]


async def test_a_client_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    application = Application(start(), *[body(b"x" * 1000, more=True)] * 100)
    async with open_app(app_before(application)) as served:
        stream = served.open_stream()
        served.narrows[-1].room = 5000
        await stream.send_all(request("GET", "/"))
        await trio.sleep(40)
        assert str(application.failure) == "The client took nothing of its answer for 30 s."


async def test_it_answers_behind_another_server_too(autojump_clock: MockClock) -> None:
    application = Application(start(), body(b"theirs"))
    app = app_before(application)
    async with app.running():
        assert (await ask(app.asgi(), "GET", "/page")).body == b"theirs"
        assert (await ask(app.asgi(), "GET", "/health")).body == b"ours"


# ---- its lifespan


class Living:
    """An application with a lifespan, which may fail, or take long."""

    def __init__(self, events: list[str], *, fails: str = "", crashes: str = "", takes: float = 0) -> None:
        self.events = events
        self.fails = fails
        self.crashes = crashes
        self.takes = takes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(start())
            await send(body(scope["state"]["name"]))
            return
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            scope["state"]["name"] = b"theirs"
            self.events.append(f"inner {step}")
            if step == "shutdown":
                await trio.sleep(self.takes)
            if step == self.crashes:
                raise ZeroDivisionError
            how = "failed" if step == self.fails else "complete"
            await send({"type": f"lifespan.{step}.{how}", "message": "no luck"})


def living_app(inner: Living) -> HubApp:
    @asynccontextmanager
    async def lifespan(_: HubApp) -> AsyncGenerator[str]:
        inner.events.append("outer startup")
        yield "state"
        inner.events.append("outer shutdown")

    return HubApp(lifespan=lifespan, fallback=inner)


async def test_its_lifespan_is_within_ours(autojump_clock: MockClock) -> None:
    events: list[str] = []
    app = living_app(Living(events))
    async with open_app(app) as served:
        assert app.state == "state"
        assert (await served.ask("GET", "/")).body == b"theirs"
        assert events == ["outer startup", "inner startup"]
    assert events[2:] == ["inner shutdown", "outer shutdown"]


@pytest.mark.parametrize("step", ["startup", "shutdown"])
async def test_a_lifespan_that_fails_ends_the_serving(step: str, autojump_clock: MockClock) -> None:
    events: list[str] = []
    with pytest.raises(RuntimeError, match=f"the fallback application's {step} failed: no luck"):
        async with living_app(Living(events, fails=step)).running():
            assert step == "shutdown"
    assert events[-1] != "inner startup" or step == "startup"


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("startup", "the fallback application has no lifespan: "),
        ("shutdown", "the fallback application's lifespan failed"),
    ],
)
async def test_a_lifespan_that_crashes_is_logged(
    step: str, line: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    with caplog.at_level(logging.INFO, "trio_hubs"):
        async with living_app(Living([], crashes=step)).running():
            pass
    assert caplog.messages == [line]


async def test_a_shutdown_has_its_time(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    with trio.move_on_after(5):
        async with living_app(Living([], takes=100)).running():
            await trio.sleep_forever()
    assert trio.current_time() == 15
    assert caplog.messages == [
        "the lifespan was cancelled, as it ran 10 s after its yield: have it end its tasks"
    ]


# ---- real frameworks


async def test_fastapi_behind_hubs() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, str]]:
        events.append("begins")
        yield {"name": "Ann"}
        events.append("ends")

    site = FastAPI(lifespan=lifespan)
    site.add_middleware(GZipMiddleware, minimum_size=100)

    @site.get("/items/{number}")
    def item(number: int, request: StarletteRequest) -> dict[str, Any]:
        return {"number": number, "name": request.state.name, "url": str(request.url)}

    @site.post("/upload")
    async def upload(request: StarletteRequest) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            async for part in request.stream():
                yield part.upper()

        return StreamingResponse(parts(), media_type="text/plain")

    async with trio.open_nursery() as nursery, httpx2.AsyncClient() as http:
        app = app_before(site)
        address = await nursery.start(app.serve, "127.0.0.1", 0)
        answer = await http.get(f"{address}/items/7")
        assert answer.json() == {"number": 7, "name": "Ann", "url": f"{address}/items/7"}
        assert (await http.get(f"{address}/items/x")).status_code == 422
        assert (await http.post(f"{address}/upload", content=b"abc" * 100_000)).text == "ABC" * 100_000
        assert (await http.get(f"{address}/openapi.json")).json()["info"]["title"] == "FastAPI"
        assert (await http.get(f"{address}/nothing")).json() == {"detail": "Not Found"}
        async with open_hub_connection(f"{address}/hub") as connection:
            assert await connection.invoke("Add", 1, 2) == 3
        assert events == ["begins"]
        nursery.cancel_scope.cancel()
    assert events == ["begins", "ends"]


class Count:
    """Lines without end."""

    def __init__(self) -> None:
        self.number = 0

    def __aiter__(self) -> "Count":
        return self

    async def __anext__(self) -> str:
        await trio.sleep(0.001)
        self.number += 1
        return f"{self.number}\n"


async def test_starlette_streams_until_its_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    ended = trio.Event()
    site = Starlette(
        routes=[
            Route("/numbers", lambda _: StreamingResponse(Count())),
            Route("/elsewhere", lambda _: RedirectResponse("/numbers")),
            Route("/empty", lambda _: PlainTextResponse(status_code=204)),
        ]
    )

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await site(scope, receive, send)
        finally:
            if scope.get("path") == "/numbers":
                ended.set()

    async with trio.open_nursery() as nursery, httpx2.AsyncClient() as http:
        address = await nursery.start(app_before(watched).serve, "127.0.0.1", 0)
        assert (await http.get(f"{address}/elsewhere")).headers["location"] == "/numbers"
        assert (await http.get(f"{address}/empty")).status_code == 204
        stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
        await stream.send_all(request("GET", "/numbers"))
        received = b""
        while b"3\n" not in received:
            received += await stream.receive_some()
        await stream.aclose()
        with trio.fail_after(20):
            await ended.wait()
        nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
