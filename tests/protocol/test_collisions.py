"""Keys of one hash: few are taken, many are refused in little time."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.collisions import refuse_colliding
from trio_hubs.protocol.faults import Unfit
from trio_hubs.protocol.payloads import Payloads

PRIME = 2**61 - 1  # Python's hashes of numbers are modulo this
SAME_HASH = [7 + PRIME * number for number in range(5000)]


def test_numbers_of_one_hash_are_of_one_hash() -> None:
    assert len(set(map(hash, SAME_HASH))) == 1


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [1, 1.0, True] * 500,
        list(range(5000)),
        SAME_HASH[:100],
        SAME_HASH[:100] * 3,
        [*SAME_HASH[:100], *range(5000)],
        ["a", "b"] * 500,
    ],
    ids=len,
)
def test_what_is_taken(keys: list[Any]) -> None:
    refuse_colliding(keys)


@pytest.mark.parametrize(
    "keys",
    [[*SAME_HASH[:101], *SAME_HASH[:101]], SAME_HASH[:300], SAME_HASH, [*range(5000), *SAME_HASH]],
    ids=len,
)
def test_what_is_not(keys: list[Any]) -> None:
    with pytest.raises(Unfit, match="Too many keys of one hash"):
        refuse_colliding(keys)


@pytest.mark.parametrize("naming", ["python", "dotnet"])
@pytest.mark.parametrize(
    ("type_", "wire"),
    [
        (set[int], SAME_HASH),
        (frozenset[int], SAME_HASH),
        (set[int | str], SAME_HASH),
        (set[tuple[int, str]], [[number, "x"] for number in SAME_HASH]),
        (dict[int, int], {str(number): 1 for number in SAME_HASH}),
        (dict[int | str, set[int]], {"a": SAME_HASH}),
        (dict[Decimal, str], {str(number): "x" for number in SAME_HASH}),
        (set[Decimal], list(map(str, SAME_HASH))),
        (set[UUID], [str(UUID(int=number)) for number in SAME_HASH]),
    ],
    ids=str,
)
def test_payloads_refuse_them(type_: Any, wire: Any, naming: Any) -> None:
    payloads = Payloads("json", naming)
    data = Raw(payloads.dumper(Any)(wire))
    for load in (payloads.loader(type_), lambda raw: payloads.many_loader(type_)([raw])):
        with pytest.raises(BindingError) as caught:
            load(data)
        assert "Too many keys of one hash" in caught.value.__notes__[0]
    with pytest.raises(BindingError):
        payloads.arguments_loader([type_])(Raw(b"[" + bytes(data) + b"]"))


def test_messagepacks_texts_collide_too() -> None:
    payloads = Payloads("messagepack")
    data = payloads.dumper(Any)(list(map(str, SAME_HASH)))
    with pytest.raises(BindingError) as caught:
        payloads.loader(set[Decimal])(data)
    assert caught.value.__notes__ == ["Too many keys of one hash @ $"]


@pytest.mark.parametrize("format", ["json", "messagepack"])
def test_honest_ones_are_read(format: Any) -> None:
    payloads = Payloads(format)
    for type_, value in (
        (set[int], set(range(3000))),
        (dict[int, str], dict.fromkeys(range(-500, 2500), "x")),
        (set[Decimal], {Decimal(number) / 8 for number in range(3000)}),
    ):
        assert payloads.loader(type_)(payloads.dumper(type_)(value)) == value


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (set[int], {2**61 - 1, -(2**61), 10**30, 0}),
        (frozenset[int], frozenset({-1, -2, 2**61 - 2})),
        (dict[int, list[int]], {2**61 - 1: [1], 10**30: [10**15]}),
        (list[dict[str, set[int]]], [{"a": {1, 10**30}}]),
        (dict[int, Any], {1: {"a": None}}),
    ],
    ids=str,
)
def test_json_takes_numbers_of_any_size_as_keys(type_: Any, value: Any) -> None:
    payloads = Payloads("json")
    data = payloads.dumper(type_)(value)
    assert payloads.loader(type_)(data) == value
    assert payloads.many_loader(type_)([Raw(data)]) == [value]
    assert payloads.arguments_loader([int, type_])(Raw(b"[1," + data + b"]")) == [1, value]


@pytest.mark.parametrize("naming", ["python", "dotnet"])
@pytest.mark.parametrize(
    ("type_", "wire"), [(set[int], b"[1,true]"), (set[int], b"[1.5]"), (dict[int, int], b'{"a":1}')]
)
def test_and_no_others(type_: Any, wire: bytes, naming: Any) -> None:
    with pytest.raises(BindingError):
        Payloads("json", naming).loader(type_)(wire)
