"""The official .NET client hears why its connection was aborted: the run of a scenario that needs it says so.

In JavaScript that is a scenario, see js/life.mjs.
"""

import pytest
import trio

from trio_hubs import Hub, HubApp

REASON = "You are banned: \u00fcn\u00efc\u00f6de."


class Aborting(Hub):
    async def add(self, a: int, b: int) -> int:
        self.context.abort(REASON)
        await trio.sleep_forever()


@pytest.mark.interop
@pytest.mark.parametrize(
    ("client", "combo"),
    [
        ("client", "websockets/json"),
        ("client", "websockets/messagepack"),
        ("client", "sse/json"),
        ("client", "longpolling/json"),
        ("client", "longpolling/messagepack"),
        ("client11", "websockets/json"),
    ],
)
async def test_the_reason_of_an_abort(client: str, combo: str, dotnet_peer: str) -> None:
    app = HubApp()
    app.add_hub("/conformance", Aborting)
    name = "invoke returns a result"
    async with trio.open_nursery() as nursery:
        address = await nursery.start(app.serve, "127.0.0.1", 0)
        run = await trio.run_process(
            [dotnet_peer, client, address, "--combo", combo, "--only", name],
            capture_stdout=True,
            check=False,
        )
        nursery.cancel_scope.cancel()
    text = "HubException: The server closed the connection with the following error"
    assert run.stdout.decode().splitlines()[0] == f"FAIL {combo} {name}: {text}: {REASON}"
