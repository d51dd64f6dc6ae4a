"""The fields of classes, which are looked at and never changed."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)

import attrs
import pytest

from trio_hubs.protocol.fields import (
    Field,
    fields_of,
    has_fields,
    is_typed_dict,
    mentions,
    origin_of,
    without_names,
)
from trio_hubs.protocol.payloads import Payloads

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Base(Generic[T]):
    first: T
    kind: ClassVar[str] = "k"
    secret: InitVar[int] = 0


@dataclass
class Derived(Base[list[U]], Generic[U]):
    _: KW_ONLY
    second: U
    third: int = field(default=1, init=False)


@attrs.define(auto_attribs=False)
class Attrs(Generic[T]):
    _hidden: T = attrs.field()
    made: int = attrs.field(converter=int)
    lazy: list[T] = attrs.field(factory=list)
    bare: Any = attrs.field(default=None)
    late: str = attrs.field(init=False, default="")


class Keys(TypedDict, Generic[T]):
    one: T
    two: NotRequired[int]


class Loose(Keys[str], total=False):
    three: Required[int]
    four: int


def test_dataclasses() -> None:
    assert fields_of(Derived[str]) == (
        Field("first", "first", list[str], True),
        Field("second", "second", str, True),
        Field("third", None, int, False),
    )


def test_attrs_classes() -> None:
    assert fields_of(Attrs[str]) == (
        Field("_hidden", "hidden", str, True),
        Field("made", "made", int, True, converted=True),
        Field("lazy", "lazy", list[str], False),
        Field("bare", "bare", Any, False),
        Field("late", None, str, False),
    )


def test_typed_dicts() -> None:
    assert {field.name: (field.type, field.required) for field in fields_of(Loose)} == {
        "one": (str, True),
        "two": (int, False),
        "three": (int, True),
        "four": (int, False),
    }


def test_users_classes_are_not_changed() -> None:
    before = (
        [field.type for field in dataclasses.fields(Derived)],
        [field.type for field in attrs.fields(Attrs)],
    )
    for payloads in (Payloads("json", "dotnet"), Payloads("messagepack")):
        for type_ in (Derived[int], Attrs[int], Derived[int] | Attrs[int]):
            payloads.loader(type_)
            payloads.dumper(type_)
        payloads.dumper(Any)(Attrs(1, made=2))
    after = (
        [field.type for field in dataclasses.fields(Derived)],
        [field.type for field in attrs.fields(Attrs)],
    )
    assert after == before
    assert before[0] == ["T", "U", "int"]


def test_notes_that_cannot_be_hashed_are_left_out() -> None:
    @dataclass
    class Noted:
        size: Annotated[int, {"unit": "metres"}]
        sizes: list[Annotated[int, ["m"]]]
        name: Annotated[str, "short"]

    assert [field.type for field in fields_of(Noted)] == [int, list[int], Annotated[str, "short"]]
    payloads = Payloads("json")
    assert payloads.loader(Noted)(payloads.dumper(Noted)(Noted(1, [2], "a"))) == Noted(1, [2], "a")


def test_names_that_stand_nowhere() -> None:
    @dataclass
    class Lost:
        x: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match=r"Lost.* cannot be converted: name 'Nowhere'"):
        Payloads("json").loader(Lost)


Name = NewType("Name", str)


class Row(NamedTuple):
    name: Name
    values: Keys[bool]


class Node(TypedDict):
    inner: list[Node]


@pytest.mark.parametrize(
    ("type_", "found"),
    [
        (bool, True),
        (list[bool], True),
        (dict[str, bool | None], True),
        (Annotated[bool, "x"], True),
        (tuple[bool, ...], True),
        (Attrs[bool], True),
        (Row, True),
        (int, False),
        (Name, False),
        (Node, False),
        (Literal[True], False),
        (Derived[int], False),
    ],
)
def test_what_a_type_may_hold(type_: Any, found: bool) -> None:
    assert mentions(type_, lambda part: part is bool) is found


def test_kinds_of_types() -> None:
    assert [has_fields(type_) for type_ in (Derived, Attrs[int], Loose, Row, int, "x")] == [True] * 3 + [
        False
    ] * 3
    assert [is_typed_dict(type_) for type_ in (Loose, Keys[int], Attrs)] == [True, True, False]
    assert [origin_of(type_) for type_ in (list[int], int)] == [list, int]
    assert without_names(Annotated[NewType("Id", Name), "x"]) is str
    assert typing.get_origin(without_names(list[int])) is list
