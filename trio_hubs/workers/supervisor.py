"""Several processes on one port: the supervisor starts the workers, joins them, and looks after them.

The listening sockets are its own, and are handed down: while a worker is replaced, its clients wait in the sockets'
queues or are another's. A worker that dies is started again, later each time that it dies young.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from os import PathLike, fspath
from typing import Any

import msgspec
import trio

from ..cli.apps import find_app
from ..cli.process import WRONG_INPUT, Fault
from ..connections.direct_socket import DirectSocketStream
from ..connections.server.listeners import AnyListener, UnixListener, address_of, open_listeners
from ..connections.timer import sleep_late
from ..errors import ProtocolError
from ..fleet.backplane import FleetBackplane
from ..fleet.bus import Bus, Gap
from ..logs import get_logger
from ..tasks import open_background, open_tasks
from .broker import Broker
from .frames import ALIVE_PERIOD, Alive, Closing, CutOff, Leaving, Ready, Sign, Up
from .handover import make_mailbox
from .worker import Orders

logger = get_logger(__name__)

WORKER = "trio_hubs.workers"
"""The module that a worker runs."""

SILENCE_TIMEOUT = 30.0
"""Seconds without a sign of life after which a worker is killed."""
YOUNG = 10.0
"""Seconds of life below which a worker that dies is started again later each time."""
LONGEST_DELAY = 10.0
"""Seconds between two starts of a worker, at most."""
STOP_TIMEOUT = 30.0
"""Seconds beyond the drain that a worker has to end."""


class WorkerFailed(Exception):
    """The app cannot be served by workers."""


async def serve_workers(
    app: str,
    host: str | None = None,
    port: int | None = None,
    *,
    workers: int,
    uds: str | PathLike[str] | None = None,
    fd: int | None = None,
    listeners: Sequence[AnyListener] = (),
    drain: float = 0.0,
    notice: float = 0.0,
    ssl_certfile: str | PathLike[str] | None = None,
    ssl_keyfile: str | PathLike[str] | None = None,
    log: dict[str, Any] | None = None,
    redis: str | None = None,
    task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an app by several processes on the same port, until cancelled or stopped.

    Each worker imports the app. Clients of any transport may come to any of them, and all of them are one hub's:
    groups, users and client results reach every worker. SIGHUP replaces the workers one by one.

    Args:
        app: Names the app, as ``module:attribute``.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        workers: How many there are.
        uds: The path of a Unix socket to listen on.
        fd: The descriptor of a socket that was opened before.
        listeners: What else is open already, without TLS; closed in the end.
        drain: Seconds that invocations and streams may still run in a worker that is to end.
        notice: Seconds before that in which all goes on, where all are to end, and apps only say that they will.
        ssl_certfile: The file with the certificate, to serve ``https`` and ``wss``.
        ssl_keyfile: The file with its key, unless that is in the former.
        log: The options of the command line for what workers log.
        redis: The URL of a Redis that joins the machine with others, unless the app has a backplane of its own.
        task_status: Started with the supervisor, once all workers serve.

    Raises:
        OSError: An address cannot be bound.
        RuntimeError: This system cannot hand sockets from process to process.
        ValueError: No place is given, or no worker.
        WorkerFailed: There is no such app, or a worker cannot start; that has said why on standard error.
    """
    if not hasattr(socket, "SCM_RIGHTS"):
        raise RuntimeError("workers need a system with Unix sockets: serve with one process here")
    if workers < 1:
        raise ValueError(f"workers must be above 0: {workers}")
    orders = Orders(
        app=app,
        drain=drain,
        certfile=None if ssl_certfile is None else fspath(ssl_certfile),
        keyfile=None if ssl_keyfile is None else fspath(ssl_keyfile),
        log=log,
        redis=redis,
    )
    async with open_listeners(host, port, uds, fd, None, listeners) as everywhere:
        sockets = [each for each in everywhere if isinstance(each, trio.SocketListener | UnixListener)]
        try:
            backplane = find_app(app, redis).backplane
        except Fault as fault:
            raise WorkerFailed(str(fault)) from fault
        fleet = backplane if isinstance(backplane, FleetBackplane) else None
        supervisor = Supervisor(orders, workers, sockets, None if fleet is None else fleet.bus, notice=notice)
        if fleet is not None:
            fleet.on_gap = supervisor.tell_gap
        async with nullcontext() if fleet is None else fleet.open_bus(), open_tasks() as nursery:
            await nursery.start(supervisor.run)
            task_status.started(supervisor)


