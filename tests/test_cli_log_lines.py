"""What the command's server logs: with times, as text or JSON."""

import logging
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial

import msgspec
import pytest

from trio_hubs.cli.log_lines import JsonFormatter, LogLines
from trio_hubs.logs import access_logger, bind, get_logger


@pytest.fixture(autouse=True)
def _unlogged() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    access_logger.setLevel(logging.WARNING)


def log(lines: LogLines) -> None:
    """As in a new process, where no handler is there yet."""
    logging.getLogger().handlers[:] = []  # those of pytest, of this test alone
    lines.begin()


def test_a_line_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    log(LogLines(log_level="info", log_format="text", access_log=False))
    get_logger("trio_hubs.test").info("it is %s", "well")
    logging.getLogger("mine").debug("not told")
    date, time, rest = capsys.readouterr().err.split(" ", 2)
    assert (len(date), len(time)) == (10, 12)
    assert rest == "INFO trio_hubs.test: it is well\n"
    assert not access_logger.isEnabledFor(logging.INFO)


def test_a_line_of_json_has_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    log(LogLines(log_level="warning", log_format="json", access_log=True))
    context = copy_context()
    context.run(bind, hub="Chat")
    line = partial(logging.getLogger("mine").warning, "line\nbreak %d", 7)
    context.run(line, extra={"room": object, "message_id": 5})
    access_logger.info("asked", extra={"status": 200})
    first, second = map(msgspec.json.decode, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "mine",
        "message": "line\nbreak 7",
        "room": str(object),
        "message_id": 5,
        "hub": "Chat",
    }
    assert (second["message"], second["status"]) == ("asked", 200)


@pytest.mark.parametrize("name", ["mine", "trio_hubs.test"])
def test_a_failure_has_its_traceback_in_the_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    log(LogLines(log_level="warning", log_format="json", access_log=False))
    try:
        raise ValueError("no")
    except ValueError:
        (get_logger(name) if name != "mine" else logging.getLogger(name)).exception("it failed")
    (line,) = map(msgspec.json.decode, capsys.readouterr().err.splitlines())
    assert line["message"] == "it failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: no")


def test_a_field_takes_the_place_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("mine", logging.INFO, "", 1, "text", (), None)
    record.level = record.logger = record.time = "forged"
    line = msgspec.json.decode(JsonFormatter().format(record))
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "mine", "text")
