"""All that a function's annotations say of how it is called is found out once, and wrongs are told by name."""

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Any, Generic, Optional, Self, TypeVar

import pytest
from msgspec import Raw

from trio_hubs.calls.channels import ChannelReader
from trio_hubs.calls.methods import Method, Signature
from trio_hubs.errors import BindingError

from .support import PROTOCOL


def method(function: Callable[..., Any]) -> Method:
    return Method("M", function, Signature.of(function), PROTOCOL.payloads)


# ---- signatures


def plain(a: int, b: str = "x") -> float:
    raise NotImplementedError


async def waits(a: "list[int]") -> None: ...


def bare(a, b=1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    ...


def test_a_plain_function() -> None:
    assert Signature.of(plain) == Signature((int, str), 1, None, (), float, False, False)


def test_an_async_function_and_annotations_that_are_strings() -> None:
    assert Signature.of(waits) == Signature((list[int],), 1, None, (), None, False, True)


def test_without_annotations_everything_is_of_any_type() -> None:
    assert Signature.of(bare) == Signature((Any, Any), 1, None, (), Any, False, False)


def test_leading_parameters_can_be_left_out() -> None:
    assert Signature.of(plain, skip=1) == Signature((str,), 0, None, (), float, False, False)


def test_bound_methods_and_partial_functions() -> None:
    assert Signature.of(functools.partial(waits)).is_async
    assert Signature.of(functools.partial(plain, 1)).parameters == (str,)
    assert Signature.of([1].append) == Signature((Any,), 1, None, (), Any, False, False)


def test_any_number_of_arguments() -> None:
    def log(*args: int) -> None: ...

    assert Signature.of(log) == Signature((), 0, (int,), (), None, False, False)
    assert Signature.of(print).variadic


def test_a_parameter_of_a_generic_function_is_what_bounds_it() -> None:
    free = TypeVar("free")
    bound = TypeVar("bound", bound=int)

    def function(a: Any, b: Any) -> None: ...

    function.__annotations__.update(a=free, b=bound)
    assert Signature.of(function).parameters == (Any, int)


def test_a_builtin_that_tells_nothing_of_itself_takes_anything() -> None:
    assert Signature.of(max) == Signature((), 0, (Any,), (), Any, False, False)


def test_keywords_with_defaults_are_left_alone() -> None:
    def quiet(a: int, *, b: int = 1, **c: int) -> None: ...

    assert Signature.of(quiet).parameters == (int,)


def test_a_keyword_that_nobody_can_give_is_refused() -> None:
    def demanding(a: int, *, b: int) -> None: ...

    with pytest.raises(TypeError, match=r"demanding: arguments come by position, so 'b' cannot be given"):
        Signature.of(demanding)


def test_nothing_can_stand_beside_a_star() -> None:
    def mixed(a: int, *rest: int) -> None: ...

    def streamed(a: ChannelReader[int], *rest: int) -> None: ...

    for function in (mixed, streamed):
        with pytest.raises(TypeError, match=r"'\*' takes all arguments"):
            Signature.of(function)


def unknown_name(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def unknown_attribute(a: "functools.Nowhere") -> None: ...  # type: ignore[name-defined]


def test_an_annotation_that_cannot_be_resolved_is_told() -> None:
    for function in (unknown_name, unknown_attribute):
        with pytest.raises(
            TypeError, match=rf"{function.__name__}: an annotation cannot be resolved: .*Nowhere"
        ):
            Signature.of(function)


class Doer:
    async def __call__(self, a: int) -> int:
        return a


def test_an_object_that_can_be_called() -> None:
    assert Signature.of(Doer()).parameters == (int,)


# ---- streams


async def generated() -> AsyncIterator[int]:
    yield 1


async def generated_untyped():  # type: ignore[no-untyped-def]  # noqa: ANN201
    yield 1


def read() -> ChannelReader[int]:
    raise NotImplementedError


async def awaited() -> AsyncIterable[int]:
    raise NotImplementedError


def iterated() -> AsyncGenerator[int, None]:
    raise NotImplementedError


def read_untyped() -> ChannelReader:  # type: ignore[type-arg]
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "item", "is_async"),
    [
        (generated, int, False),
        (generated_untyped, Any, False),
        (read, int, False),
        (awaited, int, True),
        (iterated, int, False),
        (read_untyped, Any, False),
    ],
)
def test_what_gives_a_stream(function: Callable[..., Any], item: Any, is_async: bool) -> None:
    assert Signature.of(function) == Signature((), 0, None, (), item, True, is_async)
    assert not method(function).inline


