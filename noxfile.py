"""Every check of the project, each a session; plain `nox` runs them all and needs nothing but nox.

A Python, or a peer of the interop tests, that this machine does not have is left out and is no error.
`interop` stays last: pytest's summary is then the last thing on standard output.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nox
from python_discovery import get_interpreter

nox.needs_version = ">=2026.8.17"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests", "interop"]

PYPROJECT = nox.project.load_toml()
JS_PEER = Path("tests/interop/js")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pythons() -> list[str]:
    """The Pythons we support that are on this machine, oldest first."""
    if pyenv := shutil.which("pyenv"):
        # A shim of pyenv answers only for the selected versions: select all of them.
        listed = subprocess.run(
            [pyenv, "versions", "--bare"], capture_output=True, text=True, check=True
        ).stdout
        versions = [line for line in listed.split() if re.fullmatch(r"3\.\d+\.\d+", line)]
        os.environ.setdefault("PYENV_VERSION", ":".join(reversed(versions)))
    return [version for version in nox.project.python_versions(PYPROJECT) if get_interpreter(version)]


PYTHONS = pythons()
OLDEST = PYTHONS[0]


def install(session: nox.Session, *groups: str) -> None:
    """Install the project, as edited here, and the dependency groups beside it."""
    session.install("-e", ".[cli]", *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Rules and format."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=OLDEST)
def types(session: nox.Session) -> None:
    """Both type checkers, on the oldest Python's terms."""
    install(session, "types")
    session.run("mypy", "--strict")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The fast tests and the examples in the docs; the oldest Python also holds the branch coverage."""
    install(session, "test")
    pytest = ["pytest", "-n", f"{CORES}", "--dist", "worksteal", "--ignore=tests/interop"]
    if session.python == OLDEST:
        session.run("coverage", "erase")
        session.run("coverage", "run", "-m", *pytest)
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "report")
    else:
        session.run(*pytest)


@nox.session(python=OLDEST)
def interop(session: nox.Session) -> None:
    """The official clients and server, those that are here."""
    install(session, "test")
    if npm := shutil.which("npm"):
        session.run(npm, "ci", "--no-audit", "--no-fund", "--prefix", str(JS_PEER), external=True)
    # They wait more than they work: official clients have patience, servers have timeouts.
    session.run("pytest", "-n", f"{2 * CORES}", "tests/interop")
