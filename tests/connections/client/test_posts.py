"""What a client sends by requests of their own."""

import httpx2
import pytest
import trio
from trio.testing import MockClock

from trio_hubs import ConnectionClosed
from trio_hubs.connections.client.posts import LAST_WORD_TIMEOUT, Posts
from trio_hubs.connections.pipe import Pipe
from trio_hubs.protocol.hub_protocol import TransferFormat

from .http_answers import TARGET, open_requests


@pytest.mark.parametrize(
    ("transfer_format", "type_"),
    [
        (TransferFormat.TEXT, "text/plain;charset=UTF-8"),
        (TransferFormat.BINARY, "application/octet-stream"),
    ],
)
async def test_bytes_are_posted_as_what_they_are(transfer_format: TransferFormat, type_: str) -> None:
    async with open_requests(lambda _: httpx2.Response(202)) as (requests, made):
        await Posts(requests, TARGET, Pipe(10)).send(b"hello", transfer_format)
    assert [(request.method, str(request.url), request.content) for request in made] == [
        ("POST", TARGET.url, b"hello")
    ]
    assert made[0].headers["Content-Type"] == type_


@pytest.mark.parametrize("status", [404, 500])
async def test_what_the_server_does_not_take_ends_the_connection(
    autojump_clock: MockClock, status: int
) -> None:
    async with open_requests(lambda _: httpx2.Response(status, text="no")) as (requests, _):
        with pytest.raises(
            ConnectionClosed, match=f"did not take what was sent: it answered {status}"
        ) as caught:
            await Posts(requests, TARGET, Pipe(10)).send(b"hello", TransferFormat.TEXT)
    assert (caught.value.status, caught.value.server_text) == (status, "no")
    assert trio.current_time() == LAST_WORD_TIMEOUT


async def test_a_server_that_takes_nothing_any_more_is_heard_out(autojump_clock: MockClock) -> None:
    incoming = Pipe(10)
    heard = b""

    async def receive() -> None:
        nonlocal heard
        await trio.sleep(0.2)
        incoming.close()
        heard = await incoming.take()

    async with open_requests(lambda _: httpx2.Response(404)) as (requests, _), trio.open_nursery() as nursery:
        incoming.put_back(b"the reason")
        nursery.start_soon(receive)
        with pytest.raises(ConnectionClosed, match="404"):
            await Posts(requests, TARGET, incoming).send(b"hello", TransferFormat.TEXT)
        assert heard == b"the reason"
        assert trio.current_time() == 0.2


@pytest.mark.parametrize("received", [True, False])
async def test_nothing_is_posted_once_the_server_has_ended_the_connection(
    autojump_clock: MockClock, received: bool
) -> None:
    incoming = Pipe(10)
    incoming.put_back(b"" if received else b"the reason")
    incoming.close()
    async with open_requests(lambda _: httpx2.Response(202)) as (requests, made):
        with pytest.raises(ConnectionClosed, match="over"):
            await Posts(requests, TARGET, incoming).send(b"hello", TransferFormat.TEXT)
    assert not made
    assert trio.current_time() == (0 if received else LAST_WORD_TIMEOUT)
