"""A test that hangs fails and says where, whatever hangs in it; the others go on."""

import subprocess
import sys
from pathlib import Path

HANGING = """
import trio
import trio.testing

async def stuck():
    with trio.CancelScope(shield=__name__ == "shielded"):
        await trio.sleep_forever()

async def test_virtual_time_stands_still(autojump_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stuck)

async def test_a_task_never_gives_way():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stuck)
        await trio.testing.wait_all_tasks_blocked()
        try:
            while True:
                pass
        except BaseException:
            nursery.cancel_scope.cancel()

async def test_after_them():
    pass
"""


def run(path: Path) -> subprocess.CompletedProcess[str]:
    path.write_text(HANGING, encoding="utf-8")
    options = ["-p", "tests.conftest", "-c", "pyproject.toml", "-o", "time_limit=0.5", "-rN"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_a_test_that_hangs_fails_and_the_others_go_on(tmp_path: Path) -> None:
    done = run(tmp_path / "test_hanging.py")
    assert "2 failed, 1 passed" in done.stdout
    for name in ("virtual_time_stands_still", "a_task_never_gives_way"):
        assert f"::test_{name} has not ended after 0.5 s." in done.stdout
    assert done.stdout.count("in stuck\n    await trio.sleep_forever()") == 2


def test_a_test_that_cannot_be_interrupted_ends_the_run(tmp_path: Path) -> None:
    done = run(tmp_path / "shielded.py")
    assert done.returncode not in (0, 2)
    assert "::test_virtual_time_stands_still has not ended after 0.5 s." in done.stderr
    assert "in stuck\n    await trio.sleep_forever()" in done.stderr
    assert "Timeout (0:00:01" in done.stderr
