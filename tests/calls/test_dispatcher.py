"""Each message has its effect at once and in order, until the dispatcher is stopped."""

from typing import Any

import pytest

from tests.messages import PING, ack, call, cancel, close, ended, item, sequence
from trio_hubs.calls.dispatcher import Dispatcher
from trio_hubs.calls.keep_alive import KeepAlive
from trio_hubs.errors import ProtocolError
from trio_hubs.protocol.messages import Close

from .support import PROTOCOL, Desk, encode, raw, read_all, session_options


class Board(Desk):
    """A desk, whose calls come in as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.keep_alive = KeepAlive(session_options(), 0)
        self.dispatcher = Dispatcher(
            PROTOCOL,
            None,
            our_calls=self.our_calls,
            their_calls=self.their_calls,
            incoming=self.incoming,
            keep_alive=self.keep_alive,
            replay=None,
        )

    async def feed(self, *messages: Any) -> None:
        await self.dispatcher.feed(encode(*messages), self.outbox)


async def test_a_close_is_told_and_what_is_of_resuming_means_nothing() -> None:
    board = Board()
    await board.feed(PING, ack(1), sequence(1), cancel("1"), ended("9"), close("bye"))
    assert board.dispatcher.close == Close(error="bye")
    assert board.sent == []
    assert board.dispatcher.take_ack() == b""


async def test_items_that_follow_each_other_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    taken: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(board.incoming, "feed", lambda id, items: taken.append((id, items)))
    await board.feed(item("1", 1), item("1", 2), item("2", 3), ended("2"), item("1", 4))
    assert taken == [("1", raw(1, 2)), ("2", raw(3)), ("1", raw(4))]


async def test_nothing_has_an_effect_once_it_is_stopped() -> None:
    board = Board()
    await board.feed(call("no", id="1"))
    board.dispatcher.stopped = True
    await board.feed(call("no", id="2"))
    assert [answer["invocationId"] for answer in board.sent] == ["1"]


async def test_half_a_message_at_the_end_is_an_error_unless_the_connection_goes_on() -> None:
    board = Board()
    await board.dispatcher.feed(b'{"type"', board.outbox)
    with pytest.raises(ProtocolError, match="Connection terminated while reading a message"):
        board.dispatcher.check_whole()
    board.dispatcher.resume()
    board.dispatcher.check_whole()
    await board.feed(close())
    assert board.dispatcher.close == Close()


async def test_streams_that_have_not_ended_can_be_failed() -> None:
    board = Board()
    async with board.our_calls.stream("count", (), int, 1) as reader:
        board.dispatcher.fail_streams(ValueError("over"))
        with pytest.raises(ValueError, match="over"):
            await read_all(reader)
