"""What is wrong with a value that does not fit its type, and where.

A fault is the first that was met, and says its place and what was expected there, never what stood there;
its text is short, however large the value.
"""

from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any

import msgspec

_DEEPEST = 20
_KINDS: dict[type, str] = {
    NoneType: "null",
    dict: "object",
    list: "array",
    Decimal: "float",
    datetime: "datetime",
}


class Unfit(ValueError):
    """A value does not fit its type."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._path: list[str] = []  # from the inside out

    def within(self, part: str) -> "Unfit":
        """The same, seen from what is around."""
        self._path.append(part)
        return self

    def __str__(self) -> str:
        path = "".join(reversed(self._path[-_DEEPEST:]))
        return f"{super().__str__()} @ ${path}{'...' if len(self._path) > _DEEPEST else ''}"


def expected(what: str, value: Any) -> Unfit:
    """The fault of a value of another kind, in the words that msgspec has for it."""
    kind = type(value)
    return Unfit(f"Expected `{what}`, got `{_KINDS.get(kind, kind.__name__)}`")


def an_object(value: Any) -> dict[Any, Any]:
    """The value itself, which must be an object."""
    if type(value) is not dict:
        raise expected("object", value)
    return value


def unfit(problem: Exception) -> Unfit:
    """The fault that an exception stands for. What users' classes say may hold the value: only its kind is told."""
    match problem:
        case Unfit():
            return problem
        case msgspec.MsgspecError():
            what, _, place = str(problem).partition(" - at `$")
            return Unfit(what).within(place.removesuffix("`"))
        case UnicodeError():
            return Unfit("Text that is not Unicode")
        case RecursionError():
            return Unfit("Nested too deep")
        case _:
            return Unfit(f"Refused with {type(problem).__qualname__}")
