"""Apps, found by their names."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from ..server.app import HubApp
from ..server.backplane import Backplane, default_backplane
from ..server.worker import Worker, current_worker
from .process import Fault


def find_app(name: str, redis: str | None = None, worker: Worker | None = None) -> HubApp:
    """Import the app that ``module:attribute`` names, from the current folder or from what is installed.

    It may also be a function that makes the app.

    Args:
        name: The app's name.
        redis: The URL of a Redis that joins it with other servers, unless it has a backplane of its own.
        worker: Which of several processes that serve it this is, if there are several.

    Raises:
        Fault: There is none, or it cannot be made.
    """
    backplane = default_backplane.set(None if redis is None else _backplane(redis))
    part_of = current_worker.set(worker)
    try:
        return _find_app(name)
    finally:  # what is made later is no part of a fleet
        current_worker.reset(part_of)
        default_backplane.reset(backplane)


def _backplane(redis: str) -> Backplane:
    try:
        from ..redis import RedisBackplane  # noqa: PLC0415 - it needs an extra

        return RedisBackplane(redis)
    except ModuleNotFoundError as error:
        raise Fault("a backplane needs more packages: pip install 'trio-hubs[redis]'") from error
    except ValueError as error:
        raise Fault(f"the backplane's URL is none: {error}") from error


def _find_app(name: str) -> HubApp:
    module_name, colon, attribute = name.partition(":")
    if not (colon and attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise Fault(f"'{name}' does not name an app: write MODULE:APP, such as chat:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise Fault(f"there is no module '{error.name}', neither in this folder nor installed") from error
        raise _failed(f"cannot import '{module_name}'", error) from error
    app = getattr(module, attribute, None)
    if app is None:
        raise Fault(f"the module '{module_name}' has no '{attribute}'")
    if callable(app):
        try:
            app = app()
        except Exception as error:
            raise _failed(f"cannot make the app by '{name}'", error) from error
    if not isinstance(app, HubApp):
        raise Fault(f"'{name}' is no HubApp, but of type {type(app).__name__}")
    return app


def _failed(what: str, error: Exception) -> Fault:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = "" if isinstance(error, SyntaxError) else f" ({frame.filename}, line {frame.lineno})"
    return Fault(f"{what}: {type(error).__name__}: {error}{place}")
