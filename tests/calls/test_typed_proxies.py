"""Typed proxies: what an interface allows is called under its wire name, and all else is refused, most of it early."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from trio_hubs import ChannelReader, Deadline, hub_method, time_left
from trio_hubs.calls.typed_proxies import client_proxy, hub_proxy

if TYPE_CHECKING:
    from decimal import Decimal


class Recorder:
    """An untyped proxy that notes what it is asked for, and answers every question with 42."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def send(self, method: str, *args: Any) -> None:
        self.calls.append((method, *args))

    async def invoke(self, method: str, *args: Any, result_type: Any) -> Any:
        self.calls.append((method, *args, result_type))
        return 42


class ChatClient(Protocol):
    """What a chat's client offers."""

    async def receive_message(self, user: str, text: str) -> None:
        """A message from a user."""
        raise AssertionError("an interface's bodies never run")

    async def notify(self, text: str, level: int = 1, note: "str | None" = None) -> None: ...

    async def only(self, text: str, /) -> None: ...

    async def nothing(self) -> None: ...

    async def answer(self, question: str) -> "list[int]": ...

    async def whatever(self) -> Any: ...

    @hub_method("tell-me")
    async def ask(self) -> int: ...

    def _helper(self) -> int: ...


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def wrapped(interface: Any, recorder: Any) -> Any:
    return client_proxy(interface)(recorder)


@pytest.fixture
def client(recorder: Recorder) -> ChatClient:
    client: ChatClient = wrapped(ChatClient, recorder)
    return client


async def test_a_method_that_returns_none_is_sent(client: ChatClient, recorder: Recorder) -> None:
    await client.receive_message("ann", "hello")
    await client.nothing()
    assert recorder.calls == [("ReceiveMessage", "ann", "hello"), ("Nothing",)]


async def test_another_waits_for_a_result_of_its_type(client: ChatClient, recorder: Recorder) -> None:
    assert await client.answer("why?") == 42  # type: ignore[comparison-overlap]
    assert await client.whatever() == 42
    assert await client.ask() == 42
    assert recorder.calls == [("Answer", "why?", list[int]), ("Whatever", Any), ("tell-me", int)]


async def test_arguments_go_in_the_interfaces_order_and_defaults_with_them(
    client: ChatClient, recorder: Recorder
) -> None:
    await client.receive_message(text="hello", user="ann")
    await client.receive_message("ann", text="hello")
    await client.notify("a")
    await client.notify("a", note="b")
    await client.notify("a", 2, "b")
    await client.only("a")
    assert recorder.calls == [
        ("ReceiveMessage", "ann", "hello"),
        ("ReceiveMessage", "ann", "hello"),
        ("Notify", "a", 1, None),
        ("Notify", "a", 1, "b"),
        ("Notify", "a", 2, "b"),
        ("Only", "a"),
    ]


@pytest.mark.parametrize(
    ("method", "args", "named", "text"),
    [
        ("receive_message", ("a",), {}, "missing a required argument: 'text'"),
        ("receive_message", ("a", "b", "c"), {}, "too many positional arguments"),
        ("receive_message", ("a", "b"), {"c": 1}, "got an unexpected keyword argument 'c'"),
        ("receive_message", ("a", "b"), {"user": "a"}, "multiple values for argument 'user'"),
        ("answer", (), {}, "missing a required argument: 'question'"),
        ("only", (), {"text": "a"}, "positional"),
        ("nothing", (1,), {}, "too many positional arguments"),
    ],
)
def test_wrong_arguments_raise_at_the_call(
    client: ChatClient,
    recorder: Recorder,
    method: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    text: str,
) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(client, method)(*args, **named)
    assert str(caught.value).startswith(f"ChatClient.{method}: ")
    assert text in str(caught.value)
    assert recorder.calls == []


