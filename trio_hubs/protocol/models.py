"""Models of pydantic: they read and write themselves, by their own rules and names.

In JSON that is pydantic's JSON mode, in MessagePack its Python mode. pydantic is never imported here: who has a model
has done so.
"""

import sys
from typing import Any

import msgspec

from .faults import Unfit
from .naming import Format
from .scalars import Reader

_encode = msgspec.json.Encoder(decimal_format="number").encode


def is_model(type_: Any) -> bool:
    """Whether it is a class of models."""
    return (
        isinstance(type_, type) and hasattr(type_, "__pydantic_validator__") and hasattr(type_, "model_dump")
    )


def model_reader(type_: Any, format: Format, tag_field: str | None = None) -> Reader:
    """What reads models of a class, or of a union of such; they are not shown the field of a tag."""
    pydantic: Any = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(type_)
    fields = getattr(type_, "model_fields", {})
    known = {*fields, *(field.alias for field in fields.values())}

    def read(value: Any, _: Any) -> Any:
        if type(value) is dict and tag_field in value:
            value = {name: item for name, item in value.items() if name != tag_field}
        try:
            return (
                adapter.validate_json(_encode(value)) if format == "json" else adapter.validate_python(value)
            )
        except pydantic.ValidationError as problem:
            fault = _first_fault(problem, known)
        raise fault

    return read


def _first_fault(problem: Any, known: set[Any]) -> Unfit:
    """The first fault, without what was sent: keys may be in its place."""
    first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    parts: list[str] = []
    for part in first["loc"]:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif part in known:
            parts.append(f".{part}")
        else:
            break
    fault = Unfit(f"Refused by pydantic: {first['type']}")
    for text in reversed(parts):
        fault.within(text)
    return fault
