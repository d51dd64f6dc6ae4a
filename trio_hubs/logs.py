"""What may enter a log: nothing of a peer's raw, long or secret, and no kind of line without end.

Every logger of the package comes from here. Its filter renders each argument of a line, and each of its fields:
escaped, cut at a length, secrets masked; and it counts lines of one kind instead of repeating them. Fields are what
``extra`` gives, and what was bound to the task: the connection, its hub and its transport.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from math import inf
from traceback import format_tb
from typing import Self, TypeAlias

from .errors import text_of

LONGEST_TEXT = 200
"""Characters of one text that a line is given; the rest is only counted."""
BURST = 20
"""Lines of one kind in a period; further ones are only counted."""
PERIOD = 10.0
"""Seconds of a period."""

_LONGEST_ERROR = 1_000  # characters of its text, where it comes with its traceback
_LONGEST_CHAIN = 4  # exceptions that are told of one failure, with their causes and the members of groups
_MOST_FRAMES = 20  # of each of them
_READ_AHEAD = 1_000  # characters behind what is kept, of which a secret's may be; no text costs more
_SECRETS = (
    (re.compile(r"((?:[?&]|\baccess_token\b)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b((?:set-)?cookie|(?:proxy-)?authorization)\b.*", re.IGNORECASE | re.DOTALL), r"\1 ***"),
    (re.compile(r"\b(bearer|basic)\s+[^\s'\"]+", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"://[^/\s@]*@"), "://***@"),
    (re.compile(r"\beyJ[\w-]+\.[\w.-]*"), "***"),  # a JSON Web Token
)


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text of anybody's, as it may stand in a log or on a terminal: on one line, short, and without secrets.

    Args:
        text: The text.
        longest: Characters of it that are kept.
    """
    known = text[: longest + _READ_AHEAD]
    for secret, mask in _SECRETS:
        known = secret.sub(mask, known)
    short = known[:longest]
    if not short.isprintable():
        short = "".join(_escaped(character) for character in short)
    left_out = len(known) - longest + max(0, len(text) - longest - _READ_AHEAD)
    return f"{short}... ({left_out} characters more)" if left_out > 0 else short


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


class _Shown(str):
    """What a line is given, rendered; an exception's ``%r`` names its class."""

    __slots__ = ("kind",)

    kind: str

    def __new__(cls, text: str, kind: str = "") -> Self:
        self = super().__new__(cls, shown(text))
        self.kind = kind
        return self

    def __repr__(self) -> str:
        text = super().__repr__()
        return f"{self.kind}({text})" if self.kind else text


def _rendered(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case bytes() | bytearray():
            return _Shown(value[: LONGEST_TEXT + _READ_AHEAD].decode("latin-1"))
        case BaseException():
            return _Shown(text_of(value), type(value).__name__)
        case _:
            return _Shown(str(value))


def _trace(error: BaseException) -> str:
    """The exception, its causes and the members of groups, as Python would print them, each bounded."""
    return "\n\n".join(
        "Traceback (most recent call last):\n"
        + "".join(format_tb(each.__traceback__, limit=-_MOST_FRAMES))
        + "\n".join(shown(text, _LONGEST_ERROR) for text in _texts(each))
        for each in islice(_chain(error), _LONGEST_CHAIN)
    )


def _texts(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())[:_LONGEST_CHAIN]
    return [f"{type(error).__qualname__}: {text_of(error)}", *map(str, notes)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what led to it, then its members."""
    yield error
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _chain(cause)
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _chain(member)


Kind: TypeAlias = tuple[str, str, int]


def _kind(record: logging.LogRecord, error: BaseException | None) -> Kind:
    """What makes lines alike: their format, and where the failure that they tell of was raised."""
    if error is None:
        return str(record.msg), "", 0
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(record.msg), type(error).__qualname__, trace.tb_lineno if trace is not None else 0


class _Period:
    """How many lines of one kind there have been since when."""

    __slots__ = ("began", "lines")

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines = 0


_bound: ContextVar[Mapping[str, str | None]] = ContextVar("bound", default={})  # noqa: B039 - nobody changes it

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}  # of each record


def bind(**fields: str | None) -> None:
    """Give these fields to all that the task logs from now on, and the tasks that it starts."""
    _bound.set({**_bound.get(), **fields})


class FieldsFilter(logging.Filter):
    """Gives a line the fields that are bound to its task; on a handler, those of any logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _bound.get().items():
            vars(record).setdefault(name, _rendered(value))
        return True


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What a line was given besides its text."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class PeerFilter(FieldsFilter):
    """Makes lines safe, and counts those of a kind that come too often.

    Args:
        burst: How many of a kind may come in a period.
    """

    def __init__(self, burst: float = BURST) -> None:
        super().__init__()
        self._burst = burst
        self._periods: dict[Kind, _Period] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not self._is_told(record):
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(map(_rendered, record.args))
            if record.args and str(record.msg).startswith("connection %s"):
                record.connection_id = record.args[0]
        for name, value in fields_of(record).items():
            setattr(record, name, _rendered(value))
        return super().filter(record)

    def _is_told(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        kind = _kind(record, error)
        period = self._periods.setdefault(kind, _Period(record.created))
        unsaid = 0
        if not 0 <= record.created - period.began < PERIOD:
            unsaid = int(max(0, period.lines - self._burst))
            period.began, period.lines = record.created, 0
        period.lines += 1
        if period.lines > self._burst:
            return False
        if error is not None:
            record.exc_text = _trace(error)
        if unsaid:
            record.msg = f"{record.msg} ({unsaid} more like this were left out before)"
        if period.lines == self._burst:
            record.msg = f"{record.msg} (more like this are only counted for {PERIOD:g} s)"
        return True


_masked: ContextVar[bool] = ContextVar("masked", default=False)


class _SecretsFilter(logging.Filter):
    """Masks what a library logs while it works for us; what it logs for others is left as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _masked.get():
            record.msg = shown(record.getMessage(), _LONGEST_ERROR)
            record.args = None
        return True


_secrets_filter = _SecretsFilter()


@contextmanager
def masking(*loggers: str) -> Iterator[None]:
    """Mask secrets in what these loggers, a library's, are told during the body."""
    for name in loggers:
        logging.getLogger(name).addFilter(_secrets_filter)
    before = _masked.set(True)
    try:
        yield
    finally:
        _masked.reset(before)


peer_filter = PeerFilter()
"""The filter of all loggers of the package but the next."""


def get_logger(name: str) -> logging.Logger:
    """The logger of a module, with the filter on it."""
    logger = logging.getLogger(name)
    logger.addFilter(peer_filter)
    return logger


access_logger = logging.getLogger("trio_hubs.access")
"""Logs a line for each HTTP request that has been answered, at level INFO, where that is its own level; none is left
out."""
access_logger.addFilter(PeerFilter(inf))
access_logger.setLevel(logging.WARNING)
