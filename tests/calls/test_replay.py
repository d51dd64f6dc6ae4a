"""What is sent over a link that tears arrives once and in order, and what is acknowledged is kept no longer."""

from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.calls.replay import Replay
from trio_hubs.errors import ProtocolError
from trio_hubs.protocol.hub_protocol import HubProtocol, MessageParser
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Credit,
    Invocation,
    Message,
    Ping,
    StreamInvocation,
    StreamItem,
)
from trio_hubs.protocol.messages import Sequence as SequenceMessage

PROTOCOL = JsonHubProtocol()
BLANK = Completion("0")
TOO_HIGH = r"^Sequence ID greater than amount of messages we've received\.$"


def numbered(number: int) -> Completion:
    """A message that counts, to be told from others."""
    return Completion(str(number))


def encoded(*messages: Message, protocol: HubProtocol = PROTOCOL) -> bytes:
    return b"".join(map(protocol.encode, messages))


def decoded(data: bytes, protocol: HubProtocol = PROTOCOL) -> list[Message]:
    return [message for messages in protocol.parser(None).feed(data) for message in messages]


def replay(limit: int = 100_000) -> Replay:
    return Replay(PROTOCOL, limit)


def with_sent(count: int) -> Replay:
    """A replay that has sent messages 1, 2, 3 and so on, each as a piece of its own."""
    ours = replay()
    for number in range(1, count + 1):
        ours.record(encoded(numbered(number)), 1)
    return ours


# ---- our messages


def test_the_first_message_is_number_1() -> None:
    assert decoded(replay().repeat()) == [SequenceMessage(1)]
    assert decoded(with_sent(1).repeat()) == [SequenceMessage(1), numbered(1)]


@pytest.mark.parametrize("acknowledged", range(6))
def test_what_is_not_acknowledged_is_repeated_in_order(acknowledged: int) -> None:
    ours = with_sent(5)
    assert list(ours.take([Ack(acknowledged)])) == []
    for _ in range(2):  # as often as it takes
        first, *rest = decoded(ours.repeat())
        assert first == SequenceMessage(acknowledged + 1)
        assert rest == [numbered(number) for number in range(acknowledged + 1, 6)]


def test_a_piece_of_several_messages_is_kept_until_its_last_is_acknowledged() -> None:
    ours = replay()
    ours.record(encoded(numbered(1), numbered(2), numbered(3)), 3)
    ours.record(encoded(numbered(4)), 1)
    list(ours.take([Ack(2)]))
    assert decoded(ours.repeat()) == [SequenceMessage(1), *map(numbered, (1, 2, 3, 4))]
    list(ours.take([Ack(3)]))
    assert decoded(ours.repeat()) == [SequenceMessage(1), BLANK, BLANK, BLANK, numbered(4)]


def test_a_sequence_is_not_above_what_a_peer_that_was_set_back_has_counted() -> None:
    ours, peer = with_sent(5), replay()
    list(peer.take([numbered(number) for number in range(1, 6)]))
    begin, *_ = decoded(ours.repeat())
    list(peer.take([begin]))  # and the link is torn before the rest has come
    list(ours.take(decoded(peer.take_ack())))
    begin, *rest = decoded(ours.repeat())
    assert [begin, *rest] == [SequenceMessage(1), *[BLANK] * 5]
    assert list(peer.take([begin, *rest, numbered(6)])) == [numbered(6)]
    ours.record(encoded(numbered(6)), 1)
    list(ours.take([Ack(6)]))  # by which it has come to all that was sent again
    assert decoded(ours.repeat()) == [SequenceMessage(7)]


def test_what_does_not_count_is_not_kept() -> None:
    ours = replay(0)
    ours.record(encoded(Ping(), Ack(1)), 0)
    assert not ours.full
    assert decoded(ours.repeat()) == [SequenceMessage(1)]


@pytest.mark.parametrize("numbers", [(9,), (2**62,), (5, 1), (5, 0), (5, -1), (5, 5), (1, 5, 3)])
def test_an_acknowledgement_may_be_too_high_or_come_late(numbers: Sequence[int]) -> None:
    ours = with_sent(5)
    list(ours.take([Ack(number) for number in numbers]))
    assert decoded(ours.repeat()) == [SequenceMessage(6)]
    ours.record(encoded(numbered(6)), 1)
    assert decoded(ours.repeat()) == [SequenceMessage(6), numbered(6)]