@pytest.mark.parametrize("stream", [ChannelReader, AsyncIterator, AsyncIterable, AsyncGenerator])
def test_what_takes_uploads(stream: Any) -> None:
    def upload(items: Any) -> None: ...

    upload.__annotations__["items"] = stream
    assert Signature.of(upload).uploads == ((0, Any),)
    upload.__annotations__["items"] = stream[(int, None) if stream is AsyncGenerator else int]
    assert Signature.of(upload).uploads == ((0, int),)


def test_uploads_in_any_position() -> None:
    def mixed(
        a: int, first: ChannelReader[str], b: float, second: AsyncIterator[bytes], c: bool = True
    ) -> None: ...

    signature = Signature.of(mixed)
    assert signature.parameters == (int, float, bool)
    assert signature.uploads == ((1, str), (3, bytes))
    assert signature.required == 2


def test_what_stands_before_a_stream_must_be_given() -> None:
    def awkward(a: int = 1, items: ChannelReader[int] | Any = None, b: int = 2) -> None: ...

    awkward.__annotations__["items"] = ChannelReader[int]
    assert Signature.of(awkward).required == 1
    assert method(awkward).load(Raw(b"[5]")) == [5]
    with pytest.raises(BindingError):
        method(awkward).load(Raw(b"[]"))


# ---- methods


def test_only_what_never_waits_runs_inline() -> None:
    assert method(plain).inline
    assert not method(waits).inline

    def uploads(items: ChannelReader[int]) -> None: ...

    assert not method(uploads).inline


def test_arguments_are_decoded_by_their_types() -> None:
    assert method(plain).load(Raw(b'[1,"two"]')) == [1, "two"]
    assert method(waits).load(Raw(b"[[1,2]]")) == [[1, 2]]


def test_arguments_with_defaults_may_be_left_out() -> None:
    def defaults(a: int, b: str = "x", c: bool = True) -> None: ...

    assert method(defaults).load(Raw(b"[1]")) == [1]
    assert method(defaults).load(Raw(b'[1,"y"]')) == [1, "y"]
    assert method(defaults).load(Raw(b'[1,"y",false]')) == [1, "y", False]


class Text(str):
    """Refuses, and counts how often it is asked."""

    __slots__ = ()
    asked = 0

    def __new__(cls, value: str) -> Self:
        Text.asked += 1
        raise ValueError(value)


def test_arguments_are_tried_once_however_many_may_be_left_out() -> None:
    def many(a: Text, b: int = 1, c: int = 1, d: int = 1, e: int = 1) -> None: ...

    load = method(many).load
    for count in range(1, 6):
        Text.asked = 0
        with pytest.raises(BindingError) as caught:
            load(Raw(b'["secret"' + b",1" * (count - 1) + b"]"))
        assert Text.asked == 1
        assert caught.value.__notes__ == ["argument 1: Refused with ValueError @ $"]


@pytest.mark.parametrize(("count", "expected"), [(0, 3), (2, 3), (5, 4), (9, 4)])
def test_a_wrong_number_of_arguments_is_told_by_what_would_suffice(count: int, expected: int) -> None:
    def some(a: int, b: int, c: int, d: int = 4) -> None: ...

    text = rf"^Invocation provides {count} argument\(s\) but target expects {expected}\.$"
    with pytest.raises(BindingError, match=text):
        method(some).load(Raw(b"[" + b",".join([b"1"] * count) + b"]"))


def test_one_of_any_number_of_arguments_that_does_not_fit() -> None:
    def log(*args: int) -> None: ...

    assert method(log).load(Raw(b"[1,2]")) == [1, 2]
    with pytest.raises(BindingError, match="Error binding arguments") as caught:
        method(log).load(Raw(b'[1,"secret",null]'))
    assert caught.value.__notes__ == ["argument 2: Expected `int`, got `str` @ $"]
    with pytest.raises(BindingError, match="Error binding arguments"):
        method(log).load(Raw(b"5"))


