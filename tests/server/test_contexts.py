"""Each invocation runs in a copy of its connection's context: what one sets, no other sees."""

from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.hub_peer import PROTOCOLS, open_client, served_hub
from tests.messages import call, result
from trio_hubs import Hub, HubFilter, HubInvocationContext

TENANT = ContextVar("tenant", default="nobody")
NOISE = ContextVar("noise", default="quiet")


class Tenants(Hub):
    """What it sees, and what it leaves behind."""

    async def on_connected(self) -> None:
        TENANT.set(self.context.connection_id)

    def plain(self) -> list[str]:
        return self._look()

    async def later(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return self._look()

    def _look(self) -> list[str]:
        seen = [TENANT.get(), NOISE.get()]
        TENANT.set("left behind")
        NOISE.set("left behind")
        return seen

    async def on_disconnected(self, error: Exception | None) -> None:
        ENDS.append([TENANT.get(), NOISE.get()])


ENDS: list[list[str]] = []


class Noisy(HubFilter):
    """Sets what its invocation sees."""

    async def invoke(self, context: HubInvocationContext, next: Any) -> Any:
        assert NOISE.get() == "quiet"
        NOISE.set("noisy")
        return await next(context)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("filters", [(), (Noisy(),)])
async def test_what_on_connected_set_is_seen_by_all_and_nothing_else(
    autojump_clock: MockClock, protocol: str, filters: tuple[HubFilter, ...]
) -> None:
    ENDS.clear()
    served = served_hub(Tenants, filters=filters)
    async with open_client(served, protocol, id="a") as one, open_client(served, protocol, id="b") as other:
        for client, id in ((one, "a"), (other, "b"), (one, "a")):
            names = ["Plain", "Later", "Later", "Plain", "Plain"]
            await client.send(*[call(name, id=str(number)) for number, name in enumerate(names)])
            seen = [id, "noisy" if filters else "quiet"]
            assert await client.take(5) == [result(str(number), seen) for number in range(5)]
    await wait_all_tasks_blocked()
    assert sorted(ENDS) == [["a", "quiet"], ["b", "quiet"]]
    assert TENANT.get() == "nobody"
