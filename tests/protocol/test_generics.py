"""What stands for the variables of generic classes."""

from typing import Annotated, Any, Callable, Generic, NamedTuple, ParamSpec, TypedDict, TypeVar  # noqa: UP035

import pytest
from typing_extensions import TypeVar as TypeVarWithDefault

from trio_hubs.protocol.generics import arguments_of, filled

T = TypeVar("T")
U = TypeVar("U")
Bound = TypeVar("Bound", bound=int)
Default = TypeVarWithDefault("Default", default=str)
P = ParamSpec("P")


class Base(Generic[T]): ...


class Pair(Base[T], Generic[T, U]): ...


class Numbers(Pair[int, list[T]]): ...


class Texts(Numbers[str]): ...


class Named(NamedTuple, Generic[T]):
    value: T


class Keys(TypedDict, Generic[T]):
    value: T


def test_bases_are_given_what_their_subclasses_say() -> None:
    arguments = arguments_of(Texts)
    assert arguments[Numbers] == {T: str}
    assert arguments[Pair] == {T: int, U: list[str]}
    assert arguments[Base] == {T: int}
    assert arguments_of(Pair[bool, str])[Base] == {T: bool}
    assert arguments_of(Pair)[Base] == {T: Any}
    assert arguments_of(Named[int])[Named] == {T: int}
    assert arguments_of(Keys[int])[Keys] == {T: int}


of_t: Any = list[T]  # type: ignore[valid-type]
of_u: Any = list[U]  # type: ignore[valid-type]
any_t: Any = T


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (T, int),
        (of_t, list[int]),
        (dict[str, of_t], dict[str, list[int]]),
        (any_t | None, int | None),
        (Base[any_t], Base[int]),
        (Annotated[any_t, "x"], Annotated[int, "x"]),
        (U, Any),
        (of_u, list[Any]),
        (Bound, int),
        (Default, str),
        (Base, Base),
        (str, str),
        (None, None),
        ("text", "text"),
    ],
)
def test_annotations_are_filled(annotation: Any, expected: Any) -> None:
    assert filled(annotation, {T: int}) == expected


def test_what_is_no_type_stays() -> None:
    annotation: Any = Callable[P, T]  # pyright: ignore[reportGeneralTypeIssues]
    assert filled(annotation, {T: int}) is annotation
