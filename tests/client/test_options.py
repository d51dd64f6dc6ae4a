"""A client connection's options: the official defaults, and what a session makes of them."""

import attrs
import pytest

from trio_hubs import HubConnectionOptions
from trio_hubs.calls.options import Role


def test_the_defaults_are_the_official_ones() -> None:
    options = HubConnectionOptions()
    assert options.handshake_timeout == 15
    assert options.keep_alive_interval == 15
    assert options.server_timeout == 30
    assert options.maximum_message_size is None


def test_a_session_gets_what_was_chosen() -> None:
    options = HubConnectionOptions(
        keep_alive_interval=1.0,
        server_timeout=2.0,
        send_timeout=3.0,
        maximum_message_size=4,
        stream_buffer_size=5,
        connection_buffer_size=6,
        connection_buffer_limit=7,
    ).session_options()
    assert options.keep_alive_interval == 1.0
    assert options.role is Role.CLIENT
    assert options.server_timeout == 2.0
    assert options.send_timeout == 3.0
    assert options.maximum_message_size == 4
    assert options.maximum_parallel_invocations == 1
    assert options.stream_buffer_size == 5
    assert options.connection_buffer_size == 6
    assert options.connection_buffer_limit == 7


def test_options_are_named_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        HubConnectionOptions(1.0)  # type: ignore[arg-type, call-arg]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HubConnectionOptions().server_timeout = 1.0  # type: ignore[misc]
