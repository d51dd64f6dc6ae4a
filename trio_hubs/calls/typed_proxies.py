"""Typed proxies: an interface says what can be called of a peer, and each call is held to it.

All that the interface says is found out once, when the proxy's class is made; what cannot be called over the wire is
an error there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Sequence
from types import FunctionType, NoneType
from typing import Any, Protocol, TypeAlias, TypeVar, cast, get_origin

from .methods import Deadline, Signature, time_left, without_none
from .names import wire_name

T = TypeVar("T")


class UntypedProxy(Protocol):
    """Calls one peer, or many, by the wire names of their methods."""

    async def send(self, method: str, /, *args: Any) -> None:
        """Call a method without waiting for it."""
        ...

    async def invoke(self, method: str, /, *args: Any, result_type: Any = Any) -> Any:
        """Call a method and wait for its result."""
        ...


class UntypedHub(UntypedProxy, Protocol):
    """Calls a hub by the wire names of its methods."""

    def iterate(self, method: str, args: Sequence[Any], item_type: Any, /) -> AsyncGenerator[Any]:
        """Call a streaming method, and iterate over its items."""
        ...


def client_proxy(interface: type[T]) -> Callable[[UntypedProxy], T]:
    """Make the class of proxies of a client that offers an interface.

    The interface is a class, best a :class:`typing.Protocol`, and each of its public methods, inherited ones
    included, is one of the peer's: ``receive_message`` calls ``ReceiveMessage``, or what ``@hub_method`` names.
    A method annotated ``-> None`` is sent, without waiting for the peer; one annotated with another type
    waits for the peer's result of that type, which only a proxy of one peer can.

    Arguments are taken as Python takes them, by position or by name, and the interface's defaults are filled in: the
    peer always gets the value of each parameter, in the interface's order. A method's body never runs.

    Args:
        interface: What the peer offers.

    Returns:
        What wraps an untyped proxy in a typed one.

    Raises:
        TypeError: The interface has something that cannot be called of a peer; says what and why.
    """
    return cast("Callable[[UntypedProxy], T]", _proxy_class(interface, "client", _method_of_client))


def hub_proxy(interface: Any) -> Callable[[UntypedHub], Any]:
    """Make the class of proxies of a hub that offers an interface; as :func:`client_proxy`, with these differences.

    Every method waits for its end, ``-> None``, too. One that gives an ``AsyncIterator``, ``AsyncIterable`` or
    ``AsyncGenerator`` streams. A parameter of such a type is an upload, and one of the type :data:`Deadline` is told
    what time the caller's scopes have left, unless the caller gives another.
    """
    return cast("Callable[[UntypedHub], Any]", _proxy_class(interface, "hub", _method_of_hub))


_Make: TypeAlias = Callable[[type, str, str, Any], Callable[..., Any]]


def _proxy_class(interface: Any, peer: str, make: _Make) -> type:
    if not inspect.isclass(interface):
        raise TypeError(f"a {peer}'s interface is a class, which {interface!r} is not")
    names: dict[str, str] = {}  # lower-case wire names, each with its method
    methods: dict[str, Any] = {}
    for attribute in dir(interface):
        if attribute.startswith("_"):
            continue
        here = f"{interface.__qualname__}.{attribute}"
        function = inspect.getattr_static(interface, attribute)
        name = wire_name(interface, attribute)
        methods[attribute] = make(interface, here, name, function)
        other = names.setdefault(name.lower(), attribute)
        if other != attribute:
            raise TypeError(
                f"{here} and .{other} both call the {peer}'s '{name}': rename one, or give it a name with @hub_method"
            )

    def wrap(self: Any, proxy: UntypedProxy) -> None:
        self._proxy = proxy

    members = {"__slots__": ("_proxy",), "__init__": wrap, "__doc__": interface.__doc__, **methods}
    return type(interface.__name__, (), members)


class _Arguments:
    """Puts the arguments of a call in their order; wrong ones raise before the call is awaited."""

    def __init__(self, here: str, function: FunctionType) -> None:
        whole = _signature(here, function)
        self._here = here
        self._signature = whole.replace(parameters=list(whole.parameters.values())[1:])
        self._count = len(self._signature.parameters)

    def __call__(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        if len(args) == self._count and not named:
            return args
        try:
            bound = self._signature.bind(*args, **named)
        except TypeError as error:
            raise TypeError(f"{self._here}: {error}") from None
        bound.apply_defaults()
        return bound.args


def _signature(here: str, function: FunctionType) -> inspect.Signature:
    try:
        whole = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, SyntaxError) as error:
        raise TypeError(f"{here}: an annotation cannot be resolved: {error}") from error
    for parameter in whole.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(
                f"{here}: arguments go by position, one for each parameter, so there is no place for '{parameter}'"
            )
    if whole.return_annotation is whole.empty:
        raise TypeError(
            f"{here} does not say what it returns: '-> None' when that is nothing, or the type of its result"
        )
    return whole


def _method_of_client(
    _: type, here: str, name: str, function: Any
) -> Callable[..., Coroutine[Any, Any, Any]]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{here} is no method of a client: write it as 'async def'")
    positional = _Arguments(here, function)
    result = _signature(here, function).return_annotation
    if result is not None and result is not NoneType:
        return _invoking(name, function, positional, result)

    def send(self: Any, *args: Any, **named: Any) -> Coroutine[Any, Any, None]:
        sending: Coroutine[Any, Any, None] = self._proxy.send(name, *positional(args, named))
        return sending

    return functools.update_wrapper(send, function)


def _method_of_hub(interface: type, here: str, name: str, function: Any) -> Callable[..., Any]:
    if not inspect.isfunction(function):
        raise TypeError(f"{here} is no method of a hub")
    whole = _signature(here, function)
    annotations = [parameter.annotation for parameter in whole.parameters.values()][1:]
    deadlines = [at for at, annotation in enumerate(annotations) if without_none(annotation) is Deadline]
    arguments = _Arguments(here, function)

    def positional(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        ordered = arguments(args, named)
        for at in deadlines:
            if ordered[at] is None:
                ordered = (*ordered[:at], time_left(), *ordered[at + 1 :])
        return ordered

    signature = Signature.of(function, skip=1, owner=interface)
    if not signature.streaming:
        if not signature.is_async:
            raise TypeError(
                f"{here} is no method of a hub: write it as 'async def', or have it give an AsyncIterator"
            )
        return _invoking(name, function, positional, signature.result)
    if get_origin(whole.return_annotation) not in _ITERATORS:
        raise TypeError(f"{here} streams, which is written as a method that gives an AsyncIterator")

    def iterate(self: Any, *args: Any, **named: Any) -> AsyncGenerator[Any]:
        items: AsyncGenerator[Any] = self._proxy.iterate(name, positional(args, named), signature.result)
        return items

    return functools.update_wrapper(iterate, function)


_ITERATORS = (AsyncIterator, AsyncIterable, AsyncGenerator)


def _invoking(
    name: str,
    function: Any,
    positional: Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]],
    result: Any,
) -> Callable[..., Coroutine[Any, Any, Any]]:
    def invoke(self: Any, *args: Any, **named: Any) -> Coroutine[Any, Any, Any]:
        invoking: Coroutine[Any, Any, Any] = self._proxy.invoke(
            name, *positional(args, named), result_type=result
        )
        return invoking

    return functools.update_wrapper(invoke, function)
