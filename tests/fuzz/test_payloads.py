"""What is written can be read, and is JSON; what comes in is a value or a BindingError, at a cost of its size."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import FrameType, GenericAlias
from typing import Any, Literal, NoReturn
from uuid import UUID

import attrs
import msgspec
import pytest
from cattrs import Converter
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import Raw

from tests.protocol.shapes import Box, Cat, Color, Dog, Level, Node, Options, Pair, Point
from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Naming
from trio_hubs.protocol.payloads import Payloads

from .pieces import mutations


class Ring(msgspec.Struct, tag="ring"):
    radius: float


class Bar(msgspec.Struct, tag="bar", rename="kebab"):
    the_length: int = 1


HOOKS = Converter()
HOOKS.register_structure_hook(UUID, lambda text, _: UUID(text[::-1]))
HOOKS.register_unstructure_hook(UUID, lambda value: value.hex[::-1])
OTHERS = Naming(fields="camel", enums="name", tags={Point: "point", Node: 7})

EVERY = pytest.mark.parametrize(
    "payloads",
    [
        Payloads("json"),
        Payloads("json", "dotnet"),
        Payloads("messagepack"),
        Payloads("messagepack", "dotnet"),
        Payloads("json", OTHERS, HOOKS),
        Payloads("messagepack", OTHERS, HOOKS),
    ],
    ids=[
        "json-python",
        "json-dotnet",
        "messagepack-python",
        "messagepack-dotnet",
        "json-hooks",
        "messagepack-hooks",
    ],
)


@attrs.frozen
class Kind:
    """A type, and values of it."""

    type: Any
    values: SearchStrategy[Any]


TEXT = st.text(max_size=6)
INTS = st.one_of(st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
POINTS = st.builds(Point, INTS, INTS, the_label=TEXT)
SCALARS = [
    Kind(int, INTS),
    Kind(float, FLOATS),
    Kind(str, TEXT),
    Kind(bool, st.booleans()),
    Kind(bytes, st.binary(max_size=6)),
    Kind(Decimal, DECIMALS),
    Kind(UUID, st.uuids()),
    Kind(date, st.dates()),
    Kind(time, st.times()),
    Kind(datetime, st.datetimes(timezones=st.just(UTC))),
    Kind(timedelta, st.timedeltas(timedelta(-10_000_000), timedelta(10_000_000))),
    Kind(Color, st.sampled_from(Color)),
    Kind(Level, st.sampled_from(Level)),
    Kind(Literal["a", 1, True], st.sampled_from(["a", 1, True])),
]
CLASSES = [
    Kind(Point, POINTS),
    Kind(Node, st.builds(Node, FLOATS, st.lists(st.builds(Node, FLOATS, st.just([])), max_size=2))),
    Kind(Options, st.fixed_dictionaries({"dry_run": st.booleans()}, optional={"depth": INTS})),
    Kind(Pair, st.builds(Pair, INTS, st.none() | POINTS)),
    Kind(Ring | Bar, st.builds(Ring, FLOATS) | st.builds(Bar, INTS)),
    Kind(
        Cat | Dog,
        st.builds(Cat, st.just("cat"), INTS) | st.builds(Dog, st.just("dog"), st.lists(TEXT, max_size=2)),
    ),
]
KEYS = [
    kind
    for kind in SCALARS
    if kind.type in (str, int, float, bool, Decimal, UUID, date, datetime, Color, Level)
]


def optional(inner: Kind) -> Kind:
    return Kind(inner.type | None, st.none() | inner.values)


def listed(inner: Kind) -> Kind:
    return Kind(GenericAlias(list, (inner.type,)), st.lists(inner.values, max_size=3))


def paired(first: Kind, second: Kind) -> Kind:
    return Kind(GenericAlias(tuple, (first.type, second.type)), st.tuples(first.values, second.values))


def mapped(key: Kind, inner: Kind) -> Kind:
    return Kind(
        GenericAlias(dict, (key.type, inner.type)), st.dictionaries(key.values, inner.values, max_size=3)
    )


def boxed(inner: Kind) -> Kind:
    return Kind(GenericAlias(Box, (inner.type,)), st.builds(Box, inner.values, st.none() | TEXT | INTS))


KINDS = st.recursive(
    st.sampled_from(SCALARS + CLASSES),
    lambda inner: st.one_of(
        st.builds(optional, inner.filter(lambda kind: kind.type is not Literal["a", 1, True])),
        st.builds(listed, inner),
        st.builds(paired, inner, inner),
        st.builds(mapped, st.sampled_from(KEYS), inner),
        st.builds(boxed, inner),
    ),
    max_leaves=4,
)


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def read_by_others(payloads: Payloads, data: bytes) -> object:
    """What somebody who knows nothing of ours reads."""
    if payloads.format == "json":
        return json.loads(data, parse_constant=refuse)
    return msgspec.msgpack.decode(data)


@EVERY
@given(data=st.data())
def test_values_there_and_back(payloads: Payloads, data: st.DataObject) -> None:
    kind = data.draw(KINDS)
    value = data.draw(kind.values)
    written = payloads.dumper(kind.type)(value)
    read_by_others(payloads, written)
    assert payloads.loader(kind.type)(written) == value
    assert payloads.loader(kind.type)(Raw(payloads.dumper(Any)(value))) == value
    assert payloads.many_loader(kind.type)([Raw(written)] * 2) == [value] * 2
    assert payloads.arguments_loader([kind.type, int])(Raw(payloads.dump_arguments([value, 1]))) == [value, 1]
    if payloads.format == "json":
        assert payloads.lines_dumper(kind.type)([value] * 2) == (written + b"\n") * 2


WILD = st.recursive(
    st.one_of(
        *(kind.values for kind in SCALARS + CLASSES),
        st.none(),
        st.floats(),
        st.integers(),
        st.decimals(),
        st.complex_numbers(),
        st.just(object()),
        st.text(st.characters(codec=None)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3) | INTS, inner, max_size=3),
        st.tuples(inner, inner),
        st.builds(Box, inner, inner),
    ),
    max_leaves=6,
)


@EVERY
@given(value=WILD)
def test_whatever_is_written_can_be_read_by_others(payloads: Payloads, value: object) -> None:
    for write in (
        payloads.dumper(Any),
        payloads.dumper(type(value)),
        lambda value: payloads.dump_arguments([value]),
    ):
        with suppress(BindingError):
            read_by_others(payloads, write(value))


@EVERY
@given(data=st.data())
def test_whatever_comes_in_is_a_value_or_a_binding_error(payloads: Payloads, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(KINDS, max_size=2))
    good = st.tuples(*(kind.values for kind in kinds)).map(payloads.dump_arguments)
    others = st.lists(WILD, max_size=3).map(lambda value: dumped(payloads, value))
    raw = data.draw(
        st.one_of(others, st.binary(max_size=30), mutations(good | others, st.binary(max_size=2)))
    )
    load = payloads.arguments_loader([kind.type for kind in kinds])
    with suppress(BindingError):
        load(Raw(raw))
    for kind in kinds:
        with suppress(BindingError):
            payloads.loader(kind.type)(raw)


def dumped(payloads: Payloads, value: object) -> bytes:
    """The value's bytes, or anything where it has none."""
    try:
        return payloads.dumper(Any)(value)
    except BindingError:
        return b"[null]"