# ---- generic classes


T = TypeVar("T")
U = TypeVar("U")


class Repository(Generic[T]):
    def add(self, item: T, rest: list[T]) -> dict[str, T]:
        raise NotImplementedError

    def all(self, items: ChannelReader[T]) -> ChannelReader[T]:
        raise NotImplementedError


class Sorted(Repository[list[U]], Generic[U]):
    def first(self, key: U) -> U:
        raise NotImplementedError


class Numbers(Sorted[int]):
    def own(self, anything: T) -> None:
        raise NotImplementedError


def test_what_stands_for_variables_is_what_the_class_says() -> None:
    add = Signature.of(Numbers.add, skip=1, owner=Numbers)
    assert (add.parameters, add.result) == ((list[int], list[list[int]]), dict[str, list[int]])
    first = Signature.of(Numbers.first, skip=1, owner=Numbers)
    assert (first.parameters, first.result) == ((int,), int)
    stream = Signature.of(Numbers.all, skip=1, owner=Numbers)
    assert (stream.uploads, stream.result, stream.streaming) == (((0, list[int]),), list[int], True)
    assert Signature.of(Numbers.own, skip=1, owner=Numbers).parameters == (Any,)
    assert Signature.of(Repository.add, skip=1).parameters == (Any, list[Any])
    assert Signature.of(add_one, owner=Numbers).parameters == (int,)


def add_one(number: int) -> int:
    return number + 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (b"[]", r"provides 0 argument\(s\) but target expects 1\."),
        (b'[1,"x",3]', r"provides 3 argument\(s\) but target expects 2\."),
        (b'["one"]', r"Error binding arguments\. Make sure"),
        (b"[1,2]", r"Error binding arguments\. Make sure"),
    ],
)
def test_arguments_that_do_not_fit_are_told_of_the_whole_signature(arguments: bytes, text: str) -> None:
    with pytest.raises(BindingError, match=text):
        method(plain).load(Raw(arguments))


def test_a_star_takes_arguments_as_they_are() -> None:
    def log(*args: object) -> None: ...

    assert method(log).load(Raw(b'[1,"two",[null]]')) == [1, "two", [None]]
    assert method(log).load(Raw(b"[]")) == []


def test_results_are_encoded_by_their_type() -> None:
    assert method(plain).dump(1.5) == b"1.5"


def test_uploads_decode_items() -> None:
    def total(a: int, items: ChannelReader[int]) -> None: ...

    (upload,) = method(total).uploads
    assert upload.position == 1
    assert upload.load.one(Raw(b"1")) == 1
    assert upload.load.many(b"[1,2]") == [1, 2]
    with pytest.raises(BindingError):
        upload.load.one(Raw(b'"one"'))


def test_a_star_heeds_its_annotation() -> None:
    def log(*args: int) -> None: ...

    assert method(log).load(Raw(b"[1,2]")) == [1, 2]
    with pytest.raises(BindingError):
        method(log).load(Raw(b'[1,"two"]'))


def test_a_stream_may_be_none_as_type_checkers_want_it() -> None:
    def optional(items: ChannelReader[int] | None = None) -> ChannelReader[str] | None: ...

    def older(items: Optional[AsyncIterator[int]]) -> Optional[ChannelReader[str]]: ...  # noqa: UP045

    for function in (optional, older):
        signature = Signature.of(function)
        assert signature.uploads == ((0, int),)
        assert (signature.streaming, signature.result) == (True, str)


def test_a_choice_of_streams_is_none() -> None:
    def either() -> ChannelReader[int] | ChannelReader[str]:
        raise NotImplementedError

    assert not Signature.of(either).streaming


def test_a_generator_that_is_not_async_is_refused() -> None:
    def count() -> Iterator[int]:
        yield 1

    @functools.wraps(count)
    def wrapped() -> Iterator[int]:
        return count()

    for function in (count, wrapped):
        with pytest.raises(TypeError, match="count: a generator cannot stream unless it is async"):
            Signature.of(function)
