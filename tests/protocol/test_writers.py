"""Writing: each value as what it is, and nothing that is no JSON."""

import json
import math
from collections import ChainMap, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntFlag
from types import MappingProxyType
from typing import Annotated, Any, Generic, NamedTuple, NewType, NoReturn, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.payloads import Payloads

from .shapes import PERSON_ID, Color, Level, Node, Person, Point

FORMATS: list[Any] = ["json", "messagepack"]
NAMINGS: list[Any] = ["python", "dotnet"]
BOTH = pytest.mark.parametrize("format", FORMATS)
T = TypeVar("T")


@dataclass
class Animal:
    the_name: str


@dataclass
class Dog(Animal):
    tricks: list[str]
    legs: int = field(init=False, default=4)


@attrs.define
class Cat(Animal):
    the_name: str
    lives: int = attrs.field(init=False, default=9)


class Leash(NamedTuple):
    length: float
    on: Animal


class Options(TypedDict):
    dry_run: bool


class More(Options, total=False):
    the_inner: "More"


@attrs.define
class Pack(Generic[T]):
    the_leader: T
    all_of_them: list[T]
    by_name: dict[str, T] = attrs.field(factory=dict)


class Shift(IntFlag):
    DAY = 1
    NIGHT = 2


class Amount(Enum):
    SMALL = Decimal("0.5")


class Plain(msgspec.Struct, tag=True):
    when: date
    price: Decimal
    by_number: dict[int, float]


def refuse_constants(text: str) -> NoReturn:
    raise AssertionError(f"{text} is no JSON")


def wire(format: Any, naming: Any, value: object, type_: Any = Any) -> Any:
    data = Payloads(format, naming).dumper(type_)(value)
    if format == "json":
        return json.loads(data, parse_constant=refuse_constants)
    return msgspec.msgpack.decode(data)


# ---- what a value is


@BOTH
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_subclass_keeps_its_fields(format: Any, naming: Any) -> None:
    payloads = Payloads(format, naming)
    dog, cat = Dog("Rex", ["sit"]), Cat("Tom")
    whole = wire(format, naming, dog)
    assert sorted(whole.values(), key=str) == [4, "Rex", ["sit"]]
    assert sorted(wire(format, naming, cat).values(), key=str) == [9, "Tom"]
    for type_ in (Animal, Dog, Animal | None, Dog | Cat):
        assert wire(format, naming, dog, type_) == whole
    assert wire(format, naming, [dog, cat, None], list[Animal | None]) == [
        whole,
        wire(format, naming, cat),
        None,
    ]
    assert wire(format, naming, {"a": dog}, dict[str, Animal]) == {"a": whole}
    assert wire(format, naming, Pack(dog, [dog]), Pack[Animal]) == wire(format, naming, Pack(dog, [dog]))
    assert wire(format, naming, Leash(1.5, dog), Leash) == [1.5, whole]
    data = payloads.dumper(Animal)(dog)
    assert payloads.loader(Dog)(data) == dog
    assert payloads.loader(Animal)(data) == Animal("Rex")
    if format == "json":
        assert payloads.lines_dumper(Animal)([dog]) == data + b"\n"


@BOTH
def test_what_is_no_such_class_is_refused(format: Any) -> None:
    for value in (5, None, Point(1), {"the_name": "x"}):
        with pytest.raises(BindingError, match=r"it is no Animal"):
            Payloads(format).dumper(Animal)(value)


@BOTH
@pytest.mark.parametrize(
    ("type_", "value", "plain"),
    [
        (int, "text", "text"),
        (list[int], [Point(1)], [{"x": 1, "y": 0, "the_label": ""}]),
        (dict[str, int], {"a": Color.RED}, {"a": "red"}),
        (float, Level.LOW, 10),
        (str, {"a"}, ["a"]),
        (list[str], (1, None), [1, None]),
    ],
)
def test_what_is_not_what_it_was_declared_to_be(format: Any, type_: Any, value: Any, plain: Any) -> None:
    assert wire(format, "python", value, type_) == plain


