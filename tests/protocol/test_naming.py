"""Names on the wire: fields and enums, each chosen apart, and alike in both formats if wished."""

import json
from enum import Enum, Flag
from typing import Any

import attrs
import msgspec
import pytest

from trio_hubs.protocol.naming import Format, Naming, camel_case, folded, naming_of, pascal_case
from trio_hubs.protocol.payloads import Payloads

FORMATS: list[Format] = ["json", "messagepack"]


class Color(Enum):
    DARK_BLUE = "blue"


class Access(Flag):
    READ_IT = 1
    WRITE = 2


@attrs.frozen
class Shirt:
    main_color: Color
    access: Access = Access.WRITE


def dashed(name: str) -> str:
    return name.lower().replace("_", "-")


def wire(format: Format, naming: Naming, value: object) -> Any:
    data = Payloads(format, naming).dumper(Any)(value)
    return json.loads(data) if format == "json" else msgspec.msgpack.decode(data)


@pytest.mark.parametrize(
    ("name", "pascal", "camel"),
    [("born_at", "BornAt", "bornAt"), ("READ_WRITE", "ReadWrite", "readWrite"), ("_x", "X", "x")],
)
def test_each_format_has_its_own_case(name: str, pascal: str, camel: str) -> None:
    assert (pascal_case(name), camel_case(name)) == (pascal, camel)
    assert naming_of("dotnet").rename("json") is camel_case
    assert naming_of("dotnet").rename("messagepack") is pascal_case


def test_what_is_renamed_is_the_same_name_folded() -> None:
    assert {folded(name) for name in ("born_at", "bornAt", "BornAt", "BORN_AT")} == {"bornat"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ("python", "main_color"),
        ("camel", "mainColor"),
        ("pascal", "MainColor"),
        (dashed, "main-color"),
        ("dotnet", None),
    ],
)
@pytest.mark.parametrize(
    ("enums", "member", "flags"),
    [
        ("value", "blue", 3),
        ("name", "DARK_BLUE", "READ_IT, WRITE"),
        ("camel", "darkBlue", "readIt, write"),
        ("pascal", "DarkBlue", "ReadIt, Write"),
        (dashed, "dark-blue", "read-it, write"),
        ("dotnet", None, None),
    ],
)
def test_fields_and_enums_are_chosen_apart(
    format: Format, fields: Any, field: Any, enums: Any, member: Any, flags: Any
) -> None:
    naming = Naming(fields=fields, enums=enums)
    if field is None:
        field = "mainColor" if format == "json" else "MainColor"
    if member is None:
        member, flags = (0, 3) if format == "json" else ("DarkBlue", "ReadIt, Write")
    shirt = Shirt(Color.DARK_BLUE, Access.READ_IT | Access.WRITE)
    value = wire(format, naming, shirt)
    assert list(value.values()) == [member, flags]
    assert next(iter(value)) == field
    payloads = Payloads(format, naming)
    assert payloads.loader(Shirt)(payloads.dumper(Any)(shirt)) == shirt
    keys = {Color.DARK_BLUE: shirt}
    assert payloads.loader(dict[Color, Shirt])(payloads.dumper(Any)(keys)) == keys


def test_names_that_would_be_one_on_the_wire() -> None:
    class Twins(Enum):
        a_b = 1
        aB = 2  # noqa: N815

    assert wire("json", Naming(enums="name"), [Twins.a_b, Twins.aB]) == ["a_b", "aB"]
    payloads = Payloads("json", Naming(enums="name"))
    assert payloads.loader(list[Twins])(b'["a_b","aB"]') == [Twins.a_b, Twins.aB]
    with pytest.raises(TypeError, match=r"two members of .*Twins have one name on the wire"):
        Payloads("json", Naming(enums="pascal")).loader(Twins)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"fields": "snake"},
            ValueError,
            "fields must be one of python, camel, pascal, dotnet, or a function",
        ),
        ({"enums": 1}, ValueError, "enums must be one of value, name, camel, pascal, dotnet, or a function"),
        ({"tags": {"circle": Color}}, TypeError, "tags has classes with texts or numbers, not 'circle'"),
        ({"tags": {Color: 1.5}}, TypeError, "tags has classes with texts or numbers"),
    ],
)
def test_what_is_no_naming(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Naming(**options)


def test_namings_that_are_alike_are_equal() -> None:
    assert naming_of("dotnet") == Naming(fields="dotnet", enums="dotnet")
    assert hash(Naming(tags={Color: 1})) == hash(Naming(tags={Color: 1}))
    assert naming_of(Naming()) == naming_of("python")
