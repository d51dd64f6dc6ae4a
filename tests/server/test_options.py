"""A hub's options: ASP.NET Core's defaults, what is refused, and what a session makes of them."""

import ast
import inspect
from itertools import pairwise
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from tests.messages import call, result
from tests.server.app_peer import open_app, visit
from trio_hubs import (
    Disconnect,
    DropOldest,
    EndpointOptions,
    Hub,
    HubApp,
    HubOptions,
    Transport,
    Wait,
)
from trio_hubs.calls.options import Role
from trio_hubs.protocol.naming import naming_of
from trio_hubs.server.served_hub import ServedHub

OFFICIAL: dict[str, Any] = {
    # HubOptions
    "handshake_timeout": 15,
    "keep_alive_interval": 15,
    "client_timeout": 30,
    "supported_protocols": ("json", "messagepack"),
    "maximum_message_size": 32_768,
    "stream_buffer_capacity": 10,
    "detailed_errors": False,
    "maximum_parallel_invocations": 1,
    "stateful_reconnect_buffer_size": 100_000,
    "acknowledgement_timeout": 5,
    # HttpConnectionDispatcherOptions
    "transports": (Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING),
    "application_buffer_size": 65_536,
    "transport_buffer_size": 65_536,
    "minimum_negotiate_version": 0,
    "send_timeout": 10,
    "close_on_authentication_expiration": False,
    "stateful_reconnect": False,
    "close_timeout": 5,
    "websocket_subprotocol": None,
    "poll_timeout": 90,
    # ConnectionOptions
    "disconnect_timeout": 15,
}
OWN: dict[str, Any] = {
    "allowed_origins": frozenset(),
    "own_scheme": None,
    "answer_headers": None,
    "check_browser_gets": True,
    "maximum_negotiated": 100_000,
    "early_posts_buffer_size": 1024 * 1024,
    "authentication_refresh": False,
    "on_authentication_refresh": None,
    "on_disconnected_timeout": 5,
    "goodbye_timeout": 5,
    "client_result_timeout": 60,
    "maximum_streams": 1000,
    "stream_buffer_size": 64 * 1024,
    "connection_buffer_size": 256 * 1024,
    "connection_buffer_limit": 4 * 1024 * 1024,
    "slow_clients": Disconnect(),
    "broadcast_buffer_limit": 1024 * 1024,
    "naming": naming_of("python"),
    "converter": None,
}
POSITIVE = sorted(
    name
    for name, value in {**OFFICIAL, **OWN}.items()
    if type(value) is int and name != "minimum_negotiate_version"
)


def test_the_defaults_are_the_official_ones() -> None:
    options = attrs.asdict(HubOptions(), recurse=False)
    assert {name: options[name] for name in OFFICIAL} == OFFICIAL


def test_the_defaults_of_what_is_our_own() -> None:
    options = attrs.asdict(HubOptions(), recurse=False)
    assert {name: value for name, value in options.items() if name not in OFFICIAL} == OWN


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", POSITIVE)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: int) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"'{name}' must be > 0: {value}"):
        HubOptions(**options)


@pytest.mark.parametrize("name", ["maximum_message_size", "client_result_timeout"])
def test_what_may_be_unlimited(name: str) -> None:
    options: dict[str, Any] = {name: None}
    assert getattr(HubOptions(**options), name) is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("naming", "java", r"^naming must be one of python, dotnet, or a Naming, not 'java'$"),
        (
            "supported_protocols",
            ("json", "xml", "bson"),
            "no such protocol: bson, xml; there are json, messagepack",
        ),
        ("supported_protocols", (), "a hub supports at least one protocol"),
        ("supported_protocols", ("JSON",), "no such protocol: JSON"),
        ("transports", (), "'transports'"),
        ("transports", ("Pigeons",), "'Pigeons' is not a valid Transport"),
        ("minimum_negotiate_version", 2, "'minimum_negotiate_version'"),
        ("minimum_negotiate_version", -1, "'minimum_negotiate_version'"),
    ],
)
def test_what_is_no_choice_is_refused(name: str, value: Any, text: str) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=text):
        HubOptions(**options)


def test_one_origin_is_no_collection_of_them() -> None:
    with pytest.raises(TypeError, match="allowed_origins is a collection of origins, not one"):
        HubOptions(allowed_origins="https://example.org")


def test_choices_are_put_in_order() -> None:
    options = HubOptions(
        supported_protocols=["messagepack", "json", "json"],
        transports=["LongPolling", "WebSockets", Transport.LONG_POLLING],
        allowed_origins=["HTTPS://Example.org"],
    )
    assert options.supported_protocols == ("json", "messagepack")
    assert options.transports == (Transport.WEBSOCKETS, Transport.LONG_POLLING)
    assert options.allowed_origins == frozenset(("https://example.org",))


