"""Listening: at each kind of place, at several at once, and with nothing left of it afterwards."""

import os
import socket
import ssl
import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_hubs.connections.direct_socket import DirectSocketStream
from trio_hubs.connections.server.listeners import (
    UnixListener,
    address_of,
    client_of,
    inherited_listener,
    open_listeners,
)


async def greet(listener: trio.abc.Listener[Any], stream: trio.abc.Stream) -> None:
    async with stream, await listener.accept() as accepted:
        await accepted.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


async def test_all_places_at_once(tmp_path: Path) -> None:
    given = await trio.open_tcp_listeners(0, host="127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    inherited = socket.create_server(("127.0.0.1", 0))
    port = inherited.getsockname()[1]
    path = tmp_path / "chat.sock"
    async with open_listeners("127.0.0.1", 0, path, inherited.detach(), context, given) as listeners:
        addresses = [address_of(listener) for listener in listeners]
        assert addresses[0].startswith("https://127.0.0.1:")
        assert addresses[1] == f"unix:{path}"
        assert addresses[2] == f"https://127.0.0.1:{port}"
        assert addresses[3].startswith("http://127.0.0.1:")
        assert listeners[3] is given[0]
        assert [type(listener) for listener in listeners[:3]] == [trio.SSLListener] * 3
    assert not path.exists()
    for address in (addresses[0], addresses[2], addresses[3]):
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))


async def test_nowhere_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is nowhere to listen"):
        async with open_listeners(None, None, None, None, None, ()):
            raise AssertionError


async def test_where_one_place_fails_the_others_are_closed(tmp_path: Path) -> None:
    given = await trio.open_tcp_listeners(0, host="127.0.0.1")
    path = tmp_path / "chat.sock"
    with pytest.raises(OSError, match="on non-socket"), (tmp_path / "file").open("w") as file:
        async with open_listeners("127.0.0.1", 0, path, file.fileno(), None, given):
            raise AssertionError
    assert given[0].socket.fileno() == -1
    assert not path.exists()


async def test_an_address_that_cannot_be_bound_closes_what_is_given() -> None:
    given = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(OSError, match="in use"):
        async with open_listeners("127.0.0.1", given[0].socket.getsockname()[1], None, None, None, given):
            raise AssertionError
    assert given[0].socket.fileno() == -1


# ---- Unix sockets


async def test_a_unix_socket_takes_clients_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    listener = UnixListener(str(path))
    await greet(listener, await trio.open_unix_socket(path))
    await listener.aclose()
    assert not path.exists()
    path.write_text("another's")
    await listener.aclose()
    assert path.exists()


async def test_a_file_that_is_gone_already_is_no_matter(tmp_path: Path) -> None:
    listener = UnixListener(str(tmp_path / "chat.sock"))
    (tmp_path / "chat.sock").unlink()
    await listener.aclose()


async def test_a_socket_file_of_a_server_that_has_crashed_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "chat.sock")
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(path)
        crashed.listen()
        with pytest.raises(OSError, match="in use"):
            UnixListener(path)
    async with UnixListener(path) as listener:
        await greet(listener, await trio.open_unix_socket(path))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "chat.sock"
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = path.lstat()
    with pytest.raises(OSError, match="in use"):
        UnixListener(str(path))
    assert path.lstat() == before


async def test_the_umask_says_who_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    before = os.umask(0o117)
    try:
        listener = UnixListener(str(path))
    finally:
        os.umask(before)
    async with listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


# ---- descriptors


@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("unix", [True, False])
async def test_a_descriptor_is_taken_over(tmp_path: Path, listening: bool, unix: bool) -> None:
    path = str(tmp_path / "chat.sock")
    opened = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    opened.bind(path if unix else ("127.0.0.1", 0))
    if listening:
        opened.listen()
    os.set_inheritable(opened.fileno(), True)
    listener = inherited_listener(opened.detach())
    async with listener:
        assert not listener.socket.get_inheritable()
        name = listener.socket.getsockname()
        assert address_of(listener) == (f"unix:{path}" if unix else f"http://127.0.0.1:{name[1]}")
        stream = await trio.open_unix_socket(path) if unix else await trio.open_tcp_stream(*name)
        await greet(listener, stream)
    assert (tmp_path / "chat.sock").exists() is unix  # whose file is that of who opened it


def test_a_descriptor_that_is_no_listening_socket_stays_open(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError, match="SOCK_STREAM"):
            inherited_listener(datagrams.fileno())
        assert os.fstat(datagrams.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        inherited_listener(987654)


# ---- names


async def test_each_place_has_its_name() -> None:
    class Memory(trio.abc.Listener[trio.abc.Stream]):
        async def accept(self) -> trio.abc.Stream:
            raise AssertionError

        async def aclose(self) -> None:
            raise AssertionError

    assert address_of(Memory()) == "Memory"
    async with AsyncExitStack() as stack:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await stack.enter_async_context(listener)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        name = address_of(trio.SSLListener(listener, context))
        assert name == f"https://127.0.0.1:{listener.socket.getsockname()[1]}"


async def test_a_client_has_an_address() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as stream:
        accepted = await listener.accept()
        assert client_of(accepted) == "127.0.0.1"
        assert client_of(trio.SSLStream(accepted, ssl.create_default_context())) == "127.0.0.1"
        direct = DirectSocketStream(accepted)
        assert client_of(direct) == client_of(stream) == "127.0.0.1"
        await direct.aclose()
        assert client_of(direct) is None


async def test_a_client_on_a_unix_socket_or_in_memory_has_none(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    async with (
        UnixListener(path) as listener,
        await trio.open_unix_socket(path),
        await listener.accept() as accepted,
    ):
        assert client_of(accepted) is None
    assert client_of(trio.testing.memory_stream_pair()[0]) is None
