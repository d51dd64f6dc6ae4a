"""Models of pydantic: read and written by their own rules, wherever they are."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from msgspec import Raw
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    RootModel,
    SecretStr,
    computed_field,
    field_validator,
)
from pydantic.alias_generators import to_camel

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, Naming, NamingWord
from trio_hubs.protocol.payloads import Payloads

from .shapes import PERSON_ID

FORMATS: list[Format] = ["json", "messagepack"]
NAMINGS: list[NamingWord] = ["python", "dotnet"]
BOTH = pytest.mark.parametrize("format", FORMATS)
T = TypeVar("T")


class Color(Enum):
    DARK_BLUE = "blue"


class Person(BaseModel):
    full_name: str
    born_at: datetime | None = None
    id: UUID = PERSON_ID
    color: Color = Color.DARK_BLUE
    balance: Decimal = Decimal("0.10")
    tags: set[str] = set()
    by_number: dict[int, float] = {}
    parent: "Person | None" = None


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", validate_by_name=True)

    full_name: str


class Data(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", strict=True)

    data: bytes
    day: date | None = None


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Numbers(RootModel[list[int]]):
    pass


class Box(BaseModel, Generic[T]):
    content: T


class Picky(BaseModel):
    ages: list[Annotated[int, Field(ge=0)]] = []
    name: str = Field(default="", validation_alias=AliasChoices("name", "the_name"))
    parts: dict[str, int] = {}

    @field_validator("name")
    @classmethod
    def check(cls, value: str) -> str:
        if value == "secret":
            raise ValueError(f"not {value}")
        return value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.ages)


class Event(BaseModel):
    at: datetime


@dataclass
class Letter:
    the_sender: Person
    weight: Decimal
    others: list[Person | None]


@pydantic.dataclasses.dataclass
class Checked:
    the_number: Annotated[int, Field(ge=0)]


PERSON = Person(full_name="Ada", born_at=datetime(2017, 4, 11, tzinfo=UTC), tags={"x"}, by_number={1: 1.5})


def wire(payloads: Payloads, value: object) -> Any:
    data = payloads.dumper(Any)(value)
    return json.loads(data) if payloads.format == "json" else msgspec.msgpack.decode(data)


def read(payloads: Payloads, plain: object, type_: Any) -> Any:
    data = msgspec.json.encode(plain) if payloads.format == "json" else msgspec.msgpack.encode(plain)
    return payloads.loader(type_)(Raw(data))


@BOTH
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    "value",
    [
        PERSON,
        Person(full_name="Zoë", parent=PERSON),
        Camel(full_name="Ada"),
        Data(data=b"\x00\xff"),
        Numbers([1, 2]),
        Box[Person](content=PERSON),
        Picky(ages=[1], name="x"),
        Checked(1),
        Letter(PERSON, Decimal("0.10"), [PERSON, None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_there_and_back(format: Format, naming: NamingWord, value: Any) -> None:
    payloads = Payloads(format, naming)
    type_: Any = type(value)
    for declared in (type_, Any):
        assert payloads.loader(type_)(payloads.dumper(declared)(value)) == value
    assert payloads.loader(dict[str, type_ | None])(payloads.dumper(Any)({"a": value, "b": None})) == {
        "a": value,
        "b": None,
    }
    arguments = Raw(payloads.dump_arguments([value, 1]))
    assert payloads.arguments_loader([type_, int])(arguments) == [value, 1]


@BOTH
def test_a_model_has_its_own_names(format: Format) -> None:
    payloads = Payloads(format, Naming(fields="pascal", enums="name"))
    assert wire(payloads, Camel(full_name="Ada")) == {"fullName": "Ada"}
    plain = wire(payloads, Letter(PERSON, Decimal(1), []))["TheSender"]
    assert plain["full_name"] == "Ada"
    assert plain["color"] == "blue"
    assert wire(payloads, Picky(ages=[1, 2]))["size"] == 2


def test_json_is_what_pydantic_makes_it() -> None:
    payloads = Payloads("json", "dotnet")
    assert payloads.dumper(Person)(PERSON) == msgspec.json.encode(PERSON.model_dump(mode="json"))
    assert read(payloads, {"data": "AP8=", "day": "2017-04-11"}, Data) == Data(
        data=b"\x00\xff", day=date(2017, 4, 11)
    )
    assert read(payloads, {"content": "https://example.org"}, Box[HttpUrl]).content.host == "example.org"
    assert read(payloads, {"content": "x"}, Box[SecretStr]).content.get_secret_value() == "x"


@BOTH
def test_unions_of_models(format: Format) -> None:
    payloads = Payloads(format)
    for value in (Cat(lives=9), Dog(tricks=["sit"])):
        assert payloads.loader(Cat | Dog)(payloads.dumper(Any)(value)) == value
        assert payloads.loader(list[Annotated[Cat | Dog, Field(discriminator="kind")] | None])(
            payloads.dumper(Any)([value, None])
        ) == [value, None]
    with pytest.raises(BindingError):
        read(payloads, {"kind": "bird"}, Cat | Dog)
    with pytest.raises(TypeError, match="cannot be told apart"):
        payloads.loader(Cat | Letter)


@BOTH
def test_models_with_tags(format: Format) -> None:
    payloads = Payloads(format, Naming(tags={Camel: "camel", Letter: "letter", Event: "event"}))
    event = Event(at=datetime(2017, 4, 11, tzinfo=UTC))
    for value in (Camel(full_name="x"), Letter(PERSON, Decimal(1), []), event):
        assert next(iter(wire(payloads, value))) == "$type"
        assert payloads.loader(Camel | Letter | Event)(payloads.dumper(Any)(value)) == value
        assert payloads.loader(type(value))(payloads.dumper(Any)(value)) == value


@BOTH
@pytest.mark.parametrize(
    ("type_", "plain", "note"),
    [
        (Picky, {"ages": [1, -1]}, "Refused by pydantic: greater_than_equal @ $.ages[1]"),
        (Picky, {"ages": "secret"}, "Refused by pydantic: list_type @ $.ages"),
        (Picky, {"name": "secret"}, "Refused by pydantic: value_error @ $.name"),
        (Picky, {"parts": {"secret": "x"}}, "Refused by pydantic: int_parsing @ $.parts"),
        (Camel, {"fullName": "x", "secret": 1}, "Refused by pydantic: extra_forbidden @ $"),
        (list[Camel], [{"fullName": 1}], "Refused by pydantic: string_type @ $[0].fullName"),
        (Person, 5, None),
        (Cat | Dog, {"kind": "bird"}, None),
    ],
)
def test_what_a_model_refuses_is_told_without_what_was_sent(
    format: Format, type_: Any, plain: Any, note: Any
) -> None:
    with pytest.raises(BindingError) as caught:
        read(Payloads(format), plain, type_)
    (told,) = caught.value.__notes__
    assert told == (note or told)
    assert "secret" not in told
    assert caught.value.__cause__ is caught.value.__context__ is None


@BOTH
def test_a_field_that_holds_what_it_was_not_declared_to_hold_is_written_as_that(format: Format) -> None:
    """As everywhere; and without a warning, which would have the value in it."""
    odd = Box[int].model_construct(content="secret")
    assert wire(Payloads(format), odd) == {"content": "secret"}


def test_what_only_json_has() -> None:
    with pytest.raises(BindingError, match="register an unstructure hook"):
        Payloads("messagepack").dumper(Any)(Box[HttpUrl](content=HttpUrl("https://example.org")))


class Cell(NamedTuple):
    at: int


class Shelf(Enum):
    TOP = Cell(1)


@BOTH
def test_what_pydantic_refuses_beside_models_is_ours(format: Format) -> None:
    """An enum whose values are tuples, which pydantic does not take."""
    payloads = Payloads(format)
    assert payloads.loader(Shelf)(payloads.dumper(Any)(Shelf.TOP)) is Shelf.TOP


def test_no_number_that_json_lacks_is_written() -> None:
    with pytest.raises(BindingError, match="is not a JSON number"):
        Payloads("json").dumper(Any)(Box[float](content=float("nan")))


def test_nested_too_deep() -> None:
    plain: Any = {"full_name": "x"}
    for _ in range(300):
        plain = {"full_name": "x", "parent": plain}
    for format in FORMATS:
        with pytest.raises(BindingError):
            read(Payloads(format), plain, Person)


def test_pydantic_is_not_imported() -> None:
    code = "import sys; from trio_hubs.protocol.payloads import Payloads; Payloads('json').loader(list[int]);"
    subprocess.run([sys.executable, "-c", f"{code} assert 'pydantic' not in sys.modules"], check=True)
