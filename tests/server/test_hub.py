"""Which methods clients can call, and by which names."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import pytest
import trio
from trio.testing import MockClock

from tests.hub_peer import PROTOCOLS, open_client, served_hub
from tests.messages import call, result, stream
from trio_hubs import ChannelReader, Hub, hub_method, open_channel
from trio_hubs.server.hub import hub_methods


def names(hub: type[Hub]) -> dict[str, str]:
    """The registered names by what answers to them."""
    return {wire: found.name for wire, found in hub_methods(hub).items()}


class Base(Hub):
    """Something to inherit from."""

    constant = 5

    def inherited(self) -> str:
        return "base"

    def overridden(self) -> str:
        return "base"

    @hub_method("Given")
    def named(self) -> str:
        return "base"


class Derived(Base):
    """What is callable, and what is not."""

    def overridden(self) -> str:
        return "derived"

    def named(self) -> str:
        return "derived"

    def send_message_2_all(self) -> str:
        return "sent"

    def shortName(self) -> str:  # noqa: N802 - some people write so
        return "short"

    def _private(self) -> str:
        raise AssertionError

    def __dunder__(self) -> str:
        raise AssertionError

    @property
    def prop(self) -> str:
        raise AssertionError

    class Nested:
        """No method."""

    async def on_connected(self) -> None:
        await super().on_connected()


def test_public_methods_of_subclasses_answer_to_their_names_and_pascal_case() -> None:
    assert names(Derived) == {
        "inherited": "Inherited",
        "overridden": "Overridden",
        "given": "Given",
        "send_message_2_all": "SendMessage2All",
        "sendmessage2all": "SendMessage2All",
        "shortname": "ShortName",
    }
    assert names(Hub) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("inherited", "base"),
        ("Inherited", "base"),
        ("INHERITED", "base"),
        ("Overridden", "derived"),
        ("given", "derived"),
        ("GIVEN", "derived"),
        ("send_message_2_all", "sent"),
        ("Send_Message_2_All", "sent"),
        ("SendMessage2All", "sent"),
        ("sendMessage2all", "sent"),
        ("shortName", "short"),
    ],
)
async def test_a_name_matches_in_any_letter_case(
    protocol: str, name: str, value: str, autojump_clock: MockClock
) -> None:
    async with open_client(Derived, protocol) as client:
        await client.send(call(name, id="1"))
        assert await client.receive() == result("1", value)


@pytest.mark.parametrize(
    "name",
    [
        "named",
        "_private",
        "__dunder__",
        "prop",
        "Nested",
        "constant",
        "on_connected",
        "OnConnected",
        "start_soon",
        "context",
        "clients",
        "__init__",
        "__class__",
        "mro",
    ],
)
async def test_nothing_else_can_be_called(name: str, autojump_clock: MockClock) -> None:
    async with open_client(Derived, "json") as client:
        await client.send(call(name, id="1"))
        assert "Method does not exist." in (await client.receive())["error"]


def test_a_clash_of_names_is_an_error_where_it_is_made() -> None:
    with pytest.raises(
        TypeError, match=r"send_message and .sendMessage both answer to the wire name 'sendmessage'"
    ):

        class Clashing(Hub):
            def send_message(self) -> None: ...

            def sendMessage(self) -> None: ...  # noqa: N802

    with pytest.raises(TypeError, match="'one'"):

        class AlsoClashing(Hub):
            def one(self) -> None: ...

            @hub_method("ONE")
            def two(self) -> None: ...


def test_a_given_name_avoids_a_clash() -> None:
    class Named(Hub):
        def one(self) -> None: ...

        @hub_method("Two")
        def One(self) -> None: ...  # noqa: N802

    assert names(Named) == {"one": "One", "two": "Two"}


def test_an_override_may_have_another_name() -> None:
    class Renamed(Base):
        @hub_method("Other")
        def named(self) -> str:
            return "renamed"

    assert "other" in names(Renamed)
    assert "given" not in names(Renamed)


def test_a_method_that_cannot_be_called_as_it_is_annotated_is_an_error() -> None:
    class KeywordOnly(Hub):
        def method(self, *, name: str) -> None: ...

    class Unresolved(Hub):
        def method(self, name: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    class NotAsync(Hub):
        def method(self) -> Iterator[int]:
            yield 1

    class Opaque:
        def __init__(self, anything) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
            raise AssertionError

    class Unconvertible(Hub):
        def method(self, value: Opaque) -> None: ...

    for hub, text in (
        (KeywordOnly, "'name' cannot be given"),
        (Unresolved, "cannot be resolved"),
        (NotAsync, "a generator cannot stream unless it is async"),
        (Unconvertible, r"Unconvertible\.method: the type .*Opaque'> cannot be converted"),
    ):
        with pytest.raises(TypeError, match=text):
            served_hub(hub)


# ---- the shapes of methods


class Shapes(Hub):
    """One method of each shape."""

    def plain(self) -> int:
        return 1

    async def later(self) -> int:
        await trio.lowlevel.checkpoint()
        return 2

    def any_number(self, *values: Any) -> list[Any]:
        return list(values)

    def optional(self, a: int, b: str = "b", c: float | None = None) -> list[Any]:
        return [a, b, c]

    def awaitable(self) -> Awaitable[int]:
        return self.later()

    async def generator(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        yield 1

    def reader(self) -> ChannelReader[int]:
        writer, reader = open_channel(int)
        writer.try_write(1)
        writer.complete()
        return reader

    async def reader_later(self) -> ChannelReader[int]:
        return self.reader()

    def iterator(self) -> AsyncIterator[int]:
        return self.generator()  # type: ignore[no-any-return, no-untyped-call]

    async def iterator_later(self) -> AsyncIterator[int]:
        return self.generator()  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_plain_methods_of_every_shape(protocol: str, autojump_clock: MockClock) -> None:
    async with open_client(Shapes, protocol) as client:
        for message, value in (
            (call("Plain", id="1"), 1),
            (call("Later", id="1"), 2),
            (call("AnyNumber", id="1"), []),
            (call("AnyNumber", 1, "a", None, [2], {"k": 1}, id="1"), [1, "a", None, [2], {"k": 1}]),
            (call("Optional", 1, id="1"), [1, "b", None]),
            (call("Optional", 1, "x", id="1"), [1, "x", None]),
            (call("Optional", 1, "x", 1.5, id="1"), [1, "x", 1.5]),
        ):
            await client.send(message)
            assert await client.receive() == result("1", value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["Generator", "Reader", "ReaderLater", "Iterator", "IteratorLater"])
async def test_streaming_methods_of_every_shape(protocol: str, name: str, autojump_clock: MockClock) -> None:
    async with open_client(Shapes, protocol) as client:
        await client.send(stream(name))
        assert [message["type"] for message in await client.take(2)] == [2, 3]


# ---- child tasks


@pytest.mark.parametrize("inline", [True, False])
async def test_the_answer_of_a_plain_method_waits_for_its_children(
    inline: bool, autojump_clock: MockClock
) -> None:
    events: list[str] = []

    class Parent(Hub):
        async def _child(self, name: str, seconds: float) -> None:
            await trio.sleep(seconds)
            events.append(name)

        def now(self) -> str:
            self.start_soon(self._child, "one", 2)
            self.start_soon(self._child, "other", 1)
            events.append("parent")
            return "done"

        async def later(self) -> str:
            return self.now()

    async with open_client(Parent) as client:
        await client.send(call("Now" if inline else "Later", id="1"))
        assert await client.receive() == result("1", "done")
        assert events == ["parent", "other", "one"]
        assert trio.current_time() == pytest.approx(2.0)


async def test_a_child_may_start_a_child(autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Parent(Hub):
        async def _child(self, depth: int) -> None:
            events.append(str(depth))
            if depth:
                self.start_soon(self._child, depth - 1)
                await trio.sleep(1)

        def start(self) -> None:
            self.start_soon(self._child, 3)

    async with open_client(Parent) as client:
        await client.send(call("Start", id="1"))
        assert await client.receive() == result("1", None)
    assert events == ["3", "2", "1", "0"]


@pytest.mark.parametrize("how", ["ends", "fails", "is cancelled", "connection ends"])
async def test_the_end_of_a_stream_cancels_its_children(how: str, autojump_clock: MockClock) -> None:
    events: list[str] = []

    class Parent(Hub):
        async def _child(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                events.append("cancelled")

        async def count(self) -> AsyncIterator[int]:
            self.start_soon(self._child)
            yield 1
            await trio.sleep(1)
            if how == "fails":
                raise ValueError
            if how != "ends":
                await trio.sleep_forever()

    async with open_client(Parent) as client:
        await client.send(stream("Count"))
        await trio.sleep(2)
        if how == "is cancelled":
            await client.send({"type": 5, "invocationId": "1"})
        elif how == "connection ends":
            client.connection.close()
        await client.arrived()
        assert events == ["cancelled"]


def test_the_marks_of_hub_method_leave_the_function_as_it_is() -> None:
    def function(self: object) -> None:
        raise AssertionError

    mark: Callable[[Any], Any] = hub_method("Name")
    assert mark(function) is function


T = TypeVar("T")


@dataclass
class Animal:
    """Something typed."""

    name: str


class Repository(Hub, Generic[T]):
    """A hub of any one type."""

    kept: ClassVar[list[Any]] = []

    def add(self, item: T, rest: list[T]) -> T:
        self.kept.extend([item, *rest])
        return item


class Animals(Repository[Animal]):
    """A hub of one type."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_generic_base_binds_by_what_it_was_given(autojump_clock: MockClock, protocol: str) -> None:
    Repository.kept.clear()
    async with open_client(Animals, protocol) as client:
        await client.send(call("Add", {"name": "Rex"}, [{"name": "Tom"}], id="1"))
        assert await client.arrived() == [result("1", {"name": "Rex"})]
    assert Repository.kept == [Animal("Rex"), Animal("Tom")]


