"""The servers and official clients that the tests stand on.

A peer that this machine lacks skips its tests with a reason; where CI is set it fails them, since there every
peer must be. The one exception is the .NET peer on a processor that it was not built for: it says so itself.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.interop.ways import WAYS, Server, Way

ROOT = Path(__file__).parents[2]
JS = Path(__file__).parent / "js"
NOT_FOR_THIS_MACHINE = 77
TOGETHER = re.compile(
    r"(?P<file>.*)::\w+\[(?P<run>(signalr-\d-)?(websockets|sse|longpolling)/\w+"
    r"|(same-origin|credentials|token|foreign|cut)-(?=(websockets|sse|longpolling)/))"
    r"|.*/test_(fleet|redis_cluster)\.py"
)
"""Tests that share what is dear: one run of a client, by a way in Node or from a kind of page; a fleet, a cluster."""
RUN_TIMEOUT = 900  # seconds; a run goes through hundreds of scenarios, and a busy machine takes its time


class ByRun(LoadScopeScheduling):  # type: ignore[misc]  # which has no types
    """Tests that ask what one run of a client told go to one process: there it runs once. Most others go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        found = TOGETHER.match(nodeid)
        return nodeid if found is None else f"{found['file'] or found[0]} {found['run']}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByRun:
    """How pytest-xdist distributes these tests."""
    return ByRun(config, log)


def absent(reason: str) -> NoReturn:
    """Skip for want of a peer; fail where none may be wanting."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def read_line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line that a process prints; empty when it has ended, which it does when it takes too long."""
    assert process.stdout is not None
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()


@contextmanager
def running_server(*command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process, ended with the block: the address it prints first, and the process."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = read_line(process, 120)
            if not line and process.wait() == NOT_FOR_THIS_MACHINE:
                pytest.skip(f"{command[0]} was not built for this machine")
            assert line.startswith("listening "), f"{command} said {line!r} and ended with {process.poll()}"
            yield line.split()[1], process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def conformance_server() -> Iterator[str]:
    """The address of our server with the conformance hubs."""
    with running_server(sys.executable, "-m", "tests.interop.conformance_server", "--port", "0") as (
        address,
        _,
    ):
        yield address


@contextmanager
def cutter(server: str) -> Iterator[str]:
    """A cutting proxy before a server: the address of its control; see cutting_proxy.py."""
    with running_server(sys.executable, "-m", "tests.interop.cutting_proxy", server) as (control, _):
        yield control


@pytest.fixture(scope="session")
def conformance_cutter(conformance_server: str) -> Iterator[str]:
    """The control of a cutting proxy before our server."""
    with cutter(conformance_server) as control:
        yield control


@pytest.fixture(scope="session")
def dotnet_peer() -> str:
    """The executable that is the official .NET server and clients."""
    peer = os.environ.get("TRIO_HUBS_DOTNET_PEER")
    return peer or absent("TRIO_HUBS_DOTNET_PEER does not name the .NET peer")


@pytest.fixture(scope="session")
def dotnet_server(dotnet_peer: str) -> Iterator[str]:
    """The address of the real ASP.NET Core server."""
    with running_server(dotnet_peer, "server", "--port", "0") as (address, _):
        yield address


@pytest.fixture(scope="session")
def node() -> str:
    """Node's executable, where the packages of js/ are."""
    if not (JS / "node_modules").is_dir():
        absent("the npm packages are not installed: run npm ci in tests/interop/js")
    return shutil.which("node") or absent("Node is not installed")


@pytest.fixture(scope="session")
def run_node(node: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of the scripts in js/ with Node, as far as it comes in time: `run_node(script, *arguments)`."""

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [node, str(JS / script), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            watchdog = threading.Timer(RUN_TIMEOUT, process.kill)
            watchdog.start()
            try:
                output, errors = process.communicate()
            finally:
                watchdog.cancel()
                process.kill()
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    return run


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's executable."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or absent("Chromium is not installed")


@pytest.fixture(params=WAYS, ids=["/".join(way) for way in WAYS])
def way(request: pytest.FixtureRequest) -> Way:
    """Every test goes all ways."""
    chosen: Way = request.param
    return chosen


@pytest.fixture
def ours(conformance_server: str, way: Way) -> Server:
    """Our own server."""
    return Server(conformance_server, way)


@pytest.fixture(params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"])
def server(request: pytest.FixtureRequest, way: Way) -> Server:
    """Our own server, then the official one."""
    return Server(request.getfixturevalue(request.param), way)


@pytest.fixture
def key() -> str:
    """A key of the server's log that nobody else uses."""
    return uuid.uuid4().hex
