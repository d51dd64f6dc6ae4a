"""`python -m tests.interop.conformance_server --port N`: the conformance hubs, at the peer's addresses.

Prints `listening http://127.0.0.1:N` once it answers; port 0 takes a free one. Pages of other origins may connect
when each is named by `--allow-origin`. With `--redis` it is one of a fleet. With `--mounted PATH` it is
Hypercorn that serves them, mounted there in an application of Starlette's.
"""

import argparse
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.asgi.hypercorn_server import open_hypercorn
from tests.interop.conformance_hubs import (
    AuthHub,
    ConformanceHub,
    CounterHub,
    DetailedHub,
    ImpatientHub,
    LoadHub,
    ParallelHub,
    PollingOnlyHub,
    WebSocketsOnlyHub,
    seen,
)
from trio_hubs import Connection, Hub, HubApp, HubOptions, Request, Response, Transport, User
from trio_hubs.redis import RedisBackplane


def build_app(allowed_origins: Sequence[str] = (), redis: str | None = None) -> HubApp:
    """Every endpoint of the peer's contract, with the options it gives them."""
    backplane = None
    if redis is not None:
        names: dict[type[Hub[Any]], str] = {ConformanceHub: "Peer.ConformanceHub", LoadHub: "Peer.LoadHub"}
        backplane = RedisBackplane(redis, hub_names=names)
    options = HubOptions(naming="dotnet", allowed_origins=allowed_origins)
    app = HubApp(authenticate=authenticate, options=options, backplane=backplane)
    app.add_hub("/hub", LoadHub)
    app.add_hub("/counter", CounterHub)
    app.add_hub("/conformance", ConformanceHub, options=attrs.evolve(options, stateful_reconnect=True))
    app.add_hub("/detailed", DetailedHub, options=attrs.evolve(options, detailed_errors=True))
    app.add_hub("/parallel", ParallelHub, options=attrs.evolve(options, maximum_parallel_invocations=4))
    # The real server's second of patience lasts up to two, as it looks once a second.
    impatient = attrs.evolve(options, keep_alive_interval=0.5, client_timeout=2.0, handshake_timeout=1.0)
    app.add_hub("/impatient", ImpatientHub, options=impatient)
    app.add_hub("/auth", AuthHub)
    websockets = attrs.evolve(options, transports=[Transport.WEBSOCKETS])
    app.add_hub("/websockets-only", WebSocketsOnlyHub, options=websockets)
    app.add_hub(
        "/polling-only", PollingOnlyHub, options=attrs.evolve(options, transports=[Transport.LONG_POLLING])
    )
    app.add_connection_handler("/echo", echo)
    app.add_route("/seen", answer_seen)

    async def announce(request: Request) -> Response:
        await app.hub(ConformanceHub).clients.all.send("Message", request.query["text"])
        return Response()

    app.add_route("/announce", announce, methods=["POST"])
    return app


def authenticate(request: Request) -> User | None:
    """The user of a token: `NAME` or `NAME:ROLE`; that of `bad` is nobody."""
    token = request.bearer_token
    if token is None or token == "bad":
        return None
    name, _, role = token.partition(":")
    return User(name, claims={"role": role} if role else {})


async def echo(connection: Connection) -> None:
    """Send back each piece as it came."""
    while data := await connection.receive():
        await connection.send(data)


def answer_seen(request: Request) -> Response:
    """What the hubs logged under `?key=`."""
    return Response(body=seen(request.query["key"]))


@asynccontextmanager
async def open_mounted(app: HubApp, path: str, port: int) -> AsyncGenerator[str]:
    """Serve an app by Hypercorn, mounted at a path, for the body; gives its address."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with app.running():
            yield

    host = Starlette(routes=[Mount(path, app.asgi())], lifespan=lifespan)
    async with open_hypercorn(host, port=port) as address:
        yield address + path


async def main(port: int, allowed_origins: Sequence[str], redis: str | None, mounted: str | None) -> None:
    """Serve until the process is ended."""
    app = build_app(allowed_origins, redis)
    async with AsyncExitStack() as stack:
        if mounted is None:
            nursery = await stack.enter_async_context(trio.open_nursery())
            address = await nursery.start(app.serve, "127.0.0.1", port)
        else:
            address = await stack.enter_async_context(open_mounted(app, mounted, port))
        print(f"listening {address}", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the conformance hubs.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN")
    parser.add_argument("--redis", metavar="URL")
    parser.add_argument("--mounted", metavar="PATH")
    chosen = parser.parse_args()
    trio.run(main, chosen.port, chosen.allow_origin, chosen.redis, chosen.mounted)
