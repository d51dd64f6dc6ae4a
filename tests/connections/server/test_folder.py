"""A folder's files are there, by their names alone: nothing hidden, nothing outside, however it is asked for."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.connections.websocket.websocket_peer import PATIENCE
from trio_hubs.connections.server.folder import Folder
from trio_hubs.connections.server.gate import Gate
from trio_hubs.connections.server.origins import Origins
from trio_hubs.connections.server.resource import Handler, Resource
from trio_hubs.connections.server.router import Pattern

from .http_peer import Client, server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with its neighbours."""
    files = {
        "site/index.html": "index",
        "site/app.js": "script",
        "site/a b\u00e4.txt": "odd name",
        "site/a:b": "colon",
        "site/docs/index.html": "docs",
        "site/docs/page.html": "page",
        "site/bare/file": "file",
        "site/.env": "secret",
        "site/.git/config": "secret",
        "site/.well-known/security.txt": "contact",
        "site/.well-known/.hidden": "secret",
        "secret.txt": "secret",
        "site.txt": "secret",  # which begins like the folder's name, as in CVE-2023-29159
        "site2/index.html": "secret",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    root = tmp_path / "site"
    (root / "inner.html").symlink_to("docs/page.html")
    (root / "outer.txt").symlink_to("../secret.txt")
    (root / "outside").symlink_to(tmp_path / "site2")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    return root


@asynccontextmanager
async def open_folder(
    path: Path, prefix: str = "", *, follow_symlinks: bool = False
) -> AsyncGenerator[Client]:
    files = Folder(path, headers={"Cache-Control": "no-cache"}, follow_symlinks=follow_symlinks)
    pattern, gate = Pattern.parse(f"{prefix}/{{path:path}}"), Gate(Origins(frozenset(), check_gets=False))
    place = Resource(pattern.path)
    place.add(["GET"], Handler(files.answer, pattern, gate=gate, hall=gate))
    door = server({})
    door.router.add({pattern.path: place})
    near, far = memory_stream_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.serve_stream, near)
            yield Client(far)
            await far.aclose()


async def get(client: Client, target: str) -> tuple[int, str]:
    answer = await client.ask("GET", target)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/", "index"),
        ("/index.html", "index"),
        ("/app.js", "script"),
        ("/app.js?v=1", "script"),
        ("/a%20b%C3%A4.txt", "odd name"),
        ("/a:b", "colon"),
        ("/docs/", "docs"),
        ("/docs/page.html", "page"),
        ("/bare/file", "file"),
        ("/%61pp.js", "script"),
        ("/.well-known/security.txt", "contact"),
        ("/inner.html", "page"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/static", "/a/b"])
async def test_files_are_at_their_paths(prefix: str, target: str, text: str, site: Path) -> None:
    async with open_folder(site, prefix) as client:
        answer = await client.ask("GET", prefix + target)
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["cache-control"] == "no-cache"
        kind = "text/html; charset=utf-8" if text in ("index", "docs", "page") else None
        assert kind in (None, answer.headers["content-type"])


@pytest.mark.parametrize(
    "target",
    [
        "/missing",
        "/missing/",
        "/docs/missing",
        "/app.js/",
        "/app.js/x",
        "/bare/",
        "/.env",
        "/.git/config",
        "/.git/",
        "/.git",
        "/%2Eenv",
        "/docs/../.env",
        "/.well-known/.hidden",
        "/.",
        "/./app.js",
        "/../secret.txt",
        "/../site.txt",
        "/../site2/",
        "/../site2/index.html",
        "/..",
        "/../",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/..%252Fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/docs%2Fpage.html",
        "/..%5Csecret.txt",
        "/..\\secret.txt",
        "/docs\\page.html",
        "/C:\\secret.txt",
        "//",
        "//app.js",
        "//secret.txt",
        "///etc/passwd",
        "/%2Fetc/passwd",
        "/docs//page.html",
        "/app.js%00",
        "/app.js%00.html",
        "/%00",
        "/app.js%0A",
        "/%ff",
        "/%f0%80%80%ae/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/~root",
        "/pipe",
        "/loop",
        "/loop/x",
        "/outer.txt",
        "/outside/",
        "/outside/index.html",
        "/" + "x" * 5000,
        "/" + "x/" * 3000,
    ],
)
async def test_all_else_is_not_there(target: str, site: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_folder(site, "/static") as client:
        status, text = await get(client, f"/static{target}")
        assert (status, text.startswith("Nothing is served at /")) == (404, True)
    assert caplog.records == []


async def test_links_may_lead_out_where_that_was_said(site: Path) -> None:
    async with open_folder(site, follow_symlinks=True) as client:
        assert await get(client, "/outer.txt") == (200, "secret")
        assert await get(client, "/outside/") == (200, "secret")
        assert (await get(client, "/../secret.txt"))[0] == 404
        assert (await get(client, "/.env"))[0] == 404


async def test_the_folder_itself_may_be_a_link(site: Path) -> None:
    link = site.with_name("current")  # starlette's issue 2646
    link.symlink_to(site)
    async with open_folder(link) as client:
        assert await get(client, "/app.js") == (200, "script")
        link.unlink()
        link.symlink_to(site.with_name("site2"))  # as a new release
        assert await get(client, "/") == (200, "secret")
        assert (await get(client, "/app.js"))[0] == 404


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/docs", "./docs/"),
        ("/docs?a=1&b=%0a", "./docs/?a=1&b=%0a"),
        ("/bare", "./bare/"),
        ("/.well-known", "./.well-known/"),
    ],
)
async def test_a_folder_is_told_its_slash(target: str, location: str, site: Path) -> None:
    async with open_folder(site, "/static") as client:
        answer = await client.ask("GET", f"/static{target}")
        assert (answer.status, answer.headers["location"]) == (307, location)


async def test_a_redirection_leads_nowhere_else(site: Path) -> None:
    (site / "evil.example").mkdir()
    async with open_folder(site) as client:
        for target in ("//evil.example", "/%2Fevil.example", "/\\evil.example", "/%5Cevil.example"):
            assert (await client.ask("GET", target)).status == 404
        assert (await client.ask("GET", "/evil.example")).headers["location"] == "./evil.example/"


def test_a_folder_is_one(site: Path) -> None:
    for path in (site / "missing", site / "app.js"):
        with pytest.raises(ValueError, match="there is no folder"):
            Folder(path, headers={})
