"""The app: hubs and routes at their paths, the sockets on which it listens, and how it ends."""

import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, no_task_left
from trio_hubs import (
    ConnectionClosed,
    FileResponse,
    Hub,
    HubApp,
    HubOptions,
    Request,
    Response,
    StreamedResponse,
    TrustedProxies,
    User,
    authorize,
    open_hub_connection,
)
from trio_hubs.testing import open_test_http

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbX5U2IwyjMcs3Yce
328Dvu5QEmSIq3rujpFSlk0eK2uhRANCAAQ90v7x50ijwKsO1MyncRqZtRh7Cssi
BfKwSR5aZ4pgEZABfasQlzTAxbsAgQIThba/cFQWIWw5OritJf94/uk/
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUEEOB7uaagqshzTvJpzT1PEOH03wwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjIzNTAxNVoYDzIxMjYxMDI5
MjM1MDE1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ90v7x50ijwKsO1MyncRqZtRh7CssiBfKwSR5aZ4pgEZABfasQlzTA
xbsAgQIThba/cFQWIWw5OritJf94/uk/o28wbTAdBgNVHQ4EFgQUYG9ItvGfa4St
tQdYvxHulRW1x/owHwYDVR0jBBgwFoAUYG9ItvGfa4SttQdYvxHulRW1x/owDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSAAwRQIhAMqwcoHWNP/a3Mww7BO862JP6CBjiCdIhuDmUfmZ6fNVAiBd
wBY+dSuoZMSTBH6LtNLCSxdfzrhgrqi4nO9t3Ga5Og==
-----END CERTIFICATE-----
"""
"""For 127.0.0.1 and localhost, good for a hundred years; a test's secret is none."""


