"""A session heeds what has been chosen for its side, under the same names, and leaves the rest alone."""

import attrs

from trio_hubs.calls.options import Role, SessionOptions


@attrs.frozen
class Chosen:
    """What users of a side may choose."""

    send_timeout: float
    maximum_streams: int
    colour: str


def test_what_was_chosen_is_heeded_and_the_rest_is_as_it_is_by_default() -> None:
    options = SessionOptions.of(Role.SERVER, Chosen(3.0, 4, "red"))
    assert options == SessionOptions(role=Role.SERVER, send_timeout=3.0, maximum_streams=4)
