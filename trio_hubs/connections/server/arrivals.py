"""Requests are read in the order in which they came, though trio runs tasks that become ready together in any order.

A selector of our own watches the sockets on which a request may begin: it tells them in the order in which their bytes
came, if it watched before they could. Where the system's selector cannot be waited for, trio's order has to do.
"""

from __future__ import annotations

import selectors
import socket

import trio

_PASSES = 8
"""How many passes of the scheduler a request waits for one before it, whose task may be about to end an answer."""


class Arrivals:
    """The requests of a server that have come and are not read yet.

    Attributes:
        selector: What watches the sockets, while it runs.
        unread: What has come, in its order.
        leaving: Whether requests that have not come yet are another process's.
    """

    def __init__(self) -> None:
        self.selector: selectors.BaseSelector | None = None
        self.unread: dict[Arrival, None] = {}
        self.leaving = False

    def leave(self) -> None:
        """Wait for no more requests: who waits for one, or will, goes on at once."""
        self.leaving = True
        if self.selector is not None:
            for key in list(self.selector.get_map().values()):
                self.selector.unregister(key.fileobj)
                key.data.come.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch sockets, until cancelled."""
        with selectors.DefaultSelector() as selector:
            fileno = getattr(selector, "fileno", None)
            self.selector = selector if fileno is not None else None
            task_status.started()
            try:
                while fileno is not None:
                    await trio.lowlevel.wait_readable(fileno())
                    self.look()
            finally:
                self.selector = None

    def look(self) -> None:
        """Note which requests have come, while the selector runs."""
        if self.selector is None:
            return
        for key, _ in self.selector.select(0):
            self.selector.unregister(key.fileobj)
            self.unread[key.data] = None
            key.data.come.set()


class Arrival:
    """The next request on a socket; to be watched for before its client can send it, and taken in the end.

    Args:
        arrivals: The requests of the server.
        sock: The socket.
    """

    def __init__(self, arrivals: Arrivals, sock: socket.socket) -> None:
        self.come = trio.Event()
        self._arrivals = arrivals
        self._socket = sock
        self._selector = arrivals.selector
        if self._selector is not None:
            self._selector.register(sock, selectors.EVENT_READ, self)

    async def wait(self) -> None:
        """Wait until the socket is readable, and those that were before it are read. Not always a checkpoint."""
        if self._arrivals.leaving:
            return
        if self._selector is None:
            await trio.lowlevel.wait_readable(self._socket)
            return
        if not self.come.is_set():
            self._arrivals.look()  # as the first request of a socket is mostly there
            if not self.come.is_set():
                await self.come.wait()
        unread = self._arrivals.unread
        known, passes = self, 0
        while self in unread and (first := next(iter(unread))) is not self:
            if first is not known:
                known, passes = first, 0
            if passes == _PASSES:
                del unread[first]
            else:
                passes += 1
                await trio.lowlevel.checkpoint()

    def take(self) -> None:
        """It is being read, or never will be."""
        self._arrivals.unread.pop(self, None)
        selector = self._arrivals.selector
        if selector is not None and selector is self._selector and not self.come.is_set():
            selector.unregister(self._socket)
        self.come.set()