class Sample(Hub):
    """What is served here."""

    def __init__(self, events: list[str] | None = None) -> None:
        self.events = [] if events is None else events

    def add(self, a: int, b: int) -> int:
        return a + b

    async def count(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            self.events.append("stream ended")

    async def wait(self) -> None:
        await self.clients.caller.send("Waiting")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            self.events.append("method ended")

    async def on_disconnected(self, error: Exception | None) -> None:
        self.events.append("disconnected")


def whole_app() -> HubApp:
    app = HubApp()
    app.add_hub("/sample", Sample)

    async def later(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(f"later {request.path}", status=202, headers={"X-Odd": "yes"})

    def failing(request: Request) -> Response:
        raise ValueError("secret")

    app.add_route("/", lambda _: Response("<p>hello", content_type="text/html"))
    app.add_route("/later", later)
    app.add_route("/failing", failing)
    app.add_route("/echo", lambda request: Response(request.body, status=201), methods=["POST"])
    return app


async def test_hubs_and_routes_are_at_their_paths() -> None:
    async with open_test_http(whole_app()) as http:
        root = await http.get("/")
        assert (root.status_code, root.text, root.headers["Content-Type"]) == (
            200,
            "<p>hello",
            "text/html",
        )
        later = await http.get("/later?q=1")
        assert (later.status_code, later.text, later.headers["X-Odd"]) == (202, "later /later", "yes")
        echo = await http.post("/echo", content=b"\x00body")
        assert (echo.status_code, echo.content) == (201, b"\x00body")
        assert (await http.get("/nowhere")).status_code == 404
        assert (await http.get("/sample")).status_code == 400
        assert (await http.post("/sample/negotiate")).json()["availableTransports"] != []


async def test_routes_have_methods_parameters_and_a_gate(caplog: pytest.LogCaptureFixture) -> None:
    app = HubApp(
        authenticate=lambda request: User(request.bearer_token) if request.bearer_token else None,
        options=HubOptions(allowed_origins=["https://there.example"]),
    )

    def show(request: Request, room: str, number: int) -> Response:
        return Response(f"{room} {number} {request.client} {request.scheme} {request.raw_query}")

    @authorize
    async def post(request: Request, room: str, number: int) -> Response:
        assert request.user is not None
        return Response.json({room: number, "by": request.user.id, "said": request.json()}, status=201)

    app.add_route("/rooms/{room}/{number}", show)
    app.add_route("/rooms/{room}/{number}", post, methods=["POST"], maximum_body_size=100_000)
    app.add_route(
        "/admin", lambda _: Response(), authorize=lambda user: user.id == "root", allowed_origins=["null"]
    )
    ann = {"Authorization": "Bearer ann"}
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        async with httpx2.AsyncClient(base_url=address) as http:
            assert (await http.get("/rooms/a%2Fb/7?q=1&q=2")).text == "a/b 7 127.0.0.1 http q=1&q=2"
            assert (await http.get("/rooms/a/x")).status_code == 404
            assert (await http.head("/rooms/a/7")).status_code == 200
            refused = await http.delete("/rooms/a/7")
            assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")
            assert (await http.post("/rooms/a/7", json="hi")).status_code == 401
            posted = await http.post("/rooms/a/7", json="x" * 90_000, headers=ann)
            assert (posted.status_code, posted.json()["by"]) == (201, "ann")
            assert (await http.post("/rooms/a/7", content="{", headers=ann)).status_code == 400
            assert (await http.post("/rooms/a/7", json="x" * 100_000, headers=ann)).status_code == 413
            assert (await http.get("/admin", headers=ann)).status_code == 403
            there, null = {"Origin": "https://there.example"}, {"Origin": "null"}
            for origin, path, status in (
                (there, "/rooms/a/7", 200),
                (null, "/rooms/a/7", 403),
                (null, "/admin", 401),
            ):
                assert (await http.get(path, headers=origin)).status_code == status
            assert (await http.get("/admin", headers=there)).status_code == 403
        nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_a_route_cannot_be() -> None:
    app = whole_app()
    for path in ("/{", "/}", "/chat?room=1", "/{room:int}"):
        with pytest.raises(ValueError, match=r"a parameter is a whole segment|a path has no query"):
            app.add_route(path, lambda _: Response())
    app.add_route("/later", lambda _: Response(), methods=["POST"])
    for path in ("/later", "/sample", "/sample/negotiate"):
        with pytest.raises(ValueError, match=f"there is something at '{path}' already"):
            app.add_route(path, lambda _: Response())
    with pytest.raises(TypeError, match="authorize is True, or a policy"):
        app.add_route("/x", lambda _: Response(), authorize="admin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is no origin"):
        app.add_route("/x", lambda _: Response(), allowed_origins=["*"])


async def test_a_trusted_proxy_says_who_asks(nursery: trio.Nursery) -> None:
    def tell(request: Request) -> Response:
        return Response(f"{request.client} {request.scheme} {request.host}")

    said = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "example.org",
    }
    for proxies, answer in (
        (TrustedProxies("127.0.0.1", host=True), "198.51.100.7 https example.org"),
        (TrustedProxies("10.0.0.0/8"), "127.0.0.1 http 127.0.0.1"),
        (None, "127.0.0.1 http 127.0.0.1"),
    ):
        app = HubApp(trusted_proxies=proxies)
        app.add_hub("/sample", Sample)
        app.add_route("/", tell)
        address: str = await nursery.start(app.serve, "127.0.0.1", 0)
        port = address.rpartition(":")[2]
        async with httpx2.AsyncClient(base_url=address, headers=said) as http:
            assert (await http.get("/")).text.replace(f":{port}", "") == answer
            # So the server's own pages are those of the name and the scheme that its clients know.
            for origin in ("https://example.org", address):
                negotiated = await http.post("/sample/negotiate", headers={"Origin": origin})
                own = origin == ("https://example.org" if "example" in answer else address)
                assert negotiated.status_code == (200 if own else 403)


def test_trusted_proxies_are_some() -> None:
    with pytest.raises(TypeError, match="trusted_proxies must be TrustedProxies, not list"):
        HubApp(trusted_proxies=["10.0.0.0/8"])  # type: ignore[arg-type]


async def test_a_folder_is_served_beside_hubs_and_routes(nursery: trio.Nursery, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "sample").write_text("shadowed")
    app = HubApp(authenticate=lambda request: User(request.bearer_token) if request.bearer_token else None)
    app.add_hub("/sample", Sample)
    app.add_route("/later", lambda _: FileResponse(tmp_path / "index.html", content_type="text/x"))
    app.add_static("/", tmp_path, headers={"Cache-Control": "no-cache"})
    app.add_static("/private", str(tmp_path), authorize=True, allowed_origins=["null"])
    address: str = await nursery.start(app.serve, "127.0.0.1", 0)
    async with httpx2.AsyncClient(base_url=address, follow_redirects=True) as http:
        root = await http.get("/")
        assert (root.text, root.headers["Cache-Control"]) == ("index", "no-cache")
        assert (await http.get("/", headers={"If-None-Match": root.headers["ETag"]})).status_code == 304
        assert (await http.get("/later")).headers["Content-Type"] == "text/x"
        assert (await http.get("/sample")).status_code == 400  # the hub's answer
        assert (await http.post("/")).status_code == 405
        for path, there in (("/", {}), ("/private/", {"Authorization": "Bearer ann", "Origin": "null"})):
            assert (await http.get(f"{path}docs")).status_code in (404, 401)
            assert (await http.get(path, headers=there)).text == "index"
        assert (await http.get("/private")).status_code == 401
        redirected = await http.get("/private", headers={"Authorization": "Bearer ann"})
        assert (redirected.text, str(redirected.url)) == ("index", f"{address}/private/")
    with pytest.raises(ValueError, match="there is no folder"):
        HubApp().add_static("/", tmp_path / "missing")


async def test_an_answer_is_streamed_while_it_is_made(nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def count(request: Request) -> StreamedResponse:
        async def numbers() -> AsyncIterator[str]:
            try:
                for number in range(3):
                    yield f"{number}\n"
                await trio.sleep_forever()
            finally:
                ended.set()

        return StreamedResponse(numbers())

    app = HubApp()
    app.add_route("/", count)
    address: str = await nursery.start(app.serve, "127.0.0.1", 0)
    async with await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2])) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while not received.endswith(b"\r\n2\n\r\n"):
            received += await stream.receive_some()
        assert not ended.is_set()
    with trio.fail_after(5):
        await ended.wait()