def test_what_the_interface_does_not_have_is_not_there(client: ChatClient) -> None:
    for name in ("recieve_message", "_helper", "send", "ReceiveMessage"):
        with pytest.raises(AttributeError):
            getattr(client, name)
    with pytest.raises(AttributeError):
        client.receive_message = None  # type: ignore[method-assign, assignment]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_proxy_tells_what_it_is(client: ChatClient) -> None:
    assert type(client).__name__ == "ChatClient"
    assert type(client).__doc__ == "What a chat's client offers."
    assert client.receive_message.__doc__ == "A message from a user."
    assert list(signature(client.receive_message).parameters) == ["user", "text"]


async def test_the_proxies_of_an_interface_share_a_class_alone(recorder: Recorder) -> None:
    interface: Any = ChatClient
    make: Any = client_proxy(interface)
    other = Recorder()
    await make(recorder).nothing()
    await make(other).answer("why?")
    assert type(make(recorder)) is type(make(other))
    assert (recorder.calls, other.calls) == ([("Nothing",)], [("Answer", "why?", list[int])])


class Quiet(Protocol):
    async def hear(self, text: str) -> None: ...

    @hub_method("told")
    async def tell(self, text: str) -> None: ...


class Loud(Quiet, Protocol):
    async def tell(self, text: str, volume: int = 11) -> None: ...


class Abstract(ABC):
    @abstractmethod
    async def hear(self, text: str) -> None: ...

    @abstractmethod
    async def tell(self, text: str, volume: int = 11) -> None: ...


class Plain:
    async def hear(self, text: str) -> None: ...

    async def tell(self, text: str, volume: int = 11) -> None: ...


@pytest.mark.parametrize(("interface", "told"), [(Loud, "told"), (Abstract, "Tell"), (Plain, "Tell")])
async def test_any_class_is_an_interface_and_inherits(interface: Any, told: str, recorder: Recorder) -> None:
    client = wrapped(interface, recorder)
    await client.hear("a")
    await client.tell("b")
    assert recorder.calls == [("Hear", "a"), (told, "b", 11)]


class NotAsync(Protocol):
    def act(self) -> None: ...


class Awaiting(Protocol):
    def act(self) -> Awaitable[None]: ...


class Generating(Protocol):
    async def act(self) -> AsyncIterator[int]:
        yield 1


class Property(Protocol):
    @property
    def act(self) -> int: ...


class ClassMethod(Protocol):
    @classmethod
    async def act(cls) -> None: ...


class StaticMethod(Protocol):
    @staticmethod
    async def act() -> None: ...


class Constant(Protocol):
    act: int = 1


class KeywordOnly(Protocol):
    async def act(self, a: int, *, b: int = 1) -> None: ...


class AnyNumber(Protocol):
    async def act(self, *values: int) -> None: ...


class AnyNames(Protocol):
    async def act(self, **values: int) -> None: ...


class Silent(Protocol):
    async def act(self): ...  # type: ignore[no-untyped-def]  # noqa: ANN201  # pyright: ignore[reportUnknownParameterType]


class Unresolved(Protocol):
    async def act(self) -> "Decimal": ...


class Twins(Protocol):
    async def act_now(self) -> None: ...

    async def ActNow(self) -> None: ...  # noqa: N802


class GivenTwins(Protocol):
    async def act(self) -> None: ...

    @hub_method("ACT")
    async def other(self) -> None: ...


