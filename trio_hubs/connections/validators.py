"""What is checked of options: their class, and that a number of seconds, bytes or things is above zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

Validator: TypeAlias = Callable[[Any, Any, Any], None]

positive: Validator = attrs.validators.gt(0)
positive_or_none: Validator = attrs.validators.optional(positive)
non_negative: Validator = attrs.validators.ge(0)


def check_kind(value: object, kind: type[object], what: str = "options") -> None:
    """Refuse options, or something else, of another kind, or of none.

    Raises:
        TypeError: It is.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be {kind.__name__}, not {type(value).__name__}")
