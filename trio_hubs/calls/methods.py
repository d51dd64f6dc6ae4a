"""What can be called: functions with their wire names, and all that their annotations say, found out once.

Nothing here is looked up for each call: types are resolved, and converters chosen, when a method is made.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from math import inf, isfinite
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin

import attrs
import trio
from msgspec import Raw

from ..errors import BindingError
from ..protocol.generics import Arguments, arguments_of, filled
from ..protocol.payloads import Payloads
from .channels import ChannelReader
from .unread import ItemLoader

Deadline = NewType("Deadline", float)
"""The type of a parameter by which a caller limits its call: it sends a number of seconds, 0 or more.

When they have passed the call is cancelled, and answered with an error that says so. The method gets the moment of
that, in trio's clock.
"""


def time_left() -> Deadline | None:
    """The seconds that the caller's scopes have left, to be told to a parameter of type :data:`Deadline`.

    Returns:
        The seconds, from 0 on; ``None`` when there is no limit.
    """
    left = trio.current_effective_deadline() - trio.current_time()
    return None if left == inf else Deadline(max(left, 0.0))


_STREAMS = (ChannelReader, AsyncIterator, AsyncIterable, AsyncGenerator)


def without_none(annotation: Any) -> Any:
    """The type itself where it may be ``None``, too, which type checkers want where that is possible."""
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return parts[0] if len(parts) == 1 else annotation
    return annotation


def _item_type(annotation: Any, *, returned: bool = False) -> tuple[Any] | None:
    """The item type of a stream's annotation, in a tuple; ``None`` when it is no stream.

    What is returned may be of any class that can be iterated so, a receive channel of trio's, say.
    """
    annotation = without_none(annotation)
    kind = get_origin(annotation) or annotation
    if kind not in _STREAMS and not (returned and isinstance(kind, type) and issubclass(kind, AsyncIterable)):
        return None
    arguments = get_args(annotation)
    return (arguments[0] if arguments else Any,)


def _arguments(function: Callable[..., Any], owner: type | None) -> Arguments:
    """What stands for the variables in a function's annotations, in the class it is called on."""
    if owner is None:
        return {}
    arguments = arguments_of(owner)
    return next((arguments[base] for base in owner.__mro__ if function in vars(base).values()), {})


def _behind(signature: inspect.Signature, skip: int) -> list[inspect.Parameter]:
    """The parameters behind those that are not for arguments; ``*args``, as of a wrapper, takes all of them."""
    parameters = list(signature.parameters.values())
    while skip and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
        skip -= 1
    return parameters


