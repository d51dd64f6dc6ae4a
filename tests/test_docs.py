"""The examples in README.md and docs/ are true: every Python block compiles and finds its imports.

A block below the comment `<!-- test -->` is also run, as a file of its own: warnings are errors, and it has
ten seconds.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^(?P<run><!-- *test *-->\s+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(block["code"], bool(block["run"]), id=f"{page.name}-{number}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for number, block in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), 1)
]


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
