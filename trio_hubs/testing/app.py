"""An app that runs without sockets, and its clients: all else is as over sockets, from the first byte of HTTP on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from math import inf
from typing import Any, TypeVar

import attrs
import httpcore2
import httpx2
import trio
import trio.testing

from ..client.hub_connection import HubConnection
from ..client.opening import open_hub_connection
from ..client.state import HubConnectionState
from ..connections.http import Request
from ..connections.server.exchange import Route
from ..connections.server.http_server import HttpServer
from ..connections.server.router import Router
from ..connections.users import User
from ..server.app import HubApp
from .network import End, Network, Wire

AnyApp = TypeVar("AnyApp", bound=HubApp[Any])

HOST = "http://test"
"""Where an app under test is found."""

_doors: dict[HubApp[Any], trio.Nursery] = {}
"""The nurseries of doors of the apps that run for tests, where their clients find them."""


def is_running(app: HubApp[Any]) -> bool:
    """Whether an app runs for tests."""
    return app in _doors


@asynccontextmanager
async def open_test_app(app: AnyApp) -> AsyncGenerator[AnyApp]:
    """Run an app without sockets for the body of ``async with``: its lifespan, and all that it does when it is served.

    Clients that are opened meanwhile are clients of it. One that is opened outside runs the app for its own block, and
    those that are opened within that block share it; where clients come and go otherwise, or in tasks of their own,
    run it by this.

    Args:
        app: The app.

    Yields:
        The same.

    Raises:
        RuntimeError: The app is being served already.
        BaseException: The exception of the body, or of the lifespan, bare.
    """
    async with app.running() as doors:
        _doors[app] = doors
        try:
            yield app
        finally:
            del _doors[app]


@asynccontextmanager
async def open_test_http(
    app: HubApp[Any], *, user: User | None = None, network: Network | None = None
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Open an HTTP client of an app without sockets, for the body of ``async with``.

    It is for plain routes, and for :func:`.open_connection`'s and :func:`.open_hub_connection`'s ``http_client``. A URL
    may be relative; every host is the app, and ``https`` goes without TLS.

    Args:
        app: The app, which is run for the body, if it does not run yet.
        user: Who makes all requests, whatever the app's ``authenticate`` says; by default that is asked.
        network: What lies between; one of its own by default.

    Yields:
        The client. When the block ends, the app has heard of the end of all of its connections.
    """
    async with AsyncExitStack() as stack:
        if not is_running(app):
            await stack.enter_async_context(open_test_app(app))
        backend = _Backend(app, user, network or Network())
        stack.push_async_callback(backend.end)
        transport = _Transport(backend)
        yield await stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, base_url=HOST, trust_env=False)
        )


@asynccontextmanager
async def open_test_client(
    app: HubApp[Any], path: str, *, user: User | None = None, network: Network | None = None, **options: Any
) -> AsyncGenerator[HubConnection]:
    """Connect to a hub of an app without sockets, for the body of ``async with``.

    When the body begins, all that can happen without waiting for time has happened: ``on_connected`` has run, or as far
    as it can.

    Args:
        app: The app, which is run for the body, if it does not run yet.
        path: The hub's path; it may have a query.
        user: Who the client is, whatever the app's ``authenticate`` says; by default that is asked.
        network: What lies between; one of its own by default.
        **options: As for :func:`.open_hub_connection`.

    Yields:
        The connection.

    Raises:
        ConnectionClosed: The hub has refused the client.
        Exception: What :func:`.open_hub_connection` raises.
        ValueError: The path does not begin with a slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"the path of a hub begins with a slash, as in add_hub: '/{path}'")
    async with (
        open_test_http(app, user=user, network=network) as http,
        open_hub_connection(HOST + path, http_client=http, **options) as connection,
    ):
        await trio.testing.wait_all_tasks_blocked()
        if connection.state is HubConnectionState.DISCONNECTED:
            raise await connection.wait_closed()
        yield connection


# ---- below the HTTP client


class _Transport(httpx2.AsyncHTTPTransport):
    """Has the HTTP client use a network of ours."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend) -> None:
        # It takes no network by its own options.
        self._pool = httpcore2.AsyncConnectionPool(network_backend=backend)


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects one client to an app."""

    def __init__(self, app: HubApp[Any], user: User | None, network: Network) -> None:
        self._app = app
        self._network = network
        self._server = HttpServer(app.site.router if user is None else _UserRouter(app.site.router, user))
        self._wires: list[Wire] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        if not is_running(self._app):
            raise httpcore2.ConnectError("the app does not run any more")
        try:
            wire = self._network.wire()
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        _doors[self._app].start_soon(self._server.serve_stream, wire.server)
        self._wires = [each for each in self._wires if not each.server.closed.is_set()]
        self._wires.append(wire)
        return _HttpStream(wire.client)

    async def end(self) -> None:
        """Break what is left of its connections, and wait until the app has heard of that."""
        for wire in self._wires:
            wire.cut()
            await wire.server.closed.wait()


class _UserRouter(Router):
    """Has all requests made by one user."""

    def __init__(self, router: Router, user: User) -> None:
        super().__init__()
        self._router = router
        self._user = user

    def find(self, request: Request) -> tuple[Request, Route | None]:
        return self._router.find(attrs.evolve(request, user=self._user))


class _HttpStream(httpcore2.AsyncNetworkStream):
    """A client's end, as the HTTP client has it."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _http_errors(httpcore2.ReadError, httpcore2.ReadTimeout, timeout):
            return await self._end.receive_some(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _http_errors(httpcore2.WriteError, httpcore2.WriteTimeout, timeout):
            await self._end.send_all(buffer)

    async def aclose(self) -> None:
        await self._end.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return self  # nobody listens here

    def get_extra_info(self, info: str) -> Any:
        return self._end.readable if info == "is_readable" else None


@contextmanager
def _http_errors(broken: type[Exception], late: type[Exception], timeout: float | None) -> Iterator[None]:
    """Give the body its time, and turn its errors into the HTTP client's."""
    try:
        with trio.fail_after(inf if timeout is None else timeout):
            yield
    except trio.TooSlowError as error:
        raise late(str(error)) from error
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise broken(str(error)) from error
