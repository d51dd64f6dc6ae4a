"""What every bus does, by the one that the tests of fleets stand on."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from trio_hubs.fleet.bus import Bus

from .bus_contract import BusContract
from .memory_bus import MemoryBroker


class TestMemoryBus(BusContract):
    """A double does what the real ones do."""

    async def open_buses(self, stack: AsyncExitStack) -> Sequence[Bus]:
        broker = MemoryBroker()
        return [broker.open() for _ in range(3)]
