"""A worker's pipe to its supervisor: what is put leaves at once, as far as the other side takes it, and in order."""

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from trio_hubs.connections.direct_socket import DirectSocketStream
from trio_hubs.tasks import open_background
from trio_hubs.workers.frames import Frame
from trio_hubs.workers.pipe import Pipe


async def ignore(frames: Sequence[Frame]) -> None:
    """Take what comes."""


@asynccontextmanager
async def open_pipe() -> AsyncGenerator[tuple[Pipe, socket.socket]]:
    near, far = socket.socketpair()
    far.setblocking(False)
    pipe = Pipe(DirectSocketStream(trio.SocketStream(trio.socket.from_stdlib_socket(near))), lambda: None)
    with far:
        async with open_background() as nursery:
            nursery.start_soon(pipe.run, ignore)
            await wait_all_tasks_blocked()
            yield pipe, far


async def test_what_is_put_leaves_before_what_is_to_be_done_after_it() -> None:
    async with open_pipe() as (pipe, far):
        arrived = []
        pipe.put(b"one")
        trio.lowlevel.current_trio_token().run_sync_soon(lambda: arrived.append(far.recv(100)))
        pipe.put(b"two")
        await wait_all_tasks_blocked()
        assert arrived == [b"onetwo"]
        assert pipe.queued == 0


async def test_what_the_other_side_does_not_take_at_once_comes_in_order() -> None:
    async with open_pipe() as (pipe, far):
        sent = b"".join(bytes([number]) * 100_000 for number in range(40))
        for start in range(0, len(sent), 100_000):
            pipe.put(sent[start : start + 100_000])
            await wait_all_tasks_blocked()
        assert 0 < pipe.queued < len(sent)
        arrived = bytearray()
        while len(arrived) < len(sent):
            await trio.lowlevel.wait_readable(far)
            arrived += far.recv(65536)
        assert arrived == sent
        await wait_all_tasks_blocked()
        assert pipe.queued == 0
