"""The examples do what they say."""

import pytest
import trio

from examples import counter_client, counter_server


async def test_the_client_prints_what_the_server_counts(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    address = await nursery.start(counter_server.app.serve, "127.0.0.1", 0)
    await counter_client.main(f"{address}/counter")
    assert capsys.readouterr().out.splitlines() == [
        *"01234",
        "the sum of five odd numbers: 25",
        "An error occurred on the server while streaming results. HubException: cannot count backwards",
    ]
