"""The options of a client's connection."""

import pytest

from trio_hubs import ConnectionOptions, Transport


def test_the_defaults_are_the_official_ones() -> None:
    options = ConnectionOptions()
    assert options.transports == frozenset(Transport)
    assert options.refresh_before_expiration == 300


def test_transports_may_be_named() -> None:
    assert ConnectionOptions(transports=["LongPolling"]).transports == {Transport.LONG_POLLING}  # type: ignore[list-item]


@pytest.mark.parametrize("transports", [[], ["Pigeons"]])
def test_what_is_no_choice_of_transports(transports: list[Transport]) -> None:
    with pytest.raises(ValueError, match=r"transport|Pigeons"):
        ConnectionOptions(transports=transports)


@pytest.mark.parametrize("times", [{"connect_timeout": 0}, {"refresh_before_expiration": -1}])
def test_times_are_above_zero(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(times))):
        ConnectionOptions(**times)  # type: ignore[arg-type]


def test_one_origin_is_no_collection_of_them() -> None:
    with pytest.raises(TypeError, match="trusted_origins"):
        ConnectionOptions(trusted_origins="https://other")


def test_a_proxy_is_not_told() -> None:
    assert "secret" not in repr(ConnectionOptions(proxy="http://ann:secret@proxy"))