@pytest.mark.parametrize(
    ("interface", "text"),
    [
        (NotAsync, "NotAsync.act is no method of a client: write it as 'async def'"),
        (Awaiting, "Awaiting.act is no method of a client"),
        (Generating, "Generating.act is no method of a client"),
        (Property, "Property.act is no method of a client"),
        (ClassMethod, "ClassMethod.act is no method of a client"),
        (StaticMethod, "StaticMethod.act is no method of a client"),
        (Constant, "Constant.act is no method of a client"),
        (KeywordOnly, "KeywordOnly.act: .* there is no place for 'b: int = 1'"),
        (AnyNumber, r"AnyNumber.act: .* there is no place for '\*values: int'"),
        (AnyNames, r"AnyNames.act: .* there is no place for '\*\*values: int'"),
        (Silent, "Silent.act does not say what it returns"),
        (Unresolved, "Unresolved.act: an annotation cannot be resolved: name 'Decimal' is not defined"),
        (Twins, "Twins.act_now and .ActNow both call the client's 'ActNow'"),
        (GivenTwins, "GivenTwins.other and .act both call the client's 'ACT'"),
        (list[int], r"a client's interface is a class, which list\[int\] is not"),
        ("Twins", "a client's interface is a class, which 'Twins' is not"),
    ],
)
def test_what_no_client_can_offer_is_refused(interface: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        client_proxy(interface)


# ---- what a hub offers


class RecordingHub:
    """An untyped hub that notes what is called, and streams what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def send(self, method: str, /, *args: Any) -> None:
        raise AssertionError

    async def invoke(self, method: str, /, *args: Any, result_type: Any = Any) -> Any:
        self.calls.append((method, *args, result_type))
        return 42

    async def iterate(self, method: str, args: Sequence[Any], item_type: Any) -> AsyncGenerator[Any]:
        self.calls.append((method, *args, item_type))
        for argument in args:
            yield argument


class CounterHub(Protocol):
    """What a hub offers."""

    async def add(self, a: int, b: int = 2) -> int: ...

    async def do_nothing(self) -> None: ...

    def counter(self, count: int, delay: float = 0.5) -> AsyncIterator[int]: ...

    async def generated(self, count: int) -> AsyncGenerator[str]:
        yield "an interface's bodies never run"

    async def total(self, items: AsyncIterable[int]) -> int: ...

    @hub_method("renamed")
    async def with_a_limit(self, text: str, deadline: Deadline | None = None) -> str: ...


async def test_a_hub_is_called_as_its_interface_says() -> None:
    recorder = RecordingHub()
    hub = hub_proxy(CounterHub)(recorder)
    uploads = hub.counter(1)
    assert await hub.add(1) == 42
    assert await hub.add(b=1, a=3) == 42
    await hub.do_nothing()
    assert [item async for item in hub.counter(7)] == [7, 0.5]
    assert [item async for item in hub.generated(count=8)] == [8]
    await hub.total(uploads)
    assert recorder.calls == [
        ("Add", 1, 2, int),
        ("Add", 3, 1, int),
        ("DoNothing", None),
        ("Counter", 7, 0.5, int),
        ("Generated", 8, str),
        ("Total", uploads, int),
    ]


async def test_a_hub_is_told_what_time_is_left(autojump_clock: MockClock) -> None:
    recorder = RecordingHub()
    hub = hub_proxy(CounterHub)(recorder)
    await hub.with_a_limit("a")
    with trio.fail_after(5):
        await trio.sleep(2)
        await hub.with_a_limit("b")
        await hub.with_a_limit("c", Deadline(1.0))
    with trio.move_on_after(0):
        assert time_left() == 0.0
        await trio.lowlevel.checkpoint()
    assert [call[2] for call in recorder.calls] == [None, pytest.approx(3.0), 1.0]


class NotOfAHub(Protocol):
    def plain(self) -> int: ...


class Read(Protocol):
    def read(self) -> ChannelReader[int]: ...


class SaysNothing(Protocol):
    async def nothing_said(self): ...  # type: ignore[no-untyped-def]  # noqa: ANN201


class Value(Protocol):
    value: int = 1


class Clash(Protocol):
    async def add_it(self) -> int: ...

    async def AddIt(self) -> int: ...  # noqa: N802


@pytest.mark.parametrize(
    ("interface", "problem"),
    [
        (NotOfAHub, r"NotOfAHub\.plain is no method of a hub: write it as 'async def'"),
        (Read, r"Read\.read streams, which is written as a method that gives an AsyncIterator"),
        (SaysNothing, r"SaysNothing\.nothing_said does not say what it returns"),
        (Value, r"Value\.value is no method of a hub"),
        (Clash, "both call the hub's 'AddIt'"),
        (print, "a hub's interface is a class"),
    ],
)
def test_what_cannot_be_called_of_a_hub_is_told(interface: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        hub_proxy(interface)
