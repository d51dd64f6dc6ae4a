"""The desk at which a callee of one call at a time is tested."""

import pytest
import trio

from .gates import started
from .support import Desk


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    """A callee that runs one call at a time."""
    return started(nursery)
