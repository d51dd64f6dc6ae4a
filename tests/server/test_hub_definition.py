"""A hub's definition: its protocols, and the interface of its clients."""

from typing import Any, Generic, Protocol, TypeVar

import pytest

from trio_hubs import Hub, HubOptions, TransferFormat
from trio_hubs.server.hub_definition import HubDefinition

T = TypeVar("T")


class Client(Protocol):
    """What clients offer."""

    async def receive_message(self, text: str) -> None: ...


class Untyped(Hub):
    """Says nothing of its clients."""


class Paged(Hub[Client], Generic[T]):
    """A hub with a parameter of its own."""


class PagedChat(Paged[int]):
    """Its client is its base's."""


class Mixed(Untyped, Hub[Client]):  # pyright: ignore[reportGeneralTypeIssues]  # which users may, too
    """Its client is that of the base that says so."""


def define(hub: type[Hub[Any]], **options: Any) -> HubDefinition:
    return HubDefinition.of(hub, hub, HubOptions(**options), ())


@pytest.mark.parametrize(("hub", "typed"), [(PagedChat, True), (Mixed, True), (Untyped, False)])
def test_the_interface_is_what_stands_for_the_hubs_own_parameter(hub: type[Hub[Any]], typed: bool) -> None:
    proxy: Any = object()
    assert hasattr(define(hub).proxy(proxy), "receive_message") is typed


@pytest.mark.parametrize(
    ("protocols", "formats"),
    [
        (("json", "messagepack"), {TransferFormat.TEXT, TransferFormat.BINARY}),
        (("messagepack",), {TransferFormat.BINARY}),
    ],
)
def test_it_has_a_table_for_each_supported_protocol(
    protocols: tuple[str, ...], formats: set[TransferFormat]
) -> None:
    definition = define(Untyped, supported_protocols=protocols)
    assert tuple(definition.tables) == protocols
    assert definition.transfer_formats == formats