async def test_a_route_that_fails_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_http(whole_app()) as http:
        failed = await http.get("/failing")
        assert failed.status_code == 500
        assert "secret" not in failed.text
        assert (await http.get("/")).status_code == 200
    assert "ValueError: secret" in caplog.text


async def test_the_started_value_is_the_address_really_bound(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(HubApp().serve, "127.0.0.1", 0)
        host, _, port = address.removeprefix("http://").partition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        (await trio.open_tcp_stream(host, int(port))).socket.close()
        nursery.cancel_scope.cancel()
    assert f"listening on {address}" in caplog.text


class ListenerOfIPv6(trio.abc.Listener[trio.SocketStream]):
    """Listens at an address that this machine need not have."""

    socket = SimpleNamespace(getsockname=lambda: ("::1", 5000, 0, 0))

    async def accept(self) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_an_ipv6_address_is_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_listeners(port: int, *, host: str) -> list[ListenerOfIPv6]:
        assert (port, host) == (5000, "::1")
        return [ListenerOfIPv6()]

    monkeypatch.setattr(trio, "open_tcp_listeners", open_listeners)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(HubApp().serve, "::1", 5000) == "http://[::1]:5000"
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(HubApp().serve, "127.0.0.1", 0)
        with pytest.raises(OSError, match="in use"):
            await HubApp().serve("127.0.0.1", int(address.rpartition(":")[2]))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_https_and_wss_are_served(protocol: Any, tmp_path: Path) -> None:
    file = tmp_path / "localhost.pem"
    file.write_text(CERTIFICATE)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=file)
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(_serve_with(server), "127.0.0.1", 0)
        assert address.startswith("https://127.0.0.1:")
        async with open_hub_connection(
            f"{address}/sample", protocol=protocol, ssl_context=client
        ) as connection:
            assert await connection.invoke("Add", 1, 2) == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [True, False])
async def test_the_servers_own_pages_have_its_own_scheme(tls: bool, tmp_path: Path) -> None:
    file = tmp_path / "localhost.pem"
    file.write_text(CERTIFICATE)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=file)
    async with trio.open_nursery() as nursery, httpx2.AsyncClient(verify=client) as http:
        address: str = await nursery.start(_serve_with(server) if tls else whole_app().serve, "127.0.0.1", 0)
        name = address.partition("://")[2]
        for scheme, status in (("https", 200), ("http", 403 if tls else 200)):
            answer = await http.post(f"{address}/sample/negotiate", headers={"Origin": f"{scheme}://{name}"})
            assert answer.status_code == status
        nursery.cancel_scope.cancel()


