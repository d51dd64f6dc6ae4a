"""The commands' servers: found by name, and listening before anything says so."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from pathlib import Path

import trio

from ..server.app import HubApp
from ..tasks import open_tasks
from .process import Fault


def find_app(name: str) -> HubApp:
    """Import the app that ``module:attribute`` names, from the current folder or from what is installed."""
    module_name, colon, attribute = name.partition(":")
    if not (colon and attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise Fault(f"'{name}' does not name an app: write MODULE:APP, such as chat:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise Fault(f"there is no module '{error.name}', neither in this folder nor installed") from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
        raise Fault(f"cannot import '{module_name}': {type(error).__name__}: {error}{place}") from error
    app = getattr(module, attribute, None)
    if app is None:
        raise Fault(f"the module '{module_name}' has no '{attribute}'")
    if not isinstance(app, HubApp):
        raise Fault(f"'{name}' is no HubApp, but of type {type(app).__name__}")
    return app


async def start(nursery: trio.Nursery, app: HubApp, host: str, port: int) -> str:
    """Start to serve an app; gives the address once it listens."""
    try:
        address: str = await nursery.start(app.serve, host, port)
    except OSError as error:
        raise Fault(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return address


async def serve(app: HubApp, host: str, port: int) -> None:
    """Serve an app until cancelled."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    async with open_tasks() as nursery:
        address = await start(nursery, app, host, port)
        print(f"listening {address}", flush=True)
