"""Reading: the first fault ends it, in no more time than a good value takes."""

from collections import OrderedDict, deque
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import attrs
import pytest
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.payloads import Payloads

from .shapes import PERSON_ID, Color, Level, Options, Pair, Point

FORMATS: list[Any] = ["json", "messagepack"]
NAMINGS: list[Any] = ["python", "dotnet"]
T = TypeVar("T")
Size = NewType("Size", int)
Id = NewType("Id", UUID)


@dataclass
class Deep:
    inner: "Deep | None"
    number: int = 0


@dataclass
class Late:
    x: int
    y: int = field(init=False, default=5)


def _listed(value: object) -> Any:
    return [value]


@attrs.define
class Converted:
    anything: "Unknown" = attrs.field(converter=_listed)
    private: int = attrs.field(default=0, alias="_private")


class Unknown:
    """Says nothing of what it is made of."""

    def __init__(self, anything) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        raise AssertionError


@dataclass
class Unsure:
    anything: Unknown


@dataclass
class Holder(Generic[T]):
    items: list[T]
    by_key: dict[Size, T]


class Row(NamedTuple):
    left: int
    right: "Deep | None"


class Tally:
    """Counts how often one of its values is looked at."""

    count = 0

    def __init__(self) -> None:
        Tally.count += 1


@attrs.define
class Counted:
    number: int

    def __attrs_post_init__(self) -> None:
        Tally.count += 1
        if self.number < 0:
            raise ValueError(f"secret {self.number}")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Deep, Deep(Deep(None, 1), 2)),
        (Late, Late(1)),
        (Holder[UUID], Holder([PERSON_ID], {Size(1): PERSON_ID})),
        (Holder[list[Decimal]], Holder([[Decimal("0.10")]], {})),
        (Row, Row(1, Deep(None))),
        (MutableSequence[UUID], [PERSON_ID]),
        (AbstractSet[UUID], {PERSON_ID}),
        (MutableSet[UUID], {PERSON_ID}),
        (MutableMapping[UUID, int], {PERSON_ID: 1}),
        (Mapping[bool, date], {True: date(2017, 4, 11), False: date.max}),
        (dict[Annotated[int, "x"], UUID], {-1: PERSON_ID}),
        (dict[Literal[1, "a", True], UUID], {1: PERSON_ID, "a": PERSON_ID}),
        (dict[date, UUID], {date.min: PERSON_ID}),
        (dict[float, UUID], {1.5: PERSON_ID, 1e300: PERSON_ID}),
        (dict[Decimal, Point], {Decimal("1.50"): Point(1)}),
        (dict[bytes, Point], {b"\x00": Point(1)}),
        (dict[Level, Point], {Level.LOW: Point(1)}),
        (deque[Point], deque([Point(1)])),
        (tuple[Point, ...], (Point(1), Point(2))),
        (frozenset[tuple[int, UUID]], frozenset({(1, PERSON_ID)})),
        (list, [1, "a", None]),
        (dict, {"a": [1]}),
        pytest.param(set, {1, "a"}, id="set-mixed"),
        (OrderedDict[str, int], OrderedDict(a=1)),
        (Sequence, [1]),
        (Size, 5),
        (tuple[None, UUID], (None, PERSON_ID)),
        (list[Annotated[Decimal, "x"]], [Decimal("0.10")]),
        (dict[Id, Annotated[UUID, "x"]], {PERSON_ID: PERSON_ID}),
        (set[bool | None], {True, None}),
    ],
    ids=str,
)
def test_there_and_back(format: Any, naming: Any, type_: Any, value: Any) -> None:
    payloads = Payloads(format, naming)
    data = payloads.dumper(type_)(value)
    assert payloads.loader(type_)(data) == value
    assert payloads.loader(list[type_])(payloads.dumper(Any)([value])) == [value]


