"""Long polling as a client's transport."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import ConnectionClosed
from trio_hubs.connections.client.long_polling import POLL_TIMEOUT, start_long_polling
from trio_hubs.connections.client.posts import BUFFER_SIZE

from .http_answers import TARGET, Body, open_requests


class Server:
    """Answers polls with what is given, and then not at all."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self._answers = list(answers)
        self.methods: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.methods.append(request.method)
        if request.method != "GET":
            return httpx2.Response(202)
        if not self._answers:
            await trio.sleep_forever()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def said(*pieces: bytes) -> httpx2.Response:
    return httpx2.Response(200, stream=Body(pieces))


async def test_polls_bring_what_there_is_and_the_end_is_told(autojump_clock: MockClock) -> None:
    server = Server(said(), said(b"he", b"llo"), said(), said(b"!"))
    async with (
        open_requests(server) as (requests, made),
        await start_long_polling(requests, TARGET) as connection,
    ):
        assert connection.inherent_keep_alive
        got = b""
        while len(got) < 6:
            got += await connection.receive()
        assert got == b"hello!"
        await connection.send(b"")
        await connection.send(b"hi")
        with trio.move_on_after(5) as scope:
            await connection.receive()
        assert scope.cancelled_caught
    assert server.methods == [*["GET"] * 5, "POST", "DELETE"]
    assert {str(request.url) for request in made} == {TARGET.url}
    assert "event-stream" not in str([request.headers for request in made])


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (httpx2.Response(204), None),
        (httpx2.Response(404), "The server did not answer a poll: it answered 404 (Not Found)."),
        (httpx2.Response(500), "The server did not answer a poll: it answered 500 (Internal Server Error)."),
        (httpx2.ReadError("torn"), "The server did not answer a poll: torn."),
        (
            httpx2.Response(200, stream=Body([httpx2.ReadError("torn")])),
            "The server did not answer a poll: torn.",
        ),
    ],
)
async def test_how_it_ends_from_there_and_nothing_is_said_then(
    autojump_clock: MockClock, last: httpx2.Response | Exception, text: str | None
) -> None:
    server = Server(said(), said(b"bye"), last)
    async with (
        open_requests(server) as (requests, _),
        await start_long_polling(requests, TARGET) as connection,
    ):
        assert await connection.receive() == b"bye"
        if text is None:
            assert await connection.receive() == b""
        else:
            with pytest.raises(ConnectionClosed) as caught:
                await connection.receive()
            assert str(caught.value) == text
    assert server.methods == ["GET"] * 3


async def test_a_poll_that_is_never_answered_is_followed_by_another(autojump_clock: MockClock) -> None:
    server = Server(said())
    async with open_requests(server) as (requests, _), await start_long_polling(requests, TARGET):
        await trio.sleep(2.5 * POLL_TIMEOUT)
    assert server.methods == [*["GET"] * 4, "DELETE"]


async def test_what_is_not_received_is_not_asked_for(autojump_clock: MockClock) -> None:
    taken = 0

    class Much(Body):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1000
                yield b"x" * 1000

    async with (
        open_requests(Server(said(), httpx2.Response(200, stream=Much([])))) as (requests, _),
        await start_long_polling(requests, TARGET) as connection,
    ):
        await wait_all_tasks_blocked()
        assert taken <= BUFFER_SIZE + 1000
        assert len(await connection.receive()) == taken


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (httpx2.Response(404), "it answered 404"),
        (httpx2.Response(204), "it ended the connection at once"),
        (httpx2.ConnectError("nobody"), "cannot connect to server:80: nobody"),
    ],
)
async def test_a_first_poll_that_fails_says_why(first: httpx2.Response | Exception, text: str) -> None:
    async with open_requests(Server(first)) as (requests, _):
        with pytest.raises(ConnectionClosed, match=f"does not answer polls at http://server/hub: {text}"):
            await start_long_polling(requests, TARGET)


async def test_a_server_that_does_not_take_the_goodbye_holds_nobody_for_long(
    autojump_clock: MockClock,
) -> None:
    methods: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        methods.append(request.method)
        if len(methods) > 1:
            await trio.sleep_forever()
        return httpx2.Response(200)

    with trio.move_on_after(1):
        async with open_requests(answer) as (requests, _), await start_long_polling(requests, TARGET):
            await trio.sleep_forever()
    assert trio.current_time() == 6
    assert methods == ["GET", "GET", "DELETE"]


async def test_a_goodbye_that_fails_is_no_error(autojump_clock: MockClock) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            raise httpx2.ConnectError("gone")
        return httpx2.Response(200)

    async with open_requests(answer) as (requests, _), await start_long_polling(requests, TARGET):
        pass


async def test_a_server_that_was_given_up_gets_no_goodbye() -> None:
    server = Server(said())
    async with (
        open_requests(server) as (requests, _),
        await start_long_polling(requests, TARGET) as connection,
    ):
        connection.give_up()
    assert "DELETE" not in server.methods
