"""Typed proxies: an interface says what can be called of a peer, and each call is held to it.

All that the interface says is found out once, when the proxy's class is made; what cannot be called over the wire is
an error there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import FunctionType, NoneType
from typing import Any, Protocol, TypeVar, cast

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


def typed_proxy(interface: type[T]) -> Callable[[UntypedProxy], T]:
    """Make the class of proxies that an interface describes.

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
    if not inspect.isclass(interface):
        raise TypeError(f"a client's interface is a class, which {interface!r} is not")
    names: dict[str, str] = {}  # lower-case wire names, each with its method
    methods: dict[str, Any] = {}
    for attribute in dir(interface):
        if attribute.startswith("_"):
            continue
        here = f"{interface.__qualname__}.{attribute}"
        function = inspect.getattr_static(interface, attribute)
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{here} is no method of a client: write it as 'async def'")
        name = wire_name(interface, attribute)
        other = names.setdefault(name.lower(), attribute)
        if other != attribute:
            raise TypeError(
                f"{here} and .{other} both call the client's '{name}': rename one, or give it a name with @hub_method"
            )
        methods[attribute] = _method(here, name, function)

    def wrap(self: Any, proxy: UntypedProxy) -> None:
        self._proxy = proxy

    members = {"__slots__": ("_proxy",), "__init__": wrap, "__doc__": interface.__doc__, **methods}
    return cast("Callable[[UntypedProxy], T]", type(interface.__name__, (), members))


def _method(here: str, name: str, function: FunctionType) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A method of the proxy's class; a call with the wrong arguments raises before it is awaited."""
    try:
        whole = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, SyntaxError) as error:
        raise TypeError(f"{here}: an annotation cannot be resolved: {error}") from error
    for parameter in whole.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(
                f"{here}: arguments go by position, one for each parameter, so there is no place for '{parameter}'"
            )
    result = whole.return_annotation
    if result is whole.empty:
        raise TypeError(
            f"{here} does not say what it returns: '-> None' to send it, or the type of the client's result to "
            f"wait for it"
        )
    signature = whole.replace(parameters=list(whole.parameters.values())[1:])
    count = len(signature.parameters)

    def positional(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        if len(args) == count and not named:
            return args
        try:
            bound = signature.bind(*args, **named)
        except TypeError as error:
            raise TypeError(f"{here}: {error}") from None
        bound.apply_defaults()
        return bound.args

    if result is None or result is NoneType:

        def send(self: Any, *args: Any, **named: Any) -> Coroutine[Any, Any, None]:
            sending: Coroutine[Any, Any, None] = self._proxy.send(name, *positional(args, named))
            return sending

        return functools.update_wrapper(send, function)

    def invoke(self: Any, *args: Any, **named: Any) -> Coroutine[Any, Any, Any]:
        invoking: Coroutine[Any, Any, Any] = self._proxy.invoke(
            name, *positional(args, named), result_type=result
        )
        return invoking

    return functools.update_wrapper(invoke, function)
