"""The real server takes calls with the headers of a trace."""

from typing import Literal

import pytest
from opentelemetry.sdk.trace import TracerProvider

from trio_hubs import HubConnectionOptions, open_hub_connection
from trio_hubs.otel import traced_calls


@pytest.mark.interop
@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_traced_calls(protocol: Literal["json", "messagepack"], dotnet_server: str) -> None:
    url = f"{dotnet_server}/conformance"
    options = HubConnectionOptions(around_calls=traced_calls(url, tracer_provider=TracerProvider()))
    async with open_hub_connection(url, protocol=protocol, options=options) as connection:
        assert await connection.invoke("Add", 40, 2) == 42
        await connection.send("DoNothing")
        async with connection.stream("Counter", 3, 1) as reader:
            assert [item async for item in reader] == [0, 1, 2]
