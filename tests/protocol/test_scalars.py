"""Values without parts, as .NET and JavaScript have them."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import inf
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, NamingWord
from trio_hubs.protocol.payloads import Payloads

FORMATS: list[Format] = ["json", "messagepack"]
NAMINGS: list[NamingWord] = ["python", "dotnet"]
EAST = timezone(timedelta(hours=5, minutes=30))


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Count(int):
    def __repr__(self) -> str:
        return "a count"


class Ratio(float):
    def __repr__(self) -> str:
        return "a ratio"


class Data(bytes): ...


class Buffer(bytearray): ...


class Price(Decimal):
    def __str__(self) -> str:
        return "a price"


class Day(date): ...


class Moment(datetime): ...


class Clock(time): ...


class Span(timedelta): ...


class Id(UUID): ...


SUBCLASSES: list[tuple[Any, Any]] = [
    (Text("a"), "a"),
    (Count(7), 7),
    (Ratio(1.5), 1.5),
    (Data(b"\x00\xff"), b"\x00\xff"),
    (Buffer(b"\x00"), bytearray(b"\x00")),
    (Price("1.50"), Decimal("1.50")),
    (Day(2017, 4, 11), date(2017, 4, 11)),
    (Moment(2017, 4, 11, 1, 2, 3, 4, EAST), datetime(2017, 4, 11, 1, 2, 3, 4, EAST)),
    (Moment(2017, 4, 11, tzinfo=UTC), datetime(2017, 4, 11, tzinfo=UTC)),
    (Clock(1, 2, 3, 4), time(1, 2, 3, 4)),
    (Span(hours=1), timedelta(hours=1)),
    (Id(int=5), UUID(int=5)),
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(("value", "base"), SUBCLASSES, ids=lambda value: type(value).__name__)
def test_subclasses_are_written_as_their_base(
    format: Format, naming: NamingWord, value: Any, base: Any
) -> None:
    payloads = Payloads(format, naming)
    class_ = type(base)
    expected = payloads.dumper(class_)(base)
    for type_ in (Any, class_, type(value), class_ | None):
        dump = payloads.dumper(type_)
        assert dump(value) == expected
        assert payloads.loader(list[class_])(Raw(payloads.dumper(list[class_])([value]))) == [base]  # type: ignore[valid-type]
        assert payloads.dumper(Any)([value, {"a": (value,)}]) == payloads.dumper(Any)([base, {"a": (base,)}])
    back = payloads.loader(type(value))(expected)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("type_", [float, Ratio])
def test_messagepack_has_infinities(type_: Any) -> None:
    back = Payloads("messagepack").loader(type_)(Raw(msgspec.msgpack.encode(-inf)))
    assert (back, type(back)) == (-inf, type_)


@pytest.mark.parametrize("format", FORMATS)
def test_memory_is_bytes(format: Format) -> None:
    payloads = Payloads(format)
    assert (
        payloads.loader(bytes)(
            payloads.dumper(Any)([memoryview(b"ab")])[1:][: 6 if format == "json" else None]
        )
        == b"ab"
    )


OFFSETS: list[tuple[Any, Any, Any]] = [
    (
        datetime,
        datetime(2017, 4, 11, 10, 5, 20, 123456, EAST),
        [datetime(2017, 4, 11, 10, 5, 20, 123456, UTC), 330],
    ),
    (
        datetime,
        datetime(2017, 4, 11, 1, tzinfo=timezone(-timedelta(hours=8))),
        [datetime(2017, 4, 11, 1, tzinfo=UTC), -480],
    ),
    (
        datetime,
        datetime(2017, 7, 1, tzinfo=ZoneInfo("Europe/Paris")),
        [datetime(2017, 7, 1, tzinfo=UTC), 120],
    ),
    (datetime, datetime(2017, 4, 11, tzinfo=UTC), datetime(2017, 4, 11, tzinfo=UTC)),
    (date, date(1, 1, 1), 0),
    (date, date(2017, 4, 11), 736429),
    (date, date.max, 3652058),
    (time, time(), 0),
    (time, time(10, 5, 20, 5), 363200000050),
    (time, time.max, 863999999990),
]


@pytest.mark.parametrize(("type_", "value", "wire"), OFFSETS, ids=repr)
def test_dotnets_types_in_messagepack(type_: Any, value: Any, wire: Any) -> None:
    payloads = Payloads("messagepack", "dotnet")
    for declared in (type_, Any, type_ | None):
        assert msgspec.msgpack.decode(payloads.dumper(declared)(value)) == wire
    for naming in NAMINGS:
        load = Payloads("messagepack", naming).loader(type_)
        back = load(msgspec.msgpack.encode(wire))
        assert back == value
        if isinstance(value, datetime):
            assert (back.replace(tzinfo=None), back.utcoffset()) == (
                value.replace(tzinfo=None),
                value.utcoffset(),
            )
    plain = Payloads("messagepack", "python")
    assert plain.loader(type_)(plain.dumper(type_)(value)) == value


def test_an_offset_of_nothing_comes_back_as_it_came() -> None:
    payloads = Payloads("messagepack", "dotnet")
    wire = [datetime(2017, 4, 11, tzinfo=UTC), 0]
    back = payloads.loader(datetime)(msgspec.msgpack.encode(wire))
    assert back == datetime(2017, 4, 11, tzinfo=UTC)
    assert str(back.tzinfo) == "UTC+00:00"
    assert msgspec.msgpack.decode(payloads.dumper(datetime)(back)) == wire
    assert Payloads("json").dumper(datetime)(back) == b'"2017-04-11T00:00:00Z"'


def test_an_offset_with_seconds_is_told_in_whole_minutes() -> None:
    payloads = Payloads("messagepack", "dotnet")
    value = datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Paris"))  # nine minutes and 21 seconds
    back = payloads.loader(datetime)(payloads.dumper(datetime)(value))
    assert back == value
    assert back.utcoffset() == timedelta(minutes=9)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()))
def test_any_moment_with_an_offset(value: datetime) -> None:
    payloads = Payloads("messagepack", "dotnet")
    assert payloads.loader(datetime)(payloads.dumper(datetime)(value)) == value.astimezone(UTC)


@given(st.dates(), st.times())
def test_any_day_and_time(day: date, clock: time) -> None:
    for format in FORMATS:
        for naming in NAMINGS:
            payloads = Payloads(format, naming)
            assert payloads.loader(date)(payloads.dumper(date)(day)) == day
            assert payloads.loader(time)(payloads.dumper(time)(clock)) == clock


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    ("type_", "wire"),
    [
        (datetime, [datetime(2017, 4, 11, tzinfo=UTC), 1440]),
        (datetime, [datetime(2017, 4, 11, tzinfo=UTC), True]),
        (datetime, [datetime(2017, 4, 11, tzinfo=UTC)]),
        (datetime, [1, 2]),
        (datetime, {}),
        (date, -1),
        (date, 3652059),
        (date, 2**63),
        (date, True),
        (time, -1),
        (time, 864000000000),
        (time, True),
    ],
)
def test_what_is_no_moment(naming: NamingWord, type_: Any, wire: Any) -> None:
    with pytest.raises(BindingError):
        Payloads("messagepack", naming).loader(type_)(msgspec.msgpack.encode(wire))


def test_a_time_in_a_zone_has_no_form_of_dotnets() -> None:
    with pytest.raises(BindingError, match="a TimeOnly has no time zone"):
        Payloads("messagepack", "dotnet").dumper(time)(time(tzinfo=UTC))


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (UUID, "secret"),
        (datetime, "secret"),
        (date, "secret"),
        (time, "secret"),
        (timedelta, "secret"),
        (Decimal, "secret"),
        (bytes, "secret!"),
        (int, "secret"),
        (float, "secret"),
        (bool, "secret"),
        (Count, "secret"),
        (None, "secret"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_what_does_not_fit_is_not_told(format: Format, type_: Any, text: str) -> None:
    payloads = Payloads(format)
    wires: list[tuple[Any, Any]] = [
        (type_, text),
        (list[type_], [text]),
        (dict[str, type_], {"a": text}),
        (tuple[type_, type_], [text, text]),
    ]
    for declared, wire in wires:
        with pytest.raises(BindingError) as caught:
            payloads.loader(declared)(payloads.dumper(Any)(wire))
        assert "secret" not in str(caught.value) + "".join(caught.value.__notes__)
        assert len(caught.value.__notes__) == 1
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", [b"[0.5,1e999]", b"[0.5,1" + b"0" * 400 + b"]", b"[0.5,-1e999]"])
def test_numbers_beside_a_decimal_are_floats_as_elsewhere(text: bytes) -> None:
    for type_ in (tuple[Decimal, float], tuple[Decimal, Any], tuple[Decimal, float | None]):
        if b"e" not in text and type_ == tuple[Decimal, Any]:
            continue  # an integer of any size
        with pytest.raises(BindingError):
            Payloads("json").loader(type_)(text)
    assert Payloads("json").loader(tuple[Decimal, Decimal])(text)[0] == Decimal("0.5")


def test_messagepack_has_infinite_floats() -> None:
    payloads = Payloads("messagepack")
    value = [float("inf"), Decimal(1)]
    assert payloads.loader(tuple[float, Decimal])(payloads.dumper(Any)(value)) == tuple(value)


@pytest.mark.parametrize("payloads", [Payloads("json"), Payloads("messagepack")], ids=lambda one: one.format)
def test_decimals_have_exponents_that_their_users_can_pay(payloads: Payloads) -> None:
    def wire(text: str) -> bytes:
        return text.encode() if payloads.format == "json" else payloads.dumper(str)(text)

    load = payloads.loader(Decimal)
    for text in ("1e6144", "-9.99e6144", "1e-6144", "0e-6144", "79228162514264337593543950335"):
        assert str(load(wire(text))) == str(Decimal(text))
    for text in ("1e6145", "10e6144", "-1e999999999", "1e-6145", "1e-999999999", "0e999999999"):
        with pytest.raises(BindingError) as caught:
            load(wire(text))
        assert caught.value.__notes__ == ["Number out of range @ $"]


def test_nor_has_a_decimal_key() -> None:
    for text in ("1e999999999", "-1e-999999999"):
        with pytest.raises(BindingError):
            Payloads("json").loader(dict[Decimal, int])(f'{{"{text}":1}}'.encode())