@pytest.mark.parametrize("options", [EndpointOptions, HubOptions])
def test_every_option_has_its_docstring(options: type[EndpointOptions]) -> None:
    """The class says of each what it is for, right below it."""
    (made,) = ast.parse(inspect.getsource(options)).body
    assert isinstance(made, ast.ClassDef)
    documented = [
        statement.target.id
        for statement, after in pairwise(made.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
    ]
    assert documented == [field.name for field in attrs.fields(options) if not field.inherited]


def test_an_option_of_a_hub_changes_no_other() -> None:
    assert set(OFFICIAL) | set(OWN) == {field.name for field in attrs.fields(HubOptions)}
    assert not set(OFFICIAL) & set(OWN)


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
        maximum_streams=10,
        transport_buffer_size=11,
        stateful_reconnect_buffer_size=12,
        goodbye_timeout=13.0,
    ).session_options()
    assert options.keep_alive_interval == 1.0
    assert options.role is Role.SERVER
    assert options.client_timeout == 2.0
    assert options.send_timeout == 3.0
    assert options.maximum_message_size == 4
    assert options.maximum_parallel_invocations == 5
    assert options.stream_buffer_capacity == 6
    assert options.stream_buffer_size == 7
    assert options.connection_buffer_size == 8
    assert options.connection_buffer_limit == 9
    assert options.maximum_streams == 10
    assert options.transport_buffer_size == 11
    assert options.stateful_reconnect_buffer_size == 12
    assert options.goodbye_timeout == 13.0


def test_any_message_size_may_be_allowed() -> None:
    assert HubOptions(maximum_message_size=None).session_options().maximum_message_size is None


def test_options_are_named_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        HubOptions((Transport.WEBSOCKETS,))  # type: ignore[call-arg]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HubOptions().client_timeout = 1.0  # type: ignore[misc]


# ---- whose options count


class Sized(Hub):
    """Takes a message, and may fail."""

    def take(self, text: str) -> int:
        return len(text)

    def fail(self) -> None:
        raise ValueError("secret")


async def test_those_of_the_app_are_for_hubs_without_their_own(autojump_clock: MockClock) -> None:
    app = HubApp(options=HubOptions(maximum_message_size=200, detailed_errors=True))
    app.add_hub("/app", Sized)
    app.add_hub("/own", Sized, options=HubOptions(maximum_message_size=None))
    async with open_app(app) as served:
        one = await visit(served, "/app")
        await one.send(call("Fail", id="1"))
        assert (await one.receive())["error"].endswith("ValueError: secret")
        await one.send(call("Take", "x" * 300, id="1"))
        assert (await one.rest())[-1]["type"] == 7
        other = await visit(served, "/own")
        await other.send(call("Take", "x" * 300_000, id="1"), call("Fail", id="2"))
        assert await other.receive() == result("1", 300_000)
        assert not (await other.receive())["error"].endswith("secret")  # a hub's own win completely


async def test_transports_are_chosen_for_each_hub(autojump_clock: MockClock) -> None:
    app = HubApp(options=HubOptions(transports=(Transport.LONG_POLLING,)))
    app.add_hub("/app", Sized)
    app.add_hub("/own", Sized, options=HubOptions(transports=(Transport.WEBSOCKETS,)))
    async with open_app(app) as served:
        for path, name in (("/app", b"LongPolling"), ("/own", b"WebSockets")):
            answer = await served.ask("POST", f"{path}/negotiate")
            assert answer.body.count(b'"transport"') == 1
            assert name in answer.body


async def test_a_hub_of_binary_messages_only_offers_no_text(autojump_clock: MockClock) -> None:
    app = HubApp(options=HubOptions(supported_protocols=("messagepack",)))
    app.add_hub("/hub", Sized)
    async with open_app(app) as served:
        answer = await served.ask("POST", "/hub/negotiate")
        assert b"ServerSentEvents" not in answer.body
        assert b'"Text"' not in answer.body
        client = await visit(served, "/hub", protocol="messagepack")
        await client.send(call("Take", "abc", id="1"))
        assert await client.receive() == result("1", 3)


@pytest.mark.parametrize("policy", [Wait(), DropOldest()])
def test_what_becomes_of_slow_clients_is_chosen(policy: Any) -> None:
    assert HubOptions(slow_clients=policy).slow_clients is policy


@pytest.mark.parametrize("wrong", [Wait, Disconnect, "wait", None])
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is no policy"):
        HubOptions(slow_clients=wrong)
    with pytest.raises(TypeError, match="is no policy"):
        ServedHub(Hub, Hub, HubOptions()).clients.when_slow(wrong)
