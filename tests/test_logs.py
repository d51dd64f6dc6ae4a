"""What enters a log: nothing of a peer's raw, long or secret, whatever line it comes by."""

import ast
import importlib
import logging
import re
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import trio_hubs
from tests.connections.server.http_peer import open_server
from trio_hubs import Hub, HubApp, HubException, Response, Transport
from trio_hubs.logs import BURST, access_logger, bind, fields_of, get_logger, shown
from trio_hubs.testing import open_test_client, open_test_http

SOURCES = Path(trio_hubs.__file__).parent
SECRET = "c2VjcmV0"
HOSTILE = (
    f"\r\nERROR forged:\x1b[2J\u202e\ud83d\0 GET /chat?access_token={SECRET}&id={SECRET} "
    f"Authorization: Bearer {SECRET} " + "x" * 120_000
)


class Lines(logging.Handler):
    """What came out, formatted as by default."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("trio_hubs")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def log_calls() -> Iterator[tuple[str, int, str, str, bool]]:
    """Every log call of the package: its module, line, level, format, and whether it tells of an exception."""
    for path in sorted(SOURCES.rglob("*.py")):
        module = ".".join(("trio_hubs", *path.relative_to(SOURCES).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logger"
                and node.func.attr != "addFilter"
            ):
                text = node.args[0]
                assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: its format is no literal"
                told = node.func.attr == "exception" or any(word.arg == "exc_info" for word in node.keywords)
                yield module, node.lineno, node.func.attr, str(text.value), told


CALLS = list(log_calls())


def test_there_are_log_calls_to_be_asked() -> None:
    assert len(CALLS) > 40


@pytest.mark.parametrize(
    ("module", "line", "level", "text", "told"), CALLS, ids=[f"{module}:{line}" for module, line, *_ in CALLS]
)
@pytest.mark.parametrize(
    "hostile", [HOSTILE, HOSTILE.encode("utf-8", "replace"), ValueError(HOSTILE)], ids=type
)
def test_hostile_text_enters_no_log(
    lines: Lines, hostile: object, module: str, line: int, level: str, text: str, told: bool
) -> None:
    logger: logging.Logger = importlib.import_module(module).logger
    places = re.findall(r"%[\d.]*([a-z])", text)
    error = ValueError(HOSTILE)
    error.add_note(HOSTILE)
    getattr(logger, "error" if level == "exception" else level)(
        text, *(7 if kind in "dfg" else hostile for kind in places), exc_info=error if told else None
    )
    (logged,) = lines.texts
    assert SECRET not in logged
    assert len(logged) < 1_000 * (1 + 2 * told)
    first, *rest = logged.split("\n")
    assert first.isprintable()
    assert all(part.isprintable() for part in rest)
    assert rest == [] or (told and rest[0] == "Traceback (most recent call last):")
    assert not any(part.startswith("ERROR forged") for part in rest)


def test_every_logger_is_a_filtered_one() -> None:
    for path in SOURCES.rglob("*.py"):
        if path.name != "logs.py":
            assert "getLogger(__name__)" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Größe 😀", "Größe 😀"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eabc", r"\u202eabc"),
        ("\ud83d", r"\ud83d"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "... (1 characters more)"),
        ("x" * 5_000, "x" * 200 + "... (4800 characters more)"),
        ("GET /hub?id=abc&access_token=def HTTP/1.1", "GET /hub?id=***&access_token=*** HTTP/1.1"),
        ("access_token=def", "access_token=***"),
        ("/hub?ACCESS_TOKEN=def&x", "/hub?ACCESS_TOKEN=***&x"),
        ("/hub?access%5Ftoken=def", "/hub?access%5Ftoken=***"),
        ("Bearer abc.def", "Bearer ***"),
        ("basic  dXNlcjpwYXNz", "basic ***"),
        ("Authorization: Digest abc", "Authorization ***"),
        ("Cookie: session=abc; other=def", "Cookie ***"),
        ("https://ann:secret@example.org/chat", "https://***@example.org/chat"),
        ("the token eyJhbGciOi.eyJzdWIi.c2ln is bad", "the token *** is bad"),
        ("?a=" + "s" * 3_000, "?a=***... (2000 characters more)"),
    ],
)
def test_a_text_is_shown_safely(text: str, expected: str) -> None:
    if text.startswith("?a="):
        assert "ss" not in shown(text)
    else:
        assert shown(text) == expected


def test_a_longer_text_may_be_asked_for() -> None:
    assert shown("x" * 300, 250) == "x" * 250 + "... (50 characters more)"


def record(text: str, created: float, *args: object) -> logging.LogRecord:
    made = logging.LogRecord("trio_hubs.test", logging.WARNING, __file__, 1, text, args, None)
    made.created = created
    return made


def test_lines_of_one_kind_are_counted_rather_than_repeated(lines: Lines) -> None:
    logger = get_logger("trio_hubs.test")
    for number in range(1_000):
        logger.handle(record("call %s refused", 100.0 + number / 1_000, number))
    logger.handle(record("another kind", 100.9))
    assert lines.texts[:19] == [f"call {number} refused" for number in range(19)]
    assert lines.texts[19:] == [
        "call 19 refused (more like this are only counted for 10 s)",
        "another kind",
    ]
    lines.texts.clear()
    logger.handle(record("call %s refused", 110.0, "last"))
    logger.handle(record("call %s refused", 110.1, "one"))
    assert lines.texts == ["call last refused (980 more like this were left out before)", "call one refused"]


def test_a_clock_that_is_set_back_silences_nothing(lines: Lines) -> None:
    logger = get_logger("trio_hubs.test")
    for _ in range(30):
        logger.handle(record("again", 1_000.0))
    lines.texts.clear()
    logger.handle(record("again", 10.0))
    assert lines.texts == ["again (10 more like this were left out before)"]


def fail(kind: type[Exception]) -> Exception:
    try:
        raise kind("no")
    except Exception as error:  # noqa: BLE001 - any of them
        return error


def test_failures_of_other_kinds_are_told_apart(lines: Lines) -> None:
    logger = get_logger("trio_hubs.test")
    for _ in range(30):
        logger.error("failed", exc_info=fail(ValueError))
    logger.error("failed", exc_info=fail(KeyError))
    assert len(lines.texts) == 21
    assert lines.texts[-1].endswith("KeyError: 'no'")


def test_a_failure_is_told_with_its_traceback_and_what_led_to_it(lines: Lines) -> None:
    logger = get_logger("trio_hubs.test")
    try:
        try:
            raise ValueError("first\nline")
        except ValueError as cause:
            cause.add_note("a note")
            raise ExceptionGroup("several", [KeyError("member")]) from cause
    except ExceptionGroup:
        logger.exception("it failed")
    (logged,) = lines.texts
    assert logged.startswith("it failed\nTraceback (most recent call last):\n")
    assert "test_logs.py" in logged
    assert "ExceptionGroup: several (1 sub-exception)\n\n" in logged
    assert "ValueError: first\\nline\na note" in logged
    assert "KeyError: 'member'" in logged


def test_a_failure_of_very_many_is_cut(lines: Lines) -> None:
    error = ExceptionGroup("many", [ValueError("x" * 5_000) for _ in range(10_000)])
    get_logger("trio_hubs.test").error("it failed", exc_info=error)
    assert len(lines.texts[0]) < 10_000


class Records(logging.Handler):
    """What came out, as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, object]]:
        return [fields_of(record) for record in self.records]


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    logger = logging.getLogger("trio_hubs")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_fields_are_as_safe_as_texts(records: Records) -> None:
    get_logger("trio_hubs.test").warning("it failed", extra={"method": HOSTILE, "number": 7})
    (fields,) = records.fields
    assert fields["number"] == 7
    method = str(fields["method"])
    assert SECRET not in method
    assert method.isprintable()
    assert len(method) < 300


