"""The floor: what bare trio sockets can do when there is no hub at all: `python -m benchmarks.floor_server`.

It knows the generator's requests and answers each with bytes made the first time it was asked; it unmasks
nothing, checks nothing and lets a slow client hold up the others. Only a CounterChannel does something for
every item: they pass one by one through a plain trio memory channel, the base line for ChannelWriter.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
from typing import Final

import trio

from benchmarks.scenarios import TEXT
from benchmarks.wire import SEPARATOR, record, server_text

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE: Final = server_text(record(type=1, target="message", arguments=[TEXT]))
ITEM: Final = b'{"type":2,"invocationId":"1","item":%d}' + SEPARATOR
PIECE: Final = 1000  # items in a frame of a ready-made stream

everyone: Final[set[trio.SocketStream]] = set()


@functools.cache
def answer(request: bytes) -> bytes:
    """The frames that answer a request which needs no more than an answer."""
    message = json.loads(request[:-1])
    if "protocol" in message:
        return server_text(record())
    call, (argument, *_) = message["invocationId"], message["arguments"]
    if message["target"] != "Counter":
        return server_text(record(type=3, invocationId=call, result=argument))
    pieces = [range(argument)[start : start + PIECE] for start in range(0, argument, PIECE)]
    frames = [server_text(b"".join([ITEM % number for number in piece])) for piece in pieces]
    return b"".join(frames) + server_text(record(type=3, invocationId=call))


async def pass_items(stream: trio.SocketStream, count: int) -> None:
    """Stream items that pass through a memory channel one by one, and are sent joined."""
    send, receive = trio.open_memory_channel[int](100)

    async def write() -> None:
        with send:
            for number in range(count):
                await send.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        ready: list[bytes] = []
        async for number in receive:
            ready.append(ITEM % number)
            if len(ready) == 100:
                await stream.send_all(server_text(b"".join(ready)))
                ready.clear()
        await stream.send_all(server_text(b"".join(ready) + record(type=3, invocationId="1")))


def split(buffer: bytearray) -> list[bytes]:
    """Take the payloads of all whole frames off the buffer."""
    payloads: list[bytes] = []
    at, size = 0, len(buffer)
    while size - at > 8:
        length, start = buffer[at + 1] & 127, at + 6
        if length == 126:
            length, start = buffer[at + 2] << 8 | buffer[at + 3], at + 8
        if start + length > size:
            break
        at = start + length
        payloads.append(bytes(buffer[start:at]))
    del buffer[:at]
    return payloads


async def upgrade(stream: trio.SocketStream) -> None:
    """Answer the WebSocket's upgrade."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += await stream.receive_some()
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


async def handle(stream: trio.SocketStream) -> None:
    """Serve one connection."""
    await upgrade(stream)
    buffer, uploaded = bytearray(), 0
    everyone.add(stream)
    while data := await stream.receive_some():
        buffer += data
        answers: list[bytes] = []
        for payload in split(buffer):
            if payload.startswith(b'{"type":2'):
                uploaded += payload.count(SEPARATOR)
            elif payload.startswith(b'{"type":3'):
                answers.append(server_text(record(type=3, invocationId="1", result=uploaded)))
                uploaded = 0
            elif b'"CounterChannel"' in payload:
                await pass_items(stream, json.loads(payload[:-1])["arguments"][0])
            elif b'"Broadcast"' in payload:
                for member in tuple(everyone):
                    await member.socket.send(MESSAGE)  # which two tasks may do at a time
                answers.append(answer(payload))
            elif payload.startswith(b"{") and b'"Sum"' not in payload:
                answers.append(answer(payload))
        if answers:
            await stream.send_all(b"".join(answers))


async def welcome(stream: trio.SocketStream) -> None:
    """Serve one connection until it ends, in whatever way."""
    async with stream:
        try:
            await handle(stream)
        except (trio.BrokenResourceError, OSError):
            pass
        finally:
            everyone.discard(stream)


async def serve(port: int) -> None:
    """Serve until cancelled."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=1000)
    print(f"listening http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
    await trio.serve_listeners(welcome, listeners)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor_server")
    parser.add_argument("--port", type=int, default=0)
    trio.run(serve, parser.parse_args().port)
