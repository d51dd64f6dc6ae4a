"""Each call that has an id is answered once, as it ended, and nobody once the connection is ending."""

import logging
from typing import Any

import pytest

from tests.messages import Message, ended, result
from trio_hubs.calls.answers import Answers
from trio_hubs.calls.call_register import TheirCall
from trio_hubs.calls.refusals import UnknownMethod
from trio_hubs.errors import BindingError, ConnectionClosed, HubException, UploadBroken
from trio_hubs.protocol.messages import ABSENT

from .support import PROTOCOL, Recorder, Table


class Counter:
    """The answers of one connection, and calls to be answered."""

    def __init__(self) -> None:
        self.face = Table()
        self.outbox = Recorder()
        self.answers = Answers(self.face, PROTOCOL, self.outbox, connection_id="counter")

        def plain() -> int:
            return 1

        self.face.method(plain)

    def call(self, id: str = "1", *, began: bool = False, cancelled: bool = False) -> TheirCall:
        call = TheirCall(id, self.face.methods["plain"][0], ABSENT, [], 0)
        call.began, call.cancelled = began, cancelled
        return call

    def answered(self, call: TheirCall, value: Any = None, failure: Exception | None = None) -> list[Message]:
        self.answers.answer(call, value, failure, alone=False)
        return self.outbox.sent


FAILURE = ValueError("broken")


@pytest.mark.parametrize(
    ("began", "cancelled", "failure", "answer"),
    [
        (False, False, None, result("1", 1)),
        (False, False, FAILURE, ended("1", "plain failed: broken")),
        (True, False, FAILURE, ended("1", "the stream failed: broken")),
        (False, True, FAILURE, ended("1", "The invocation was canceled by the client.")),
        (False, False, UnknownMethod("plain"), ended("1", "plain is unknown")),
    ],
)
async def test_a_call_is_answered_as_it_ended(
    began: bool, cancelled: bool, failure: Exception | None, answer: Message
) -> None:
    counter = Counter()
    assert counter.answered(counter.call(began=began, cancelled=cancelled), 1, failure) == [answer]


async def test_a_result_that_cannot_be_written_is_a_failure() -> None:
    counter = Counter()
    (answer,) = counter.answered(counter.call(), object())
    assert answer["error"].startswith("plain failed: A value of type 'object' cannot be written")


@pytest.mark.parametrize("failure", [None, FAILURE, UnknownMethod("plain")])
async def test_without_an_id_there_is_no_answer(failure: Exception | None) -> None:
    counter = Counter()
    assert counter.answered(counter.call(""), 1, failure) == []


@pytest.mark.parametrize("failure", [None, FAILURE, UnknownMethod("plain")])
async def test_once_it_is_mute_nobody_is_answered(failure: Exception | None) -> None:
    counter = Counter()
    counter.answers.mute = True
    assert counter.answered(counter.call(), 1, failure) == []


async def test_one_that_is_alone_goes_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    at_once: list[bytes] = []
    monkeypatch.setattr(counter.outbox, "put_now", at_once.append)
    counter.answers.answer(counter.call("1"), 1, None, alone=True)
    counter.answers.answer(counter.call("2"), 1, None, alone=False)
    assert len(at_once) == 1
    assert counter.outbox.sent == [result("2", 1)]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_was_cancelled_is_told_why(cancelled: bool) -> None:
    counter = Counter()
    counter.answers.answer_dropped(counter.call(cancelled=cancelled))
    text = (
        "The invocation was canceled by the client." if cancelled else "The deadline of 'plain' has passed."
    )
    assert counter.outbox.sent == [ended("1", text)]


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (ValueError("x"), logging.ERROR),
        (HubException("x"), logging.DEBUG),
        (ConnectionClosed("x"), logging.WARNING),
        (UploadBroken("x"), logging.ERROR),
    ],
)
async def test_a_failure_is_logged_by_its_kind(
    caplog: pytest.LogCaptureFixture, failure: Exception, level: int
) -> None:
    caplog.set_level(logging.DEBUG)
    counter = Counter()
    counter.answers.log(counter.call().method, failure)
    assert [record.levelno for record in caplog.records] == [level]


@pytest.mark.parametrize("failure", [ConnectionClosed("x"), UploadBroken("x")])
async def test_what_fails_with_its_connection_is_no_news(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    caplog.set_level(logging.DEBUG)
    counter = Counter()
    counter.answers.mute = True
    counter.answers.log(counter.call().method, failure)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_a_refusal_is_logged_with_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    cause = BindingError("why")
    cause.add_note("and what else")
    refusal = UnknownMethod("plain")
    refusal.__cause__ = cause
    counter = Counter()
    counter.answers.refuse("1", "plain", refusal)
    assert counter.outbox.sent == [ended("1", "plain is unknown")]
    assert "plain is unknown why and what else" in caplog.text
    assert ended("1") not in counter.outbox.sent