@pytest.mark.parametrize("format", FORMATS)
def test_a_class_may_make_its_own_of_a_field(format: Any) -> None:
    payloads = Payloads(format)
    load = payloads.loader(Converted)
    assert load(payloads.dumper(Any)({"anything": 5, "private": 7})) == Converted(5, 7)
    for type_ in (list[Unknown], Unsure):
        with pytest.raises(TypeError, match="cannot be converted"):
            payloads.loader(type_)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("type_", "wire", "note"),
    [
        (list[Point], [{"x": 1}, {"x": "secret"}, {"x": "secret"}], "Expected `int`, got `str` @ $[1].x"),
        (list[Point], [{}], "required field missing @ $[0].x"),
        (list[Point], {"secret": 1}, "Expected `array`, got `object` @ $"),
        (Point, ["secret"], "Expected `object`, got `array` @ $"),
        (dict[str, Point], {"secret": {"x": None}}, "Expected `int`, got `null` @ $[...].x"),
        (dict[UUID, int], {"secret": 1}, "Invalid UUID @ $[<key>]"),
        (tuple[UUID, int], [str(PERSON_ID), "secret"], "Expected `int`, got `str` @ $[1]"),
        (tuple[UUID, int], ["secret"], "Expected `array` of length 2, got 1 @ $"),
        (Pair, [1, {"y": 1}], "required field missing @ $[1].x"),
        (Options, {"depth": 1}, "required field missing @ $.dry_run"),
        (Options, {"dry_run": "secret"}, "Expected `bool`, got `str` @ $.dry_run"),
        (list[list[list[UUID]]], [[], [[], ["secret"]]], "Invalid UUID @ $[1][1][0]"),
        (set[UUID], ["secret"], "Invalid UUID @ $[0]"),
        (list[set[list[UUID]]], [[[]]], "Refused with TypeError @ $[0]"),
        (list[int], ["secret"], "Expected `int`, got `str` @ $[0]"),
        (list[Color], ["secret"], "No member of `Color` @ $[0]"),
        (list[Counted], [{"number": 1}, {"number": -1}], "Refused with ValueError @ $[1]"),
        (tuple[None, UUID], ["secret", 1], "Expected `null`, got `str` @ $[0]"),
        (None, "secret", "Expected `null`, got `str` @ $"),
        (list[Point | None], [5], "Expected `object`, got `int` @ $[0]"),
    ],
    ids=str,
)
def test_a_fault_has_its_place_and_never_the_value(format: Any, type_: Any, wire: Any, note: str) -> None:
    payloads = Payloads(format)
    raw = Raw(payloads.dumper(Any)(wire))
    with pytest.raises(BindingError) as caught:
        payloads.loader(type_)(raw)
    assert caught.value.__notes__ == [note]
    assert caught.value.__context__ is None
    with pytest.raises(BindingError) as caught:
        payloads.arguments_loader([int, type_])(Raw(payloads.dumper(Any)([1, wire])))
    assert caught.value.__notes__ == [f"argument 2: {note}"]
    assert caught.value.__context__ is None
    with pytest.raises(BindingError) as caught:
        payloads.variadic_loader(type_)(Raw(payloads.dumper(Any)([wire])))
    assert caught.value.__notes__ == [f"argument 1: {note}"]


@pytest.mark.parametrize("key", ["maybe", "1", ""])
def test_a_key_that_is_no_truth(key: str) -> None:
    with pytest.raises(BindingError) as caught:
        Payloads("json").loader(dict[bool, UUID])(Payloads("json").dumper(Any)({key: str(PERSON_ID)}))
    assert caught.value.__notes__ == ["Invalid bool @ $[<key>]"]


@pytest.mark.parametrize("format", FORMATS)
def test_many_bad_items_cost_no_more_than_the_first(format: Any) -> None:
    payloads = Payloads(format)
    wire = [{"number": 1}, {"number": -1}, *[{"number": -1}] * 10_000]
    for load, data in (
        (payloads.loader(list[Counted]), wire),
        (payloads.arguments_loader([int, list[Counted], int], 1), [1, wire, 2]),
        (payloads.variadic_loader(list[Counted]), [wire]),
    ):
        Tally.count = 0
        with pytest.raises(BindingError) as caught:
            load(Raw(payloads.dumper(Any)(data)))
        assert Tally.count <= 4
        assert len(str(caught.value)) + sum(map(len, caught.value.__notes__)) < 300


@pytest.mark.parametrize("format", FORMATS)
def test_one_class_within_the_other_is_read_once(format: Any) -> None:
    payloads = Payloads(format)
    wire: Any = {"inner": None, "number": "secret"}
    for _ in range(100):
        wire = {"inner": wire, "number": 1}
    with pytest.raises(BindingError) as caught:
        payloads.loader(Deep)(payloads.dumper(Any)(wire))
    assert caught.value.__notes__ == ["Expected `int`, got `str` @ $" + ".inner" * 20 + "..."]


@pytest.mark.parametrize("format", FORMATS)
def test_nested_too_deep(format: Any) -> None:
    payloads = Payloads(format)
    wire: Any = {"inner": None}
    for _ in range(280):
        wire = {"inner": wire}
    data = payloads.dumper(dict[str, Any])(wire)

    def sink(depth: int) -> None:
        if depth:
            sink(depth - 1)
        else:
            payloads.loader(Deep)(data)

    with pytest.raises(BindingError) as caught:
        sink(600)
    assert "Nested too deep" in caught.value.__notes__[0]


class Fold(TypedDict):
    dry_run: bool


@pytest.mark.parametrize("format", FORMATS)
def test_keys_of_other_kinds_are_unknown_fields(format: Any) -> None:
    payloads = Payloads(format, "dotnet")
    wire: dict[Any, Any] = {"DRYRUN": True, "Other": 1}
    assert payloads.loader(Fold)(payloads.dumper(Any)(wire)) == {"dry_run": True}
    if format == "messagepack":
        assert payloads.loader(Fold)(payloads.dumper(Any)({1: 2, **wire})) == {"dry_run": True}
        with pytest.raises(BindingError):
            payloads.loader(dict[str, UUID])(payloads.dumper(Any)({1: str(PERSON_ID)}))
        assert payloads.loader(dict[Any, UUID])(payloads.dumper(Any)({1: str(PERSON_ID)})) == {1: PERSON_ID}


def test_moments_of_json_and_what_is_beside_them() -> None:
    type_ = tuple[datetime, Any, Decimal]
    data = b'["2017-04-11T00:00:00Z",[0.5,{"a":0.5}],0.50]'
    back = Payloads("json").loader(type_)(data)
    assert back == (datetime(2017, 4, 11, tzinfo=UTC), [0.5, {"a": 0.5}], Decimal("0.50"))
    assert type(back[1][0]) is float
