"""The pages are true: every Python block compiles and finds its imports, links lead somewhere, no option is missing.

A block below the comment `<!-- test -->` is also run, as a file of its own: warnings are errors, and it has
ten seconds. Those of a page below `<!-- pytest -->` are run together by pytest, each as the file that its first line
names.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from trio_hubs import EndpointOptions, HubConnectionOptions, HubOptions

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- *(?P<run>test|pytest) *-->\s+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
BLOCKS = {page: list(BLOCK.finditer(page.read_text(encoding="utf-8"))) for page in PAGES}
EXAMPLES = [
    pytest.param(block["code"], block["run"] == "test", id=f"{page.name}-{number}")
    for page, blocks in BLOCKS.items()
    for number, block in enumerate(blocks, 1)
    if block["run"] != "pytest"
]
TESTED = [page for page, blocks in BLOCKS.items() if any(block["run"] == "pytest" for block in blocks)]
LINK = re.compile(r"\]\((?!https?:)(?P<page>[^)#]*)(?:#(?P<section>[^)]*))?\)")
NAME = re.compile(r"`([\w.]+)`")
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<default>[^|]*) \|", re.MULTILINE)


@pytest.mark.parametrize(("code", "run"), EXAMPLES)
def test_example(code: str, run: bool, tmp_path: Path) -> None:
    compile(code, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            source = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(source, alias.name), f"{node.module} has no {alias.name}"
    if run:
        file = tmp_path / "example.py"
        file.write_text(code, encoding="utf-8")
        subprocess.run([sys.executable, "-W", "error", str(file)], check=True, timeout=10)


@pytest.mark.parametrize("page", TESTED, ids=lambda page: page.name)
def test_examples_that_are_tests(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntrio_mode = true\nfilterwarnings = error\n", encoding="utf-8"
    )
    for block in BLOCKS[page]:
        if block["run"] == "pytest":
            name = block["code"].partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block["code"], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["page"] if link["page"] else page
        assert target.exists(), link[0]
        if link["section"]:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert link["section"] in [
                re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles
            ]


@pytest.mark.parametrize("options", [EndpointOptions, HubOptions, HubConnectionOptions])
def test_limits_name_every_option_with_its_default(
    options: type[EndpointOptions | HubConnectionOptions],
) -> None:
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    section = page.split(f": `{options.__name__}`")[1].split("\n## ")[0]
    stated = {row["name"]: row["default"] for row in ROW.finditer(section)}
    own = [field for field in attrs.fields(options) if not field.inherited]
    assert list(stated) == [field.name for field in own]
    for field in own:
        if type(field.default) in (int, float):
            assert stated[field.name] == in_words(field.default)


def in_words(number: float) -> str:
    """A number as the page has it."""
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size and number % size == 0:
            return f"{number // size:g} {unit}"
    return f"{number:,g}" if number < 1000 else f"{number:,.0f}"


def test_each_function_on_the_way_of_a_stream_exists() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = page.partition("## One stream invocation, floor by floor")[2].partition("\n## ")[0]
    named = {
        name
        for cell in re.findall(r"^\|[^|]*\|([^|]*)\|", section, re.MULTILINE)
        for name in NAME.findall(cell)
    }
    assert len(named) > 10
    known: set[str] = set()
    for module in (ROOT / "trio_hubs").rglob("*.py"):
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                known.add(node.name)
            elif isinstance(node, ast.ClassDef):
                known |= {
                    f"{node.name}.{part.name}"
                    for part in node.body
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                }
    assert sorted(named - known) == []
