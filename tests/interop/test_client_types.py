"""Types of every kind go to the real ASP.NET Core server, and to ours, and come back: one person in many shapes."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from cattrs import Converter
from pydantic.alias_generators import to_camel, to_pascal

from tests.interop.conformance_hubs import Color, Person
from tests.interop.ways import Server
from trio_hubs import Naming

pytestmark = pytest.mark.interop

BORN = datetime(1815, 12, 10, 1, 2, 3, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")


class Human(msgspec.Struct):
    name: str
    born: datetime
    id: UUID
    tags: list[str] = []
    favourite: Color = Color.RED
    avatar: bytes = b""
    balance: Decimal = Decimal(0)
    age: Annotated[int, msgspec.Meta(ge=0)] = 0
    nickname: str | None = None
    parent: "Human | None" = None


class Named(msgspec.Struct, rename="pascal"):
    """It has names of its own, which .NET reads in any case in JSON."""

    name: str
    favourite: Color


class Shade(Enum):
    """Known by .NET's numbers."""

    RED = 0
    GREEN = 1
    BLUE = 2


class ByName(Enum):
    """Known by .NET's names."""

    RED = "Red"
    GREEN = "Green"
    BLUE = "Blue"


class JsonModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        alias_generator=to_camel, validate_by_name=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    name: str
    born: datetime
    id: UUID
    tags: list[str] = []
    favourite: Shade = Shade.GREEN
    avatar: bytes = b""
    balance: Annotated[Decimal, pydantic.PlainSerializer(float, when_used="json")] = Decimal(0)
    nickname: str | None = None
    parent: "JsonModel | None" = None


class PackModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_pascal, validate_by_name=True)

    name: str
    born: datetime
    id: UUID
    tags: list[str] = []
    favourite: ByName = ByName.GREEN
    avatar: bytes = b""
    balance: Decimal = Decimal(0)
    nickname: str | None = None
    parent: "PackModel | None" = None


async def test_structs(server: Server) -> None:
    child = Human(
        "Ada", BORN, ID, ["a", "b"], Color.BLUE, b"\x00\xff", Decimal(79228162514264337593543950335), 36
    )
    human = Human("Zoë", BORN, ID, parent=child, nickname="Z")
    async with server.connect() as connection:
        assert await connection.invoke("EchoPerson", human, result_type=Human) == human
        async with connection.stream("People", 3, item_type=Human) as people:
            async for person in people:
                assert (person.name[:6], person.favourite) == ("person", Color.GREEN)


async def test_structs_with_names_of_their_own(server: Server) -> None:
    async with server.connect() as connection:
        given: dict[str, Any] = await connection.invoke(
            "EchoPerson", Named("Ada", Color.BLUE), result_type=dict
        )
        assert given["name" if server.protocol == "json" else "Name"] == "Ada"
        back = await connection.invoke("EchoPerson", Named("Ada", Color.BLUE), result_type=Human)
        assert (back.name, back.favourite) == ("Ada", Color.BLUE)


async def test_models(server: Server) -> None:
    model: Any = JsonModel if server.protocol == "json" else PackModel
    child = model(name="Ada", born=BORN, id=ID, tags=["a"], avatar=b"\x00\xff", balance=Decimal("0.5"))
    person = model(name="Zoë", born=BORN, id=ID, parent=child, nickname="Z")
    async with server.connect() as connection:
        assert await connection.invoke("EchoPerson", person, result_type=model) == person
        given = (await connection.invoke("EchoPerson", person, result_type=Person)).parent
        assert given is not None
        assert (given.avatar, given.favourite) == (b"\x00\xff", Color.GREEN)


async def test_hooks(server: Server) -> None:
    class Sum:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    converter = Converter()
    converter.register_structure_hook(Sum, lambda number, _: Sum(int(Decimal(str(number)) * 100)))
    converter.register_unstructure_hook(Sum, lambda amount: Decimal(amount.cents) / 100)
    async with server.connect(converter=converter) as connection:
        assert (await connection.invoke("EchoDecimal", Sum(1250), result_type=Sum)).cents == 1250


async def test_a_tag_that_nobody_asked_for_is_no_matter(server: Server) -> None:
    naming = Naming(fields="dotnet", enums="dotnet", tags={Person: "person"})
    async with server.connect(naming=naming) as connection:
        person = Person("Ada", 36, favourite=Color.BLUE)
        back = await connection.invoke("EchoPerson", person, result_type=Person)
        assert (back.name, back.age, back.favourite) == ("Ada", 36, Color.BLUE)


async def test_names_alike_in_both_formats(server: Server) -> None:
    """Pascal for both: .NET reads JSON in any letter case, and what it writes is read so here."""
    async with server.connect(naming=Naming(fields="pascal", enums="dotnet")) as connection:
        back = await connection.invoke(
            "EchoPerson", Person("Ada", 36, favourite=Color.BLUE), result_type=Person
        )
        assert (back.name, back.age, back.favourite) == ("Ada", 36, Color.BLUE)