@attrs.frozen
class Signature:
    """What a function takes and gives, read off its annotations.

    Attributes:
        parameters: The types of the parameters that arguments are for.
        required: How many of them have no default.
        variadic: The type of all arguments, in a tuple, where the function takes any number of them.
        deadline: Which of the arguments is the caller's :data:`Deadline`, if one is.
        uploads: The positions, among all parameters, and item types of those that are streams.
        result: The type of the result, or of the items of a stream.
        streaming: Whether it gives a stream.
        is_async: Whether calling it gives an awaitable.
    """

    parameters: tuple[Any, ...]
    required: int
    variadic: tuple[Any] | None
    uploads: tuple[tuple[int, Any], ...]
    result: Any
    streaming: bool
    is_async: bool
    deadline: int | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], *, skip: int = 0, owner: type | None = None) -> Signature:
        """Read a function's signature.

        Args:
            function: Any callable.
            skip: How many leading parameters are not for arguments, such as ``self``.
            owner: The class that it is called on: its bases say what the variables in annotations stand for.

        Raises:
            TypeError: An annotation cannot be resolved, or a parameter cannot be given by position.
        """
        name = getattr(function, "__qualname__", repr(function))
        try:
            signature = inspect.signature(function, eval_str=True)
        except ValueError:  # some builtins tell nothing of themselves
            return cls((), 0, (Any,), (), Any, False, False)
        except (NameError, AttributeError, SyntaxError) as error:
            raise TypeError(f"{name}: an annotation cannot be resolved: {error}") from error
        given = _arguments(function, owner)
        parameters: list[Any] = []
        uploads: list[tuple[int, Any]] = []
        required = 0
        deadline = None
        variadic: tuple[Any] | None = None
        for position, parameter in enumerate(_behind(signature, skip)):
            annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
            annotation = filled(annotation, given)
            if parameter.kind is parameter.VAR_POSITIONAL:
                variadic = (annotation,)
            elif parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
                if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                    raise TypeError(
                        f"{name}: arguments come by position, so '{parameter.name}' cannot be given."
                    )
            elif item := _item_type(annotation):
                uploads.append((position, item[0]))
                required = len(parameters)  # a stream's place is fixed, so all before it must be there
            else:
                if without_none(annotation) is Deadline:
                    if deadline is not None:
                        raise TypeError(
                            f"{name}: a call has one deadline, so '{parameter.name}' cannot be another."
                        )
                    deadline = len(parameters)
                parameters.append(annotation)
                if parameter.default is parameter.empty:
                    required = len(parameters)
        if variadic and (parameters or uploads):
            raise TypeError(f"{name}: '*' takes all arguments, so no other parameters can stand beside it.")
        returned = Any if signature.return_annotation is signature.empty else signature.return_annotation
        returned = filled(returned, given)
        item = _item_type(returned, returned=True)
        inner = inspect.unwrap(function)
        is_generator = inspect.isasyncgenfunction(inner)
        if inspect.isgeneratorfunction(inner):
            raise TypeError(f"{name}: a generator cannot stream unless it is async.")
        return cls(
            parameters=tuple(parameters),
            required=required,
            variadic=variadic,
            uploads=tuple(uploads),
            result=item[0] if item else returned,
            streaming=is_generator or item is not None,
            is_async=inspect.iscoroutinefunction(function),
            deadline=deadline,
        )


@attrs.frozen
class Upload:
    """A parameter that is a stream: its position, and what decodes its items."""

    position: int
    load: ItemLoader[Any]


class Method:
    """A function that the peer may call, over one protocol.

    Attributes:
        name: The registered wire name.
        function: What to call.
        signature: What it takes and gives.
        uploads: Its parameters that are streams.
        streams: It streams, either way.
        inline: It runs to its end without waiting for anything, so it needs no task.
        deadline: Which of its arguments is the caller's deadline, if one is.
        dump: Encodes its result.
        answers: Whether its result is the call's, where one call runs several methods.

    Args:
        extra: Whether a call may have more arguments than it takes, which are left out.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        signature: Signature,
        payloads: Payloads,
        *,
        extra: bool = False,
    ) -> None:
        self.answers = True
        self.name = name
        self.function = function
        self.signature = signature
        self.uploads = [
            Upload(position, ItemLoader(payloads.many_loader(item), payloads.loader(item)))
            for position, item in signature.uploads
        ]
        self.streams = signature.streaming or bool(signature.uploads)
        self.deadline = signature.deadline
        self.inline = not (signature.is_async or self.streams or self.deadline is not None)
        self.dump = payloads.dumper(signature.result)
        if self.deadline is not None:  # which is read by itself, since the other arguments may be large
            self._split = payloads.split_arguments
            self._load_seconds = payloads.loader(signature.parameters[self.deadline])
        if signature.variadic:
            self._load = payloads.variadic_loader(*signature.variadic)
        else:
            self._load = payloads.arguments_loader(signature.parameters, signature.required, extra=extra)

    def load(self, arguments: Raw) -> list[Any]:
        """Decode a call's arguments.

        Raises:
            BindingError: Their number or their types do not fit.
        """
        loaded = self._load(arguments)
        if self.deadline is not None and self.deadline < len(loaded):
            seconds = loaded[self.deadline]
            if seconds is not None and not _lasts(seconds):
                raise BindingError("A deadline is a number of seconds from 0 on.")
        return loaded

    def seconds(self, arguments: Raw) -> float:
        """How long a call with these may take; what is wrong with them is told when they are loaded."""
        assert self.deadline is not None
        try:
            given = self._split(arguments)
            seconds = self._load_seconds(given[self.deadline]) if self.deadline < len(given) else None
        except BindingError:
            return inf
        return float(seconds) if seconds is not None and _lasts(seconds) else inf


def _lasts(seconds: float) -> bool:
    return seconds >= 0 and isfinite(seconds)
