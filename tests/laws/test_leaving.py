"""Law 5: whoever wants to leave (Ctrl-C, `sys.exit`, a test that fails) comes out of every block of ours alone."""

import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.connections.server.http_peer import request, upgrade
from tests.hub_peer import no_task_left, open_raw_server
from tests.messages import call, stream
from tests.server.app_peer import TRANSPORTS, hub_app, open_app, visit
from trio_hubs import (
    ChannelReader,
    Connection,
    Hub,
    HubApp,
    HubFilter,
    Request,
    Response,
    open_hub_connection,
)
from trio_hubs.client import link

LEAVING = [KeyboardInterrupt, SystemExit, pytest.fail.Exception]
each_kind = pytest.mark.parametrize("kind", LEAVING)


# ---- our client


@each_kind
@pytest.mark.parametrize("siblings", [False, True])
async def test_out_of_the_body_of_a_connection(
    autojump_clock: MockClock, kind: type[BaseException], siblings: bool
) -> None:
    leaving = kind("now")
    with no_task_left(), pytest.raises(kind) as caught:
        async with open_raw_server() as (connection, server):
            if siblings:
                await server.send(call("Slow"))
                connection.on("Slow", trio.sleep_forever)
                await wait_all_tasks_blocked()
            raise leaving
    assert caught.value is leaving


@each_kind
@pytest.mark.parametrize("uploads", [0, 1])
async def test_out_of_the_body_of_a_stream(
    autojump_clock: MockClock, kind: type[BaseException], uploads: int
) -> None:
    async def forever() -> AsyncIterator[int]:
        await trio.sleep_forever()
        yield 0

    leaving = kind("now")
    with no_task_left(), pytest.raises(kind) as caught:
        async with (
            open_raw_server() as (connection, _),
            connection.stream("Count", *[forever() for _ in range(uploads)]),
        ):
            raise leaving
    assert caught.value is leaving


@each_kind
@pytest.mark.parametrize("pauses", [False, True])
async def test_out_of_a_handler(autojump_clock: MockClock, kind: type[BaseException], pauses: bool) -> None:
    leaving = kind("now")

    async def later() -> None:
        await trio.sleep(1)
        raise leaving

    def at_once() -> None:
        raise leaving

    with no_task_left(), pytest.raises(kind) as caught:
        async with open_raw_server(handlers={"Leave": later if pauses else at_once}) as (
            _,
            server,
        ):
            await server.send(call("Leave"))
            await trio.sleep_forever()
    assert caught.value is leaving


@each_kind
async def test_out_of_a_handler_in_the_piece_of_the_handshakes_answer(
    autojump_clock: MockClock, kind: type[BaseException]
) -> None:
    def leave() -> None:
        raise kind("now")

    answer = b'{}\x1e{"type":1,"target":"Leave","arguments":[]}\x1e'
    with no_task_left(), pytest.raises(kind):
        async with open_raw_server(answer=answer, handlers={"Leave": leave}):
            await trio.sleep_forever()


@each_kind
async def test_out_of_a_connection_that_is_still_opening(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    async def opened(_: object) -> None:
        raise kind("now")

    monkeypatch.setattr(link._Life, "opened", opened)
    with no_task_left(), pytest.raises(kind):
        async with open_raw_server():
            await trio.sleep_forever()


@each_kind
@pytest.mark.parametrize("way", ["invoke", "send", "stream"])
async def test_out_of_an_upload(autojump_clock: MockClock, kind: type[BaseException], way: str) -> None:
    leaving = kind("now")

    async def items() -> AsyncIterator[int]:
        yield 1
        raise leaving

    with no_task_left(), pytest.raises(kind) as caught:
        async with open_raw_server() as (connection, _):
            if way == "stream":
                async with connection.stream("Take", items()):
                    await trio.sleep_forever()
            await (connection.invoke if way == "invoke" else connection.send)("Take", items())
            await trio.sleep_forever()
    assert caught.value is leaving


async def test_a_group_of_the_users_own_stays_one(autojump_clock: MockClock) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with (
            open_raw_server() as (connection, _),
            connection.stream("Count"),
            trio.open_nursery(),
        ):
            raise KeyboardInterrupt
    assert [type(error) for error in caught.value.exceptions] == [KeyboardInterrupt]


@each_kind
@pytest.mark.parametrize("negotiates", [False, True])
async def test_out_of_connecting(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], negotiates: bool
) -> None:
    async def connect(*_: object, **__: object) -> Any:
        async with trio.open_nursery(), trio.open_nursery():  # as those who connect have them
            raise kind("now")

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    monkeypatch.setattr(httpx2.AsyncClient, "post", connect)
    with no_task_left(), pytest.raises(kind):
        async with open_hub_connection("http://127.0.0.1:1/hub", skip_negotiation=not negotiates):
            raise AssertionError


