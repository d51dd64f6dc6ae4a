"""The conformance hub as an app of a fleet, for tests of faults: each process tells what it keeps, and may go wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trio

from trio_hubs import HubApp, HubOptions, Request, Response
from trio_hubs.fleet.bus import Gap
from trio_hubs.redis import RedisBackplane
from trio_hubs.server.address import Address

from .conformance_hubs import ConformanceHub
from .conformance_server import authenticate

gaps: list[Gap] = []


class FaultsHub(ConformanceHub):
    """Says in which process it runs."""

    def process(self) -> int:
        return os.getpid()

    def worker(self) -> int | None:
        return app.worker_number

    def gaps(self) -> list[int]:
        """How many messages went nowhere, for each time that this process was cut off from the others."""
        return [gap.unsent for gap in gaps]


redis = os.environ.get("FAULTS_REDIS")
app = HubApp(
    authenticate=authenticate,
    options=HubOptions(naming="dotnet"),
    backplane=None if redis is None else RedisBackplane(redis, on_gap=gaps.append, publish_timeout=1),
)
app.add_hub("/hub", FaultsHub)


def tell_kept(_: Request) -> Response:
    """What this process keeps."""
    return Response.json(
        {
            "process": os.getpid(),
            "connections": app.statistics().connections,
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        }
    )


async def tell_there(_: Request) -> Response:
    """Who is there, in all processes: the ids of clients, the groups and the users."""
    roster = app.hub(FaultsHub)._roster
    clients = await roster.find(Address.all())
    return Response.json(
        [[client.id for client in clients], sorted(await roster.groups()), sorted(await roster.users())]
    )


def lie(_: Request) -> Response:
    """Send rubbish to the supervisor."""
    worker: Any = app._door.worker
    worker.others._bus._pipe.put(b"\xff" * 10)
    return Response()


app.add_route("/kept", tell_kept)
app.add_route("/there", tell_there)
app.add_route("/lie", lie)
