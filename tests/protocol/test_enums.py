"""Enums of every kind, under both ways of naming, in both formats, as members, keys and parts."""

import json
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, NamingWord
from trio_hubs.protocol.payloads import Payloads

FORMATS: list[Format] = ["json", "messagepack"]
NAMINGS: list[NamingWord] = ["python", "dotnet"]


class Access(Flag):
    NONE = 0
    READ = 1
    WRITE = 2
    READ_WRITE = 3
    RUN = 8


class Bits(IntFlag):
    A = 1
    B = 4


class Digits(Enum):
    """Texts that look like numbers."""

    ONE = "1"
    TWO = "2"
    ZERO = "0"


class Mixed(Enum):
    FIVE = 5
    TEXT = "x"
    ONE = 1


class Rates(Enum):
    HALF = Decimal("0.5")
    TENTH = Decimal("0.1")
    WHOLE = 2.0


class Spot(Enum):
    """Values that are arrays on the wire."""

    HOME = (1, "a")
    AWAY = (2, "b")


class Truth(Enum):
    YES = True
    NO = False


class Level(IntEnum):
    LOW = 10
    MEDIUM = 15
    MIDDLE = 15


class Word(StrEnum):
    A = "a"


class Lenient(Enum):
    """Takes what it does not know for something."""

    OTHER = "other"
    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> "Lenient":  # noqa: ARG003
        return cls.OTHER


class LenientFlags(Flag):
    A = 1
    B = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return super()._missing_(value & 3) if isinstance(value, int) else cls.A


MEMBERS: list[Enum] = [
    *(Access(number) for number in (0, 1, 2, 3, 8, 9, 11)),
    *(Bits(number) for number in (0, 1, 4, 5, 2, 7)),
    *Digits,
    *Mixed,
    *Rates,
    *Truth,
    *Level,
    *Word,
    *Lenient,
]
Id = NewType("Id", Digits)


def plain(format: Format, data: bytes) -> Any:
    return json.loads(data) if format == "json" else msgspec.msgpack.decode(data)


def read(format: Format, naming: NamingWord, wire: object, type_: object) -> Any:
    data = msgspec.json.encode(wire) if format == "json" else msgspec.msgpack.encode(wire)
    return Payloads(format, naming).loader(type_)(Raw(data))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_members_come_back(format: Format, naming: NamingWord, member: Enum) -> None:
    payloads = Payloads(format, naming)
    type_ = type(member)
    for declared in (type_, Any, object, type_ | None):
        data = Raw(payloads.dumper(declared)(member))
        assert payloads.loader(type_)(data) == member
        assert payloads.loader(type_ | None)(data) == member
    for key in (type_, Annotated[type_, "x"]):
        data = Raw(payloads.dumper(dict[key, int])({member: 1}))  # type: ignore[valid-type]
        assert payloads.loader(dict[key, int])(data) == {member: 1}  # type: ignore[valid-type]
        assert payloads.dumper(Any)({member: 1}) == bytes(data)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_keys_under_another_name(format: Format, naming: NamingWord) -> None:
    payloads = Payloads(format, naming)
    value = {Id(Digits.TWO): {Digits.ZERO: Level.MIDDLE}}
    type_ = dict[Id, dict[Digits, Level]]
    assert payloads.loader(type_)(payloads.dumper(type_)(value)) == value


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_literals_of_members(format: Format, naming: NamingWord) -> None:
    payloads = Payloads(format, naming)
    type_ = dict[Literal[Level.LOW, Digits.ONE], Literal[Level.LOW, "b"]]
    for value in ({Level.LOW: "b"}, {Digits.ONE: Level.LOW}):
        assert payloads.loader(type_)(payloads.dumper(Any)(value)) == value


