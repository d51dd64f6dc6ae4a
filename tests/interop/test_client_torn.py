"""Our client's WebSocket to the real ASP.NET Core server, and to ours, is cut by any schedule: nothing is lost.

A schedule says after how many bytes, both ways together, each WebSocket of a connection is reset. With
`--hypothesis-profile=long` there are 1,000 of them for each server.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Literal, TypeAlias

import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interop.conftest import cutter
from trio_hubs import HubConnection, HubConnectionOptions, open_hub_connection

pytestmark = pytest.mark.interop

PATIENCE = 60.0  # seconds
COUNT = 50
AT_ONCE = 10
ROUNDS = 100 if settings.get_current_profile_name() == "long" else 4

Protocol: TypeAlias = Literal["json", "messagepack"]
Schedule: TypeAlias = tuple[Protocol, Sequence[int], int]


@pytest.fixture(scope="module", params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"])
def control(request: pytest.FixtureRequest) -> Iterator[str]:
    """The control of a cutting proxy before our server, then before the official one."""
    with cutter(request.getfixturevalue(request.param)) as address:
        yield address


schedules: st.SearchStrategy[Schedule] = st.tuples(
    st.sampled_from(["json", "messagepack"]),
    st.lists(st.integers(0, 3000), min_size=1, max_size=8),
    st.sampled_from([3000, 100_000]),  # bytes that may lie unacknowledged
)


@settings(max_examples=ROUNDS)
@given(several=st.lists(schedules, min_size=AT_ONCE, max_size=AT_ONCE))
def test_nothing_is_lost_doubled_or_out_of_order(control: str, several: Sequence[Schedule]) -> None:
    trio.run(go_through_all, control, several)


async def go_through_all(control: str, several: Sequence[Schedule]) -> None:
    """Go through schedules at the same time."""
    async with trio.open_nursery() as nursery:
        for schedule in several:
            nursery.start_soon(go_through, control, *schedule)


async def go_through(control: str, protocol: Protocol, schedule: Sequence[int], buffer: int) -> None:
    """Use a connection whose WebSockets are cut by a schedule."""
    options = HubConnectionOptions(stateful_reconnect=True, stateful_reconnect_buffer_size=buffer)
    got: dict[str, list[int]] = {}
    async with httpx2.AsyncClient() as http:
        gate = (await http.post(f"{control}/open")).text
        with trio.fail_after(PATIENCE):
            async with open_hub_connection(
                f"{gate}/conformance", protocol=protocol, options=options
            ) as connection:
                assert await connection.invoke("Add", 1, 1) == 2  # what is cut before is over
                cuts = ",".join(map(str, schedule))
                await http.post(f"{control}/cut?port={gate.rpartition(':')[2]}&after={cuts}")
                await use(connection, got)
                assert await connection.invoke("ConnectionId") == connection.connection_id
    every = list(range(COUNT))
    assert got == {
        "Counter": every,
        "Double": [2 * number for number in every],
        "Add": every,
        "Message": every,
    }


async def use(connection: HubConnection, got: dict[str, list[int]]) -> None:
    """All that can go over a connection, at the same time."""

    async def read(name: str, *arguments: object) -> None:
        async with connection.stream(name, *arguments, item_type=int) as reader:
            got[name] = [number async for number in reader]

    async def invoke() -> None:
        got["Add"] = [await connection.invoke("Add", number, 0, result_type=int) for number in range(COUNT)]

    async def hear() -> None:
        async with connection.messages("Message", str) as reader:
            for number in range(COUNT):
                await connection.send("CallConnection", connection.connection_id, f"{number}")
            got["Message"] = [int(await reader.read()) for _ in range(COUNT)]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "Counter", COUNT, 1)
        nursery.start_soon(read, "Double", numbers())
        nursery.start_soon(invoke)
        nursery.start_soon(hear)


async def numbers() -> AsyncIterator[int]:
    for number in range(COUNT):
        yield number
        await trio.sleep(0.001)
