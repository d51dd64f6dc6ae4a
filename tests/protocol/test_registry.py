"""The table of protocols: each stands there by its own name."""

import pytest

from trio_hubs.protocol.registry import PROTOCOLS


def test_json_comes_first() -> None:
    assert tuple(PROTOCOLS) == ("json", "messagepack")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_is_found_by_the_name_that_it_tells(name: str) -> None:
    assert PROTOCOLS[name]().name == name
