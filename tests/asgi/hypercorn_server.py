"""Hypercorn's trio worker, on a real socket."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import hypercorn
import hypercorn.trio
import trio

from trio_hubs.server.app import AsgiApplication

PATIENCE = 20.0  # seconds; a busy machine takes some


async def serve_hypercorn(
    application: AsgiApplication,
    stop: trio.Event,
    *,
    port: int = 0,
    root_path: str = "",
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application until it is stopped; the started value is its address."""
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    config.root_path = root_path
    config.graceful_timeout = 0.2
    async with trio.open_nursery() as nursery:
        serve = partial(hypercorn.trio.serve, application, config, shutdown_trigger=stop.wait)
        (address,) = await nursery.start(serve)
        task_status.started(address)


@asynccontextmanager
async def open_hypercorn(
    application: AsgiApplication, *, port: int = 0, root_path: str = ""
) -> AsyncGenerator[str]:
    """Serve an application for the body, then stop it; gives its address."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hypercorn, application, stop, port=port, root_path=root_path)
        address: str = await nursery.start(serve)
        try:
            yield address
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
