"""docs/conformance.md says nothing that is not shown: the tests it names exist, and each row has some, or a reason.

Nothing stands in it twice, and what the differential test lets pass is among its differences, and nothing else of it.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.interop.conftest import JS
from tests.interop.differential.cases import CASES
from tests.interop.differential.differences import DIFFERENCES
from tests.interop.dotnet_scenarios import SCENARIOS
from tests.interop.js_scenarios import REGISTERED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
_, KEPT_PART, DIFFERENCES_PART = re.split(r"^## .+$", PAGE, flags=re.MULTILINE)
HEADS = {"behaviour", "what"}
NAMES = re.compile(r"`[^`]+`(, `[^`]+`)*")

CASE_IDS = frozenset(case.id for case in CASES)
JS_SCENARIOS = frozenset(
    name for source in JS.glob("*.mjs") for _, name in REGISTERED.findall(source.read_text(encoding="utf-8"))
)


def rows(part: str) -> Iterator[list[str]]:
    """The cells of each row of a part's tables."""
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] not in HEADS:
            yield cells


KEPT = list(rows(KEPT_PART))
DIFFERENT = list(rows(DIFFERENCES_PART))


def named(row: list[str]) -> list[str]:
    """The tests that a row names, in its last cell."""
    return re.findall(r"`([^`]+)`", row[-1])


@cache
def names_in(file: str) -> Collection[str]:
    """The tests of a file that show something; none when there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return ()
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not any("xfail" in ast.unparse(mark) for mark in node.decorator_list)
    }


def cases_of(pattern: str) -> set[str]:
    """The differential test's cases that a name means."""
    if pattern in CASE_IDS:
        return {pattern}
    matching = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    return {id for id in CASE_IDS if matching.fullmatch(id)}


def exists(name: str) -> bool:
    """Whether there is such a test."""
    kind, _, rest = name.partition(": ")
    match kind:
        case "differential":
            return bool(cases_of(rest))
        case "dotnet":
            return rest in SCENARIOS
        case "js":
            return rest in JS_SCENARIOS
        case _:
            file, _, test = name.partition("::")
            return test.startswith("test_") and test in names_in(file)


def test_each_test_that_is_named_exists() -> None:
    assert [name for row in (*KEPT, *DIFFERENT) for name in named(row) if not exists(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_conformance.py::test_no_such_test",
        "tests/test_conformance.py::exists",
        "tests/test_no_such_file.py::test_each_test_that_is_named_exists",
        "differential: negotiate: versoin 1",
        "differential: negotiate",
        "differential: negotiated: *",
        "dotnet: invoke returns no result",
        "js: dispose",
        "java: invoke",
    ],
)
def test_a_misspelt_name_is_noticed(name: str) -> None:
    assert not exists(name)


def test_each_behaviour_has_a_test() -> None:
    assert [row for row in KEPT if len(row) != 2 or not row[0] or not NAMES.fullmatch(row[-1])] == []


def test_each_difference_has_a_reason() -> None:
    assert [
        row
        for row in DIFFERENT
        if len(row) != 5 or not all(row[:4]) or not (row[-1] == "" or NAMES.fullmatch(row[-1]))
    ] == []


def test_nothing_stands_twice() -> None:
    texts = Counter(re.sub(r"\W+", " ", row[0]).casefold().strip() for row in (*KEPT, *DIFFERENT))
    assert [text for text, count in texts.items() if count > 1] == []
    for row in (*KEPT, *DIFFERENT):
        assert len(set(named(row))) == len(named(row)), row


def test_much_is_kept() -> None:
    assert len(KEPT) > 400


def differing(name: str) -> Collection[str]:
    """The differential test's cases, of those that a name means, that differ there."""
    kind, _, pattern = name.partition(": ")
    return DIFFERENCES.keys() & cases_of(pattern) if kind == "differential" else ()


def test_the_differences_are_those_of_the_differential_test() -> None:
    names = [name for row in DIFFERENT for name in named(row)]
    assert DIFFERENCES.keys() - {id for name in names for id in differing(name)} == set()
    assert [name for name in names if name.startswith("differential: ") and not differing(name)] == []
