"""Unions: classes are told apart by tags or by their fields, values by what they are."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, TypedDict
from uuid import UUID

import attrs
import msgspec
import pytest
from msgspec import Raw, Struct

from trio_hubs.errors import BindingError
from trio_hubs.protocol.fields import Field
from trio_hubs.protocol.naming import Naming
from trio_hubs.protocol.payloads import Payloads
from trio_hubs.protocol.unions import chooser

from .shapes import PERSON_ID, Cat, Color, Dog, Level, Point

FORMATS: list[Any] = ["json", "messagepack"]
NAMINGS: list[Any] = ["python", "dotnet"]
Name = NewType("Name", str)


@dataclass
class Circle:
    radius_in_mm: int
    label: str = ""


@dataclass
class Square:
    side: int
    label: str = ""


@dataclass
class Anything:
    label: str = ""


@dataclass
class Nothing: ...


@dataclass
class Wrapped:
    value: int | str


@dataclass
class Success:
    kind: Literal[1, True]
    state: Literal["ok"]


@dataclass
class Failure:
    kind: Literal[2, 1]
    state: Literal["failed", "ok?"]


class Map(TypedDict):
    a: int


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Circle | Square | Anything, [Circle(1), Square(2, "x"), Anything("x"), Anything()]),
        (Circle | Square, [Circle(1), Square(2)]),
        (Cat | Dog | None, [Cat("cat", 9), None]),
        (Success | Failure, [Success(1, "ok"), Failure(1, "ok?"), Failure(2, "failed")]),
        (list[int] | str | None, [[1], "x", None]),
        (Point | int | bool, [Point(1), 1, True]),
        (dict[str, int] | bool, [{"a": 1}, False]),
        (UUID | int, [PERSON_ID, 5]),
        (Name | float, [Name("x"), 1.5]),
        (Annotated[int, "x"] | Annotated[str, "y"] | list[Point], [1, "x", [Point(1)]]),
        (Literal["a", 1] | bool, ["a", 1, True]),
        (Literal[Level.LOW] | Point, [Level.LOW, Point(1)]),
        (Literal["a"] | Color, ["a", Color.RED]),
        (Decimal | None, [Decimal("0.10"), None]),
        (float | Decimal, [Decimal("0.10")]),
    ],
)
def test_values_of_unions(format: Any, naming: Any, type_: Any, values: list[Any]) -> None:
    payloads = Payloads(format, naming)
    load = payloads.loader(list[type_])
    back = load(payloads.dumper(Any)(values))
    assert back == values
    assert list(map(type, back)) == list(map(type, values))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("wire", [1, "1", True, 1.5, None, [1]])
def test_a_field_is_as_strict_as_a_parameter(format: Any, wire: Any) -> None:
    payloads = Payloads(format)
    fits = type(wire) in (int, str)
    for load, data, expected in (
        (payloads.arguments_loader([int | str]), [wire], [wire]),
        (payloads.loader(Wrapped), {"value": wire}, Wrapped(wire)),
        (payloads.loader(dict[UUID, int | str]), {str(PERSON_ID): wire}, {PERSON_ID: wire}),
        (payloads.loader(int | str), wire, wire),
    ):
        if fits:
            assert load(Raw(payloads.dumper(Any)(data))) == expected
        else:
            with pytest.raises(BindingError):
                load(Raw(payloads.dumper(Any)(data)))


@pytest.mark.parametrize("format", FORMATS)
def test_a_float_may_come_without_a_point(format: Any) -> None:
    payloads = Payloads(format)
    for type_ in (float | str, float | str | Point):
        back = payloads.loader(type_)(payloads.dumper(Any)(1))
        assert (back, type(back)) == (1.0, float)
    back = payloads.loader(tuple[Decimal, float | None])(payloads.dumper(Any)([Decimal(1), 0.5]))
    assert back == (Decimal(1), 0.5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("type_", "wire", "note"),
    [
        (Circle | Square, {"label": "x"}, "Of none of the classes @ $"),
        (Circle | Square, "x", "Expected `object`, got `str` @ $"),
        (Circle | Square, {"side": "x"}, "Expected `int`, got `str` @ $.side"),
        (Cat | Dog, {"kind": "bird"}, "Of none of the classes @ $.kind"),
        (Cat | Dog, {"kind": ["cat"]}, "Of none of the classes @ $.kind"),
        (Cat | Dog, {}, "Of none of the classes @ $.kind"),
        (int | Point, "x", "Expected `object`, got `str` @ $"),
        (Literal["a"] | bool, "b", "Expected `Literal | bool`, got `str` @ $"),
        (Literal["a"] | bool, [], "Expected `Literal | bool`, got `array` @ $"),
        (Literal["a", 1], [], "None of the literals @ $"),
    ],
)
def test_what_is_of_none_of_them(format: Any, type_: Any, wire: Any, note: str) -> None:
    payloads = Payloads(format)
    with pytest.raises(BindingError) as caught:
        payloads.loader(type_)(payloads.dumper(Any)(wire))
    assert caught.value.__notes__ == [note]


@pytest.mark.parametrize(
    "type_", [Anything | Nothing, Point | Map, Map | dict[str, int], list[Point] | list[Map]]
)
def test_what_cannot_be_told_apart_is_an_error_where_it_is_declared(type_: Any) -> None:
    with pytest.raises(TypeError, match="cannot be told apart"):
        Payloads("json").loader(dict[str, type_ | None])


def test_the_chooser_alone() -> None:
    fields = {int: {"a": Field("a", "a", int, True)}, str: {"a": Field("a", "a", int, True)}}
    with pytest.raises(TypeError, match=r"int \| str cannot be told apart"):
        chooser(fields, lambda _: {})


# ---- tags


@dataclass
class Shape:
    the_label: str = ""
    parts: "list[Shape]" = field(default_factory=list)


@dataclass
class Disc(Shape):
    radius: float = 1


@dataclass
class Box(Shape):
    side: int = 1
    inner: "Disc | Box | None" = None


@attrs.define
class SmallBox(Shape):
    side: int = 1


@dataclass
class Frame(Shape):
    """A class within itself, by way of what it is made of."""

    content: Shape = field(default_factory=Shape)


class Sized(ABC):
    @abstractmethod
    def size(self) -> int: ...


class Line(Struct):
    length: int


@Sized.register
class Dot(Struct):
    x: int = 0


class Rod(Sized):
    """Of no fields."""

    def size(self) -> int:
        raise AssertionError


TAGS: dict[type, str | int] = {
    Disc: "disc",
    Box: "box",
    SmallBox: 3,
    Frame: "frame",
    Line: "line",
    Dot: "dot",
}
TAGGED = Naming(fields="dotnet", tags=TAGS)


def plain(format: Any, data: bytes) -> Any:
    return json.loads(data) if format == "json" else msgspec.msgpack.decode(data)


def encoded(format: Any, value: object) -> Raw:
    return Raw(msgspec.json.encode(value) if format == "json" else msgspec.msgpack.encode(value))


@pytest.mark.parametrize("format", FORMATS)
def test_classes_with_tags_say_what_they_are_wherever_they_are(format: Any) -> None:
    """Also as arguments, which no type is declared for: what .NET left out before version 9."""
    payloads = Payloads(format, TAGGED)
    radius, label = ("radius", "theLabel") if format == "json" else ("Radius", "TheLabel")
    wire = plain(format, payloads.dump_arguments([Disc(radius=2), [SmallBox()], {"a": Line(5)}, Shape()]))
    assert list(wire[0]) == [
        "$type",
        label,
        label.replace("TheLabel", "Parts").replace("theLabel", "parts"),
        radius,
    ]
    assert [wire[0]["$type"], wire[1][0]["$type"], wire[2]["a"]["$type"]] == ["disc", 3, "line"]
    assert "$type" not in wire[3]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", [TAGGED, Naming(tags=TAGS, tag_field="the_kind")])
@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Disc | SmallBox, [Disc(radius=2), SmallBox(side=3)]),
        (Box | SmallBox | None, [Box(side=2, inner=Box(inner=Disc())), SmallBox(), None]),
        (Disc | Line, [Disc(), Line(1)]),
        (Shape, [Shape("x"), Disc(parts=[Box(parts=[Shape()]), Shape()]), Box(), SmallBox()]),
        (Shape | None, [Disc(), None, Shape()]),
        (Shape, [Frame(content=Frame(content=Disc())), Frame()]),
        (dict[str, Shape], [{"a": Disc(), "b": Shape()}]),
        (Sized, [Dot(1)]),
        (Disc, [Disc()]),
    ],
    ids=str,
)
def test_tags_tell_classes_apart(format: Any, naming: Naming, type_: Any, values: list[Any]) -> None:
    payloads = Payloads(format, naming)
    for declared in (Any, list[type_]):
        back = payloads.loader(list[type_])(payloads.dumper(declared)(values))
        assert back == values
        assert list(map(type, back)) == list(map(type, values))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("type_", "wire", "note"),
    [
        (Disc | Line, {"length": 1}, "Of none of the classes @ $.$type"),
        (Disc | Line, {"$type": "box"}, "Of none of the classes @ $.$type"),
        (Shape, {"$type": "secret"}, "Of none of the classes @ $.$type"),
        (Shape, {"$type": ["disc"]}, "Of none of the classes @ $.$type"),
        (Shape, {"$type": 3.0}, "Of none of the classes @ $.$type"),
        (Shape, {"$type": "line", "length": 1}, "Of none of the classes @ $.$type"),
        (Shape, {"$type": "disc", "radius": "x"}, "Expected `float`, got `str` @ $.radius"),
        (Shape, ["disc"], "Expected `object`, got `array` @ $"),
        (Sized, {"x": 1}, "required tag missing @ $"),
    ],
)
def test_what_has_no_such_tag(format: Any, type_: Any, wire: Any, note: str) -> None:
    with pytest.raises(BindingError) as caught:
        Payloads(format, TAGGED).loader(type_)(encoded(format, wire))
    assert caught.value.__notes__ == [note]


@pytest.mark.parametrize("format", FORMATS)
def test_tags_may_stand_anywhere_but_are_written_first(format: Any) -> None:
    payloads = Payloads(format, TAGGED)
    assert payloads.loader(Shape)(encoded(format, {"radius": 2, "$type": "disc"})) == Disc(radius=2)
    assert payloads.loader(Disc)(encoded(format, {"$type": "other"})) == Disc()


def test_a_tag_that_is_also_a_field() -> None:
    payloads = Payloads("json", Naming(tags={Line: "line"}, tag_field="length"))
    with pytest.raises(TypeError, match="two fields of Line have one name on the wire"):
        payloads.dumper(Line)


def test_tags_of_what_has_no_fields() -> None:
    payloads = Payloads("json", Naming(tags={Rod: "rod", Color: 1}))
    with pytest.raises(BindingError, match="cannot be written"):
        payloads.dumper(Any)(Color.RED)
    with pytest.raises(TypeError, match="register a structure hook for Rod"):
        payloads.loader(Sized)
