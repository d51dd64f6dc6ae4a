"""A hub as seen from outside of it."""

import pytest

from tests.messages import call
from trio_hubs import Hub, HubApp

from .app_peer import hub_app, open_app, visit


class Quiet(Hub):
    """Says nothing by itself."""


async def test_its_clients_are_called_from_outside() -> None:
    app = hub_app(Quiet)
    async with open_app(app) as served:
        client = await visit(served, "/hub")
        await app.hub(Quiet).clients.all.send("News", 1)
        assert await client.receive() == call("News", 1)


def test_a_hub_that_was_not_added_is_not_found() -> None:
    with pytest.raises(LookupError, match="Quiet was not added to this app"):
        HubApp().hub(Quiet)
