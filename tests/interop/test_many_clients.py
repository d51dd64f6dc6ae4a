"""Many clients come to two workers and Redis, join groups, and go in every way; in the end nothing of them is left.

There are 200 of them, and 1,000 with `--hypothesis-profile=long`.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings

from .faults import PATIENCE, Process, running_app, wait_until
from .redis_process import RedisProcess

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it looks into /proc")

CLIENTS = 1000 if settings.get_current_profile_name() == "long" else 200
AT_A_TIME = 100


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path)
    yield process
    process.kill()


class RawClient:
    """A client that costs little: a WebSocket by hand.

    Args:
        stream: Leads to the server.
        number: Its number among all.

    Attributes:
        id: Its connection's id.
    """

    id: str

    def __init__(self, stream: trio.SocketStream, number: int) -> None:
        self.number = number
        self._stream = stream
        self._received = b""

    async def open(self, address: str) -> None:
        """Shake hands, and learn the id."""
        request = [
            f"GET /hub?access_token=user{self.number % 50} HTTP/1.1",
            f"Host: {address}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        await self._stream.send_all("\r\n".join([*request, "", ""]).encode())
        await self._receive(rb"\r\n\r\n")
        await self._put({"protocol": "json", "version": 1})
        await self._receive(rb"{}\x1e")
        self.id = await self.call("ConnectionId")

    async def call(self, target: str, *arguments: object) -> Any:
        """Call a method, and wait for its answer."""
        self._received = b""
        await self.send(target, *arguments)
        answer = await self._receive(rb'{"type":3,"invocationId":"7"[^\x1e]*')
        return json.loads(answer).get("result")

    async def send(self, target: str, *arguments: object) -> None:
        """Call a method."""
        await self._put({"type": 1, "invocationId": "7", "target": target, "arguments": arguments})

    async def leave(self) -> None:
        """Go: in order, without a word, or cut hard."""
        if self.number % 3 == 0:
            await self._put({"type": 7})
            while await self._stream.receive_some():
                pass
        elif self.number % 3 == 1:
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    async def _receive(self, expression: bytes) -> bytes:
        while (found := re.search(expression, self._received)) is None:
            data = await self._stream.receive_some()
            assert data, self._received
            self._received += data
        self._received = self._received[found.end() :]
        return found[0]

    async def _put(self, message: object) -> None:
        data = json.dumps(message).encode().ljust(126) + b"\x1e"  # for whose length a frame has two bytes
        await self._stream.send_all(struct.pack("!BBHI", 0x81, 0x80 | 126, len(data), 0) + data)


async def test_nothing_is_left_of_many_clients(redis: RedisProcess) -> None:
    with running_app(redis.url, workers=2) as process:
        await visit(process, range(10))
        await process.wait_nobody()
        before, heard = await process.kept(2), await redis.channels()
        for start in range(0, CLIENTS, AT_A_TIME):
            await visit(process, range(start, start + AT_A_TIME))
        await process.wait_nobody()
        await wait_until(lambda: keeps(process, before))
        assert await redis.channels() == heard


async def visit(process: Process, numbers: range) -> None:
    """Clients come, join groups, put each other into one, are called, ask each other, and go meanwhile."""
    address = process.address.removeprefix("http://")
    clients: list[RawClient] = []

    async def come(number: int) -> None:
        client = RawClient(await trio.open_tcp_stream("127.0.0.1", int(address.split(":")[1])), number)
        clients.append(client)
        await client.open(address)
        await client.call("JoinGroup", f"room {number % 40}")

    async def go(client: RawClient, other: RawClient) -> None:
        await client.call("AddConnectionToGroup", other.id, "all")
        await client.call("CallGroup", f"room {client.number % 40}", "hello")
        await client.call("CallUser", f"user{other.number % 50}", "hello")
        if client.number % 2:
            await client.send("AskConnection", other.id, "to which nobody answers")
        await client.leave()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(come, number)
        await clients[0].call("CallAll", "hello")
        async with trio.open_nursery() as nursery:
            for client, other in zip(clients, [*clients[1:], clients[0]], strict=True):
                nursery.start_soon(go, client, other)


async def keeps(process: Process, before: dict[int, dict[str, int]]) -> bool:
    return await process.kept(2) == before
