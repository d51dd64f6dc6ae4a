"""A user's types go both ways between a hub and its client: hooks, models, Structs, tags and names of each."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Protocol

import msgspec
import pydantic
import pytest
import trio
from cattrs import Converter

from tests.hub_peer import served_hub
from trio_hubs import Hub, HubConnection, HubOptions, Naming
from trio_hubs.client.opening import open_over
from trio_hubs.connections.memory import MemoryConnection, memory_connection_pair
from trio_hubs.protocol.hub_protocol import TransferFormat


class Money:
    """Says nothing of what it is made of."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    __hash__ = None  # type: ignore[assignment]


class Color(Enum):
    DARK_BLUE = "blue"


@dataclass
class Circle:
    the_radius: float
    color: Color = Color.DARK_BLUE


@dataclass
class Square:
    the_side: float


class Point(msgspec.Struct):
    the_x: int


class Person(pydantic.BaseModel):
    full_name: str


class Desk(Protocol):
    """What the client offers."""

    async def draw(self, shape: Circle | Square, price: Money) -> None: ...

    async def meet(self, person: Person) -> Point: ...


class Studio(Hub[Desk]):
    async def double(self, price: Money) -> Money:
        return Money(price.amount * 2)

    async def mirror(self, shape: Circle | Square) -> Circle | Square:
        return shape

    async def prices(self, shapes: AsyncIterator[Circle | Square]) -> AsyncIterator[Money]:
        async for shape in shapes:
            yield Money(Decimal(1) if isinstance(shape, Circle) else Decimal(2))

    async def gallery(self) -> AsyncIterator[Circle | Square]:
        yield Circle(1)
        yield Square(1)

    async def show(self, person: Person) -> Point:
        await self.clients.caller.draw(Square(1), Money(Decimal(3)))
        return await self.clients.caller.meet(person)


class StudioCalls(Protocol):
    """The same hub, as a proxy offers it."""

    async def mirror(self, shape: Circle | Square) -> Circle | Square: ...


def money_converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook(Money, lambda text, _: Money(Decimal(text)))
    converter.register_unstructure_hook(Money, lambda money: str(money.amount))
    return converter


NAMING = Naming(fields="camel", enums="name", tags={Circle: "circle", Square: "square"})


@asynccontextmanager
async def open_studio(
    protocol: Literal["json", "messagepack"], handlers: Any = None
) -> AsyncGenerator[HubConnection]:
    served = served_hub(Studio, naming=NAMING, converter=money_converter())
    server_end, client_end = memory_connection_pair()
    server_end.id = client_end.id = "id"

    @asynccontextmanager
    async def dial(_: TransferFormat) -> AsyncGenerator[MemoryConnection]:
        await trio.lowlevel.checkpoint()
        yield client_end
        client_end.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.handle, server_end)
        async with open_over(
            [dial], protocol=protocol, naming=NAMING, converter=money_converter(), handlers=handlers
        ) as connection:
            yield connection


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_types_of_users_go_both_ways(protocol: Any) -> None:
    drawn: list[object] = []

    class DeskHandlers:
        def draw(self, shape: Circle | Square, price: Money) -> None:
            drawn.extend([shape, price])

        def meet(self, person: Person) -> Point:
            return Point(len(person.full_name))

    async with open_studio(protocol, DeskHandlers()) as connection:
        assert await connection.invoke("Double", Money(Decimal("1.5")), result_type=Money) == Money(
            Decimal(3)
        )
        for shape in (Circle(1.5), Square(2)):
            assert await connection.invoke("Mirror", shape, result_type=Circle | Square) == shape
            assert await connection.proxy(StudioCalls).mirror(shape) == shape
        assert await connection.invoke("Mirror", Circle(2.5), result_type=dict) == {
            "$type": "circle",
            "theRadius": 2.5,
            "color": "DARK_BLUE",
        }
        assert await connection.invoke("Show", Person(full_name="Ada"), result_type=Point) == Point(3)
        assert drawn == [Square(1), Money(Decimal(3))]

        async with connection.stream("Gallery", item_type=dict[str, Any]) as gallery:
            assert [next(iter(shape.items())) async for shape in gallery] == [
                ("$type", "circle"),
                ("$type", "square"),
            ]

        async def shapes() -> AsyncIterator[Circle | Square]:
            yield Circle(1)
            yield Square(1)

        async with connection.stream("Prices", shapes(), item_type=Money) as prices:
            assert [price async for price in prices] == [Money(Decimal(1)), Money(Decimal(2))]


@pytest.mark.parametrize("wrong", [5, Converter, "converter"])
async def test_hooks_come_from_a_converter(wrong: Any) -> None:
    with pytest.raises(TypeError, match="converter' must be"):
        HubOptions(converter=wrong)
    with pytest.raises(TypeError, match="converter must be Converter, not"):
        async with open_over([], converter=wrong):
            raise AssertionError


async def test_a_type_without_a_hook_is_refused_where_it_is_given() -> None:
    with pytest.raises(
        TypeError, match=r"Studio\.double: the type .*Money'> cannot be converted: register a"
    ):
        served_hub(Studio)
    async with open_studio("json") as connection:
        with pytest.raises(TypeError, match="register a structure hook for Studio"):
            await connection.invoke("Double", 1, result_type=Studio)
