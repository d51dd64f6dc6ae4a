"""Values and arguments in and out, and the words for those that do not fit."""

import math
import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from trio_hubs.errors import BindingError
from trio_hubs.protocol.payloads import Payloads

from .shapes import Point

JSON, MESSAGEPACK = Payloads("json"), Payloads("messagepack")
BOTH = pytest.mark.parametrize("payloads", [JSON, MESSAGEPACK], ids=["json", "messagepack"])
UNFIT = (
    "Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@BOTH
@given(value=values)
def test_plain_values_there_and_back(payloads: Payloads, value: object) -> None:
    data = Raw(payloads.dumper(Any)(value))
    assert payloads.loader(Any)(data) == value
    assert payloads.loader(object)(bytes(data)) == value
    assert payloads.many_loader(Any)([data, data]) == [value, value]


@BOTH
def test_many_of_nothing(payloads: Payloads) -> None:
    assert payloads.many_loader(int)([]) == []
    assert payloads.many_loader(Point)([]) == []


@BOTH
@pytest.mark.parametrize("type_", [int, Point])
def test_one_of_many_that_does_not_fit(payloads: Payloads, type_: object) -> None:
    raws = [Raw(payloads.dumper(Any)(value)) for value in (1, "x")]
    with pytest.raises(BindingError, match=r"does not fit the type '(int|Point)'"):
        payloads.many_loader(type_)(raws)


@BOTH
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Any, object()),
        (Any, [1, {"a": object()}]),
        (int, object()),
        (list[int], iter([1])),
        (Point, 5),
        (Any, "\ud800"),
        (Any, {("a", "b"): 1, object(): 2}),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
def test_what_cannot_be_written(payloads: Payloads, type_: object, value: object) -> None:
    with pytest.raises(
        BindingError, match=rf"A value of type '{type(value).__qualname__}' cannot be written: "
    ):
        payloads.dumper(type_)(value)


@BOTH
def test_a_value_that_holds_itself(payloads: Payloads) -> None:
    value: list[object] = []
    value.append(value)
    for type_ in (Any, list[int]):
        with pytest.raises(BindingError):
            payloads.dumper(type_)(value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (float, math.nan),
        (Any, math.inf),
        (list[float], [1.0, -math.inf]),
        (Any, {"a": [None, (math.nan,)]}),
        (Point, Point(math.nan)),  # type: ignore[arg-type]
        (Decimal, Decimal("NaN")),
        (Any, [Decimal("-Infinity")]),
    ],
)
def test_json_has_no_such_numbers(type_: object, value: object) -> None:
    with pytest.raises(BindingError, match="is not a JSON number"):
        JSON.dumper(type_)(value)
    with pytest.raises(BindingError, match="is not a JSON number"):
        JSON.lines_dumper(type_)([None, value] if type_ is Any else [value])


def test_messagepack_has_them() -> None:
    assert MESSAGEPACK.loader(float)(MESSAGEPACK.dumper(float)(math.inf)) == math.inf


def test_nulls_are_no_such_numbers() -> None:
    assert (
        JSON.dumper(Any)([None, 1.5, "null", b"null", {"a": None}])
        == b'[null,1.5,"null","bnVsbA==",{"a":null}]'
    )
    assert JSON.lines_dumper(Any)([None, "x"]) == b'null\n"x"\n'


@pytest.mark.parametrize("text", [b"1e400", b"[1,]", b"nonsense", b"", b'"\xff"', b"[" * 100_000])
def test_malformed_json(text: bytes) -> None:
    for load in (JSON.loader(Any), JSON.loader(float), JSON.loader(Point)):
        with pytest.raises(BindingError):
            load(text)


def refuse_negative(_: object, __: object, number: int) -> None:
    if number < 0:
        raise LookupError("too small")


@attrs.define
class Picky:
    number: int = attrs.field(validator=refuse_negative)


@BOTH
def test_a_class_that_refuses(payloads: Payloads) -> None:
    load = payloads.loader(list[Picky])
    assert load(payloads.dumper(Any)([{"number": 1}])) == [Picky(1)]
    with pytest.raises(BindingError) as caught:
        load(payloads.dumper(Any)([{"number": 1}, {"number": -1}]))
    assert any("too small" in note or "$[1]" in note for note in caught.value.__notes__)


@BOTH
@pytest.mark.parametrize(
    ("types", "sent", "received"),
    [
        ([], [], []),
        ([int], [1], [1]),
        ([int, float, Any], [1, 2, None], [1, 2.0, None]),
        ([Point, int, list[Point]], [{"x": 1}, 2, [{"x": 3}]], [Point(1), 2, [Point(3)]]),
        ([str | None, dict[str, int]], [None, {"a_b": 1}], [None, {"a_b": 1}]),
        ([object], [[1, {"a": None}]], [[1, {"a": None}]]),
    ],
)
def test_arguments(
    payloads: Payloads, types: list[object], sent: list[object], received: list[object]
) -> None:
    assert payloads.arguments_loader(types)(Raw(payloads.dump_arguments(sent))) == received


