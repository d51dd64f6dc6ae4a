"""The fixtures, in a project of its own that asks for them; others never import this package."""

import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest
from trio_hubs import Hub, HubApp, Response, User

pytest_plugins = ["trio_hubs.testing.pytest_plugin"]

class Chat(Hub):
    async def say(self, text: str) -> None:
        await self.clients.all.send("Said", self.context.user_id, text)

@pytest.fixture
def app():
    app = HubApp()
    app.add_hub("/chat", Chat)
    app.add_route("/health", lambda request: Response("ok"))
    yield app
    assert app.statistics().connections == 0
"""
TESTS = """
import pytest
import trio
from trio_hubs import User

pytestmark = pytest.mark.trio

async def test_two(app, hub_client, hub_http, autojump_clock):
    ann = await hub_client(app, "/chat", user=User("ann"))
    bob = await hub_client(app, "/chat", user=User("bob"), protocol="messagepack")
    http = await hub_http(app)
    assert (await http.get("/health")).text == "ok"
    with trio.fail_after(60):
        async with bob.messages("Said", str, str) as said:
            await ann.invoke("Say", "hi")
            assert await said.read() == ("ann", "hi")

async def test_at_once(app, hub_client, autojump_clock):
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(hub_client, app, "/chat")
    assert app.statistics().connections == 5

async def test_by_the_app_of_a_block(app, hub_client, autojump_clock):
    from trio_hubs.testing import open_test_app
    async with open_test_app(app):
        await (await hub_client(app, "/chat")).invoke("Say", "hi")
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_clients_are_opened_for_the_rest_of_a_test(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_chat.py").write_text(TESTS)
    run = run_pytest(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout


def test_a_project_that_does_not_ask_for_them_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'trio_hubs' not in sys.modules\n"
    )
    run = run_pytest(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
