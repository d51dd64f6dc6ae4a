"""Addresses: data, equal where they say the same."""

import pytest

from trio_hubs.server.address import Address, Recipients


def test_those_that_say_the_same_are_the_same() -> None:
    assert Address.all() == Address(Recipients.ALL)
    assert Address.all(excluded=("a", "b")) == Address.all(excluded=("b", "a", "b"))
    assert len({Address.users("u"), Address.users("u", "u"), Address.connections("u")}) == 2


def test_users_and_connections_are_named_once_and_groups_as_often_as_they_are() -> None:
    assert Address.users("v", "u", "v").names == ("v", "u")
    assert Address.connections("b", "a", "b").names == ("b", "a")
    assert Address.groups("g", "h", "g", excluded=("a",)) == Address(
        Recipients.GROUPS, ("g", "h", "g"), frozenset("a")
    )


def test_a_group_is_named_by_a_text() -> None:
    with pytest.raises(TypeError, match=r"^a group's name must be str, not int$"):
        Address.groups("g", 5)  # type: ignore[arg-type]