def test_a_line_of_a_connection_has_its_id_as_a_field(records: Records) -> None:
    logger = get_logger("trio_hubs.test")
    logger.warning("connection %s: %s", "abc", "text")
    logger.warning("another %s", "abc")
    assert records.fields == [{"connection_id": "abc"}, {}]


def test_what_is_bound_to_a_task_is_a_field_of_its_lines(records: Records) -> None:
    def work() -> None:
        bind(hub="Chat")
        bind(transport=None)
        get_logger("trio_hubs.test").warning("one", extra={"hub": "Other"})
        get_logger("trio_hubs.test").warning("two")

    copy_context().run(work)
    get_logger("trio_hubs.test").warning("three")
    assert records.fields == [{"hub": "Other", "transport": None}, {"hub": "Chat", "transport": None}, {}]


class Divider(Hub):
    async def divide(self, by: int) -> float:
        logging.getLogger("trio_hubs.of_a_user").warning("dividing")
        return 1 / by


async def test_lines_of_calls_tell_hub_connection_transport_and_method(records: Records) -> None:
    app = HubApp()
    app.add_hub("/divider", Divider)
    async with open_test_client(app, "/divider") as connection:
        with pytest.raises(HubException):
            await connection.invoke("Divide", 0)
        with pytest.raises(HubException):
            await connection.invoke("Divide", "text")
        id = connection.connection_id
    where = {"connection_id": id, "hub": "Divider", "transport": Transport.WEBSOCKETS}
    told = {record.getMessage(): fields_of(record) for record in records.records}
    assert told[f"connection {id}: 'Divide' failed"] == where | {"method": "Divide"}
    refused = next(fields for text, fields in told.items() if "refused" in text)
    assert refused == where | {"method": "Divide"}
    record = next(each for each in records.records if each.getMessage() == "dividing")
    assert not {"hub"} & vars(record).keys()


