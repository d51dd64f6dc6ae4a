"""What a client sends by requests of their own."""

import httpx2
import pytest

from trio_hubs import ConnectionClosed
from trio_hubs.connections.client.posts import Posts
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
        await Posts(requests, TARGET).send(b"hello", transfer_format)
    assert [(request.method, str(request.url), request.content) for request in made] == [
        ("POST", TARGET.url, b"hello")
    ]
    assert made[0].headers["Content-Type"] == type_


@pytest.mark.parametrize("status", [404, 500])
async def test_what_the_server_does_not_take_ends_the_connection(status: int) -> None:
    async with open_requests(lambda _: httpx2.Response(status, text="no")) as (requests, _):
        with pytest.raises(
            ConnectionClosed, match=f"did not take what was sent: it answered {status}"
        ) as caught:
            await Posts(requests, TARGET).send(b"hello", TransferFormat.TEXT)
    assert (caught.value.status, caught.value.server_text) == (status, "no")
