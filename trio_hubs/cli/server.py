"""The commands' servers: listening before anything says so."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import attrs
import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from ..connections.server.listeners import AnyListener, open_listeners, tls_context
from ..server.app import HubApp
from ..tasks import open_tasks
from ..workers import Supervisor, WorkerFailed, serve_workers
from .log_lines import LogLines
from .process import Fault

HOST = "127.0.0.1"
PORT = 8000

Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Doors:
    """Where a server listens; each attribute is an option.

    Attributes:
        host: The address to listen on; 127.0.0.1 where nothing else is said.
        port: The port, 8000 by default; 0 takes a free one.
        uds: The path of a Unix socket to listen on.
        fd: The descriptor of a socket that was opened before, as by systemd; may be repeated.
        ssl_certfile: A file with the certificate, and those behind it: serve https and wss.
        ssl_keyfile: A file with its private key, where the first has none.
    """

    host: str | None = None
    port: Port | None = None
    uds: Path | None = None
    fd: Annotated[tuple[int, ...], Parameter(show_default=False)] = ()
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    @asynccontextmanager
    async def open(self, *, tls: bool = True) -> AsyncGenerator[list[AnyListener]]:
        """Listen, for the body.

        Args:
            tls: Whether to speak TLS, where that is asked for.

        Raises:
            Fault: That is not possible.
        """
        context = self._context()
        found: list[AnyListener] = []
        async with AsyncExitStack() as stack:
            for what, *place in self._places():
                host, port, uds, fd = place
                opening = open_listeners(host, port, uds, fd, context if tls else None, ())
                try:
                    found += await stack.enter_async_context(opening)
                except (OSError, ValueError) as error:
                    raise Fault(
                        f"cannot listen on {what}: {getattr(error, 'strerror', None) or error}"
                    ) from error
            yield found

    def _places(self) -> list[tuple[Any, ...]]:
        """Each in words, then as a host, a port, a path and a descriptor."""
        places: list[tuple[Any, ...]] = [
            *((f"'{uds}'", None, None, uds, None) for uds in (self.uds,) if uds is not None),
            *((f"descriptor {fd}", None, None, None, fd) for fd in self.fd),
        ]
        if self.host is not None or self.port is not None or not places:
            host, port = self.host or HOST, PORT if self.port is None else self.port
            places.insert(0, (f"{host} port {port}", host, port, None, None))
        return places

    def _context(self) -> ssl.SSLContext | None:
        if self.ssl_certfile is None:
            if self.ssl_keyfile is not None:
                raise Fault("a private key needs its certificate: name it by --ssl-certfile")
            return None
        try:
            return tls_context(self.ssl_certfile, self.ssl_keyfile)
        except OSError as error:  # ssl.SSLError is one
            raise Fault(f"the certificate and its key cannot be used: {error.strerror or error}") from error


@asynccontextmanager
async def serving(app: HubApp, doors: Doors) -> AsyncGenerator[trio.CancelScope]:
    """Serve an app for the body, and on behind it until cancelled; ``app.addresses`` has where.

    Yields:
        What cancels it.
    """
    async with doors.open() as listeners, open_tasks() as nursery:
        await nursery.start(partial(app.serve, listeners=listeners))
        yield nursery.cancel_scope


async def serve(app: HubApp, doors: Doors, log: LogLines) -> None:
    """Serve an app until cancelled."""
    log.begin()
    async with serving(app, doors):
        for address in app.addresses:
            print(f"listening {address}", flush=True)


class Workers:
    """Serves an app by several processes."""

    def __init__(self) -> None:
        self._supervisor: Supervisor | None = None

    async def serve(
        self,
        name: str,
        doors: Doors,
        count: int,
        drain: float,
        notice: float,
        log: LogLines,
        backplane: str | None,
    ) -> None:
        """Serve until cancelled, or stopped."""
        log.begin()
        async with doors.open(tls=False) as listeners, open_tasks() as nursery:
            serve_app = partial(
                serve_workers,
                name,
                listeners=listeners,
                workers=count,
                drain=drain,
                notice=notice,
                ssl_certfile=doors.ssl_certfile,
                ssl_keyfile=doors.ssl_keyfile,
                log=attrs.asdict(log),
                redis=backplane,
            )
            try:
                self._supervisor = await nursery.start(serve_app)
            except (RuntimeError, WorkerFailed) as error:
                raise Fault(str(error)) from error
            assert self._supervisor is not None
            for address in self._supervisor.addresses:
                print(f"listening {address}", flush=True)

    async def stop(self) -> None:
        """Have the workers run empty and end."""
        if self._supervisor is not None:
            await self._supervisor.stop()
