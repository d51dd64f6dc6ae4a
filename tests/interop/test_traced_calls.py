"""The real server takes calls with the headers of a trace, and official clients take questions with them."""

from typing import Literal

import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from tests.interop.conformance_server import build_app
from tests.interop.conftest import JS
from trio_hubs import HubConnectionOptions, ObservedCall, Observer, open_hub_connection
from trio_hubs.calls.observer import headers_here
from trio_hubs.otel import instrument, traced_calls

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_traced_calls(protocol: Literal["json", "messagepack"], dotnet_server: str) -> None:
    url = f"{dotnet_server}/conformance"
    options = HubConnectionOptions(around_calls=traced_calls(url, tracer_provider=TracerProvider()))
    async with open_hub_connection(url, protocol=protocol, options=options) as connection:
        assert await connection.invoke("Add", 40, 2) == 42
        await connection.send("DoNothing")
        async with connection.stream("Counter", 3, 1) as reader:
            assert [item async for item in reader] == [0, 1, 2]


@pytest.mark.parametrize("combo", ["websockets/json", "websockets/messagepack"])
@pytest.mark.parametrize("client", ["dotnet", "js"])
async def test_asked_clients(client: str, combo: str, request: pytest.FixtureRequest) -> None:
    written: list[set[str]] = []

    class Witness(Observer):
        def call_began(self, call: ObservedCall) -> None:
            written.append(set(headers_here() or ()))

    app = build_app()
    instrument(app, tracer_provider=TracerProvider(), meter_provider=MeterProvider())
    app.add_observer(Witness())
    async with trio.open_nursery() as nursery:
        address = await nursery.start(app.serve, "127.0.0.1", 0)
        for name in ("the server asks its caller", "the server asks another client"):
            if client == "dotnet":
                peer = request.getfixturevalue("dotnet_peer")
                command = [peer, "client", address, "--combo", combo, "--only", name]
                verdict = f"ok   {combo} {name} ("
            else:
                node = request.getfixturevalue("node")
                command = [node, str(JS / "scenarios.mjs"), address, *combo.split("/"), "--only", name]
                verdict = f"ok {name}\n"
            run = await trio.run_process(command, capture_stdout=True, check=False)
            assert run.stdout.decode().startswith(verdict)
        nursery.cancel_scope.cancel()
    assert {"traceparent"} in written
