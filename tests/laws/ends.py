"""All that ends a connection, from either side."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.hub_peer import RawClient
from tests.messages import PING, call, close, framed


def garbage(protocol: str) -> bytes:
    return b"{oops}\x1e" if protocol == "json" else framed(b"\xc1")


async def _be_silent(client: RawClient) -> None:
    await client.send(PING)


async def _vanish(client: RawClient) -> None:
    client.leave()


async def _close(client: RawClient) -> None:
    client.connection.close()


async def _shut_down(client: RawClient) -> None:
    client.serving.cancel()


ENDS: dict[str, Callable[[RawClient], Any]] = {
    "the client vanishes": _vanish,
    "the client closes": _close,
    "the client says close": lambda client: client.send(close()),
    "the client is silent": _be_silent,
    "the client sends garbage": lambda client: client.send_bytes(garbage(client.protocol)),
    "the hub aborts": lambda client: client.send(call("Abort")),
    "the server shuts down": _shut_down,
}
each_end = pytest.mark.parametrize("end", ENDS)
PARALLEL = 3  # so that Abort is not behind a method that hangs