class _Process:
    """A process of a worker.

    Attributes:
        process: The process itself.
        heard: When it gave a sign of life.
        ready: Whether it has begun to serve.
        leaving: Whether it runs empty.
        replaced: Whether it is to end by our will.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.heard = trio.current_time()
        self.ready = False
        self.leaving = False
        self.replaced = False

    def end(self) -> None:
        """Have it end in order."""
        self.leaving = self.replaced = True
        self.process.terminate()


class _Worker:
    """One of the workers, whatever process it is at the moment."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox, self.outbox = make_mailbox()
        self.current: _Process | None = None
        self.serves = trio.Event()  # the next process that comes

    def sign(self, process: _Process, sign: Sign) -> None:
        """A process says something of itself."""
        process.heard = trio.current_time()
        process.leaving |= isinstance(sign, Leaving)
        if isinstance(sign, Ready):
            process.ready = True
            if not process.replaced:
                self.serves.set()

    def end(self) -> None:
        """Have the process end in order, if there is one."""
        if self.current is not None:
            self.current.end()


class Supervisor:
    """Keeps workers going.

    Args:
        orders: What each is told, but for its number and sockets.
        count: How many there are.
        listeners: Where clients come in.
        fleet: The way to other servers.
        notice: Seconds in which all goes on before all are to end.

    Attributes:
        addresses: Where the app is served, such as ``http://127.0.0.1:8000``.
    """

    def __init__(
        self,
        orders: Orders,
        count: int,
        listeners: Sequence[trio.SocketListener | UnixListener],
        fleet: Bus | None,
        *,
        notice: float = 0.0,
    ) -> None:
        scheme = "http:" if orders.certfile is None else "https:"
        self.addresses = tuple(address_of(each).replace("http:", scheme, 1) for each in listeners)
        self._orders = orders
        self._listeners = listeners
        self._notice = notice
        self._broker = Broker(fleet)
        self._workers = [_Worker(number) for number in range(count)]
        self._started = False
        self._stopping = trio.Event()
        self._stopped = trio.Event()

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of the workers' processes that there are at the moment."""
        return tuple(each.current.process.pid for each in self._workers if each.current is not None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the workers going until :meth:`stop` has ended them; when cancelled, end them at once, in order.

        Args:
            task_status: Started once all workers serve.

        Raises:
            WorkerFailed: One cannot start.
        """
        try:
            async with open_background() as watchers:
                await watchers.start(self._heed_hangups)
                watchers.start_soon(self._watch)
                async with open_tasks() as keepers:
                    for worker in self._workers:
                        keepers.start_soon(self._keep, worker)
                    for worker in self._workers:
                        await worker.serves.wait()
                    self._started = True
                    task_status.started()
        finally:
            self._stopped.set()
            for worker in self._workers:
                worker.inbox.close()
                worker.outbox.close()

    def tell_gap(self, gap: Gap) -> None:
        """Tell all workers that the machine was cut off from the other servers."""
        lost, self._broker.lost = self._broker.lost, 0
        self._broker.tell_all(CutOff(gap.seconds, gap.unsent + lost))

    async def stop(self) -> None:
        """Have all workers run empty, and wait until they have ended, which ends :meth:`run`, too. A checkpoint."""
        self._broker.tell_all(Closing())
        await trio.sleep(self._notice)
        self._stopping.set()
        for worker in self._workers:
            worker.end()
        await self._stopped.wait()

    async def replace_all(self) -> None:
        """Replace the workers one by one: each runs empty, while the others take what comes."""
        for worker in self._workers:
            logger.info("worker %d is replaced", worker.number)
            worker.serves = trio.Event()
            worker.end()
            await worker.serves.wait()

    async def _heed_hangups(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as hangups:
            task_status.started()
            async for _ in hangups:
                await self.replace_all()

    async def _watch(self) -> None:
        """Kill what gives no sign of life, our own lateness not counted."""
        while True:
            late = await sleep_late(ALIVE_PERIOD)
            for worker in self._workers:
                if (current := worker.current) is None or not current.ready:
                    continue
                current.heard += late
                silence = trio.current_time() - current.heard
                if silence > SILENCE_TIMEOUT:
                    logger.error("worker %d was silent for %g s, and is killed", worker.number, silence)
                    current.process.kill()

    # ---- one worker

    async def _keep(self, worker: _Worker) -> None:
        delay = 0.0
        while not self._stopping.is_set():
            began = trio.current_time()
            process = await self._run(worker)
            if process.replaced:
                delay = 0.0
                continue
            status = process.process.returncode
            if status == WRONG_INPUT and not self._started:
                raise WorkerFailed(f"worker {worker.number} cannot start")
            delay = min(2 * delay or 0.1, LONGEST_DELAY) if trio.current_time() - began < YOUNG else 0.0
            logger.error(
                "worker %d ended with status %d, and is started again in %g s", worker.number, status, delay
            )
            with trio.move_on_after(delay):
                await self._stopping.wait()

    async def _run(self, worker: _Worker) -> _Process:
        """Run one process of a worker, to its end."""
        near, theirs = socket.socketpair()
        ours = DirectSocketStream(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
        orders = msgspec.structs.replace(
            self._orders,
            number=worker.number,
            listeners=tuple(each.socket.fileno() for each in self._listeners),
            bus=theirs.fileno(),
            inbox=worker.inbox.fileno(),
            outboxes=tuple(each.outbox.fileno() for each in self._workers),
        )
        with theirs, os.fdopen(_pipe_of(msgspec.json.encode(orders)), "rb") as pipe:
            command = [sys.executable, "-m", WORKER, str(pipe.fileno())]
            fds = (*orders.listeners, orders.bus, orders.inbox, *orders.outboxes, pipe.fileno())
            process = await trio.lowlevel.open_process(command, pass_fds=fds)
        worker.current = current = _Process(process)
        if self._stopping.is_set():
            current.end()
        try:
            async with ours, open_background() as nursery:
                nursery.start_soon(self._join, worker, current, ours)
                await process.wait()
        finally:
            worker.current = None
            if process.returncode is None:
                process.terminate()
                with trio.move_on_after(STOP_TIMEOUT, shield=True):
                    await process.wait()
                process.kill()
            self._tell_who_is_up()
        return current

    async def _join(self, worker: _Worker, process: _Process, stream: trio.abc.Stream) -> None:
        """Serve a process's part of the bus; a process without one is of no use."""

        def take(sign: Sign) -> None:
            worker.sign(process, sign)
            if not isinstance(sign, Alive):
                self._tell_who_is_up()

        try:
            await self._broker.serve(stream, take)
            await trio.sleep(self._orders.drain + STOP_TIMEOUT)  # it ends by itself, if it has closed the bus
        except ProtocolError:
            logger.exception("worker %d is killed", worker.number)
        process.process.kill()

    def _tell_who_is_up(self) -> None:
        serving = [
            each for each in self._workers if each.current and each.current.ready and not each.current.leaving
        ]
        self._broker.tell_all(Up(tuple(each.number for each in serving)))


def _pipe_of(data: bytes) -> int:
    """The end of a pipe in which something little lies: unlike a command line, nobody else can read it."""
    end, start = os.pipe()
    with os.fdopen(start, "wb") as file:
        file.write(data)
    return end
