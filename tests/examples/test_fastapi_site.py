"""The hub of the FastAPI site by itself; that it is mounted, and the login, is tested over Hypercorn."""

import pytest
import trio
from trio.testing import MockClock

from examples import fastapi_site
from trio_hubs import NegotiationError, User
from trio_hubs.testing import open_test_client


async def test_all_who_have_logged_in_write_on_one_board(autojump_clock: MockClock) -> None:
    async with (
        open_test_client(fastapi_site.hubs, "/board", user=User("ann")) as ann,
        open_test_client(fastapi_site.hubs, "/board", user=User("bob")) as bob,
        bob.messages("Written", str, str) as written,
    ):
        await ann.invoke("Write", "hello")
        assert await written.read() == ("ann", "hello")
        async with ann.stream("Clock", item_type=int) as seconds:
            began = trio.current_time()
            assert [await seconds.read() for _ in range(4)] == [0, 1, 2, 3]
            assert trio.current_time() - began == pytest.approx(3)


async def test_who_is_nobody_is_kept_out(autojump_clock: MockClock) -> None:
    with pytest.raises(NegotiationError, match="401"):
        async with open_test_client(fastapi_site.hubs, "/board"):
            raise AssertionError
