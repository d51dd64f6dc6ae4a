"""Values without parts: what each looks like on the wire, and how it is read back.

Nothing is guessed: a text is never a number, true is never 1; what is written is what .NET and JavaScript read.
"""

import base64
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import inf, isinf
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Raw

from .faults import Unfit, expected
from .naming import Format, Naming

Reader: TypeAlias = Callable[[Any, Any], Any]
Writer: TypeAlias = Callable[[Any], Any]


# ---- reading


def kept(value: Any, type_: Any) -> Any:
    """A value that must be of just this class."""
    if type(value) is not type_:
        raise expected(type_.__name__, value)
    return value


def to_float(value: Any, type_: Any) -> Any:
    if type(value) not in (float, int, Decimal):
        raise expected("float", value)
    try:
        number = float(value)
    except OverflowError:
        number = inf
    if type(value) is not float and isinf(number):  # MessagePack has infinities of its own
        raise Unfit("Number out of range")
    return type_(number)


_LARGEST_EXPONENT = 6144
"""As IEEE's decimal128 has it. To make an integer of 1e999999, twelve bytes of a peer's, takes a minute."""


def _to_decimal(value: Any, type_: Any) -> Any:
    if type(value) not in (float, int, Decimal, str):
        raise expected("decimal", value)
    try:
        number = value if type(value) is type_ else type_(str(value))
    except ArithmeticError:
        raise Unfit("Invalid decimal") from None
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise Unfit("Number out of range")
    return number


def _parsed(what: str, parse: Callable[[Any, str], Any]) -> Reader:
    def read(value: Any, type_: Any) -> Any:
        text = kept(value, str)
        try:
            return parse(type_, text)
        except ValueError:  # whose text has the value
            raise Unfit(f"Invalid {what}") from None

    return read


def _based(base: type) -> Reader:
    """Reads a class made of a simpler one: the text of a subclass of ``str``, say."""
    return lambda value, type_: kept(value, base) if type_ is base else type_(kept(value, base))


_DURATION = re.compile(r"(-?)(?:(\d{1,9})\.)?(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?", re.ASCII)


def _parse_duration(type_: Any, text: str) -> Any:
    """.NET's constant form of a TimeSpan: [-][d.]hh:mm:ss[.fffffff]."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError
    sign, days, hours, minutes, seconds, fraction = found.groups(default="0")
    size = timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=int(fraction.ljust(7, "0")) // 10,
    )
    if sign == "-":
        size = -size
    return type_(days=size.days, seconds=size.seconds, microseconds=size.microseconds)


_to_uuid = _parsed("UUID", lambda type_, text: type_(text))
_to_datetime = _parsed("datetime", lambda type_, text: type_.fromisoformat(text))
_to_date = _parsed("date", lambda type_, text: type_.fromisoformat(text))
_to_time = _parsed("time", lambda type_, text: type_.fromisoformat(text))
_to_bytes = _parsed("base64", lambda type_, text: type_(base64.b64decode(text, validate=True)))


def _to_moment(value: Any, type_: Any) -> Any:
    """MessagePack's timestamp, or .NET's DateTimeOffset: the clock's time there, as if it were UTC, and its minutes."""
    match value:
        case datetime():
            moment = value
        case [datetime() as clock, int(minutes)] if type(minutes) is int and abs(minutes) < 24 * 60:
            # A zone of its own, also for UTC, has it written as it came.
            moment = clock.replace(tzinfo=timezone(timedelta(minutes=minutes), _zone(minutes)))
        case _:
            return _to_datetime(value, type_)
    return moment if type_ is datetime else type_.fromisoformat(moment.isoformat())


