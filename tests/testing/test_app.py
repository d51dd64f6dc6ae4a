"""An app and its clients without sockets: all is as over sockets, over each transport, and the network may fail."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, no_task_left
from tests.server.app_peer import PAIRS
from trio_hubs import (
    Connection,
    ConnectionClosed,
    Hub,
    HubApp,
    HubConnection,
    HubConnectionOptions,
    HubConnectionState,
    HubException,
    HubOptions,
    NegotiationError,
    Request,
    Response,
    StateChange,
    StreamedResponse,
    UploadBroken,
    User,
    authorize,
    open_connection,
    open_hub_connection,
)
from trio_hubs.testing import Network, open_test_app, open_test_client, open_test_http

ANN, BOB = User("ann"), User("bob")
both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
each_transport = pytest.mark.parametrize(("transport", "protocol"), PAIRS)


class Chat(Hub):
    """A chat, and what else a hub can do."""

    def __init__(self, ends: list[str | None]) -> None:
        self.ends = ends

    async def on_connected(self) -> None:
        if self.context.user_id == "mallory":
            raise HubException("not you")
        await self.groups.add(self.context.connection_id, "room")

    async def on_disconnected(self, error: Exception | None) -> None:
        await trio.sleep(1)
        self.ends.append(None if error is None else str(error))

    def who(self) -> tuple[str | None, str | None]:
        return self.context.user_id, self.context.connection_id

    def transport(self) -> str:
        return str(self.context.transport)

    async def say(self, text: str) -> None:
        await self.clients.group("room").send("Said", self.context.user_id, text)

    async def tell(self, user: str, text: str) -> None:
        await self.clients.user(user).send("Said", self.context.user_id, text)

    async def ask(self) -> int:
        age: int = await self.clients.caller.invoke("Age", result_type=int)
        return age

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await trio.sleep(1)

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def fail(self) -> None:
        raise ValueError("a secret")

    async def sleep(self) -> None:
        await trio.sleep_forever()

    def kick(self) -> None:
        self.context.abort()

    @authorize(lambda user: user.id == "ann")
    def is_ann(self) -> bool:
        return True


def authenticate(request: Request) -> User | None:
    return User(request.bearer_token) if request.bearer_token else None


def chat_app(ends: list[str | None] | None = None, **options: Any) -> HubApp:
    """An app with a chat, for users and for anybody."""
    app = HubApp(authenticate=authenticate, options=HubOptions(**options))
    app.add_hub("/chat", Chat, factory=lambda: Chat([] if ends is None else ends))
    app.add_hub("/members", authorize(Members))
    app.add_route(
        "/health", lambda request: Response(f"{request.method} {request.path}"), methods=("GET", "POST")
    )
    return app


class Members(Hub):
    def who(self) -> str | None:
        return self.context.user_id


def only(transport: str) -> HubConnectionOptions:
    choice: Any = [transport]
    return HubConnectionOptions(transports=choice)


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def becomes(connection: HubConnection, *states: HubConnectionState) -> list[StateChange]:
    """Wait for changes of state."""
    with trio.fail_after(1000), connection.state_changes() as changes:
        found = [await changes.read() for _ in states]
    assert [change.state for change in found] == list(states)
    return found


# ---- as over sockets


@each_transport
async def test_clients_call_and_hear_over_each_transport(
    autojump_clock: MockClock, transport: str, protocol: Any
) -> None:
    heard: list[tuple[str, str]] = []

    def hear(user: str, text: str) -> None:
        heard.append((user, text))

    handlers = {"Said": hear, "Age": lambda: 17}
    chosen: Any = {"protocol": protocol, "handlers": handlers, "options": only(transport)}
    app = chat_app()
    with no_task_left():
        async with (
            open_test_client(app, "/chat", user=ANN, **chosen) as ann,
            open_test_client(app, "/chat", user=BOB, **chosen) as bob,
        ):
            assert await ann.invoke("Who", result_type=tuple[str, str]) == ("ann", ann.connection_id)
            assert await ann.invoke("Transport") == transport
            assert await bob.invoke("Ask", result_type=int) == 17
            await ann.invoke("Say", "hi")
            await bob.invoke("Tell", "ann", "psst")
            await wait_all_tasks_blocked()
            assert sorted(heard) == [("ann", "hi"), ("ann", "hi"), ("bob", "psst")]
            async with ann.stream("Count", 3, item_type=int) as reader:
                assert [number async for number in reader] == [0, 1, 2]
            assert trio.current_time() == pytest.approx(3, abs=0.1)
            assert await bob.invoke("Total", numbers(1000), result_type=int) == 499_500


async def test_all_options_are_those_of_a_connection(autojump_clock: MockClock) -> None:
    app = chat_app()
    async with open_test_client(app, "/chat?room=1", skip_negotiation=True, access_token="ann") as connection:
        assert connection.connection_id is None
        assert (await connection.invoke("Who"))[0] == "ann"


@pytest.mark.parametrize(
    ("token", "user", "known"), [("bob", None, "bob"), ("bob", ANN, "ann"), (None, None, None)]
)
async def test_authenticate_is_asked_unless_a_user_is_given(
    autojump_clock: MockClock, token: str | None, user: User | None, known: str | None
) -> None:
    async with open_test_client(chat_app(), "/chat", user=user, access_token=token) as connection:
        assert (await connection.invoke("Who"))[0] == known


async def test_gates_let_in_whom_they_let_in(autojump_clock: MockClock) -> None:
    app = chat_app()
    with pytest.raises(NegotiationError, match="401"):
        async with open_test_client(app, "/members"):
            raise AssertionError
    async with open_test_client(app, "/members", user=ANN) as ann:
        assert await ann.invoke("Who") == "ann"
    async with open_test_client(app, "/chat", user=BOB) as bob:
        with pytest.raises(HubException, match="unauthorized"):
            await bob.invoke("IsAnn")


async def test_a_client_that_the_hub_refuses_hears_why(autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectionClosed, match="not you"):
        async with open_test_client(chat_app(), "/chat", user=User("mallory")):
            raise AssertionError


async def test_who_has_connected_is_where_the_hub_has_put_them(autojump_clock: MockClock) -> None:
    app = chat_app()
    for _ in range(10):
        async with open_test_client(app, "/chat") as connection, connection.messages("Said", str) as said:
            await app.hub(Chat).clients.group("room").send("Said", "welcome")
            with trio.fail_after(1):
                assert await said.read() == "welcome"


async def test_a_hub_may_wait_for_what_the_test_does_then(autojump_clock: MockClock) -> None:
    allowed = trio.Event()

    class Slow(Hub):
        async def on_connected(self) -> None:
            await allowed.wait()

        def hello(self) -> str:
            return "hello"

    app = HubApp()
    app.add_hub("/slow", Slow)
    async with open_test_client(app, "/slow") as connection:
        with trio.move_on_after(10) as scope:
            await connection.invoke("Hello")
        assert scope.cancelled_caught
        allowed.set()
        assert await connection.invoke("Hello") == "hello"


async def test_a_client_that_the_hub_aborts_hears_of_it(autojump_clock: MockClock) -> None:
    ends: list[str | None] = []
    async with open_test_client(chat_app(ends), "/chat", reconnect=True) as connection:
        await connection.send("Kick")
        assert str(await connection.wait_closed()) == "The server closed the connection."
        assert ends == [None]


async def test_where_there_is_no_hub_there_is_no_connection(autojump_clock: MockClock) -> None:
    with pytest.raises(NegotiationError, match="404"):
        async with open_test_client(chat_app(), "/nowhere"):
            raise AssertionError
    with pytest.raises(ValueError, match="begins with a slash, as in add_hub: '/chat'"):
        async with open_test_client(chat_app(), "chat"):
            raise AssertionError


async def test_what_a_method_raises_is_in_the_log_and_no_secret_on_the_wire(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_client(chat_app(), "/chat") as connection:
        with pytest.raises(HubException) as caught:
            await connection.invoke("Fail")
    assert "secret" not in str(caught.value)
    assert "ValueError: a secret" in caplog.text


async def test_a_stream_that_nobody_reads_is_held_back(autojump_clock: MockClock) -> None:
    made = 0

    class Endless(Hub):
        async def flood(self) -> AsyncIterator[str]:
            nonlocal made
            while True:
                made += 1
                yield "x" * 1000

    app = HubApp()
    app.add_hub("/endless", Endless)
    async with (
        open_test_client(app, "/endless") as connection,
        connection.stream("Flood", item_type=str) as reader,
    ):
        await wait_all_tasks_blocked()
        before = made
        await trio.sleep(10)
        assert made == before < 200
        for _ in range(before):
            await reader.read()
        await wait_all_tasks_blocked()
        assert made > before


async def test_an_answer_that_never_comes_is_waited_for_in_virtual_time(autojump_clock: MockClock) -> None:
    async with open_test_client(chat_app(), "/chat") as connection:
        with pytest.raises(trio.TooSlowError), trio.fail_after(300):
            await connection.invoke("Sleep")
    assert trio.current_time() >= 300


# ---- plain HTTP, and connections without a hub


async def test_routes_are_asked_by_an_http_client(autojump_clock: MockClock) -> None:
    app = chat_app()
    async with open_test_http(app) as http:
        answer = await http.get("/health?deep=1")
        assert (answer.status_code, answer.text) == (200, "GET /health")
        assert (await http.post("http://test/health", json={})).text == "POST /health"
        assert (await http.get("/nowhere")).status_code == 404


async def test_a_streamed_answer_waits_for_its_client_and_ends_when_it_leaves(
    autojump_clock: MockClock,
) -> None:
    made, ended = 0, trio.Event()

    async def endless() -> AsyncIterator[str]:
        nonlocal made
        try:
            while True:
                made += 1
                yield "x" * 10_000
        finally:
            ended.set()

    app = HubApp()
    app.add_route("/log", lambda _: StreamedResponse(endless()))
    async with open_test_http(app) as http:
        async with http.stream("GET", "/log") as answer:
            assert answer.status_code == 200
            await wait_all_tasks_blocked()
            assert 5 < made < 20
        with trio.fail_after(1):
            await ended.wait()


async def test_a_route_lets_in_whom_it_lets_in(autojump_clock: MockClock) -> None:
    def greet(request: Request) -> Response:
        assert request.user is not None
        return Response(f"hello {request.user.id}")

    app = HubApp(authenticate=authenticate)
    app.add_route("/greet", greet, authorize=True)
    async with open_test_http(app) as http, open_test_http(app, user=BOB) as bob:
        assert (await http.get("/greet")).status_code == 401
        assert (await http.get("/greet", headers={"Authorization": "Bearer ann"})).text == "hello ann"
        assert (await bob.get("/greet")).text == "hello bob"


async def test_routes_and_hubs_are_of_one_app(autojump_clock: MockClock) -> None:
    app = HubApp()
    heard: list[str] = []
    app.add_hub("/chat", Chat, factory=lambda: Chat([]))

    async def publish(request: Request) -> Response:
        await app.hub(Chat).clients.all.send("News", request.body.decode())
        return Response()

    app.add_route("/publish", publish, methods=("POST",))
    async with (
        open_test_client(app, "/chat", handlers={"News": heard.append}),
        open_test_http(app) as http,
    ):
        await http.post("/publish", content="hello")
        await wait_all_tasks_blocked()
        assert heard == ["hello"]


async def test_an_http_client_serves_any_connection(autojump_clock: MockClock) -> None:
    async def echo(connection: Connection) -> None:
        assert connection.user == ANN
        while data := await connection.receive():
            await connection.send(data)

    app = chat_app()
    app.add_connection_handler("/echo", echo)
    async with open_test_http(app, user=ANN) as http:
        async with open_connection("http://test/echo", http_client=http) as connection:
            await connection.send(b"hello")
            assert await connection.receive() == b"hello"
        async with open_hub_connection("http://test/chat", http_client=http) as hub:
            assert (await hub.invoke("Who"))[0] == "ann"


async def test_a_handler_that_returns_at_once_ends_its_connection(autojump_clock: MockClock) -> None:
    async def nothing(_: Connection) -> None:
        await trio.lowlevel.checkpoint()

    app = HubApp()
    app.add_connection_handler("/nothing", nothing)
    async with (
        open_test_http(app) as http,
        open_connection("http://test/nothing", http_client=http) as connection,
    ):
        assert await connection.receive() == b""


async def test_every_host_is_the_app_and_cookies_are_kept_as_its_scheme_wants(
    autojump_clock: MockClock,
) -> None:
    app = HubApp(authenticate=lambda request: User(request.cookies.get("name")))
    app.add_hub("/members", authorize(Members))
    app.add_route("/login", lambda _: Response(headers={"Set-Cookie": "name=ann; Secure"}))
    async with open_test_http(app) as http:
        await http.get("https://chat.example/login")
        async with open_hub_connection("https://chat.example/members", http_client=http) as connection:
            assert await connection.invoke("Who") == "ann"
        async with open_hub_connection("http://chat.example/members", http_client=http) as connection:
            assert await connection.invoke("Who") is None


async def test_the_environments_proxies_are_no_matter_here(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with open_test_client(chat_app(), "/chat") as connection:
        await connection.invoke("Who")


# ---- the app's life


def living_app(log: list[str]) -> HubApp[str]:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[str]:
        log.append("begins")
        yield "state"
        log.append("ends")

    app = HubApp(lifespan=lifespan)
    app.add_hub("/chat", Chat, factory=lambda: Chat([]))
    return app


async def test_the_first_client_runs_the_app_for_its_block_and_those_within_share_it(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    app = living_app(log)
    for _ in range(2):
        async with open_test_client(app, "/chat"):
            async with open_test_client(app, "/chat"):
                assert app.statistics().connections == 2
            assert log == ["begins"]
            assert app.state == "state"
        assert log == ["begins", "ends"]
        log.clear()


async def test_an_app_runs_for_all_clients_of_a_block(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_test_app(living_app(log)) as app:
        assert app.state == "state"
        for _ in range(2):
            async with open_test_client(app, "/chat") as connection:
                await connection.invoke("Who")
        assert log == ["begins"]
    assert log == ["begins", "ends"]


async def test_what_a_lifespan_raises_comes_out_bare(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[None]:
        raise LookupError("no database")
        yield

    app = HubApp(lifespan=lifespan)
    with pytest.raises(LookupError, match="no database"):
        async with open_test_http(app):
            raise AssertionError


async def test_the_bodys_exception_comes_out_bare(autojump_clock: MockClock) -> None:
    with no_task_left(), pytest.raises(LookupError):
        async with open_test_client(chat_app(), "/chat"):
            raise LookupError


async def test_an_app_that_is_served_already_is_not_run_again(autojump_clock: MockClock) -> None:
    app = chat_app()
    async with app.running():
        with pytest.raises(RuntimeError, match="served already"):
            async with open_test_client(app, "/chat"):
                raise AssertionError


async def test_when_a_block_ends_the_hub_has_heard_of_it(autojump_clock: MockClock) -> None:
    ends: list[str | None] = []
    async with open_test_app(chat_app(ends)) as app:
        async with open_test_client(app, "/chat"):
            pass
        assert ends == [None]
        network = Network()
        async with open_test_client(app, "/chat", network=network):
            network.stall()
        assert len(ends) == 2


async def test_the_end_of_the_app_is_told_to_clients_that_outlive_it(autojump_clock: MockClock) -> None:
    app = chat_app()
    runs, ending = trio.Event(), trio.Event()

    async def run() -> None:
        async with open_test_app(app):
            runs.set()
            await ending.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await runs.wait()
        async with open_test_client(app, "/chat", reconnect=True) as connection:
            ending.set()
            (change,) = await becomes(connection, HubConnectionState.RECONNECTING)
            assert change.reason is not None
            assert change.reason.retriable
            assert "does not run" in str(await connection.wait_closed())


# ---- a network that fails


@both_protocols
async def test_a_client_that_is_cut_comes_back(autojump_clock: MockClock, protocol: Any) -> None:
    ends: list[str | None] = []
    network = Network()
    async with open_test_client(
        chat_app(ends), "/chat", user=ANN, protocol=protocol, network=network, reconnect=True
    ) as connection:
        network.cut()
        await becomes(connection, HubConnectionState.RECONNECTING, HubConnectionState.CONNECTED)
        assert (await connection.invoke("Who"))[0] == "ann"
        await trio.sleep(2)
        assert ends == [None]


async def test_a_client_that_does_not_come_back_is_lost(autojump_clock: MockClock) -> None:
    network = Network()
    async with open_test_client(chat_app(), "/chat", network=network) as connection:
        network.cut()
        assert str(await connection.wait_closed()) == "The WebSocket closed with code 1006."
        with pytest.raises(ConnectionClosed):
            await connection.invoke("Who")


async def test_what_runs_for_a_client_that_is_cut_ends(autojump_clock: MockClock) -> None:
    ends: list[str] = []

    class Work(Hub):
        async def sleep(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ends.append("cancelled")

        async def take(self, items: AsyncIterator[int]) -> None:
            try:
                async for _ in items:
                    pass
            except UploadBroken:
                ends.append("broken")
                raise

    async def endless() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    app, network = HubApp(options=HubOptions(maximum_parallel_invocations=2)), Network()
    app.add_hub("/work", Work)
    async with open_test_client(app, "/work", network=network) as connection:
        await connection.send("Sleep")
        await connection.send("Take", endless())
        await wait_all_tasks_blocked()
        network.cut()
        await connection.wait_closed()
    assert sorted(ends) == ["broken", "cancelled"]


async def test_only_the_clients_of_a_network_are_cut(autojump_clock: MockClock) -> None:
    app, network = chat_app(), Network()
    async with (
        open_test_client(app, "/chat", network=network) as one,
        open_test_client(app, "/chat", network=network) as other,
        open_test_client(app, "/chat") as third,
    ):
        network.cut()
        for lost in (one, other):
            await lost.wait_closed()
        await third.invoke("Who")


async def test_a_client_tries_again_until_the_network_is_up(autojump_clock: MockClock) -> None:
    network = Network()
    async with open_test_client(chat_app(), "/chat", network=network, reconnect=lambda *_: 5.0) as connection:
        network.down()
        await becomes(connection, HubConnectionState.RECONNECTING)
        await trio.sleep(60)
        assert connection.state is HubConnectionState.RECONNECTING
        network.up()
        await connection.invoke("Who", wait_for_ready=True)
        assert trio.current_time() < 70


async def test_nothing_is_lost_in_a_short_stall(autojump_clock: MockClock) -> None:
    network = Network()
    async with open_test_client(chat_app(), "/chat", network=network) as connection:
        network.stall()
        with trio.move_on_after(10) as scope:
            await connection.invoke("Who")
        assert scope.cancelled_caught
        network.resume()
        await connection.invoke("Who")


async def test_silence_ends_a_stalled_connection_for_both_sides(autojump_clock: MockClock) -> None:
    ends: list[str | None] = []
    network = Network()
    async with open_test_client(chat_app(ends), "/chat", network=network) as connection:
        await connection.invoke("Who")
        network.stall()
        assert "Server timeout" in str(await connection.wait_closed())
        await trio.sleep(10)
        (end,) = ends
        assert end is not None
        assert "ClientTimeoutInterval" in end


async def test_a_client_that_takes_nothing_is_too_slow(autojump_clock: MockClock) -> None:
    ends: list[str | None] = []
    network = Network()
    app = chat_app(ends, client_timeout=1000.0)
    async with (
        open_test_client(app, "/chat", network=network, user=BOB),
        open_test_client(app, "/chat", user=ANN) as ann,
    ):
        network.stall()
        for _ in range(20):
            await ann.invoke("Say", "x" * 20_000)
        await trio.sleep(20)
        assert app.statistics().slow_clients == 1


async def test_with_stateful_reconnect_a_cut_loses_nothing(autojump_clock: MockClock) -> None:
    network = Network()
    async with open_test_client(
        chat_app(stateful_reconnect=True),
        "/chat",
        network=network,
        options=HubConnectionOptions(stateful_reconnect=True),
    ) as connection:
        id = connection.connection_id
        async with connection.stream("Count", 10, item_type=int) as reader:
            assert await reader.read() == 0
            network.cut()
            assert [number async for number in reader] == list(range(1, 10))
        assert (await connection.invoke("Who"))[1] == id


@each_transport
async def test_a_cut_is_noticed_over_each_transport(
    autojump_clock: MockClock, transport: str, protocol: Any
) -> None:
    network = Network()
    async with open_test_client(
        chat_app(), "/chat", protocol=protocol, network=network, options=only(transport), reconnect=True
    ) as connection:
        for _ in range(2):
            network.cut()
            await becomes(connection, HubConnectionState.RECONNECTING, HubConnectionState.CONNECTED)
            await connection.invoke("Who")


async def test_an_http_client_hears_of_it_as_over_sockets(autojump_clock: MockClock) -> None:
    network = Network()
    async with open_test_http(chat_app(), network=network) as http:
        await http.get("/health")
        network.cut()
        await http.get("/health")  # on another connection
        network.stall()
        with pytest.raises(httpx2.ReadTimeout):
            await http.get("/health")
        network.resume()
        network.down()
        with pytest.raises(httpx2.ConnectError, match="the network is down"):
            await http.get("/health")