@BOTH
@pytest.mark.parametrize(("count", "wanted"), [(0, 1), (1, 0), (2, 1), (3, 2)])
def test_a_wrong_number_of_arguments(payloads: Payloads, count: int, wanted: int) -> None:
    for type_ in (int, Any, Decimal):
        with pytest.raises(BindingError) as caught:
            payloads.arguments_loader([type_] * wanted)(Raw(payloads.dump_arguments([1] * count)))
        assert str(caught.value) == f"Invocation provides {count} argument(s) but target expects {wanted}."


@BOTH
def test_an_argument_of_a_wrong_type(payloads: Payloads) -> None:
    load = payloads.arguments_loader([int, list[Point]])
    with pytest.raises(BindingError) as caught:
        load(Raw(payloads.dump_arguments([1, [{"x": 1}, {"x": "1"}]])))
    assert str(caught.value) == UNFIT
    assert caught.value.__notes__ == ["argument 2: Expected `int`, got `str` @ $[1].x"]


def test_a_wrong_type_and_a_wrong_number() -> None:
    types = [int, int]
    with pytest.raises(BindingError) as caught:
        JSON.arguments_loader(types)(Raw(b'["x"]'))
    assert str(caught.value) == UNFIT
    with pytest.raises(BindingError) as caught:
        MESSAGEPACK.arguments_loader(types)(Raw(MESSAGEPACK.dump_arguments(["x"])))
    assert str(caught.value) == "Invocation provides 1 argument(s) but target expects 2."


def test_arguments_that_are_no_array() -> None:
    for raw in (b"\x2a", b"\xc0", b"\x80"):
        with pytest.raises(BindingError) as caught:
            MESSAGEPACK.arguments_loader([int])(Raw(raw))
        assert str(caught.value) == "Reading array length for 'arguments' failed."
    with pytest.raises(BindingError) as caught:
        JSON.arguments_loader([int])(Raw(b"42"))
    assert str(caught.value) == UNFIT


@BOTH
def test_an_argument_that_cannot_be_written(payloads: Payloads) -> None:
    with pytest.raises(BindingError, match="Encoding objects of type object is unsupported"):
        payloads.dump_arguments([1, object()])


@BOTH
def test_arguments_go_by_their_own_class(payloads: Payloads) -> None:
    moment = datetime(2017, 4, 11)
    data = Raw(payloads.dump_arguments((Point(1), [Point(2)], moment)))
    received = payloads.arguments_loader([Point, list[Point], datetime])(data)
    assert received[:2] == [Point(1), [Point(2)]]
    assert received[2].replace(tzinfo=None) == moment


def test_an_argument_nested_too_deep() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BindingError):
        JSON.dump_arguments([deep])


@attrs.define(slots=False)
class Fickle:
    """Cannot be read at first."""

    x: int = 1

    def __getattribute__(self, name: str) -> Any:
        if name == "x" and not vars(self).pop("ready", False):
            self.ready = True
            raise ValueError("not yet")
        return super().__getattribute__(name)


@BOTH
def test_arguments_that_fail_only_together_are_still_refused(payloads: Payloads) -> None:
    fickle = Fickle()
    with pytest.raises(BindingError, match="not yet"):
        payloads.dump_arguments([1, fickle])
    assert payloads.dump_arguments([vars(fickle)["x"]]) == payloads.dump_arguments([1])


@BOTH
def test_the_argument_that_cannot_be_written_says_so_itself(payloads: Payloads) -> None:
    with pytest.raises(BindingError, match="'object'") as caught:
        payloads.dump_arguments([1, "two", object()])
    assert "'list'" not in str(caught.value)


@pytest.mark.parametrize("format", ["json", "messagepack"])
def test_payloads_of_no_known_naming_are_refused(format: Any) -> None:
    with pytest.raises(ValueError, match="naming must be one of python, dotnet, or a Naming, not 'java'"):
        Payloads(format, "java")  # type: ignore[arg-type]


class Opaque:
    """Says nothing of what it is made of."""

    def __init__(self, anything) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        raise AssertionError


@BOTH
def test_a_type_that_cannot_be_converted_is_refused_by_name(payloads: Payloads) -> None:
    with pytest.raises(TypeError, match=r"the type .*Opaque'> cannot be converted"):
        payloads.loader(Opaque)


@pytest.mark.parametrize("payloads", [JSON, MESSAGEPACK])
def test_a_type_that_cannot_be_hashed_is_refused_by_name(payloads: Payloads) -> None:
    noted = Annotated[int, {"unit": "metres"}]
    for make in (payloads.loader, payloads.many_loader):
        with pytest.raises(TypeError, match=r"Annotated\[int, .* cannot be converted: unhashable"):
            make(noted)