def _zone(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _to_day(value: Any, type_: Any) -> Any:
    """.NET's DateOnly in MessagePack is a number of days."""
    if type(value) is not int:
        return _to_date(value, type_)
    if not 0 <= value < date.max.toordinal():
        raise Unfit("Invalid date")
    return type_.fromordinal(value + 1)


def _to_clock(value: Any, type_: Any) -> Any:
    """.NET's TimeOnly in MessagePack is a number of 100 nanoseconds."""
    if type(value) is not int:
        return _to_time(value, type_)
    if not 0 <= value < _DAY:
        raise Unfit("Invalid time")
    seconds, ticks = divmod(value, 10_000_000)
    return type_(seconds // 3600, seconds // 60 % 60, seconds % 60, ticks // 10)


def _from_ticks(value: Any, type_: Any) -> Any:
    return type_(microseconds=kept(value, int) // 10)


_DAY = 24 * 3600 * 10_000_000
_MICROSECOND = timedelta(microseconds=1)

_READERS: dict[type, Reader] = {
    str: _based(str),
    int: _based(int),
    bool: kept,
    float: to_float,
    Decimal: _to_decimal,
    UUID: _to_uuid,
}
_JSON_READERS: dict[type, Reader] = {
    bytes: _to_bytes,
    bytearray: _to_bytes,
    datetime: _to_datetime,
    date: _to_date,
    time: _to_time,
    timedelta: _parsed("duration", _parse_duration),
}
_MESSAGEPACK_READERS: dict[type, Reader] = {
    bytes: _based(bytes),
    bytearray: lambda value, type_: type_(kept(value, bytes)),
    datetime: _to_moment,
    date: _to_day,
    time: _to_clock,
    timedelta: _from_ticks,
}


def scalar_readers(format: Format) -> dict[type, Reader]:
    """What reads each class, and those made of it."""
    return _READERS | (_JSON_READERS if format == "json" else _MESSAGEPACK_READERS)


# ---- writing


def _number(value: Decimal) -> Raw:
    """All of its digits."""
    if not value.is_finite():
        raise ValueError(f"{Decimal(value)} is not a JSON number")
    return Raw(Decimal.__str__(value).encode())


def _plain_date(value: date) -> date:
    return date(value.year, value.month, value.day)


def _plain_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _plain_datetime(value: datetime) -> datetime:
    return datetime.combine(_plain_date(value), _plain_time(value.timetz()))


def _format_duration(value: timedelta) -> str:
    sign, size = ("-", -value) if value < timedelta() else ("", value)
    days = f"{size.days}." if size.days else ""
    fraction = f".{size.microseconds:06}0" if size.microseconds else ""
    minutes, seconds = divmod(size.seconds, 60)
    return f"{sign}{days}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}"


def _ticks(value: timedelta) -> int:
    return value // _MICROSECOND * 10


def _as_utc(value: datetime) -> datetime:
    if type(value) is not datetime:
        value = _plain_datetime(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _date_time(value: datetime) -> datetime | tuple[datetime, int]:
    """A DateTime where there is no zone but UTC's own; else a DateTimeOffset."""
    if value.tzinfo is None or value.tzinfo is UTC:
        return _as_utc(value)
    offset = value.utcoffset() or timedelta()
    minutes = offset // timedelta(minutes=1)
    clock = _plain_datetime(value).replace(tzinfo=UTC) - (offset - timedelta(minutes=minutes))
    return clock, minutes


def _day(value: date) -> int:
    return value.toordinal() - 1


def _clock(value: time) -> int:
    if value.tzinfo is not None:
        raise ValueError("a TimeOnly has no time zone")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 10_000_000 + value.microsecond * 10


_WRITERS: dict[type, Writer] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes,
    bytearray: bytes,
    memoryview: bytes,
    UUID: str,
    datetime: _plain_datetime,
    date: _plain_date,
    time: _plain_time,
}
_NATIVE: frozenset[type] = frozenset({str, int, bool, float, NoneType, bytes, UUID})


def native(format: Format, naming: Naming) -> frozenset[type]:
    """The classes of which msgspec alone writes what is meant."""
    if format == "json":
        return _NATIVE | {datetime, date, time}
    return _NATIVE if naming.dotnet_types else _NATIVE | {date, time}


def scalar_writers(format: Format, naming: Naming) -> dict[type, Writer]:
    """What turns each class, and those made of it, into what msgspec writes."""
    if format == "json":
        return _WRITERS | {Decimal: _number, timedelta: _format_duration}
    if naming.dotnet_types:
        return _WRITERS | {
            Decimal: Decimal.__str__,
            timedelta: _ticks,
            datetime: _date_time,
            date: _day,
            time: _clock,
        }
    return _WRITERS | {Decimal: Decimal.__str__, timedelta: _ticks, datetime: _as_utc}