@BOTH
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (deque([1, "a"]), [1, "a"]),
        (range(3), [0, 1, 2]),
        ((Point(1),), [{"x": 1, "y": 0, "the_label": ""}]),
        ([Point(1), 1, 0.5], [{"x": 1, "y": 0, "the_label": ""}, 1, 0.5]),
        (frozenset({Level.HIGH}), [20]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[timedelta()]), None),
        (ChainMap({"a": 1}), {"a": 1}),
        (MappingProxyType({"a": Level.LOW}), {"a": 10}),
        ({"a": {"b": {"c": (1, [2])}}}, {"a": {"b": {"c": [1, [2]]}}}),
        (Node(1.5, [Node(2.5, [])]), {"value": 1.5, "children": [{"value": 2.5, "children": []}]}),
    ],
    ids=str,
)
def test_containers_of_every_kind(format: Any, value: Any, plain: Any) -> None:
    if plain is None:
        plain = {"a": ["00:00:00" if format == "json" else 0]}
    assert wire(format, "python", value) == plain
    assert wire(format, "python", [value]) == [plain]


def test_structs_of_msgspec() -> None:
    value = Plain(date(2017, 4, 11), Decimal("0.50"), {1: 1.5})
    assert Payloads("json").dumper(Any)(value) == (
        b'{"type":"Plain","when":"2017-04-11","price":0.50,"by_number":{"1":1.5}}'
    )
    with pytest.raises(BindingError):
        Payloads("json").dumper(Any)(Plain(date.min, Decimal("NaN"), {}))


def test_two_fields_of_one_name() -> None:
    @dataclass
    class Twice:
        born_at: int
        bornAt: int  # noqa: N815

    assert wire("json", "python", Twice(1, 2)) == {"born_at": 1, "bornAt": 2}
    with pytest.raises(TypeError, match=r"two fields of .*Twice have one name on the wire"):
        Payloads("json", "dotnet").dumper(Twice)


# ---- TypedDicts know their names only by their declaration


Name = NewType("Name", Options)  # type: ignore[valid-newtype]


@pytest.mark.parametrize(
    ("type_", "value", "plain"),
    [
        (Options, {"dry_run": True}, {"dryRun": True}),
        (Options, {"dry_run": True, "un_known": Point(1)}, None),
        (
            More,
            {"dry_run": True, "the_inner": {"dry_run": False}},
            {"dryRun": True, "theInner": {"dryRun": False}},
        ),
        (Options | None, None, None),
        (Options | None, {"dry_run": True}, {"dryRun": True}),
        (Options | int, 5, 5),
        (list[Options], [{"dry_run": True}], [{"dryRun": True}]),
        (list[Options] | Options, [{"dry_run": True}], [{"dryRun": True}]),
        (tuple[Options, ...], ({"dry_run": True},), [{"dryRun": True}]),
        (tuple[int, Options], (1, {"dry_run": True}), [1, {"dryRun": True}]),
        (dict[str, Options], {"a_b": {"dry_run": True}}, {"a_b": {"dryRun": True}}),
        (dict[int, Options], {1: {"dry_run": True}}, {"1": {"dryRun": True}}),
        (Annotated[Name, "x"], {"dry_run": True}, {"dryRun": True}),
        (
            Pack[Options],
            Pack({"dry_run": True}, [{"dry_run": False}]),
            {"theLeader": {"dryRun": True}, "allOfThem": [{"dryRun": False}], "byName": {}},
        ),
        (Pack[Options], Dog("Rex", []), {"theName": "Rex", "tricks": [], "legs": 4}),
    ],
    ids=str,
)
def test_typed_dicts_are_renamed_wherever_they_are(type_: Any, value: Any, plain: Any) -> None:
    if plain is None and value is not None:
        plain = {"dryRun": True, "un_known": {"x": 1, "y": 0, "theLabel": ""}}
    assert wire("json", "dotnet", value, type_) == plain


# ---- keys


KEYS: list[tuple[Any, Any, str]] = [
    (int, 7, "7"),
    (int, 2**70, str(2**70)),
    (float, 1.5, "1.5"),
    (bool, True, "true"),
    (bool, False, "false"),
    (Decimal, Decimal("1.50"), "1.50"),
    (Level, Level.HIGH, "20"),
    (Color, Color.RED, "red"),
    (Amount, Amount.SMALL, "0.5"),
    (Shift, Shift.DAY | Shift.NIGHT, "3"),
    (UUID, PERSON_ID, str(PERSON_ID)),
    (date, date(2017, 4, 11), "2017-04-11"),
    (time, time(1, 2), "01:02:00"),
    (datetime, datetime(2017, 4, 11, tzinfo=UTC), "2017-04-11T00:00:00Z"),
    (timedelta, timedelta(hours=1), "01:00:00"),
    (bytes, b"\x00", "AA=="),
    (NewType("Id", Decimal), Decimal("1.5"), "1.5"),
    (Annotated[UUID, "x"], PERSON_ID, str(PERSON_ID)),
]


