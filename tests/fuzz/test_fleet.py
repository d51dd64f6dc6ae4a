"""Whatever comes over the bus, a server lives on: bytes of any kind on channels of every kind."""

from contextlib import AsyncExitStack
from typing import Any

import msgspec
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fleet.memory_bus import MemoryBroker
from tests.fleet.test_messages import JSON_FOO, MESSAGEPACK_FOO
from tests.fleet.test_roster import open_roster
from tests.hub_peer import open_client
from tests.server.roster_contract import Member
from trio_hubs import HubOptions, User
from trio_hubs.server.served_hub import ServedHub

CHANNELS = {
    "all": "Hub:all",
    "group": "Hub:group:room",
    "user": "Hub:user:ann",
    "connection": "Hub:connection:json",
    "commands": "Hub:internal:groups",
    "acks": "Hub:internal:ack:{server}",
    "completions": "Hub:internal:return:{server}",
    "queries": "Hub:internal:queries",
    "answers": "Hub:internal:answers:{server}",
}

ASK = b'{"type":1,"invocationId":"ID","target":"Ask","arguments":[1]}\x1e'


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


texts = st.sampled_from(["", "json", "messagepack", "blazorpack", "room", "Hub:all", "{server}"]) | st.text(
    max_size=5
)
numbers = st.integers(-1, 3) | st.sampled_from(
    [2**63 - 1, 2**64 - 1, -(2**63), float("nan"), float("inf"), 0.5]
)
blobs = st.sampled_from([JSON_FOO, MESSAGEPACK_FOO, ASK, b"", b"\x1e", b"{}\x1e", b"\xff\xff\xff\xff\xff"])
blobs |= st.binary(max_size=20)
blob_maps = st.dictionaries(texts, blobs, max_size=3)
keys = texts | numbers | st.sampled_from([nested(20), nested(300), {"a": 1}, [{"a": 1}], b"x"])
policies = (
    st.just(())
    | st.tuples(st.just("conflate"), keys, st.none() | numbers)
    | st.tuples(st.just("disconnect"), st.none() | numbers)
    | st.sampled_from([("drop_oldest",), ("?",), "conflate", None])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
messages = (
    st.tuples(st.lists(texts, max_size=2), blob_maps, texts, texts, texts, policies)
    | st.tuples(st.lists(texts, max_size=2), blob_maps)
    | st.tuples(numbers, texts, st.integers(0, 3), texts, st.sampled_from(["json", "messagepack", "nobody"]))
    | st.tuples(texts, blobs)
    | st.tuples(numbers, texts, st.sampled_from(["all", "groups", "users"]), st.lists(texts), st.lists(texts))
    | st.tuples(numbers, st.lists(anything, max_size=2))
    | anything
)
whole = messages.map(msgspec.msgpack.encode)
cut = st.tuples(whole, st.integers(0, 50)).map(lambda drawn: drawn[0][: drawn[1]])
datas = (
    whole
    | cut
    | st.binary(max_size=30)
    | st.sampled_from([b"\x91" * 5000, b"\xdd\xff\xff\xff\xff", b"\x92\x90\x81"])
)
published = st.lists(st.tuples(st.sampled_from(sorted(CHANNELS)), datas), max_size=8)


def encoded(*items: Any) -> bytes:
    return msgspec.msgpack.encode(items)


@settings(max_examples=150)
@given(published)
@example([("all", encoded([], {"json": b"?"}, "", "", "", ("conflate", None, None)))])
@example([("all", encoded([], {"blazorpack": b"?"}, "", "", "", ("conflate", None, None)))])
@example([("all", encoded([], {"json": JSON_FOO}, "", "", "", ("conflate", nested(300), None)))])
@example([("all", b"\x96\x90\x80\xa0\xa0\xa0\x93\xa8conflate" + b"\x91" * 400 + b"\x01\xc0")])
@example([("all", encoded([], {"json": JSON_FOO}, "", "", "", ("conflate", "x", 1e400)))])
@example([("all", encoded([], {"json": JSON_FOO}, "", "", "", ("disconnect", 2**63)))])
@example([("connection", encoded([], {"json": ASK}, "ID", "Hub:all"))] * 3)
def test_a_server_lives_on(published: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            broker = MemoryBroker()
            bus = broker.open()
            here, there = await open_roster(stack, bus), await open_roster(stack, broker.open())
            hub = ServedHub(Member, Member, HubOptions(), roster=here)
            for protocol in ("json", "messagepack"):
                user = User("ann")
                client = await stack.enter_async_context(open_client(hub, protocol, id=protocol, user=user))
                await client.take(1)
                await here.join(protocol, "room")
            for channel, data in published:
                broker.put(CHANNELS[channel].format(server=bus.server), data)
            await wait_all_tasks_blocked()
            await there.users()  # which asks the other

    trio.run(main, clock=MockClock(autojump_threshold=0))
