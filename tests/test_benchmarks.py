"""What the benchmarks' generator makes of what carries hub messages, however that is cut."""

import itertools

import pytest

from benchmarks.http_connection import HttpInbox
from benchmarks.one_redis import message, publish
from benchmarks.socketio_connection import PacketInbox
from benchmarks.wire import FrameInbox, Inbox, record, server_text
from trio_hubs.fleet.messages import FleetInvocation, decode
from trio_hubs.protocol.registry import PROTOCOLS

RECORDS = [record(type=2, invocationId="1", item=number) for number in range(14)] + [
    record(type=3, invocationId="1")
]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(*lines: bytes) -> bytes:
    """An event in pieces as ASP.NET Core writes them, a chunk each."""
    parts = itertools.chain.from_iterable((b"data: ", line, b"\r\n") for line in lines)
    return b"".join(map(chunk, (*parts, b"\r\n")))


def check(inbox: Inbox, data: bytes, cuts: tuple[int, ...]) -> None:
    for start, end in itertools.pairwise((0, *cuts, len(data))):
        inbox.feed(data[start:end], end - start)
    assert inbox.records == len(RECORDS)
    assert inbox.first_record() == {"type": 2, "invocationId": "1", "item": 0}
    assert inbox.last_records(2) == [
        {"type": 2, "invocationId": "1", "item": 13},
        {"type": 3, "invocationId": "1"},
    ]


STREAMS = {
    "an event for each": HEAD + b"".join(map(event, RECORDS)),
    "one event for all": HEAD + event(b"".join(RECORDS)),
    "records over two lines": HEAD + b"".join(event(one[:12], one[12:]) for one in RECORDS),
    "records over two events": HEAD + b"".join(event(one[:12]) + event(one[12:]) for one in RECORDS),
}


@pytest.mark.parametrize("name", STREAMS)
def test_events_are_counted_and_read_wherever_they_are_cut(name: str) -> None:
    data = STREAMS[name]
    for cut in range(1, len(data)):
        check(HttpInbox(), data, (cut,))
    check(HttpInbox(), data, tuple(range(1, len(data))))


def test_frames_are_counted_and_read_wherever_they_are_cut() -> None:
    data = b"".join(map(server_text, RECORDS))
    for cut in range(1, len(data)):
        check(FrameInbox(), data, (cut,))


def test_what_is_no_message_says_so() -> None:
    inbox = FrameInbox()
    data = server_text(b'{"type":\x1e')
    inbox.feed(data, len(data))
    with pytest.raises(ConnectionError, match="not a hub message"):
        inbox.first_record()


def test_packets_are_counted_and_read_wherever_they_are_cut() -> None:
    packets = [b'42["message","hello"]', b"431[]", b'42["message","bye"]']
    data = b"".join(map(server_text, packets))
    for cut in range(1, len(data)):
        inbox = PacketInbox()
        inbox.feed(data[:cut], cut)
        inbox.feed(data[cut:], len(data) - cut)
        assert inbox.records == len(packets)
        assert inbox.first_record() == {"type": 1, "target": "message", "arguments": ["hello"]}
        assert inbox.last_records(2) == [{"type": 3}, {"type": 1, "target": "message", "arguments": ["bye"]}]


def test_what_is_no_packet_says_so() -> None:
    inbox = PacketInbox()
    data = server_text(b"44{}]")
    inbox.feed(data, len(data))
    with pytest.raises(ConnectionError, match="not a packet"):
        inbox.first_record()


def test_what_is_published_is_a_call_of_ours() -> None:
    call = decode(FleetInvocation, message())
    assert call.sender
    assert set(call.blobs) == set(PROTOCOLS)
    assert publish("a", b"bc") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$2\r\nbc\r\n"
