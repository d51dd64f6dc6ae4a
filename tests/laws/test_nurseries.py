"""Law 4: nurseries belong to functions."""

import ast
from pathlib import Path

from trio.testing import MockClock

import trio_hubs
from tests.hub_peer import no_task_left, open_raw_server, served_hub
from trio_hubs import HubApp, HubOptions

from .witness import Witness


def test_each_nursery_is_opened_by_a_with_statement_in_one_place() -> None:
    opened = held = 0
    places: set[str] = set()
    for path in Path(trio_hubs.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "open_nursery":
                opened += 1
                places.add(path.name)
            if isinstance(node, ast.AsyncWith):
                held += sum("open_nursery" in ast.unparse(part.context_expr) for part in node.items)
    assert opened == held > 0
    assert places == {"tasks.py"}  # which lets out bare exceptions alone


def test_what_is_constructed_needs_no_event_loop() -> None:
    app = HubApp()
    app.add_hub("/witness", Witness, factory=lambda: Witness([]), options=HubOptions())
    served_hub(Witness, lambda: Witness([]))


async def test_the_tasks_of_a_client_end_with_its_block(autojump_clock: MockClock) -> None:
    with no_task_left():
        async with open_raw_server() as (connection, _), connection.stream("Count", 1):
            pass
