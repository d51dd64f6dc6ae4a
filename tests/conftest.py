"""What all tests share: each begins with a log of which nothing is left out."""

import pytest

from trio_hubs.logs import peer_filter


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no line of an earlier test count."""
    monkeypatch.setattr(peer_filter, "_periods", {})
