"""JSON objects read field by field, for where the reason of a failure has an official text.

An object's fields come undecoded and in order, the last of equal names wins, and what follows the
closing brace does not count.
"""

import json
from typing import TypeVar

import msgspec

from ..errors import ProtocolError

T = TypeVar("T", str, int)

_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KINDS = {"{": "Object", "[": "Array", '"': "String", "t": "True", "f": "False", "n": "Null"}


def read_object(record: bytes, *, errors: str = "strict") -> dict[str, msgspec.Raw]:
    """The fields of the object a record begins with.

    Args:
        record: What begins with it.
        errors: "surrogateescape" lets bytes be that are no text, but in names.

    Raises:
        ProtocolError: If it does not begin with a whole JSON object.
    """
    try:
        text = record.decode(errors=errors).strip(" \t\r\n")
        _, end = json.JSONDecoder().raw_decode(text)
        if text[:1] == "{":
            return _fields_decoder.decode(text[:end].encode(errors=errors))
    except (ValueError, RecursionError) as problem:
        raise ProtocolError("Error reading JSON.") from problem
    raise ProtocolError(f"Unexpected JSON Token Type '{_kind(text[0])}'. Expected a JSON Object.")


def kind_of(value: msgspec.Raw) -> str:
    """What a valid JSON value is, in the words of the official texts."""
    return _kind(chr(memoryview(value)[0]))


def _kind(first: str) -> str:
    return _KINDS.get(first, "Number")


def read_field(fields: dict[str, msgspec.Raw], name: str, type_: type[T]) -> T | None:
    """A field that is a string or an integer, decoded, or None if it is absent; null is not absent."""
    if name not in fields:
        return None
    try:
        return msgspec.json.decode(fields[name], type=type_)
    except ValueError:
        kind = "String" if type_ is str else "Number"
        raise ProtocolError(f"Expected '{name}' to be of type {kind}.") from None
