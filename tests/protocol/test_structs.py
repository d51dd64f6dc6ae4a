"""Structs of msgspec: their own names, tags and limits on the wire, and parts of every type within."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
import pytest
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, Naming, NamingWord
from trio_hubs.protocol.payloads import Payloads

from .shapes import PERSON_ID, Cat, Dog, Point

FORMATS: list[Format] = ["json", "messagepack"]
NAMINGS: list[NamingWord] = ["python", "dotnet"]
BOTH = pytest.mark.parametrize("format", FORMATS)
T = TypeVar("T")


class Color(Enum):
    DARK_BLUE = "blue"


@dataclass
class Tag:
    the_text: str


class Everything(Struct, kw_only=True):
    when: datetime
    day: date
    nap: timedelta
    price: Decimal
    id: UUID
    data: bytes
    color: Color
    tag: Tag
    animals: list[Cat | Dog]
    by_number: dict[int, Point]
    inner: "Everything | None" = None
    main_name: str = ""


EVERYTHING = Everything(
    when=datetime(2017, 4, 11, tzinfo=timezone(timedelta(hours=2))),
    day=date(2017, 4, 11),
    nap=timedelta(hours=1),
    price=Decimal("0.10"),
    id=PERSON_ID,
    data=b"\x00\xff",
    color=Color.DARK_BLUE,
    tag=Tag("x"),
    animals=[Cat("cat", 9), Dog("dog", ["sit"])],
    by_number={1: Point(1)},
)


class Renamed(Struct, rename="kebab"):
    main_name: str
    other: int = msgspec.field(name="class", default=1)


class Circle(Struct, tag="circle", tag_field="kind"):
    radius: float


class Square(Struct, tag="square", tag_field="kind"):
    side: float


class Numbered(Struct, tag=7):
    x: int


class Pair(Struct, array_like=True):
    left: int
    right: "Point | None" = None


class TaggedPair(Struct, array_like=True, tag="pair"):
    left: int


class OtherPair(Struct, array_like=True, tag="other"):
    left: int


class Strict(Struct, forbid_unknown_fields=True, tag="strict"):
    x: int


class Sparse(Struct, omit_defaults=True):
    x: int
    y: int = 5
    items: list[int] = []
    z: int | UnsetType = UNSET
    when: date | UnsetType | None = UNSET


class Limited(Struct):
    age: Annotated[int, Meta(ge=0, lt=150)]
    name: Annotated[str, Meta(min_length=1)] | None = None
    tags: Annotated[list[Tag], Meta(max_length=2)] = []


class Box(Struct, Generic[T]):
    content: T


class Checked(Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.low} secret")


def wire(payloads: Payloads, value: object, type_: Any = Any) -> Any:
    data = payloads.dumper(type_)(value)
    return json.loads(data) if payloads.format == "json" else msgspec.msgpack.decode(data)


def read(payloads: Payloads, plain: object, type_: Any) -> Any:
    data = msgspec.json.encode(plain) if payloads.format == "json" else msgspec.msgpack.encode(plain)
    return payloads.loader(type_)(Raw(data))


@BOTH
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    "value",
    [
        EVERYTHING,
        msgspec.structs.replace(EVERYTHING, inner=EVERYTHING),
        Renamed("a", 2),
        Circle(1.5),
        Numbered(1),
        Pair(1, Point(2)),
        TaggedPair(1),
        Strict(1),
        Sparse(1),
        Sparse(1, 6, [1], 2, date(2017, 4, 11)),
        Limited(5, "x", [Tag("a")]),
        Checked(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_there_and_back(format: Format, naming: NamingWord, value: Struct) -> None:
    payloads = Payloads(format, naming)
    type_: Any = type(value)
    for declared in (type_, Any):
        back = payloads.loader(type_)(payloads.dumper(declared)(value))
        if type_ is Everything and naming == "python" and format == "messagepack":
            assert back.when == value.when  # type: ignore[attr-defined]
        else:
            assert back == value
    assert payloads.loader(list[type_ | None])(payloads.dumper(Any)([value, None])) == [value, None]


@BOTH
def test_names_are_the_classes_own_or_else_those_of_the_naming(format: Format) -> None:
    payloads = Payloads(format, Naming(fields="camel"))
    assert wire(payloads, Renamed("a")) == {"main-name": "a", "class": 1}
    assert list(wire(payloads, EVERYTHING))[-3:] == ["byNumber", "inner", "mainName"]
    assert wire(payloads, EVERYTHING)["tag"] == {"theText": "x"}


@BOTH
def test_tags(format: Format) -> None:
    payloads = Payloads(format)
    assert wire(payloads, Circle(1.5)) == {"kind": "circle", "radius": 1.5}
    assert next(iter(wire(payloads, Circle(1.5)))) == "kind"
    assert wire(payloads, Numbered(1)) == {"type": 7, "x": 1}
    assert wire(payloads, TaggedPair(1)) == ["pair", 1]
    for value in (Circle(1.5), Square(2)):
        assert payloads.loader(Circle | Square)(payloads.dumper(Any)(value)) == value
    assert read(payloads, {"radius": 1}, Circle) == Circle(1.0)
    for wrong in ({"kind": "square", "radius": 1}, {"kind": 5, "radius": 1}):
        with pytest.raises(BindingError) as caught:
            read(payloads, wrong, Circle)
        assert caught.value.__notes__ == ["Invalid value @ $.kind"]
    with pytest.raises(BindingError):
        read(payloads, {"radius": 1}, Circle | Square)


@BOTH
def test_arrays(format: Format) -> None:
    payloads = Payloads(format)
    assert wire(payloads, [Pair(1)]) == [[1, None]]
    assert read(payloads, [1], Pair) == Pair(1)
    assert read(payloads, [1, {"x": 1}, "more"], Pair) == Pair(1, Point(1))
    for wrong, note in (
        ({"left": 1}, "Expected `array`, got `object` @ $"),
        ([], "required field missing @ $.left"),
        (["x"], "Expected `int`, got `str` @ $.left"),
    ):
        with pytest.raises(BindingError) as caught:
            read(payloads, wrong, Pair)
        assert caught.value.__notes__ == [note]
    with pytest.raises(BindingError):
        read(payloads, ["other", 1], TaggedPair)
    for union in (Pair | TaggedPair, TaggedPair | OtherPair):
        with pytest.raises(TypeError, match=r"Pair cannot be told apart"):
            payloads.loader(union)


@BOTH
def test_what_is_left_out(format: Format) -> None:
    payloads = Payloads(format)
    assert wire(payloads, Sparse(1)) == {"x": 1}
    assert wire(payloads, Sparse(1, 6, [7])) == {"x": 1, "y": 6, "items": [7]}
    assert read(payloads, {"x": 1}, Sparse) == Sparse(1)
    assert read(payloads, {"x": 1, "z": 2, "when": None}, Sparse) == Sparse(1, z=2, when=None)


@BOTH
def test_what_is_left_out_leaves_the_tag(format: Format) -> None:
    class Empty(Struct, tag="empty", omit_defaults=True):
        x: int = 1

    assert wire(Payloads(format), [Empty(), Empty(2)]) == [{"type": "empty"}, {"type": "empty", "x": 2}]


@BOTH
@pytest.mark.parametrize(
    ("type_", "plain", "note"),
    [
        (Strict, {"x": 1, "secret": 2}, "Object contains unknown fields @ $"),
        (Limited, {"age": -1}, "Expected `int` >= 0 @ $.age"),
        (Limited, {"age": 1, "name": ""}, "Expected `str` of length >= 1 @ $.name"),
        (Limited, {"age": 1, "tags": [{"the_text": "a"}] * 3}, "Expected `array` of length <= 2 @ $.tags"),
        (Checked, {"low": 2, "high": 1}, "Refused with ValueError @ $"),
        (Box[int], {"content": "x"}, "Expected `int`, got `str` @ $.content"),
        (Circle, [1], "Expected `object`, got `array` @ $"),
    ],
)
def test_what_does_not_fit(format: Format, type_: Any, plain: Any, note: str) -> None:
    with pytest.raises(BindingError) as caught:
        read(Payloads(format), plain, type_)
    assert caught.value.__notes__ == [note]


@BOTH
def test_unions_that_msgspec_alone_does_not_read(format: Format) -> None:
    """Several classes, or several kinds of text: the second thing its users ask for most."""

    class Event(Struct):
        author: Cat | Dog
        data: dict[str, int | str | datetime]
        size: Annotated[int, Meta(ge=1)] | float | None = None

    payloads = Payloads(format)
    value = Event(Dog("dog", []), {"a": 1, "b": "x"}, 2)
    with pytest.raises(TypeError, match=r"cannot be told apart|register a structure hook"):
        payloads.loader(dict[str, UUID | datetime])
    assert wire(payloads, value)["author"] == {"kind": "dog", "tricks": []}


@BOTH
def test_limits_hold_for_arguments_and_other_classes(format: Format) -> None:
    @dataclass
    class Order:
        amount: Annotated[float, Meta(gt=0)]

    payloads = Payloads(format)
    assert read(payloads, {"amount": 1}, Order) == Order(1.0)
    assert read(payloads, [3], list[Annotated[int, Meta(ge=3)]]) == [3]
    for plain, type_ in (
        ({"amount": 0}, Order),
        (2, Annotated[int, Meta(ge=3)]),
        (2.5, int | Annotated[float, Meta(ge=3)]),
    ):
        with pytest.raises(BindingError):
            read(payloads, plain, type_)
    with pytest.raises(TypeError, match="cannot be converted"):
        payloads.loader(Annotated[UUID, Meta(ge=3)])


def test_many_keys_of_one_hash_are_refused() -> None:
    class Map(Struct):
        by_number: dict[int, int]

    keys = {str(number * (2**61 - 1)): 1 for number in range(1, 500)}
    with pytest.raises(BindingError) as caught:
        read(Payloads("json"), {"by_number": keys}, Map)
    assert "Too many keys of one hash" in caught.value.__notes__[0]
    with pytest.raises(BindingError):
        Payloads("json").loader(Everything)(b'{"price":1e999999}')


def test_naive_moments() -> None:
    class Moment(Struct):
        at: Annotated[datetime, Meta(tz=True)]

    payloads = Payloads("json")
    assert read(payloads, {"at": "2017-04-11T00:00:00Z"}, Moment) == Moment(datetime(2017, 4, 11, tzinfo=UTC))
    with pytest.raises(BindingError):
        read(payloads, {"at": "2017-04-11T00:00:00"}, Moment)