# ---- our server


class Leaver(Hub):
    """Leaves, in every way there is."""

    kind: type[BaseException] = KeyboardInterrupt

    def _leave(self) -> Any:
        raise self.kind("now")

    async def _leave_later(self) -> None:
        await trio.sleep(1)
        self._leave()

    async def on_connected(self) -> None:
        if "connecting" in self.context.request.query:
            self._leave()

    async def on_disconnected(self, error: Exception | None) -> None:
        if "disconnecting" in self.context.request.query:
            self._leave()

    def inline(self) -> None:
        self._leave()

    def inline_child(self) -> None:
        self.start_soon(self._leave_later)

    async def later(self) -> None:
        await self._leave_later()

    async def in_a_nursery_of_its_own(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(self._leave_later)

    async def with_child(self) -> None:
        self.start_soon(self._leave_later)
        await trio.sleep_forever()

    async def take(self, items: ChannelReader[int]) -> None:
        async for _ in items:
            self._leave()

    async def count(self) -> AsyncIterator[int]:
        yield 1
        self._leave()


def left_alone(caught: pytest.ExceptionInfo[BaseExceptionGroup[Any]], kind: type[BaseException]) -> bool:
    """Whether what came out of `serve`, into the one nursery of the test's own, was bare."""
    return [type(error) for error in caught.value.exceptions] == [kind]


@each_kind
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "message",
    [
        call("inline", id="1"),
        call("inline_child"),
        call("later", id="1"),
        call("in_a_nursery_of_its_own", id="1"),
        call("with_child", id="1"),
        call("take", id="1", uploads=("u",)),
        stream("count"),
    ],
    ids=lambda message: str(message["target"]),
)
async def test_out_of_a_hubs_method(
    autojump_clock: MockClock, transport: str, message: Any, kind: type[BaseException]
) -> None:
    app = hub_app(type("Leaver", (Leaver,), {"kind": kind}))
    with no_task_left(), pytest.raises(BaseExceptionGroup) as caught:
        async with open_app(app) as served:
            client = await visit(served, "/hub", transport)
            await client.send(message, {"type": 2, "invocationId": "u", "item": 1})
            await trio.sleep_forever()
    assert left_alone(caught, kind)


@each_kind
@pytest.mark.parametrize("hook", ["connecting", "disconnecting"])
async def test_out_of_a_hook(autojump_clock: MockClock, hook: str, kind: type[BaseException]) -> None:
    app = hub_app(type("Leaver", (Leaver,), {"kind": kind}))
    with no_task_left(), pytest.raises(BaseExceptionGroup) as caught:
        async with open_app(app) as served:
            client = await visit(served, f"/hub?{hook}=1")
            client.leave()
            await trio.sleep_forever()
    assert left_alone(caught, kind)


@each_kind
@pytest.mark.parametrize("what", ["route", "raw", "authenticate"])
async def test_out_of_what_answers_a_request(
    autojump_clock: MockClock, what: str, kind: type[BaseException]
) -> None:
    def leave(_: Request) -> Response:
        raise kind("now")

    async def leave_raw(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.receive)
            raise kind("now")

    app = HubApp(authenticate=leave if what == "authenticate" else None)  # type: ignore[arg-type]
    app.add_route("/route", leave)
    app.add_connection_handler("/raw", leave_raw)
    app.add_hub("/authenticate", Leaver)
    with no_task_left(), pytest.raises(BaseExceptionGroup) as caught:
        async with open_app(app) as served:
            stream = served.open_stream()
            await stream.send_all(request("GET", "/route") if what == "route" else upgrade(f"/{what}"))
            await trio.sleep_forever()
    assert left_alone(caught, kind)


@each_kind
async def test_out_of_a_filter(autojump_clock: MockClock, kind: type[BaseException]) -> None:
    class Leaving(HubFilter):
        async def invoke(self, context: Any, next: Any) -> Any:
            raise kind("now")

    app = HubApp()
    app.add_hub("/hub", Leaver, filters=[Leaving()])
    with no_task_left(), pytest.raises(BaseExceptionGroup) as caught:
        async with open_app(app) as served:
            client = await visit(served, "/hub")
            await client.send(call("inline", id="1"))
            await trio.sleep_forever()
    assert left_alone(caught, kind)


# ---- Ctrl-C itself


class Interrupt(trio.abc.Instrument):
    """Sends a real SIGINT the first time that everybody waits."""

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            trio.lowlevel.remove_instrument(self)
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_serve_with_a_keyboard_interrupt_alone() -> None:
    app = HubApp()
    app.add_hub("/hub", Leaver)
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(app.serve, "127.0.0.1", 0, instruments=[Interrupt()])
    assert caught.value.__cause__ is None
