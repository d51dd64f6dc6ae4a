"""The load hub's broadcast on python-socketio with its Redis manager, under uvicorn, as its documentation has it:
`python -m benchmarks.socketio_server --redis URL`.
"""

from __future__ import annotations

import argparse
import socket

import socketio  # type: ignore[import-untyped, import-not-found, unused-ignore]
import uvicorn


def main(port: int, redis: str) -> None:
    """Serve until killed."""
    server = socketio.AsyncServer(
        async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis) if redis else None
    )

    @server.on("Broadcast")  # type: ignore[untyped-decorator, unused-ignore]
    async def broadcast(_: str, text: str) -> None:
        await server.emit("message", text)

    listener = socket.create_server(("127.0.0.1", port), backlog=1000)
    config = uvicorn.Config(socketio.ASGIApp(server), lifespan="off", log_level="warning")
    print(f"listening http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.socketio_server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--redis", default="", metavar="URL")
    arguments = parser.parse_args()
    main(arguments.port, arguments.redis)
