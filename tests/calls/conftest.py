"""A desk at which one call of the peer runs at a time."""

import pytest
import trio

from .gates import started
from .support import Desk


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    """A desk at which one call of the peer runs at a time."""
    return started(nursery)
