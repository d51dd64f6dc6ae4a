"""What msgspec reads by itself, and what is left to readers."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NewType
from uuid import UUID

import msgspec
import pytest
from msgspec import Raw

from trio_hubs.protocol.collisions import Small
from trio_hubs.protocol.decoders import Decoders
from trio_hubs.protocol.naming import Format

from .shapes import Point

FORMATS: list[Format] = ["json", "messagepack"]
BOTH = pytest.mark.parametrize("format", FORMATS)
Name = NewType("Name", str)


def decoders(format: Format, hooked: Callable[[Any], bool] = lambda _: False) -> Decoders:
    return Decoders(format, lambda type_: (lambda value, _: value) if hooked(type_) else None)


@BOTH
@pytest.mark.parametrize(
    ("type_", "plain"),
    [
        (int, True),
        (None, True),
        (Any, True),
        (Raw, True),
        (list[int | None], True),
        (dict[str, list[float]], True),
        (Mapping[str, int], True),
        (tuple[int, ...], True),
        (set[str], True),
        (bytes, False),
        (Decimal, False),
        (UUID, False),
        (Point, False),
        (Name, False),
        (list[UUID], False),
        (dict[str, Point], False),
    ],
)
def test_what_msgspec_alone_reads(format: Format, type_: Any, plain: bool) -> None:
    made = decoders(format)
    assert made.is_plain(type_) is plain
    assert made.shape(type_) == (type_ if plain else None)


def test_numbers_that_may_collide_are_read_alone_only_where_they_are_small() -> None:
    made = decoders("json")
    assert not made.is_plain(set[int])
    assert made.shape(set[int]) == set[Small]
    assert decoders("messagepack").shape(set[int]) == set[int]


@BOTH
def test_what_has_a_hook_is_left_to_it_and_so_is_what_holds_it(format: Format) -> None:
    made = decoders(format, lambda type_: type_ is int)
    for type_ in (int, list[int], dict[str, int | None]):
        assert made.shape(type_) is None
    assert made.shape(list[str]) == list[str]
    assert decoders(format, lambda type_: type_ == list[str]).shape(list[str]) is None


@BOTH
def test_an_array_of_parts(format: Format) -> None:
    encode = msgspec.json.encode if format == "json" else msgspec.msgpack.encode
    number, rest = decoders(format).array([int, Raw])(encode([1, {"a": 2}]))
    assert (number, bytes(rest)) == (1, encode({"a": 2}))
    with pytest.raises(msgspec.ValidationError):
        decoders(format).array([int])(encode([1, 2]))


def test_decimals_keep_their_digits_on_the_way() -> None:
    made = decoders("json")
    assert made.decoder(Any, list[Decimal])(b"[0.10]") == [Decimal("0.10")]
    assert type(made.decoder(Any, list[Point])(b"[0.10]")[0]) is float


def test_dotnets_last_moment() -> None:
    last = msgspec.msgpack.encode(datetime.max.replace(tzinfo=UTC))
    theirs = last.replace((999_999_000).to_bytes(4, "big"), (999_999_900).to_bytes(4, "big"))
    assert decoders("messagepack").decoder(Any, datetime)(theirs) == datetime.max.replace(tzinfo=UTC)
