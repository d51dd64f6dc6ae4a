"""Faults: what and where, in few words, and never the value."""

import msgspec
import pytest

from trio_hubs.protocol.faults import Unfit, expected, unfit


def test_a_fault_says_what_and_where() -> None:
    assert str(Unfit("Invalid UUID")) == "Invalid UUID @ $"
    assert str(expected("int", "secret").within(".x").within("[3]")) == "Expected `int`, got `str` @ $[3].x"
    assert str(expected("array", {"secret": 1})) == "Expected `array`, got `object` @ $"
    assert str(expected("int", None)) == "Expected `int`, got `null` @ $"


def test_however_deep_it_lies_its_text_is_short() -> None:
    fault = Unfit("Invalid date")
    for index in range(1000):
        fault.within(f".field{index}")
    assert str(fault).startswith("Invalid date @ $.field999.field998")
    assert str(fault).endswith("...")
    assert len(str(fault)) < 300


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (ValueError("secret"), "Refused with ValueError @ $"),
        (LookupError("secret"), "Refused with LookupError @ $"),
        (UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"), "Text that is not Unicode @ $"),
        (RecursionError("secret"), "Nested too deep @ $"),
        (
            msgspec.ValidationError("Expected `int`, got `str` - at `$[1].x`"),
            "Expected `int`, got `str` @ $[1].x",
        ),
        (msgspec.DecodeError("Input data was truncated"), "Input data was truncated @ $"),
    ],
)
def test_what_users_classes_say_is_not_told(problem: Exception, text: str) -> None:
    assert str(unfit(problem)) == text


def test_a_fault_stays_what_it_is() -> None:
    fault = Unfit("Invalid date")
    assert unfit(fault) is fault