# ---- what is refused aloud, or works though it is unusual


@pytest.mark.parametrize(
    "made", [classmethod(type), staticmethod(len), functools.lru_cache(len), functools.partialmethod(len)]
)
def test_what_looks_like_a_method_and_cannot_be_called_is_refused(made: object) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.add is a .*, which clients cannot call"):
        type("Wrong", (Hub,), {"add": made})
    assert names(type("Right", (Hub,), {"_add": made})) == {}


@dataclass(frozen=True)
class Frozen(Hub):
    """A hub that refuses assignment."""

    start: int = 40

    def add(self, number: int) -> int:
        return self.start + number


class Plain(Hub):
    """A hub whose hooks are plain."""

    seen: ClassVar[list[str]] = []

    def on_connected(self) -> None:  # type: ignore[override]
        self.seen.append("connected")

    def on_disconnected(self, error: Exception | None) -> None:  # type: ignore[override]
        self.seen.append("disconnected")


def wrapping(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not tell what it wraps."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


class Wrapped(Hub):
    """A hub with a decorated method."""

    @wrapping
    def add(self, a: int, b: int) -> int:
        assert isinstance(self, Wrapped)
        return a + b

    @wrapping
    async def later(self, a: int) -> int:
        return a


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_frozen_dataclass_is_a_hub(protocol: str, autojump_clock: MockClock) -> None:
    async with open_client(Frozen, protocol) as client:
        await client.send(call("Add", 2, id="1"))
        assert await client.take(1) == [result("1", 42)]


async def test_hooks_may_be_plain(autojump_clock: MockClock) -> None:
    Plain.seen.clear()
    async with open_client(Plain) as client:
        await client.arrived()
        assert Plain.seen == ["connected"]
    assert Plain.seen == ["connected", "disconnected"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_wrapper_that_tells_nothing_takes_all_arguments(
    protocol: str, autojump_clock: MockClock
) -> None:
    async with open_client(Wrapped, protocol) as client:
        await client.send(call("Add", 40, 2, id="1"))
        assert await client.take(1) == [result("1", 42)]
        await client.send(call("Later", 7, id="2"))
        assert await client.take(1) == [result("2", 7)]