@pytest.fixture
def accesses(records: Records) -> Iterator[Records]:
    access_logger.setLevel(logging.INFO)
    yield records
    access_logger.setLevel(logging.WARNING)


async def test_each_request_has_a_line_where_that_is_asked_for(
    accesses: Records, autojump_clock: MockClock
) -> None:
    app = HubApp()
    app.add_hub("/divider", Divider)
    app.add_route("/health", lambda _: Response("well"))
    async with open_test_http(app) as http:
        for _ in range(BURST + 10):
            await http.get(f"/health?access_token={SECRET}")
        await http.get("/nowhere")
        async with open_test_client(app, "/divider"):
            await trio.sleep(2.5)
    lines = [each.getMessage() for each in accesses.records if each.name == "trio_hubs.access"]
    assert lines[: BURST + 10] == ["- GET /health 200 0.000 s"] * (BURST + 10)
    assert lines[BURST + 10 :] == [
        "- GET /nowhere 404 0.000 s",
        "- POST /divider/negotiate 200 0.000 s",
        "- GET /divider 101 2.500 s",
    ]
    last = next(each for each in reversed(accesses.records) if each.name == "trio_hubs.access")
    assert fields_of(last) | {"seconds": 2.5} == {
        "client": "-",
        "http_method": "GET",
        "path": "/divider",
        "status": 101,
        "seconds": 2.5,
        "connection_id": fields_of(last)["connection_id"],
        "hub": "Divider",
        "transport": "WebSockets",
    }


async def test_requests_have_no_line_by_default(records: Records) -> None:
    app = HubApp()
    async with open_test_http(app) as http:
        await http.get("/nowhere")
    assert not [each for each in records.records if each.name == "trio_hubs.access"]


async def test_a_bad_request_has_a_line_too(accesses: Records, autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(b"GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).status == 400
    assert [each.getMessage() for each in accesses.records if each.name == "trio_hubs.access"] == [
        "- - - 400 0.000 s"
    ]