@pytest.mark.parametrize("number", [0, -1, -(2**62)])
def test_an_acknowledgement_of_nothing_is_none(number: int) -> None:
    ours = with_sent(2)
    list(ours.take([Ack(number)]))
    assert decoded(ours.repeat()) == [SequenceMessage(1), numbered(1), numbered(2)]


def test_it_is_full_above_its_limit_until_enough_is_acknowledged() -> None:
    piece = encoded(numbered(1))
    ours = replay(2 * len(piece))
    for _ in range(2):
        ours.record(piece, 1)
        assert not ours.full
    ours.record(piece, 1)  # the one that goes beyond is still taken
    assert ours.full
    list(ours.take([Ping(), numbered(1)]))  # reading alone makes no room
    assert ours.full
    list(ours.take([Ack(1)]))
    assert not ours.full


@given(st.data())
def test_after_random_acknowledgements_exactly_the_rest_is_repeated(data: st.DataObject) -> None:
    total = 1000
    ours = with_sent(total)
    highest = 0
    for number in data.draw(st.lists(st.integers(-5, total), max_size=20)):
        list(ours.take([Ack(number)]))
        highest = max(highest, number)
    first, *rest = decoded(ours.repeat())
    assert first == SequenceMessage(highest + 1)
    assert rest == [numbered(number) for number in range(highest + 1, total + 1)]


# ---- the peer's messages

COUNTED: list[Message] = [
    Invocation(target="x", arguments=Raw(b"[]")),
    StreamItem("1", Raw(b"1")),
    Completion("1"),
    StreamInvocation(invocation_id="1", target="x", arguments=Raw(b"[]")),
    CancelInvocation("1"),
    Credit("1", 5),
]


@pytest.mark.parametrize("message", COUNTED, ids=lambda message: type(message).__name__)
def test_messages_of_calls_count(message: Message) -> None:
    ours = replay()
    assert list(ours.take([message])) == [message]
    assert decoded(ours.take_ack()) == [Ack(1)]


@pytest.mark.parametrize("message", [Ping(), Close("x")])
def test_others_pass_but_do_not_count(message: Message) -> None:
    ours = replay()
    assert list(ours.take([message])) == [message]
    assert ours.take_ack() == b""


@pytest.mark.parametrize(
    "message", [Ack(0), SequenceMessage(1), SequenceMessage(0), SequenceMessage(-(2**62))]
)
def test_those_about_counting_do_neither(message: Message) -> None:
    ours = replay()
    assert list(ours.take([message])) == []
    assert ours.take_ack() == b""


def test_only_the_highest_is_acknowledged_and_only_once() -> None:
    ours = replay()
    list(ours.take(COUNTED))
    assert decoded(ours.take_ack()) == [Ack(len(COUNTED))]
    assert ours.take_ack() == b""
    list(ours.take(COUNTED[:1]))
    assert decoded(ours.take_ack()) == [Ack(len(COUNTED) + 1)]


@pytest.mark.parametrize("back", range(1, 7))
def test_what_comes_again_is_dropped(back: int) -> None:
    ours = replay()
    list(ours.take([numbered(number) for number in range(1, 6)]))
    again = [numbered(number) for number in range(back, 9)]
    assert list(ours.take([SequenceMessage(back), *again])) == [numbered(number) for number in range(6, 9)]


@pytest.mark.parametrize("number", [-3, 0, 1])
def test_a_peer_that_begins_before_its_first_message_harms_only_itself(number: int) -> None:
    ours = replay()
    list(ours.take([numbered(1), numbered(2)]))
    again = [numbered(0) for _ in range(number, 3)]
    assert list(ours.take([SequenceMessage(number), *again, numbered(3)])) == [numbered(3)]


@pytest.mark.parametrize(("received", "number"), [(0, 2), (0, 2**62), (3, 5), (3, 6)])
def test_a_peer_cannot_leave_messages_out(received: int, number: int) -> None:
    ours = replay()
    list(ours.take([numbered(each) for each in range(received)]))
    with pytest.raises(ProtocolError, match=TOO_HIGH):
        list(ours.take([SequenceMessage(number)]))


def test_a_sequence_is_measured_at_what_has_come_since_the_last() -> None:
    ours = replay()
    list(ours.take([numbered(1), numbered(2), SequenceMessage(1)]))
    with pytest.raises(ProtocolError, match=TOO_HIGH):
        list(ours.take([SequenceMessage(2)]))


def test_messages_before_a_sequence_are_taken_as_if_nothing_had_happened() -> None:
    ours = replay()
    assert list(ours.take([numbered(1), numbered(2)])) == [numbered(1), numbered(2)]
    assert list(ours.take([numbered(3), SequenceMessage(3), numbered(3), numbered(4)])) == [
        numbered(3),
        numbered(4),
    ]


