import trio
from trio.testing import MockClock
import pytest
from tests.server.app_peer import *
from tests.hub_peer import *
from trio_hubs import *


class H(Hub):
    def add(self, a: int, b: int) -> int:
        return a + b


@pytest.mark.parametrize(("transport", "protocol"), PAIRS)
async def test_x(transport, protocol, autojump_clock: MockClock):
    with no_task_left():
        async with open_app(hub_app(H)) as served:
            c = await visit(served, "/hub", transport, protocol)
            await c.send(call("Add", 1, 2, id="1"))
            assert await c.receive() == result("1", 3)
            assert served.app.statistics.connections == 1
            served.serving.cancel()
            print(await c.rest())
        assert served.leases() == 0, served.app._admission.active
        assert served.app.statistics.connections == 0
