"""Names of Python as .NET writes them."""

import pytest

from trio_hubs.protocol.naming import RENAMES, camel_case, folded, pascal_case


@pytest.mark.parametrize(
    ("name", "pascal", "camel"),
    [("born_at", "BornAt", "bornAt"), ("READ_WRITE", "ReadWrite", "readWrite"), ("_x", "X", "x")],
)
def test_each_format_has_its_own_case(name: str, pascal: str, camel: str) -> None:
    assert (pascal_case(name), camel_case(name)) == (pascal, camel)
    assert RENAMES["json", "dotnet"] is camel_case
    assert RENAMES["messagepack", "dotnet"] is pascal_case


def test_what_is_renamed_is_the_same_name_folded() -> None:
    assert {folded(name) for name in ("born_at", "bornAt", "BornAt", "BORN_AT")} == {"bornat"}