def calls(work: Callable[[], object]) -> int:
    """How many calls of Python's some work takes: a measure that no busy machine changes."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@EVERY
@given(data=st.data())
def test_what_does_not_fit_is_left_at_its_first_fault(payloads: Payloads, data: st.DataObject) -> None:
    kind = data.draw(KINDS)
    bad = data.draw(WILD.map(lambda value: dumped(payloads, value)))
    array = GenericAlias(list, (kind.type,))
    load_one, load, load_many = (
        payloads.loader(kind.type),
        payloads.loader(array),
        payloads.many_loader(kind.type),
    )
    load_call = payloads.arguments_loader([int, array, array])
    assume(not fits(lambda: load_one(bad)))
    many = arrayed(payloads, [bad] * 1000)
    call = arrayed(payloads, [b"1" if payloads.format == "json" else b"\x01", many, many])

    def work() -> None:
        for read in (lambda: load(many), lambda: load_many([Raw(bad)] * 1000), lambda: load_call(Raw(call))):
            with pytest.raises(BindingError) as error:
                read()
            assert len("\n".join((str(error.value), *getattr(error.value, "__notes__", ())))) < 2000

    assert calls(work) < 3000


def fits(read: Callable[[], object]) -> bool:
    try:
        read()
    except BindingError:
        return False
    return True


def arrayed(payloads: Payloads, items: list[bytes]) -> bytes:
    """An array of what is written already."""
    raws = [Raw(item) for item in items]
    return msgspec.json.encode(raws) if payloads.format == "json" else msgspec.msgpack.encode(raws)