@pytest.mark.parametrize(
    ("member", "number", "name"),
    [
        (Access.NONE, 0, "None"),
        (Access.READ, 1, "Read"),
        (Access.READ_WRITE, 3, "ReadWrite"),
        (Access.READ | Access.RUN, 9, "Read, Run"),
        (Access.READ_WRITE | Access.RUN, 11, "ReadWrite, Run"),
        (Bits(0), 0, "0"),
        (Bits.A | Bits.B, 5, "A, B"),
        (Bits(7), 7, "7"),
        (Level.MIDDLE, 15, "Medium"),
        (Digits.TWO, 1, "Two"),
        (Mixed.ONE, 2, "One"),
        (Truth.NO, 0, "No"),
    ],
    ids=repr,
)
def test_dotnet_has_numbers_in_json_and_names_elsewhere(member: Enum, number: int, name: str) -> None:
    dump = Payloads("json", "dotnet").dumper(Any)
    assert json.loads(dump([member])) == [number]
    assert json.loads(dump({member: 1})) == {name: 1}
    dump = Payloads("messagepack", "dotnet").dumper(Any)
    assert msgspec.msgpack.decode(dump([member])) == [name]
    assert msgspec.msgpack.decode(dump({member: 1})) == {name: 1}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("wire", "member"),
    [
        ("read, WRITE", Access.READ_WRITE),
        ("Read,Run", Access.READ | Access.RUN),
        ("ReadWrite, Run", Access(11)),
        ("none", Access.NONE),
        ("9", Access.READ | Access.RUN),
        (0, Access.NONE),
        (11, Access(11)),
        ("MIDDLE", Level.MEDIUM),
        (1, Mixed.TEXT),
        ("five", Mixed.FIVE),
        (2, Digits.ZERO),
        (1, Truth.YES),
        ("2", Bits(2)),
    ],
)
def test_dotnet_forms_are_read(format: Format, wire: object, member: Enum) -> None:
    assert read(format, "dotnet", wire, type(member)) == member


@pytest.mark.parametrize(
    ("key", "member"),
    [("1", Mixed.TEXT), ("Text", Mixed.TEXT), ("9", Access.READ | Access.RUN), ("read, run", Access(9))],
)
def test_dotnet_keys_are_read(key: str, member: Enum) -> None:
    assert read("json", "dotnet", {key: 1}, dict[type(member), int]) == {member: 1}  # type: ignore[misc]


@pytest.mark.parametrize("format", FORMATS)
def test_others_write_whole_numbers_without_a_point(format: Format) -> None:
    assert read(format, "python", 2, Rates) is Rates.WHOLE
    assert Payloads("json").loader(tuple[Rates, Decimal])(b"[2.0,0.10]") == (Rates.WHOLE, Decimal("0.10"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    ("type_", "wire"),
    [
        (Access, 4),
        (Access, "Read, Fly"),
        (Access, 2**70),
        (Access, -(2**70)),
        (Access, True),
        (Access, [1]),
        (Access, {}),
        (Access, None),
        (Bits, 2**63 - 1 << 2),
        (Level, 7),
        (Level, True),
        (Level, 10.0),
        (Digits, "7"),
        (Digits, 7),
        (Truth, "yes?"),
        (Word, "b"),
        (Word, ["a"]),
        (dict[Level, int], {"7": 1}),
        (dict[Digits, int], {"x": 1}),
    ],
)
def test_what_is_no_member(format: Format, naming: NamingWord, type_: Any, wire: object) -> None:
    if format == "messagepack" and isinstance(wire, int) and abs(wire) > 2**63:
        return  # there are none such
    with pytest.raises(BindingError) as caught:
        read(format, naming, wire, type_)
    (note,) = caught.value.__notes__
    assert repr(wire) not in note or wire == 7


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_the_class_decides_of_what_is_no_member(format: Format, naming: NamingWord) -> None:
    for wire in ("new", 77):
        assert read(format, naming, [wire], list[Lenient]) == [Lenient.OTHER]
    assert read(format, naming, 7, LenientFlags) == LenientFlags.A | LenientFlags.B
    assert read(format, naming, "new", LenientFlags) is LenientFlags.A
    assert read(format, naming, "new, B", LenientFlags) is LenientFlags.A
    assert read(format, naming, {"new": 1}, dict[Lenient, int]) == {Lenient.OTHER: 1}


def test_a_key_that_looks_like_a_number_is_a_text_where_members_are_texts() -> None:
    class Texts(Enum):
        ONE = "1"

        @classmethod
        def _missing_(cls, value: object) -> Any:
            return cls.ONE if value == "01" else None

    assert read("json", "python", {"01": 2}, dict[Texts, int]) == {Texts.ONE: 2}


def test_combinations_that_python_would_keep_for_ever_are_bounded() -> None:
    class Many(IntFlag):
        A = 1

    load = Payloads("json").loader(Many)
    with pytest.raises(BindingError) as caught:
        for number in range(20_000):
            load(b"%d" % number)
    assert caught.value.__notes__ == ["No member of `Many` @ $"]
    assert load(b"1") is Many.A
    assert len(Many._value2member_map_) <= 10_001


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_members_whose_values_are_arrays(format: Format, naming: NamingWord) -> None:
    payloads = Payloads(format, naming)
    assert payloads.loader(list[Spot])(payloads.dumper(Any)([*Spot])) == [*Spot]
    for wrong in ([3, "a"], [[1], "a"], []):
        with pytest.raises(BindingError):
            read(format, naming, wrong, Spot)
