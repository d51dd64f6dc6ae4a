"""How types look on the wire: as .NET and JavaScript write them, under both ways of naming."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, NamingWord, camel_case, pascal_case
from trio_hubs.protocol.payloads import Payloads

from .shapes import PERSON, PERSON_ID, Box, Cat, Color, Dog, Level, Node, Options, Pair, Person, Point

FORMATS: list[Format] = ["json", "messagepack"]
NAMINGS: list[NamingWord] = ["python", "dotnet"]
UserId = NewType("UserId", int)


def written(format: Format, naming: NamingWord, value: object, type_: object = Any) -> Any:
    """What stands on the wire, as plain values."""
    data = Payloads(format, naming).dumper(type_)(value)
    return json.loads(data) if format == "json" else msgspec.msgpack.decode(data)


def read(format: Format, naming: NamingWord, wire: object, type_: object) -> Any:
    data = msgspec.json.encode(wire) if format == "json" else msgspec.msgpack.encode(wire)
    return Payloads(format, naming).loader(type_)(Raw(data))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (None, None),
        (1, int),
        ("1", str),
        (1.5, float),
        ([1, None], list[int | None]),
        ({"a_b": [1.0]}, dict[str, list[float]]),
        ((1, "a"), tuple[int, str]),
        ((1, 2), tuple[int, ...]),
        ((), tuple[()]),
        ({1, 2}, set[int]),
        (frozenset({"a"}), frozenset[str]),
        (deque([PERSON_ID]), deque[UUID]),
        ([PERSON_ID], Sequence[UUID]),
        ({"a": PERSON_ID}, Mapping[str, UUID]),
        ({PERSON_ID: 1}, dict[UUID, int]),
        ({1: PERSON_ID, -2: PERSON_ID}, dict[int, UUID]),
        ({1.5: PERSON_ID}, dict[float, UUID]),
        ({Level.LOW: PERSON_ID}, dict[Level, UUID]),
        ({Color.RED: 1}, dict[Color, int]),
        ({(1, 2)}, set[tuple[int, int]]),
        ((PERSON_ID, (1, "a")), tuple[UUID, tuple[int, str]]),
        (UserId(7), UserId),
        (7, Annotated[int, "seven"]),
        (b"\x00\xff", bytes),
        (bytearray(b"\x00\xff"), bytearray),
        (PERSON_ID, UUID),
        (date(2017, 4, 11), date),
        (time(10, 5, 20, 5), time),
        (datetime(2017, 4, 11, 10, 5, 20, 123456, UTC), datetime),
        (datetime.max.replace(tzinfo=UTC), datetime),
        (datetime.min.replace(tzinfo=UTC), datetime | None),
        (timedelta(days=-3, microseconds=7), timedelta),
        (Decimal("0.10"), Decimal),
        (Decimal(79228162514264337593543950335), Decimal),
        (Decimal("-1E+5"), Decimal | None),
        (Color.DARK_BLUE, Color),
        (Level.HIGH, Level),
        ([Level.LOW, None], list[Level | None]),
        ("cat", Literal["cat", 1]),
        (Color.RED, Literal[Color.RED, 1]),
        (Point(1, the_label="x"), Point),
        ([Point(1)], list[Point]),
        ({"dry_run": True}, Options),
        ({"dry_run": True, "depth": 1}, Options),
        (Pair(1, Point(2)), Pair),
        (Node(1.5, [Node(2.0, [])]), Node),
        (Box(Point(1), {"some_key": [1.5]}), Box[Point]),
        (Box([Decimal("0.30")], [0.1]), Box[list[Decimal]]),
        ([Cat("cat", 9), Dog("dog", ["sit"])], list[Cat | Dog]),
        ([Cat("cat", 9), Point(1), None], list[Cat | Point | None]),
        ([1, Point(1), "x", None], list[int | str | Point | None]),
    ],
    ids=repr,
)
def test_there_and_back(format: Format, naming: NamingWord, value: object, type_: object) -> None:
    payloads = Payloads(format, naming)
    data = payloads.dumper(type_)(value)
    back = payloads.loader(type_)(Raw(data))
    assert back == value
    assert type(back) is type(value)
    assert payloads.many_loader(type_)([Raw(data)] * 2) == [value] * 2
    assert payloads.arguments_loader([type_, int])(Raw(payloads.dump_arguments([value, 5]))) == [value, 5]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_person_there_and_back(format: Format, naming: NamingWord) -> None:
    payloads = Payloads(format, naming)
    for type_ in (Person, Any):
        back = payloads.loader(Person)(Raw(payloads.dumper(type_)(PERSON)))
        if format == "messagepack":
            assert back.parent.born_at == datetime(1815, 12, 10, tzinfo=UTC)
        else:
            assert back == PERSON


PLAIN: dict[tuple[Format, NamingWord], dict[str, object]] = {
    ("json", "python"): {
        "name": "Ada",
        "born_at": "2017-04-11T10:05:20Z",
        "id": str(PERSON_ID),
        "favourite": "dark blue",
        "level": 20,
        "avatar": "Bwg=",
        "balance": 0.1,
        "nap": "01:00:02",
        "tags": ["a"],
        "scores": {"some_key": 1.5},
        "nickname": None,
        "parent": None,
    },
    ("json", "dotnet"): {
        "name": "Ada",
        "bornAt": "2017-04-11T10:05:20Z",
        "id": str(PERSON_ID),
        "favourite": 1,
        "level": 20,
        "avatar": "Bwg=",
        "balance": 0.1,
        "nap": "01:00:02",
        "tags": ["a"],
        "scores": {"some_key": 1.5},
        "nickname": None,
        "parent": None,
    },
    ("messagepack", "python"): {
        "name": "Ada",
        "born_at": datetime(2017, 4, 11, 10, 5, 20, tzinfo=UTC),
        "id": str(PERSON_ID),
        "favourite": "dark blue",
        "level": 20,
        "avatar": b"\x07\x08",
        "balance": "0.10",
        "nap": 36_020_000_000,
        "tags": ["a"],
        "scores": {"some_key": 1.5},
        "nickname": None,
        "parent": None,
    },
    ("messagepack", "dotnet"): {
        "Name": "Ada",
        "BornAt": datetime(2017, 4, 11, 10, 5, 20, tzinfo=UTC),
        "Id": str(PERSON_ID),
        "Favourite": "DarkBlue",
        "Level": "High",
        "Avatar": b"\x07\x08",
        "Balance": "0.10",
        "Nap": 36_020_000_000,
        "Tags": ["a"],
        "Scores": {"some_key": 1.5},
        "Nickname": None,
        "Parent": None,
    },
}


@pytest.mark.parametrize(("format", "naming"), PLAIN)
def test_a_person_on_the_wire(format: Format, naming: NamingWord) -> None:
    child = attrs.evolve(PERSON, parent=None)
    for type_ in (Person, Person | None, Any):
        assert written(format, naming, child, type_) == PLAIN[format, naming]
    assert list(written(format, naming, child)) == list(PLAIN[format, naming])


@pytest.mark.parametrize(("format", "naming"), PLAIN)
def test_nested_in_what_has_no_type(format: Format, naming: NamingWord) -> None:
    label = {"python": "the_label", "json": "theLabel", "messagepack": "TheLabel"}
    key = label["python" if naming == "python" else format]
    wire = written(format, naming, {"a_key": [Point(1, the_label="l")], "t": (None, {2})})
    assert wire["a_key"][0][key] == "l"
    assert wire["t"] == [None, [2]]
    assert written(format, naming, Box(1, [Point(1, the_label="l")]), Box[int]).popitem()[1][0][key] == "l"


@pytest.mark.parametrize("format", FORMATS)
def test_dotnet_names_in_any_case(format: Format) -> None:
    for names in (
        ("x", "thelabel"),
        ("x", "the_label"),
        ("X", "TheLabel"),
        ("x", "THELABEL"),
        ("x", "theLabel"),
    ):
        assert read(format, "dotnet", dict(zip(names, (1, "l"), strict=True)), Point) == Point(
            1, the_label="l"
        )
    assert read(format, "dotnet", {"DRYRUN": True, "more": 1}, Options) == {"dry_run": True}


@pytest.mark.parametrize("format", FORMATS)
def test_dotnet_enums_in_any_form(format: Format) -> None:
    for wire in ("DARK_BLUE", "DarkBlue", "darkblue", 1):
        assert read(format, "dotnet", wire, Color) is Color.DARK_BLUE
    for wire in ("High", "HIGH", 20):
        assert read(format, "dotnet", wire, Level) is Level.HIGH
    for wrong in ("Blue", 7, None, 1.0):
        with pytest.raises(BindingError):
            read(format, "dotnet", wrong, Color)


@pytest.mark.parametrize(("format", "naming"), PLAIN)
def test_missing_and_unknown_fields(format: Format, naming: NamingWord) -> None:
    assert read(format, naming, {"x": 1, "unknown": {"y": 1}}, Point) == Point(1)
    with pytest.raises(BindingError) as caught:
        read(format, naming, {"y": 1}, Point)
    assert "required field missing @ $.x" in caught.value.__notes__


@pytest.mark.parametrize(("format", "naming"), PLAIN)
@pytest.mark.parametrize(
    ("wire", "type_"),
    [
        ("1", int),
        (1.5, int),
        (True, int),
        (1, bool),
        (1, str),
        ("1.5", float),
        (None, int),
        (1, None),
        ("abc", list[str]),
        ({"a": 1}, list[str]),
        ("1", int | Point),
        (["1"], list[int | Point]),
        ("abc", list[UUID]),
        ({"a": 1}, list[UUID]),
        ({"a": 1}, set[UUID]),
        ("ab", tuple[UUID, ...]),
        ([1], tuple[UUID]),
        ([], tuple[UUID]),
        ([["a", str(PERSON_ID)]], dict[str, UUID]),
        ({"x": str(PERSON_ID)}, dict[int, UUID]),
        ({"x": "1"}, Point),
        ({"content": "1.5"}, Box[float]),
        ([1], Point),
        ("x", Point),
        (1, Options),
        ([1], Pair),
        ("nonsense", UUID),
        (5, UUID),
        ("nonsense", datetime),
        (5, datetime),
        ("2017-04-11T00:00:00", date),
        ("noon", time),
        ("one", Decimal),
        (None, Decimal),
        (True, Decimal),
        ("purple", Color),
        (7, Level),
        (1, Literal["1"]),
        (True, Literal[1]),
        (1.5, timedelta),
        ("1 hour", timedelta),
        (5, bytes),
        ({"kind": "bird"}, Cat | Dog),
        (1, Enum),
    ],
)
def test_what_does_not_fit(format: Format, naming: NamingWord, wire: object, type_: object) -> None:
    with pytest.raises(BindingError, match="does not fit the type") as caught:
        read(format, naming, wire, type_)
    assert caught.value.__notes__


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2017-04-11T10:05:20Z", datetime(2017, 4, 11, 10, 5, 20, tzinfo=UTC)),
        ("2017-04-11T10:05:20", datetime(2017, 4, 11, 10, 5, 20)),
        (
            "2016-05-10T13:51:20+12:34",
            datetime(2016, 5, 10, 13, 51, 20, tzinfo=timezone(timedelta(hours=12, minutes=34))),
        ),
    ],
)
def test_json_datetimes_both_ways(text: str, value: datetime) -> None:
    back = read("json", "python", text, datetime)
    assert (back, back.utcoffset()) == (value, value.utcoffset())
    assert written("json", "python", value, datetime) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9999-12-31T23:59:59.9999999Z", datetime.max.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999", datetime.max),
        ("0001-01-01T00:00:00", datetime.min),
        ("2017-04-11T10:05:20.1234567Z", datetime(2017, 4, 11, 10, 5, 20, 123456, UTC)),
        ("2017-04-11T10:05:20.12Z", datetime(2017, 4, 11, 10, 5, 20, 120000, UTC)),
    ],
)
def test_json_datetimes_as_dotnet_sends_them(text: str, value: datetime) -> None:
    assert read("json", "dotnet", text, datetime) == value


def test_messagepack_datetimes_are_timestamps_in_utc() -> None:
    moment = datetime(2017, 4, 11)
    elsewhere = datetime(2017, 4, 11, 2, tzinfo=timezone(timedelta(hours=2)))
    for naming in NAMINGS:
        dump = Payloads("messagepack", naming).dumper(datetime)
        for value in (moment, moment.replace(tzinfo=UTC), *([elsewhere] if naming == "python" else [])):
            assert dump(value) == bytes.fromhex("d6ff58ec1c80")
    assert read("messagepack", "dotnet", "2017-04-11T00:00:00Z", datetime) == moment.replace(tzinfo=UTC)


def test_the_last_datetime_of_dotnet_in_messagepack() -> None:
    last = bytes.fromhex("c70cff 3b9ac99c 0000003afff4417f")
    payloads = Payloads("messagepack", "dotnet")
    expected = datetime.max.replace(tzinfo=UTC)
    for type_ in (datetime, Any):
        assert payloads.loader(type_)(last) == expected
        assert payloads.many_loader(type_)([Raw(last)]) == [expected]
        assert payloads.arguments_loader([type_])(Raw(b"\x91" + last)) == [expected]
    beyond = bytes.fromhex("c70cff 00000000 0000003afff44180")
    with pytest.raises(BindingError):
        payloads.loader(datetime)(beyond)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:00:00", timedelta()),
        ("01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
        ("-01:02:03", -timedelta(hours=1, minutes=2, seconds=3)),
        ("2.00:00:00", timedelta(days=2)),
        ("-1.23:59:59.5000000", -timedelta(days=1, hours=23, minutes=59, seconds=59.5)),
        ("00:00:00.0000010", timedelta(microseconds=1)),
    ],
)
def test_json_durations_both_ways(text: str, value: timedelta) -> None:
    assert read("json", "dotnet", text, timedelta) == value
    assert written("json", "dotnet", value, timedelta) == text


@given(st.timedeltas(timedelta(days=-10_000_000), timedelta(days=10_000_000)))
def test_any_duration_there_and_back(value: timedelta) -> None:
    for format in FORMATS:
        payloads = Payloads(format)
        assert payloads.loader(timedelta)(payloads.dumper(timedelta)(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_any_decimal_there_and_back(value: Decimal) -> None:
    for format in FORMATS:
        payloads = Payloads(format)
        back = payloads.loader(Decimal)(payloads.dumper(Decimal)(value))
        assert back == value


def test_decimals_on_the_wire() -> None:
    assert Payloads("json").dumper(Decimal)(Decimal("0.10")) == b"0.10"
    assert Payloads("json").loader(Decimal)(b"0.10").as_tuple() == Decimal("0.10").as_tuple()
    assert Payloads("messagepack").dumper(Decimal)(Decimal("0.10")) == b"\xa40.10"
    assert Payloads("messagepack").loader(Decimal)(b"\xca\x3f\x00\x00\x00") == Decimal("0.5")
    assert Payloads("json").loader(list[float | Decimal])(b"[1]") == [1]


def test_numbers_beside_a_decimal_stay_what_they_are() -> None:
    box = Payloads("json").loader(Box[Decimal])(b'{"content":0.10,"anything":{"a":[0.5,1,"x"]}}')
    assert box == Box(Decimal("0.10"), {"a": [0.5, 1, "x"]})
    assert type(box.anything["a"][0]) is float


def test_bytes_on_the_wire() -> None:
    assert Payloads("json").dumper(bytes)(b"\x00\xff") == b'"AP8="'
    assert Payloads("messagepack").dumper(bytes)(b"\x00\xff") == b"\xc4\x02\x00\xff"
    with pytest.raises(BindingError):
        Payloads("json").loader(bytes)(b'"not base64!"')


@pytest.mark.parametrize(
    ("name", "camel", "pascal"),
    [
        ("name", "name", "Name"),
        ("born_at", "bornAt", "BornAt"),
        ("RED", "red", "Red"),
        ("DARK_BLUE", "darkBlue", "DarkBlue"),
        ("DarkBlue", "darkBlue", "DarkBlue"),
        ("darkBlue", "darkBlue", "DarkBlue"),
        ("class_", "class", "Class"),
        ("ip4_address", "ip4Address", "Ip4Address"),
    ],
)
def test_names(name: str, camel: str, pascal: str) -> None:
    assert camel_case(name) == camel
    assert pascal_case(name) == pascal
