"""A hub's options: ASP.NET Core's defaults, what is refused, and what a session makes of them."""

import ast
import inspect
from itertools import pairwise
from typing import Any

import attrs
import pytest

from trio_hubs import HubOptions


def test_the_defaults_are_the_official_ones() -> None:
    options = HubOptions()
    assert options.handshake_timeout == 15
    assert options.negotiation_timeout == 15
    assert options.keep_alive_interval == 15
    assert options.client_timeout == 30
    assert options.send_timeout == 10
    assert options.maximum_message_size == 32_768
    assert options.maximum_parallel_invocations == 1
    assert options.stream_buffer_capacity == 10
    assert not options.detailed_errors
    assert options.payloads == "python"


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    "name",
    [
        "handshake_timeout",
        "negotiation_timeout",
        "maximum_negotiated",
        "keep_alive_interval",
        "client_timeout",
        "send_timeout",
        "disconnect_timeout",
        "maximum_parallel_invocations",
        "stream_buffer_capacity",
        "stream_buffer_size",
        "connection_buffer_size",
        "connection_buffer_limit",
        "broadcast_buffer_limit",
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: int) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"'{name}' must be > 0: {value}"):
        HubOptions(**options)


def test_payloads_of_no_known_naming_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'payloads'.*'java'"):
        HubOptions(payloads="java")  # type: ignore[arg-type]


def test_every_option_has_its_docstring() -> None:
    """The class says of each what it is for, right below it."""
    (made,) = ast.parse(inspect.getsource(HubOptions)).body
    assert isinstance(made, ast.ClassDef)
    documented = [
        statement.target.id
        for statement, after in pairwise(made.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
    ]
    assert documented == [field.name for field in attrs.fields(HubOptions)]


def test_a_session_gets_what_was_chosen() -> None:
    options = HubOptions(
        keep_alive_interval=1.0,
        client_timeout=2.0,
        send_timeout=3.0,
        maximum_message_size=4,
        maximum_parallel_invocations=5,
        stream_buffer_capacity=6,
        stream_buffer_size=7,
        connection_buffer_size=8,
        connection_buffer_limit=9,
    ).session_options()
    assert options.keep_alive_interval == 1.0
    assert not options.keep_alive_when_idle
    assert options.peer_timeout == 2.0
    assert options.peer_must_ping
    assert options.send_timeout == 3.0
    assert options.maximum_message_size == 4
    assert options.maximum_parallel == 5
    assert options.upload_capacity == 6
    assert (options.intake.stream_bytes, options.intake.connection_bytes, options.intake.hard_bytes) == (
        7,
        8,
        9,
    )


def test_any_message_size_may_be_allowed() -> None:
    assert HubOptions(maximum_message_size=None).session_options().maximum_message_size is None


def test_options_are_named_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        HubOptions(1.0)  # type: ignore[call-arg]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HubOptions().client_timeout = 1.0  # type: ignore[misc]