@pytest.mark.parametrize("back", [1, 2, 5])
def test_what_comes_again_is_acknowledged_again(back: int) -> None:
    """Its peer cannot have had the acknowledgement, and may wait for it before it sends anything else."""
    ours = replay()
    list(ours.take([numbered(number) for number in range(1, 6)]))
    assert decoded(ours.take_ack()) == [Ack(5)]  # which is lost
    list(ours.take([SequenceMessage(back), *[numbered(number) for number in range(back, 6)]]))
    assert decoded(ours.take_ack()) == [Ack(5)]
    assert ours.take_ack() == b""


# ---- two of them


class End:
    """One end of a link: what it sends and what it has acted on."""

    def __init__(self, protocol: HubProtocol, limit: int) -> None:
        self.protocol = protocol
        self.replay = Replay(protocol, limit)
        self.sent: list[Message] = []
        self.taken: list[Message] = []
        self._waiting: deque[Message] = deque()
        self._parser: MessageParser = protocol.parser(None)

    def put(self, message: Message) -> None:
        self._waiting.append(message)
        self.sent.append(message)

    @property
    def done(self) -> bool:
        """Whether everything has been sent and acknowledged."""
        first, *rest = decoded(copy(self.replay).repeat(), self.protocol)
        return (
            not self._waiting
            and isinstance(first, SequenceMessage)
            and rest == [BLANK] * (len(self.sent) + 1 - first.sequence_id)
        )

    def write(self, join: int) -> bytes:
        """What goes on the wire now: so many messages, if there is room for them."""
        if self.replay.full or not self._waiting:
            return b""
        count = min(join, len(self._waiting))
        data = encoded(*(self._waiting.popleft() for _ in range(count)), protocol=self.protocol)
        self.replay.record(data, count)
        return data

    def read(self, data: bytes) -> None:
        for messages in self._parser.feed(data):
            self.taken += list(self.replay.take(messages))

    def resume(self) -> bytes:
        self._parser = self.protocol.parser(None)
        return self.replay.repeat()


class Link:
    """Two ends, and the bytes that are under way between them."""

    def __init__(self, protocol: HubProtocol, limit: int) -> None:
        self.ends = End(protocol, limit), End(protocol, limit)
        self.under_way = [bytearray(), bytearray()]  # from each end
        self._count = 0

    def put(self, side: int) -> None:
        self._count += 1
        self.ends[side].put(numbered(self._count))

    def write(self, side: int, join: int) -> None:
        self.under_way[side] += self.ends[side].write(join)

    def acknowledge(self, side: int) -> None:
        self.under_way[side] += self.ends[side].replay.take_ack()

    def read(self, side: int, size: int) -> None:
        """An end reads some of what is under way to it."""
        pipe = self.under_way[1 - side]
        data = bytes(pipe[:size])
        del pipe[:size]
        self.ends[side].read(data)

    def tear(self) -> None:
        """All that is under way is lost, and both ends go on over another link."""
        for side, end in enumerate(self.ends):
            self.under_way[side][:] = end.resume()

    def settle(self) -> None:
        """Let everything arrive."""
        for _ in range(1000):
            for side in (0, 1):
                self.write(side, 1)
                self.acknowledge(side)
            for side in (0, 1):
                self.read(side, len(self.under_way[1 - side]))
            if self.ends[0].done and self.ends[1].done:
                return
        raise AssertionError("the ends wait for each other for ever")


SIDES = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("put"), SIDES),
    st.tuples(st.just("write"), SIDES, st.integers(1, 4)),
    st.tuples(st.just("acknowledge"), SIDES),
    st.tuples(st.just("read"), SIDES, st.integers(1, 200)),
    st.tuples(st.just("tear")),
)


@pytest.mark.parametrize(
    "protocol", [JsonHubProtocol(), MessagePackHubProtocol()], ids=lambda each: each.name
)
@given(limit=st.sampled_from([0, 40, 100_000]), steps=st.lists(STEPS, max_size=80))
@settings(max_examples=300)
def test_everything_arrives_once_and_in_order(
    protocol: HubProtocol, limit: int, steps: list[tuple[Any, ...]]
) -> None:
    link = Link(protocol, limit)
    for name, *arguments in steps:
        getattr(link, name)(*arguments)
    link.settle()
    for near, far in (link.ends, link.ends[::-1]):
        assert far.taken == near.sent
