"""Where clients come in: a TCP address, a Unix socket, a descriptor that was inherited, or what a user has opened.

All that is opened here is closed with the block, and a Unix socket's file is removed before its socket closes, so that
it is never another server's.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeAlias

import trio

from ..direct_socket import DirectSocketStream

AnyListener: TypeAlias = trio.abc.Listener[trio.abc.Stream]

StrPath: TypeAlias = str | os.PathLike[str]

_BACKLOG = 0xFFFF  # which the system cuts to what it allows


class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """Listens on a Unix socket whose file it has made.

    Args:
        path: Where. A socket file at which nobody listens any more is replaced.

    Raises:
        OSError: It cannot be bound, or something else is there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        sock = socket.socket(socket.AF_UNIX)
        try:
            _bind(sock, path)
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket."""
        return self._listener.socket

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        if self.socket.fileno() != -1:
            with suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108 - of a local file system, and while it is still ours
        await self._listener.aclose()


def _bind(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_left(path):
            raise
        os.unlink(path)  # noqa: PTH108
        sock.bind(path)


def _is_left(path: str) -> bool:
    """Whether a file is the socket of a server that has ended without removing it."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def inherited_listener(fd: int) -> trio.SocketListener:
    """Listen on a socket that was opened before this process began, as by systemd; it is this process's from now on.

    Raises:
        OSError: The descriptor is no open socket.
        ValueError: The socket is not one for streams.
    """
    sock = socket.socket(fileno=fd)
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.type == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.detach()  # it is not ours
        raise
    os.set_inheritable(fd, False)  # else the processes that are started here would hold it open
    return listener


def tls_context(certfile: StrPath, keyfile: StrPath | None) -> ssl.SSLContext:
    """What a server speaks TLS with.

    Args:
        certfile: The file with its certificate, and those behind it.
        keyfile: The file with the private key, where the first has none.

    Raises:
        OSError: They cannot be read, or do not fit; an :exc:`ssl.SSLError` is one.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile, keyfile)
    return context


@asynccontextmanager
async def open_listeners(
    host: str | None,
    port: int | None,
    uds: StrPath | None,
    fd: int | None,
    ssl_context: ssl.SSLContext | None,
    listeners: Sequence[AnyListener],
) -> AsyncGenerator[list[AnyListener]]:
    """Listen wherever that is asked for, for the body; then close all of it.

    Args:
        host: The TCP address.
        port: Its port; 0 takes a free one.
        uds: The path of a Unix socket.
        fd: A descriptor that was inherited.
        ssl_context: Speak TLS at those.
        listeners: What is open already.

    Raises:
        OSError: Something cannot be bound.
        ValueError: There is nowhere to listen.
    """
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(trio.aclose_forcefully, listener)
        opened: list[trio.abc.Listener[trio.SocketStream]] = []
        if host is not None and port is not None:
            opened += await trio.open_tcp_listeners(port, host=host)
        try:
            if uds is not None:
                opened.append(UnixListener(os.fspath(uds)))
            if fd is not None:
                opened.append(inherited_listener(fd))
        finally:
            for each in opened:
                stack.push_async_callback(trio.aclose_forcefully, each)
        everywhere = [
            *(
                opened
                if ssl_context is None
                else [trio.SSLListener(each, ssl_context, https_compatible=True) for each in opened]
            ),
            *listeners,
        ]
        if not everywhere:
            raise ValueError("there is nowhere to listen: name a host and a port, uds, fd or listeners")
        yield everywhere


def address_of(listener: AnyListener) -> str:
    """Where a listener is to be found: ``http://127.0.0.1:8000``, or ``unix:/run/chat.sock``."""
    scheme, inner = "http", listener
    while isinstance(inner, trio.SSLListener):
        scheme, inner = "https", inner.transport_listener
    sock = getattr(inner, "socket", None)
    if sock is None:
        return type(inner).__name__
    bound = sock.getsockname()
    if not isinstance(bound, tuple):
        return f"unix:{os.fsdecode(bound)}"
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"{scheme}://{name}:{bound[1]}"


def client_of(stream: trio.abc.Stream) -> str | None:
    """The address of who is at the other end, of IPv4 if it is one; ``None`` on a Unix socket, or if they have left."""
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        peer = inner.socket.getpeername() if isinstance(inner, trio.SocketStream | DirectSocketStream) else ""
    except OSError:
        peer = ""
    if not isinstance(peer, tuple):
        return None
    name: str = peer[0]
    return name.removeprefix("::ffff:") if "." in name else name
