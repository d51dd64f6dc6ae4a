"""Hooks of users: found by type wherever that is met, before all that stands here, in both formats."""

import ipaddress
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NewType, TypeAlias, TypedDict

import attrs
import cattrs.preconf.json
import msgspec
import pytest
from cattrs import Converter, override
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
from cattrs.strategies import configure_tagged_union, use_class_methods
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.naming import Format, Naming
from trio_hubs.protocol.payloads import Payloads

FORMATS: list[Format] = ["json", "messagepack"]
BOTH = pytest.mark.parametrize("format", FORMATS)
UserId = NewType("UserId", int)
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Money:
    """Says nothing of what it is made of."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self.amount)


class Tip(Money):
    """A kind of it."""


@dataclass
class Bill:
    total: Money
    at: datetime
    tips: list[Money] = field(default_factory=list)
    by_user: dict[str, Money | None] = field(default_factory=dict)


def read_money(text: str, type_: type[Money]) -> Money:
    return type_(Decimal(text.removesuffix(" EUR")))


def write_money(money: Money) -> str:
    return f"{money.amount} EUR"


@pytest.fixture
def converter() -> Converter:
    made = Converter()
    made.register_structure_hook(Money, read_money)
    made.register_unstructure_hook(Money, write_money)
    return made


def wire(format: Format, data: bytes) -> Any:
    return json.loads(data) if format == "json" else msgspec.msgpack.decode(data)


def raw(format: Format, plain: object) -> Raw:
    return Raw(msgspec.json.encode(plain) if format == "json" else msgspec.msgpack.encode(plain))


def there_and_back(payloads: Payloads, value: Any, type_: Any) -> Any:
    """What stands on the wire; what comes back is the same."""
    data = Raw(payloads.dumper(type_)(value))
    assert payloads.loader(type_)(data) == value
    assert payloads.many_loader(type_)([data, data]) == [value, value]
    assert payloads.arguments_loader([int, type_])(payloads_of(payloads, 5, data)) == [5, value]
    return wire(payloads.format, bytes(data))


def payloads_of(payloads: Payloads, *parts: object) -> Raw:
    return Raw(
        payloads.join([part if isinstance(part, Raw) else raw(payloads.format, part) for part in parts])
    )


@BOTH
@pytest.mark.parametrize("naming", ["python", "dotnet"])
def test_a_class_is_read_and_written_wherever_it_is(
    format: Format, naming: Any, converter: Converter
) -> None:
    payloads = Payloads(format, naming, converter)
    two, tip = Money(Decimal("2.50")), Tip(Decimal(1))
    assert there_and_back(payloads, two, Money) == "2.50 EUR"
    assert there_and_back(payloads, tip, Tip) == "1 EUR"
    assert there_and_back(payloads, [two, two], list[Money]) == ["2.50 EUR"] * 2
    assert there_and_back(payloads, {"a": two, "b": None}, dict[str, Money | None]) == {
        "a": "2.50 EUR",
        "b": None,
    }
    assert there_and_back(payloads, {two: 1}, dict[Money, int]) == {"2.50 EUR": 1}
    assert there_and_back(payloads, {two}, set[Money]) == ["2.50 EUR"]
    assert there_and_back(payloads, (two, 1), tuple[Annotated[Money, "x"], int]) == ["2.50 EUR", 1]
    bill = Bill(two, datetime(2017, 4, 11, tzinfo=UTC), [tip], {"ann": None, "bob": two})
    plain = wire(format, payloads.dumper(Any)(bill))
    assert list(plain.values())[2:] == [["1 EUR"], {"ann": None, "bob": "2.50 EUR"}]
    back = payloads.loader(Bill)(payloads.dumper(Bill)(bill))
    assert back == Bill(two, bill.at, [Money(Decimal(1))], bill.by_user)
    assert wire(format, payloads.dump_arguments([two, [tip]])) == ["2.50 EUR", ["1 EUR"]]


@BOTH
def test_a_class_without_a_hook_says_which_to_register_and_where(format: Format) -> None:
    payloads = Payloads(format)
    with pytest.raises(TypeError) as unread:
        payloads.loader(Bill)
    assert str(unread.value) == (
        f"the type {Bill!r} cannot be converted: register a structure hook for Money, "
        "converter.register_structure_hook(Money, ...), "
        "and give it to HubOptions or open_hub_connection as converter=converter"
    )
    with pytest.raises(BindingError, match="Encoding objects of type Money is unsupported") as unwritten:
        payloads.dumper(Any)([Money(Decimal(1))])
    assert str(unwritten.value).endswith(
        "register an unstructure hook for it, converter.register_unstructure_hook(Money, ...), "
        "and give it to HubOptions or open_hub_connection as converter=converter"
    )


@BOTH
def test_what_a_hook_gives_is_written_as_what_it_is(format: Format) -> None:
    converter = Converter()
    converter.register_unstructure_hook(Money, lambda money: Bill(money.amount, datetime(2017, 1, 1)))
    converter.register_unstructure_hook(datetime, lambda moment: moment.replace(year=2000))
    converter.register_unstructure_hook(PurePosixPath, lambda path: path)
    converter.register_unstructure_hook(Decimal, lambda number: [number.as_integer_ratio()])
    payloads = Payloads(format, "python", converter)
    plain = wire(format, payloads.dumper(Money)(Money(Decimal("1.5"))))
    assert plain["total"] == [[3, 2]]
    assert "2000" in str(plain["at"])
    with pytest.raises(BindingError):
        payloads.dumper(Any)(PurePosixPath("/"))


@BOTH
def test_hooks_for_what_msgspec_reads_and_writes_alone(format: Format) -> None:
    converter = Converter()
    converter.register_structure_hook(int, lambda value, _: value + 1)
    converter.register_structure_hook(str, lambda value, _: value.upper())
    converter.register_unstructure_hook(str, lambda value: value[::-1])
    converter.register_unstructure_hook(float, round)
    payloads = Payloads(format, "python", converter)

    @dataclass
    class Parts:
        number: int
        name: str | None
        choice: Literal["a", 1]

    assert payloads.arguments_loader([int, str, list[int], dict[str, int]])(
        payloads_of(payloads, 1, "a", [1, 2], {"k": 1})
    ) == [2, "A", [2, 3], {"K": 2}]
    assert payloads.loader(Parts)(raw(format, {"number": 1, "name": "n", "choice": 1})) == Parts(2, "N", 1)
    with pytest.raises(TypeError, match="cannot be told apart"):
        payloads.loader(int | str)
    assert wire(format, payloads.dumper(list[str])(["abc"])) == ["cba"]
    assert wire(format, payloads.dump_arguments([1.6, ["abc", 1]])) == [2, ["cba", 1]]
    assert payloads.many_loader(int)([raw(format, 1), raw(format, 2)]) == [2, 3]


@BOTH
def test_hooks_of_new_types_count_wherever_those_are_declared(format: Format) -> None:
    converter = Converter()
    converter.register_structure_hook(UserId, lambda text, _: UserId(int(text[1:])))
    converter.register_unstructure_hook(UserId, lambda number: f"u{number}")
    payloads = Payloads(format, "dotnet", converter)

    @attrs.define
    class Member:
        user_id: UserId
        other: UserId | None
        friends: list[UserId]
        flag: UserId | bool = True

    member = Member(UserId(1), UserId(2), [UserId(3)])
    plain = there_and_back(payloads, member, Member)
    assert list(plain.values()) == ["u1", "u2", ["u3"], True]
    assert there_and_back(payloads, UserId(7), UserId) == "u7"
    assert there_and_back(payloads, {"a": UserId(7)}, dict[str, UserId]) == {"a": "u7"}
    assert there_and_back(payloads, (1, UserId(7)), tuple[int, UserId]) == [1, "u7"]
    assert there_and_back(payloads, [1], list[int]) == [1]


@BOTH
def test_a_hook_made_with_its_converter_leaves_the_rest_to_ours(format: Format) -> None:
    @dataclass
    class Letter:
        from_: str
        sent_at: datetime
        weight: Decimal

    converter = Converter()

    @converter.register_structure_hook_factory(lambda type_: type_ is Letter)
    def read_letter(type_: Any, converter: Converter) -> Any:
        return make_dict_structure_fn(type_, converter, from_=override(rename="from"))

    @converter.register_unstructure_hook_factory(lambda type_: type_ is Letter)
    def write_letter(type_: Any, converter: Converter) -> Any:
        return make_dict_unstructure_fn(type_, converter, from_=override(rename="from"))

    payloads = Payloads(format, "dotnet", converter)
    letter = Letter("ann", datetime(2017, 4, 11, tzinfo=UTC), Decimal("0.10"))
    plain = there_and_back(payloads, letter, Letter)
    assert plain["from"] == "ann"
    assert there_and_back(payloads, [letter], list[Letter]) == [plain]
    with pytest.raises(BindingError):  # a text is never a number
        payloads.loader(Letter)(raw(format, {"from": 1, "sent_at": plain["sent_at"], "weight": 1}))


@BOTH
def test_strategies_of_cattrs(format: Format) -> None:
    @dataclass
    class A:
        a: int

    @dataclass
    class B:
        a: int

    class Own:  # noqa: PLW1641
        def __init__(self, x: int) -> None:
            self.x = x

        @classmethod
        def read(cls, value: dict[str, int]) -> "Own":
            return cls(value["x"])

        def write(self) -> dict[str, int]:
            return {"x": self.x}

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and other.x == self.x

    converter = Converter()
    configure_tagged_union(A | B, converter)
    use_class_methods(converter, "read", "write")
    payloads = Payloads(format, "python", converter)
    assert there_and_back(payloads, B(1), A | B) == {"a": 1, "_type": "B"}
    assert there_and_back(payloads, [Own(1)], list[Own]) == [{"x": 1}]


class Kind(Enum):
    ONE = 1


class Options(TypedDict):
    dry_run: bool


@BOTH
def test_hooks_of_enums_unions_and_typed_dicts(format: Format) -> None:
    converter = Converter()
    converter.register_structure_hook(Kind, lambda text, _: Kind(len(text)))
    converter.register_unstructure_hook(Kind, lambda kind: "x" * kind.value)
    converter.register_structure_hook(int | str, lambda value, _: value)
    converter.register_structure_hook(Options, lambda value, _: {"dry_run": value == "dry"})
    converter.register_unstructure_hook_func(
        lambda type_: type_ is Options, lambda value: "dry" if value["dry_run"] else "wet"
    )
    payloads = Payloads(format, "dotnet", converter)
    assert there_and_back(payloads, Kind.ONE, Kind) == "x"
    assert there_and_back(payloads, {Kind.ONE: Kind.ONE}, dict[Kind, Kind]) == {"x": "x"}
    assert there_and_back(payloads, [1, "a"], list[int | str]) == [1, "a"]
    assert there_and_back(payloads, [Options(dry_run=True)], list[Options]) == ["dry"]


@BOTH
def test_what_a_hook_refuses_is_told_by_its_place_and_kind(format: Format, converter: Converter) -> None:
    payloads = Payloads(format, "python", converter)
    with pytest.raises(BindingError) as caught:
        payloads.loader(list[Money])(raw(format, ["1 EUR", "secret"]))
    assert caught.value.__notes__ == ["Refused with InvalidOperation @ $[1]"]
    with pytest.raises(BindingError, match="cannot be written"):
        payloads.dumper(Money)(Money.__new__(Money))


@BOTH
def test_hooks_are_copied_as_they_are_and_the_users_converter_is_not_changed(
    format: Format, converter: Converter
) -> None:
    before = Payloads(format, "python", converter)
    converter.register_unstructure_hook(Money, lambda money: float(money.amount))
    after = Payloads(format, "python", converter)
    value = Money(Decimal("1.5"))
    assert wire(format, before.dumper(Any)(value)) == "1.5 EUR"
    assert wire(format, after.dumper(Any)(value)) == 1.5
    assert converter.structure("1", int) == 1
    assert converter.unstructure([value]) == [1.5]


@BOTH
def test_a_converter_without_hooks_changes_nothing(format: Format) -> None:
    payloads = Payloads(format, "python", Converter(forbid_extra_keys=True, prefer_attrib_converters=True))
    for wrong in ("1", True):
        with pytest.raises(BindingError):
            payloads.loader(int)(raw(format, wrong))
    assert payloads.dumper(bytes)(b"\x00") == Payloads(format).dumper(bytes)(b"\x00")


def test_a_ready_made_converter_brings_its_rules() -> None:
    payloads = Payloads("json", "python", cattrs.preconf.json.make_converter())
    moment = datetime(2017, 4, 11, tzinfo=UTC)
    assert there_and_back(payloads, moment, datetime) == "2017-04-11T00:00:00+00:00"
    assert there_and_back(payloads, b"\x00", bytes) == "00"


@BOTH
def test_types_of_libraries(format: Format) -> None:
    """What msgspec cannot do: two classes of one union, both written as texts."""
    converter = Converter()
    converter.register_structure_hook(Address, lambda text, _: ipaddress.ip_address(text))
    for class_ in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        converter.register_unstructure_hook(class_, str)
    payloads = Payloads(format, Naming(), converter)

    @attrs.frozen
    class Message:
        ip: Address

    for text in ("127.0.0.1", "::1"):
        message = Message(ipaddress.ip_address(text))
        assert there_and_back(payloads, message, Message) == {"ip": text}
