"""The conformance hubs, as an app for workers; each says which of them it is."""

import os

from trio_hubs import Request, Response

from .conformance_server import build_app

app = build_app(redis=os.environ.get("WORKERS_REDIS"))


def answer_worker(_: Request) -> Response:
    """The number of the worker that answers."""
    return Response(str(app.worker_number))


def answer_up(_: Request) -> Response:
    """The numbers of the workers that serve."""
    return Response.json(list(app.workers_up))


def answer_ready(_: Request) -> Response:
    """The number of the worker that answers, and whether it is to run empty."""
    return Response(f"{app.worker_number}{' draining' if app.draining else ''}")


app.add_route("/ready", answer_ready)
app.add_route("/worker", answer_worker)
app.add_route("/up", answer_up)
