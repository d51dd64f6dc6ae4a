"""One of several processes that serve an app: its part of the bus, its mailbox, and its end with the supervisor's.

It is started by the supervisor alone, which hands down its sockets, and a pipe with its orders.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from random import choice
from typing import Any

import trio
from msgspec import Struct

from ..cli.apps import find_app
from ..cli.process import WRONG_INPUT, Fault, complain, run
from ..connections.direct_socket import DirectSocketStream
from ..connections.server.listeners import AnyListener, inherited_listener, tls_context
from ..fleet.backplane import FleetBackplane
from ..server.app import HubApp
from ..server.backplane import Backplane
from ..server.worker import Worker
from ..tasks import open_background
from .bus import WorkerBus
from .frames import ALIVE_PERIOD, Alive, Ready
from .handover import Mailboxes


class Orders(Struct):
    """What a worker is told when it is started; numbers of sockets are those of descriptors.

    Attributes:
        app: Names the app, as ``module:attribute``.
        number: The worker's number.
        listeners: Where clients come in.
        bus: Leads to the supervisor.
        inbox: The worker's mailbox.
        outboxes: Those of all workers.
        drain: Seconds that invocations and streams may still run when it is to end.
        certfile: The certificate to serve TLS with.
        keyfile: Its key.
        log: The options of the command line for what is logged; without them workers log warnings.
        redis: The URL of the Redis that joins the app with other servers, unless the app has a backplane of its own.
    """

    app: str
    drain: float
    number: int = 0
    listeners: tuple[int, ...] = ()
    bus: int = -1
    inbox: int = -1
    outboxes: tuple[int, ...] = ()
    certfile: str | None = None
    keyfile: str | None = None
    log: dict[str, Any] | None = None
    redis: str | None = None


class WorkersBackplane(FleetBackplane):
    """Joins the hubs of all workers."""

    @asynccontextmanager
    async def open_bus(self) -> AsyncGenerator[None]:
        yield  # the worker keeps it going, for its life


class Others(Mailboxes):
    """The way to the other workers: their mailboxes, and the bus."""

    def __init__(self, orders: Orders, bus: WorkerBus) -> None:
        outboxes = [socket.socket(fileno=each) for each in orders.outboxes]
        super().__init__(orders.number, socket.socket(fileno=orders.inbox), outboxes)
        self._bus = bus
        self._leaving = False

    @property
    def heir(self) -> int | None:
        others = [number for number in self.up if number != self.number]
        return choice(others) if self._leaving and others else None

    async def leave(self) -> None:
        await self._bus.leave(self.number)
        self._leaving = True

    @property
    def up(self) -> tuple[int, ...]:
        return self._bus.up

    def backplane(self, own: Backplane | None) -> Backplane:
        if not isinstance(own, FleetBackplane):
            return WorkersBackplane(self._bus, {})
        self._bus.backplanes.append(own)  # its bus is the supervisor's to keep going
        return WorkersBackplane(self._bus, own.hub_names)


def _listeners(orders: Orders) -> list[AnyListener]:
    found = [inherited_listener(each) for each in orders.listeners]
    if orders.certfile is None:
        return list(found)
    context = tls_context(orders.certfile, orders.keyfile)
    return [trio.SSLListener(each, context, https_compatible=True) for each in found]


async def _serve(app: HubApp, orders: Orders, bus: WorkerBus) -> None:
    def closing() -> None:
        app.life.draining = True

    bus.on_closing = closing
    async with open_background() as nursery:

        async def live() -> None:
            await bus.run()
            nursery.cancel_scope.cancel()  # the supervisor has gone

        nursery.start_soon(live)
        await nursery.start(partial(app.serve, listeners=_listeners(orders)))
        bus.tell(Ready())
        while True:
            await trio.sleep(ALIVE_PERIOD)
            bus.tell(Alive())


def main(orders: Orders) -> int:
    """Serve as a worker until told to end; gives the exit status."""
    if orders.log is None:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    else:
        from ..cli.log_lines import LogLines  # noqa: PLC0415 - it needs an extra

        LogLines(**orders.log).begin()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the supervisor
    end = trio.socket.from_stdlib_socket(socket.socket(fileno=orders.bus))
    bus = WorkerBus(DirectSocketStream(trio.SocketStream(end)))
    try:
        app = find_app(orders.app, orders.redis, Worker(orders.number, Others(orders, bus)))
        return run(_serve, app, orders, bus, on_terminate=partial(app.drain, orders.drain))
    except Fault as fault:
        complain(str(fault))
        return WRONG_INPUT
