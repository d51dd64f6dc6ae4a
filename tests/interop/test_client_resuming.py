"""Our client's stateful reconnect, against the real ASP.NET Core server and ours, through a proxy that cuts."""

from collections.abc import AsyncIterator, Iterator
from typing import Literal

import httpx2
import pytest
import trio

from tests.interop.conftest import cutter as open_cutter
from trio_hubs import HubConnectionOptions, open_hub_connection

pytestmark = pytest.mark.interop

PATIENCE = 60.0  # seconds
ITEMS = 300

STATEFUL = HubConnectionOptions(stateful_reconnect=True)


@pytest.fixture(scope="module", params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"])
def control(request: pytest.FixtureRequest) -> Iterator[str]:
    """The control of a cutting proxy before our server, then before the official one."""
    with open_cutter(request.getfixturevalue(request.param)) as address:
        yield address


class Cutter:
    """Cuts a connection each time that so much more has come over it: a busy machine gets ahead, too."""

    def __init__(self, control: str, port: int) -> None:
        self._command = f"{control}/cut?port={port}"
        self._come = 0
        self._enough = trio.Event()
        self._cutting = trio.Lock()
        self._stopped = False
        self.cuts = 0

    def noted(self, number: int) -> int:
        """The number, which has come."""
        self._come += 1
        if self._come % 50 == 0:
            self._enough.set()
        return number

    async def cut(self) -> None:
        """Cut again and again."""
        async with httpx2.AsyncClient() as http:
            while True:
                await self._enough.wait()
                self._enough = trio.Event()
                async with self._cutting:
                    if not self._stopped:
                        await http.post(self._command)
                        self.cuts += 1

    async def stop(self) -> None:
        """Cut no more."""
        async with self._cutting:
            self._stopped = True


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_nothing_is_lost_doubled_or_out_of_order(
    control: str, protocol: Literal["json", "messagepack"]
) -> None:
    """The upload outlasts all cuts, for behind its end the official server does not count those items that come again.

    It would take what follows them for what it had already.
    """

    async def stream() -> None:
        async with connection.stream("Counter", ITEMS, 5, item_type=int) as reader:
            assert [cutter.noted(number) async for number in reader] == list(range(ITEMS))

    async def calls() -> AsyncIterator[int]:
        """The numbers, with a call ahead of each."""
        for number in range(ITEMS):
            assert cutter.noted(await connection.invoke("Add", number, 1)) == number + 1
            yield number
            await trio.sleep(0.005)
        await cutter.stop()

    async def upload() -> None:
        async with connection.stream("Double", calls(), item_type=int) as reader:
            assert [cutter.noted(number) async for number in reader] == [
                2 * number for number in range(ITEMS)
            ]

    async with httpx2.AsyncClient() as http:
        gate = (await http.post(f"{control}/open")).text
    cutter = Cutter(control, int(gate.rpartition(":")[2]))
    with trio.fail_after(PATIENCE):
        async with (
            trio.open_nursery() as cutting,
            open_hub_connection(f"{gate}/conformance", protocol=protocol, options=STATEFUL) as connection,
        ):
            id = connection.connection_id
            cutting.start_soon(cutter.cut)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream)
                nursery.start_soon(upload)
            cutting.cancel_scope.cancel()
            assert await connection.invoke("ConnectionId") == id == connection.connection_id
    assert cutter.cuts > 5
