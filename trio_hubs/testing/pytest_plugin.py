"""Fixtures for pytest-trio, brought by ``pytest_plugins = ["trio_hubs.testing.pytest_plugin"]`` in a ``conftest.py``.

Nothing brings them by itself: tests of what has nothing to do with hubs shall not import this package.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias

import httpx2
import pytest
import trio

from ..client.hub_connection import HubConnection
from ..server.app import HubApp
from ..tasks import open_background
from .app import is_running, open_test_app, open_test_client, open_test_http

HubClient: TypeAlias = Callable[..., Awaitable[HubConnection]]
"""What the fixture ``hub_client`` is: it takes what :func:`.open_test_client` takes."""

HubHttp: TypeAlias = Callable[..., Awaitable[httpx2.AsyncClient]]
"""What the fixture ``hub_http`` is: it takes what :func:`.open_test_http` takes."""


@pytest.fixture
def hub_client(_hub_blocks: _Blocks) -> HubClient:
    """Open clients of hubs for the rest of the test: ``ann = await hub_client(app, "/chat", user=User("ann"))``."""
    return partial(_hub_blocks.open, open_test_client)


@pytest.fixture
def hub_http(_hub_blocks: _Blocks) -> HubHttp:
    """Open HTTP clients for the rest of the test: ``http = await hub_http(app)``."""
    return partial(_hub_blocks.open, open_test_http)


@pytest.fixture
async def _hub_blocks() -> AsyncGenerator[_Blocks]:
    async with open_background() as apps, open_background() as clients:
        yield _Blocks(apps, clients)


class _Blocks:
    """What a test opens without blocks of its own: apps, and clients, which end before them."""

    def __init__(self, apps: trio.Nursery, clients: trio.Nursery) -> None:
        self._apps = apps
        self._clients = clients
        self._starting = trio.Lock()

    async def open(
        self,
        open: Callable[..., AbstractAsyncContextManager[Any]],
        app: HubApp[Any],
        *args: Any,
        **options: Any,
    ) -> Any:
        """Open a client, and before it its app, for the rest of the test."""
        async with self._starting:
            if not is_running(app):
                await self._apps.start(_hold, open_test_app(app))
        return await self._clients.start(_hold, open(app, *args, **options))


async def _hold(block: AbstractAsyncContextManager[Any], *, task_status: trio.TaskStatus[Any]) -> None:
    async with block as value:
        task_status.started(value)
        await trio.sleep_forever()
