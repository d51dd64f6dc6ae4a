"""Names on the wire: what a method written in Python's case is called there, one way for both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "_trio_hubs_method_name"


def hub_method(name: str) -> Callable[[F], F]:
    """Give a method another wire name than its own.

    A hub's method then answers to that one only; a method of a typed client's interface calls that one.

    Args:
        name: The wire name; it matches in any letter case.

    Raises:
        TypeError: There is no name.

    Source:
        ASP.NET Core's ``HubMethodName``.
    """
    if callable(name) or not name:  # as it is without parentheses
        raise TypeError('hub_method takes the wire name: @hub_method("SendMessage")')

    def mark(function: F) -> F:
        setattr(function, _NAME, name)
        return function

    return mark


def given_name(owner: type, attribute: str) -> str | None:
    """The name that :func:`hub_method` gave a method; an override keeps that of what it overrides."""
    marks = (getattr(vars(base).get(attribute), _NAME, None) for base in owner.__mro__)
    return next((mark for mark in marks if mark), None)


def wire_name(owner: type, attribute: str) -> str:
    """What a method is called on the wire: the name it was given, or ``send_message`` as ``SendMessage``."""
    return given_name(owner, attribute) or "".join(
        part[:1].upper() + part[1:] for part in attribute.split("_")
    )
