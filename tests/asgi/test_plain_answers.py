"""Files, streamed answers and trusted proxies behind an ASGI server: as over HTTP on sockets."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs import HubApp, Request, Response, StreamedResponse, TrustedProxies

from .server_in_memory import ask, http, open_scope


@asynccontextmanager
async def running(app: HubApp) -> AsyncGenerator[Any]:
    async with app.running():
        yield app.asgi()


async def test_a_folder(tmp_path: Path) -> None:
    body = bytes(range(256)) * 2000
    (tmp_path / "file.bin").write_bytes(body)
    app = HubApp()
    app.add_static("/static", tmp_path)
    async with running(app) as application:
        whole = await ask(application, "GET", "/static/file.bin")
        assert (whole.status, whole.body) == (200, body)
        tag = whole.headers[b"etag"]
        asked = [(b"host", b"here"), (b"range", b"bytes=10-19")]
        part = await ask(application, "GET", "/static/file.bin", headers=asked)
        assert (part.status, part.body) == (206, body[10:20])
        known = await ask(application, "GET", "/static/file.bin", headers=[(b"if-none-match", tag)])
        assert (known.status, known.body) == (304, b"")
        head = await ask(application, "HEAD", "/static/file.bin")
        assert (head.status, head.headers[b"content-length"], head.body) == (200, b"512000", b"")
        for path in ("/static/../secret", "/static/.env", "/static/missing", "/static//etc/passwd"):
            assert (await ask(application, "GET", path)).status == 404
        assert (await ask(application, "POST", "/static/file.bin")).status == 405


@pytest.mark.parametrize("made", [0, 3])
async def test_a_streamed_answer_ends_with_its_client(made: int, autojump_clock: MockClock) -> None:
    endings: list[str] = []

    async def parts() -> AsyncIterator[str]:
        try:
            for number in range(made):
                yield str(number)
            await trio.sleep_forever()
        finally:
            endings.append("ended")

    app = HubApp()
    app.add_route("/", lambda _: StreamedResponse(parts(), status=201, headers={"X": "y"}))
    async with running(app) as application:
        async with open_scope(application, http()) as server:
            await wait_all_tasks_blocked()
            if made:
                assert (server.status, server.headers[b"x"], server.body) == (201, b"y", b"012")
            assert endings == []
        assert endings == ["ended"]


async def test_a_trusted_proxy(autojump_clock: MockClock) -> None:
    def tell(request: Request) -> Response:
        return Response(f"{request.client} {request.scheme}")

    app = HubApp(trusted_proxies=TrustedProxies("10.0.0.1"))
    app.add_route("/", tell)
    headers = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https")]
    async with running(app) as application:
        for client, seen in (("10.0.0.1", b"198.51.100.7 https"), ("10.0.0.2", b"10.0.0.2 http")):
            answer = await ask(application, "GET", "/", client=(client, 5000), headers=headers)
            assert answer.body == seen
