"""The house rules a program can check: imports point down only; files and public names say what they are."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest

import trio_hubs

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "trio_hubs"

# Each floor, with those it may import besides itself. What is not here is the roof, which no floor imports.
FLOORS = {
    "errors": set[str](),
    "logs": {"errors"},
    "tasks": set[str](),
    "protocol": {"errors"},
    "connections": {"errors", "logs", "tasks", "protocol"},
    "connections.websocket": {"errors", "logs", "tasks", "protocol", "connections"},
    "connections.server": {"errors", "logs", "tasks", "protocol", "connections", "connections.websocket"},
    "connections.client": {"errors", "logs", "tasks", "protocol", "connections", "connections.websocket"},
    "calls": {"errors", "logs", "tasks", "protocol", "connections"},
    "server": {"errors", "logs", "tasks", "protocol", "connections", "connections.server", "calls"},
    "fleet": {"errors", "logs", "tasks", "protocol", "connections", "calls", "server"},
    "client": {
        "errors",
        "logs",
        "tasks",
        "protocol",
        "connections",
        "connections.client",
        "calls",
    },
}
IMPURE = {"trio", "trio_websocket", "httpx2", "anyio", "asyncio", "socket", "threading"}

# Where a floor looks up: an app makes what it is in ASGI, and imports that only when it is asked to.
LOOKS_UP = {"trio_hubs/server/app.py": {("trio_hubs", "asgi")}}

# The door by HTTP/1.1 on sockets, which brings requests to the rest of its floor and is known to none of it.
DOOR = {"http_server", "http_exchange", "http_wire", "arrivals", "listeners"}
DOOR_NEEDS = {"h11", "socket", "trio_websocket"}

MODULES = sorted(path.relative_to(ROOT) for path in SOURCES.rglob("*.py"))
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("trio_hubs", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)


def floor_of(parts: tuple[str, ...]) -> str:
    """The floor, or the part of one, that a path or a dotted name stands for."""
    names = [part.removesuffix(".py") for part in parts[1:]]
    name = ".".join(names[:2])
    if name in FLOORS:
        return name
    return names[0] if names and names[0] in FLOORS else "roof"


STANDING = [module for module in MODULES if floor_of(module.parts) != "roof"]
PURE = [module for module in STANDING if module.parts[1] in {"errors.py", "protocol"}]
BEHIND_THE_DOOR = [
    module
    for module in STANDING
    if floor_of(module.parts) == "connections.server" and module.stem not in DOOR
]
MIRRORED = [module for module in STANDING if len(module.parts) > 2 and module.stem != "__init__"]


def imports_of(module: Path) -> Iterator[tuple[str, ...]]:
    """The dotted names a file imports, wherever in the file, in parts; `from a import b` gives `a`, `b`."""
    package = module.parent.parts
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = (*above, *(node.module.split(".") if node.module else ()))
            yield from ((*source, alias.name) for alias in node.names)


def floors_imported_by(module: Path) -> set[str]:
    """The floors of the house that a file imports."""
    ours = [name for name in imports_of(module) if name[0] == "trio_hubs"]
    allowed = LOOKS_UP.get(module.as_posix(), set[tuple[str, ...]]())
    return {floor_of(name) for name in ours if name[:2] not in allowed}


def public_names(namespace: object) -> dict[str, object]:
    """What a package exports: its attributes without the private ones and without its own modules."""
    return {
        name: value
        for name, value in vars(namespace).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("module", STANDING, ids=str)
def test_imports_point_down(module: Path) -> None:
    floor = floor_of(module.parts)
    assert floors_imported_by(module) <= FLOORS[floor] | {floor}


def test_what_is_looked_up_to_is_imported_by_nobody_who_does_not_ask() -> None:
    above = {".".join(name) for names in LOOKS_UP.values() for name in names}
    code = f"import sys, trio_hubs; assert not set(sys.modules) & {above}; trio_hubs.HubApp().asgi()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", PURE, ids=str)
def test_the_protocol_is_pure(module: Path) -> None:
    assert not {name[0] for name in imports_of(module)} & IMPURE


@pytest.mark.parametrize("module", BEHIND_THE_DOOR, ids=str)
def test_what_answers_requests_knows_no_door(module: Path) -> None:
    imports = list(imports_of(module))
    assert not {name[0] for name in imports} & DOOR_NEEDS
    assert not {part for name in imports if name[0] == "trio_hubs" for part in name} & (DOOR | {"websocket"})


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_opens_with_its_law(file: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_docstrings_have_one_dialect(module: Path) -> None:
    """Code has double backticks, but for roles like :meth:`x`; a law needs no word before it."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                plain = re.sub(r":\w+:`[^`]+`|``[^`]+``", "", text)
                assert "`" not in plain
                assert not re.search(r"^\s*Law:", text, re.MULTILINE)
            case _:
                pass


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_source_file_stays_short(module: Path) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("module", MIRRORED, ids=str)
def test_a_module_has_its_own_tests(module: Path) -> None:
    mirror = ROOT.joinpath("tests", *module.parts[1:-1], f"test_{module.stem.lstrip('_')}.py")
    assert mirror.is_file(), f"{mirror.relative_to(ROOT)} is missing"


def test_all_is_what_the_package_exports() -> None:
    assert set(trio_hubs.__all__) == set(public_names(trio_hubs))


@pytest.mark.parametrize("name", trio_hubs.__all__)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(trio_hubs, name)
    if get_origin(value) is not None:  # an alias of types, whose text stands below it
        sources = [(ROOT / module).read_text(encoding="utf-8") for module in STANDING]
        assert any(re.search(rf'^{name}: TypeAlias = .*\n"""', source, re.MULTILINE) for source in sources)
        return
    assert vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    if inspect.isclass(value):
        methods = {
            member: inspect.getdoc(getattr(value, member))
            for member, attribute in public_names(value).items()
            if inspect.isroutine(attribute) or isinstance(attribute, property | classmethod | staticmethod)
        }
        assert all(methods.values()), (
            f"undocumented: {[member for member, text in methods.items() if not text]}"
        )
