"""An object's fields, and the official words for what is no object."""

import pytest
from msgspec import Raw

from trio_hubs.errors import ProtocolError
from trio_hubs.protocol.json_object import kind_of, read_field, read_object


def test_fields_come_undecoded_and_in_order() -> None:
    fields = read_object(b' {"b": [1, 2] ,"a":null} and more')
    assert [(name, bytes(value)) for name, value in fields.items()] == [("b", b"[1, 2]"), ("a", b"null")]
    assert bytes(read_object(b'{"a":1,"a":2}')["a"]) == b"2"


@pytest.mark.parametrize(
    "record", [b"", b"{", b"{]", b'{"a":NaN}', b'{"a":"\xff"}', b"nonsense", b"[" * 100_000]
)
def test_what_is_no_json(record: bytes) -> None:
    with pytest.raises(ProtocolError, match="Error reading JSON"):
        read_object(record)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[1]", "Array"),
        ('"a"', "String"),
        ("-1", "Number"),
        ("true", "True"),
        ("false", "False"),
        ("null", "Null"),
    ],
)
def test_what_is_no_object(text: str, kind: str) -> None:
    assert kind_of(Raw(text.encode())) == kind
    with pytest.raises(ProtocolError) as caught:
        read_object(text.encode())
    assert str(caught.value) == f"Unexpected JSON Token Type '{kind}'. Expected a JSON Object."


def test_a_field_is_of_its_type_or_absent() -> None:
    fields = read_object(b'{"s":"text","n":5,"null":null}')
    assert read_field(fields, "s", str) == "text"
    assert read_field(fields, "n", int) == 5
    assert read_field(fields, "absent", int) is None
    for name in ("n", "null"):
        with pytest.raises(ProtocolError, match=f"Expected '{name}' to be of type String"):
            read_field(fields, name, str)
    with pytest.raises(ProtocolError, match="Expected 's' to be of type Number"):
        read_field(fields, "s", int)
