"""Names on the wire: Python's names in SignalR's case, given names, and the names that overrides keep."""

import pytest

from trio_hubs.calls.names import given_name, hub_method, wire_name


class Base:
    async def send_message(self) -> None: ...

    async def already(self) -> None: ...

    @hub_method("tell-all")
    async def broadcast(self) -> None: ...

    @hub_method("old")
    async def renamed(self) -> None: ...


class Derived(Base):
    async def broadcast(self) -> None: ...

    @hub_method("new")
    async def renamed(self) -> None: ...

    async def HTTP_get__twice_2(self) -> None: ...  # noqa: N802


@pytest.mark.parametrize(
    ("attribute", "given", "name"),
    [
        ("send_message", None, "SendMessage"),
        ("already", None, "Already"),
        ("broadcast", "tell-all", "tell-all"),
        ("renamed", "new", "new"),
        ("HTTP_get__twice_2", None, "HTTPGetTwice2"),
    ],
)
def test_names_of_methods(attribute: str, given: str | None, name: str) -> None:
    assert given_name(Derived, attribute) == given
    assert wire_name(Derived, attribute) == name


def test_the_mark_leaves_the_function_as_it_is() -> None:
    def function() -> None: ...

    assert hub_method("Name")(function) is function


def test_a_mark_without_a_name_is_refused_where_it_stands() -> None:
    with pytest.raises(TypeError, match=r'hub_method takes the wire name: @hub_method\("SendMessage"\)'):

        @hub_method  # type: ignore[arg-type]
        def method(self: object) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match="takes the wire name"):
        hub_method("")
