"""What all that an app offers has in common: what cannot work is refused when it is added, and who hears of it."""

from contextlib import suppress
from typing import Any

import pytest
from trio.testing import MockClock

from trio_hubs import (
    Connection,
    ConnectionClosed,
    ConnectionOptions,
    EndpointOptions,
    Hub,
    HubApp,
    HubFilter,
    ObservedConnection,
    Observer,
    Transport,
    User,
    authorize,
    open_connection,
)
from trio_hubs.testing import open_test_http


class Sample(Hub):
    """Offers nothing."""


def test_a_hub_that_needs_arguments_needs_a_factory() -> None:
    class Needy(Hub):
        def __init__(self, events: list[str]) -> None:
            self.events = events

    app = HubApp()
    with pytest.raises(TypeError, match=r"Needy cannot be made: .*'events'; give a factory"):
        app.add_hub("/needy", Needy)
    app.add_hub("/needy", Needy, factory=lambda: Needy([]))


@pytest.mark.parametrize("wrong", [Sample(), object, 7])
def test_what_is_no_hubs_class_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="add_hub takes a hub's class"):
        HubApp().add_hub("/sample", wrong)


def test_options_of_another_kind_are_refused() -> None:
    options: Any = EndpointOptions()
    with pytest.raises(TypeError, match="a hub's options are HubOptions, which EndpointOptions is not"):
        HubApp(options=options)
    with pytest.raises(TypeError, match="a hub's options are HubOptions"):
        HubApp().add_hub("/sample", Sample, options=options)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"observers": [Observer]}, "an observer is an instance of Observer"),
        ({"filters": [HubFilter]}, "a filter is an instance of HubFilter"),
        ({"authenticate": User("anna")}, "authenticate is called with each request"),
    ],
)
def test_an_app_is_not_made_of_what_would_fail_later(choice: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        HubApp(**choice)


def test_an_app_without_room_for_a_connection_is_refused() -> None:
    with pytest.raises(ValueError, match="maximum_connections must be above 0: 0"):
        HubApp(maximum_connections=0)


def test_a_hub_takes_instances_of_filters() -> None:
    wrong: Any = HubFilter
    with pytest.raises(TypeError, match="a filter is an instance of HubFilter"):
        HubApp().add_hub("/sample", Sample, filters=[wrong])


@pytest.mark.parametrize("wrong", [None, Sample])
def test_what_is_no_handler_of_connections_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a connection's handler is an async function"):
        HubApp().add_connection_handler("/raw", wrong)


class Door(Observer):
    """Notes what it hears of connections."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connection_opened(self, connection: ObservedConnection) -> None:
        self.heard.append((connection.hub, connection.transport, connection.user_id, connection.error))

    def connection_closed(self, connection: ObservedConnection) -> None:
        self.heard.append((connection.hub, connection.transport, connection.user_id, connection.error))


async def test_observers_hear_of_raw_connections(autojump_clock: MockClock) -> None:
    failure = ValueError("no")

    async def handle(connection: Connection) -> None:
        if await connection.receive() == b"fail":
            raise failure

    door = Door()
    app = HubApp(observers=[door])
    app.add_connection_handler("/raw", handle)
    async with open_test_http(app, user=User("ann")) as http:
        for data in (b"leave", b"fail"):
            async with open_connection("http://here/raw", http_client=http) as connection:
                await connection.send(data)
                with suppress(ConnectionClosed):
                    await connection.receive()
    here = ("", Transport.WEBSOCKETS, "ann")
    assert door.heard == [(*here, None), (*here, None), (*here, None), (*here, failure)]


def test_options_of_a_client_are_none_for_a_path() -> None:
    async def handle(connection: Connection) -> None: ...

    wrong: Any = ConnectionOptions()
    with pytest.raises(TypeError, match="options must be EndpointOptions, not ConnectionOptions"):
        HubApp().add_connection_handler("/raw", handle, options=wrong)


def test_a_factory_that_is_another_hubs_class_is_refused() -> None:
    with pytest.raises(TypeError, match="the factory of Sample makes a Hub"):
        HubApp().add_hub("/sample", Sample, factory=Hub)


@pytest.mark.parametrize("add", [HubApp.add_route, HubApp.add_connection_handler])
def test_a_handler_that_was_taken_for_a_policy_is_refused(add: Any) -> None:
    @authorize
    async def handle(r: Any) -> None: ...

    with pytest.raises(TypeError, match=r"write @authorize\(\) above it"):
        add(HubApp(), "/private", handle)
