"""`python -m tests.interop.conformance_server --port N`: the conformance hubs, at the peer's addresses.

Prints `listening http://127.0.0.1:N` once it answers; port 0 takes a free one.
"""

import argparse

import attrs
import trio

from tests.interop.conformance_hubs import ConformanceHub, CounterHub, LoadHub, seen
from trio_hubs import HubApp, HubOptions, Request, Response

DOTNET = HubOptions(payloads="dotnet")


def build_app() -> HubApp:
    """Every endpoint of the peer's contract that we keep, with the options it gives them."""
    app = HubApp()
    app.add_hub("/hub", LoadHub, options=DOTNET)
    app.add_hub("/counter", CounterHub, options=DOTNET)
    app.add_hub("/conformance", ConformanceHub, options=DOTNET)
    app.add_hub("/detailed", ConformanceHub, options=attrs.evolve(DOTNET, detailed_errors=True))
    app.add_hub("/parallel", ConformanceHub, options=attrs.evolve(DOTNET, maximum_parallel_invocations=4))
    impatient = attrs.evolve(DOTNET, keep_alive_interval=0.5, client_timeout=1.0, handshake_timeout=1.0)
    app.add_hub("/impatient", ConformanceHub, options=impatient)
    app.add_hub("/websockets-only", ConformanceHub, options=DOTNET)
    app.add_route("/seen", answer_seen)
    return app


def answer_seen(request: Request) -> Response:
    """What the hubs logged under `?key=`."""
    return Response(body=seen(request.query["key"]))


async def main(port: int) -> None:
    """Serve until the process is ended."""
    async with trio.open_nursery() as nursery:
        address: str = await nursery.start(build_app().serve, "127.0.0.1", port)
        print(f"listening {address}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the conformance hubs.")
    parser.add_argument("--port", type=int, default=0)
    trio.run(main, parser.parse_args().port)
