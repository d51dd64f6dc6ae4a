"""Options that count something refuse what is not above zero, and say which option it is."""

import attrs
import pytest

from trio_hubs import EndpointOptions, HubOptions
from trio_hubs.connections.validators import check_kind, positive, positive_or_none


@attrs.frozen
class Options:
    seconds: float = attrs.field(default=1.0, validator=positive)
    size: int | None = attrs.field(default=None, validator=positive_or_none)


def test_what_is_above_zero_is_taken() -> None:
    assert Options(seconds=0.5, size=1) == Options(0.5, 1)
    assert Options(size=None).size is None


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": -1.0}, {"size": 0}, {"size": -5}])
def test_what_is_not_above_zero_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_options_of_another_kind_are_refused() -> None:
    check_kind(HubOptions(), EndpointOptions)
    with pytest.raises(TypeError, match="options must be HubOptions, not EndpointOptions"):
        check_kind(EndpointOptions(), HubOptions)