@pytest.mark.parametrize(("type_", "key", "text"), KEYS, ids=str)
def test_keys_have_a_text_and_come_back(type_: Any, key: Any, text: str) -> None:
    payloads = Payloads("json")
    for declared in (dict[type_, int], Any, dict):
        assert json.loads(payloads.dumper(declared)({key: 10})) == {text: 10}
    assert json.loads(payloads.dumper(Any)([{"a": {key: None}}])) == [{"a": {text: None}}]
    assert payloads.loader(dict[type_, int])(b'{"%s":10}' % text.encode()) == {key: 10}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(("type_", "key", "text"), KEYS, ids=str)
def test_keys_in_messagepack_come_back_as_they_are(naming: Any, type_: Any, key: Any, text: str) -> None:
    if key == 2**70:
        return
    payloads = Payloads("messagepack", naming)
    back = payloads.loader(dict[type_, Point])(payloads.dumper(dict[type_, Point])({key: Point(1)}))
    assert back == {key: Point(1)}


@pytest.mark.parametrize(
    "key",
    [None, (1, 2), frozenset({1}), object(), Point, math.nan, math.inf, Decimal("NaN"), 10**5000],
    ids=lambda key: type(key).__name__,
)
def test_keys_without_a_text_are_an_error_at_the_sender(key: Any) -> None:
    for value in ({key: 1}, {"a": 1, key: 2}, [{"a": {key: 1}}]):
        for type_ in (Any, dict):
            with pytest.raises(BindingError):
                Payloads("json").dumper(type_)(value)
        with pytest.raises(BindingError):
            Payloads("json").dump_arguments([value])


@pytest.mark.parametrize("key", [(1, 2), frozenset({1})], ids=lambda key: type(key).__name__)
def test_keys_in_messagepack_that_are_none_are_an_error_at_the_sender(key: Any) -> None:
    with pytest.raises(BindingError, match=f"a key of type '{type(key).__name__}' is no key on the wire"):
        Payloads("messagepack").dumper(Any)({key: 1})


@BOTH
def test_keys_that_are_the_same_on_the_wire(format: Any) -> None:
    with pytest.raises(BindingError, match="two keys are the same on the wire"):
        Payloads(format).dumper(Any)({Color.RED: 1, "red": 2})
    if format == "json":
        with pytest.raises(BindingError, match="two keys are the same on the wire"):
            Payloads(format).dumper(Any)({1: 1, "1": 2})


# ---- whatever is written


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals().filter(lambda number: not number.is_snan())
    | st.text(st.characters())
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
    | st.sampled_from([*Level, *Color, *Amount, Shift(0), Shift(3)])
)
anything = st.recursive(
    scalars | st.builds(Dog, st.text(), st.lists(st.text())) | st.sampled_from([Point(1), object()]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(scalars, inner)
        | st.builds(Pack, inner, st.lists(inner))
    ),
    max_leaves=12,
)
DECLARED: list[Any] = [
    Any,
    dict,
    list[float],
    dict[str, float],
    dict[Decimal, Any],
    Pack[Any],
    int | str,
    Person,
]


@pytest.mark.parametrize("naming", NAMINGS)
@given(value=anything, type_=st.sampled_from(DECLARED))
def test_whatever_is_written_is_json(naming: Any, value: Any, type_: Any) -> None:
    payloads = Payloads("json", naming)
    for write in (
        payloads.dumper(type_),
        lambda value: payloads.dump_arguments([value]),
        lambda value: payloads.lines_dumper(type_)([value]),
    ):
        try:
            data = write(value)
        except BindingError:
            continue
        json.loads(data, parse_constant=refuse_constants)
        payloads.loader(Any)(Raw(data.strip()))


@given(value=anything)
def test_whatever_is_written_is_messagepack(value: Any) -> None:
    payloads = Payloads("messagepack", "dotnet")
    try:
        data = payloads.dumper(Any)(value)
    except BindingError:
        return
    payloads.loader(Any)(Raw(data))
