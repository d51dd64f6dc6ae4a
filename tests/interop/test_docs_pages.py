"""JavaScript of the documentation in a browser, at the server beside it; no other server is asked for anything."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import ROOT, running_server

pytestmark = pytest.mark.interop

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

PRESENCE_APP = """
from pathlib import Path
from trio_hubs import FileResponse, Response

PAGE = Path(__file__).with_name("presence.html").read_text()
app = HubApp(authenticate=lambda request: User(request.query.get("name")))
app.add_hub("/presence", Presence)
app.add_route("/", lambda _: Response(PAGE, content_type="text/html"))
app.add_route("/signalr.min.js", lambda _: FileResponse(Path(__file__).with_name("signalr.min.js")))
"""
PRESENCE_PAGE = """<!doctype html>
<script src="signalr.min.js"></script>
<script type="module">
const connection = new signalR.HubConnectionBuilder().withUrl("/presence" + location.search).build();
%s</script>
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules to serve, and SignalR's client."""
    shutil.copy(ROOT / "examples" / "pages" / "signalr.min.js", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def blocks_of(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [block["code"] for block in BLOCK.finditer(text) if block["language"] == language]


def visit(run_node: Callable[..., subprocess.CompletedProcess[str]], script: str, *arguments: str) -> None:
    run = run_node(script, *arguments)
    assert run.stdout == "ok\n", run.stdout + run.stderr


def test_the_page_of_the_tutorial(
    run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str, site: Path
) -> None:
    _, server, _ = blocks_of("tutorial.md", "python")
    (page,) = blocks_of("tutorial.md", "html")
    (site / "weather.py").write_text(server, encoding="utf-8")
    (site / "index.html").write_text(page, encoding="utf-8")
    command = (sys.executable, "-m", "trio_hubs", "serve", "weather:app", "--port", "0")
    with running_server(*command) as (address, _):
        visit(run_node, "weather_page.mjs", chromium, address)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_presence(
    run_node: Callable[..., subprocess.CompletedProcess[str]], chromium: str, site: Path, workers: str
) -> None:
    """Two devices of a user come at the same moment, are loaded anew, and leave at the same moment; several times."""
    (server,) = blocks_of("presence.md", "python")
    (script,) = blocks_of("presence.md", "js")
    (site / "presence.py").write_text(server.removesuffix("trio.run(main)\n") + PRESENCE_APP, "utf-8")
    (site / "presence.html").write_text(PRESENCE_PAGE % script, encoding="utf-8")
    command = (sys.executable, "-m", "trio_hubs", "serve", "presence:app", "--port", "0")
    with running_server(*command, "--workers", workers) as (address, _):
        visit(run_node, "presence_page.mjs", chromium, address)