async def test_an_app_is_served_at_several_places_at_once(tmp_path: Path) -> None:
    file = tmp_path / "localhost.pem"
    file.write_text(CERTIFICATE)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=file)
    app = whole_app()
    app.add_route("/scheme", lambda request: Response(request.scheme))
    path = tmp_path / "app.sock"
    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    encrypted = await trio.open_ssl_over_tcp_listeners(0, server, host="127.0.0.1")
    async with trio.open_nursery() as nursery, httpx2.AsyncClient(verify=client) as http:
        address = await nursery.start(partial(app.serve, uds=path, listeners=[*plain, *encrypted]))
        assert address == f"unix:{path}" == app.addresses[0]
        for scheme, place in zip(("http", "https"), app.addresses[1:], strict=True):
            assert place.startswith(f"{scheme}://127.0.0.1:")
            assert (await http.get(f"{place}/scheme")).text == scheme
            async with open_hub_connection(f"{place}/sample", ssl_context=client) as connection:
                assert await connection.invoke("Add", 1, 2) == 3
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path))) as local:
            assert (await local.get("http://anything/scheme")).text == "http"
        nursery.cancel_scope.cancel()
    assert app.addresses == ()
    assert not path.exists()


async def test_an_app_is_served_somewhere() -> None:
    with pytest.raises(ValueError, match="there is nowhere to listen"):
        await HubApp().serve()


def _serve_with(context: ssl.SSLContext) -> Any:
    async def serve(host: str, port: int, *, task_status: trio.TaskStatus[str]) -> None:
        await whole_app().serve(host, port, ssl_context=context, task_status=task_status)

    return serve


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_cancelling_serve_ends_everything_in_order(protocol: Any) -> None:
    events: list[str] = []
    app = HubApp()
    app.add_hub(
        "/sample", Sample, factory=lambda: Sample(events), options=HubOptions(maximum_parallel_invocations=2)
    )
    closed: list[str] = []
    with no_task_left():
        async with trio.open_nursery() as nursery:
            serving = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with serving:
                    await app.serve("127.0.0.1", 0, task_status=task_status)
                events.append("serve returned")

            address: str = await nursery.start(serve)
            waits = trio.Event()
            async with (
                open_hub_connection(
                    f"{address}/sample", protocol=protocol, handlers={"Waiting": waits.set}
                ) as connection,
                connection.stream("Count") as reader,
            ):
                assert await reader.read() == 1
                async with trio.open_nursery() as waiting:

                    async def wait() -> None:
                        with pytest.raises(ConnectionClosed) as caught:
                            await connection.invoke("Wait")
                        closed.append(str(caught.value))

                    waiting.start_soon(wait)
                    await waits.wait()
                    serving.cancel()
                with pytest.raises(ConnectionClosed):
                    await reader.read()
    assert closed == ["The server closed the connection."]
    assert set(events) == {"stream ended", "method ended", "disconnected", "serve returned"}
    assert events[-2:] == ["disconnected", "serve returned"]
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))


async def test_so_many_clients_may_negotiate_as_was_chosen(autojump_clock: MockClock) -> None:
    app = HubApp()
    app.add_hub("/sample", Sample, options=HubOptions(maximum_negotiated=2, disconnect_timeout=3.0))
    request, route = app.site.router.find(Request(method="POST", path="/sample/negotiate"))
    assert route is not None
    negotiate = route.answer

    async def status() -> int:
        response = await negotiate(request)
        assert isinstance(response, Response)
        return response.status

    assert [await status() for _ in range(3)] == [200, 200, 503]
    await trio.sleep(3.1)
    assert await status() == 200


async def test_an_app_is_whole_before_it_is_served() -> None:
    app = whole_app()
    async with trio.open_nursery() as nursery:
        await nursery.start(app.serve, "127.0.0.1", 0)
        with pytest.raises(RuntimeError, match="before the app is served"):
            app.add_hub("/late", Sample)
        with pytest.raises(RuntimeError, match="being served already"):
            await app.serve("127.0.0.1", 0)
        nursery.cancel_scope.cancel()
    app.add_hub("/late", Sample)


async def test_a_start_that_is_cancelled_ends() -> None:
    with no_task_left(), trio.fail_after(5):
        for passes in range(12):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(whole_app().serve, "127.0.0.1", 0)
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
