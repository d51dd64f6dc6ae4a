"""What the server can call on a client: handlers by name, several for one name, in the order they came.

All handlers of a name run, and the result of one of them answers a server that waits: that of the handler whose
annotation says that it gives one, else of the first without an annotation, else ``None`` of the first.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from msgspec import Raw

from ..calls.answers import Face
from ..calls.children import Children
from ..calls.methods import Method, Signature
from ..calls.names import wire_name
from ..calls.observer import Observer, Observers
from ..calls.refusals import Refusal
from ..protocol.payloads import Payloads
from . import texts
from .messages import MessageReaders

_METHODS = (FunctionType, classmethod, staticmethod, functools.partialmethod, type(functools.lru_cache(len)))


class Handlers(Face):
    """The handlers of one connection.

    Args:
        payloads: Decodes their arguments.
        ignore_extra_arguments: Whether a call may have more of them than its handler takes.
        observers: Who hears of the server's calls.

    Attributes:
        readers: What reads calls instead.
    """

    def __init__(
        self,
        payloads: Payloads,
        *,
        ignore_extra_arguments: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.observers = Observers(observers)
        self._payloads = payloads
        self._extra = ignore_extra_arguments
        self._methods: dict[str, list[Method]] = {}
        self.readers = MessageReaders(payloads, ignore_extra_arguments=ignore_extra_arguments)

    def add(self, name: str, handler: Callable[..., Any]) -> Callable[[], None]:
        """Add a handler; gives what removes it again.

        Raises:
            TypeError: It streams, or an annotation cannot be resolved.
            ValueError: It gives a result, as another one of the same name does.
        """
        signature = Signature.of(handler)
        if signature.streaming or signature.uploads:
            raise TypeError(f"the handler of '{name}' streams, which the server cannot call")
        methods = self._methods.setdefault(name, [])
        if _promise(signature) == 2 and any(_promise(other.signature) == 2 for other in methods):
            raise ValueError(texts.two_results(name))
        method = Method(name, handler, signature, self._payloads, extra=self._extra)
        methods.append(method)
        _choose_answering(methods)

        def remove() -> None:
            if method in methods:
                methods.remove(method)
                _choose_answering(methods)

        return remove

    def add_all(self, handlers: object) -> None:
        """Add handlers by name, or the public methods of an object by the names that they have on the wire.

        Raises:
            TypeError: The object has no such methods; or as :meth:`add` raises it.
            ValueError: As :meth:`add` raises it.
        """
        for name, handler in handlers.items() if isinstance(handlers, Mapping) else _methods_of(handlers):
            self.add(name, handler)

    # ---- what the server's calls see

    def hear(self, target: str, arguments: Raw) -> bool:
        return self.readers.hear(target, arguments)

    def find(self, target: str) -> Sequence[Method]:
        return tuple(self._methods.get(target, ()))

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        return method.function

    def text(self, refusal: Refusal) -> str:
        return texts.refused(refusal)


def _promise(signature: Signature) -> int:
    """How surely a handler gives a result: its annotation says so (2), or not that it gives none (1)."""
    return 0 if signature.result is None else 1 if signature.result is Any else 2


def _choose_answering(methods: Sequence[Method]) -> None:
    """Have one of the methods answer, which is the first of those that promise the most."""
    best = max(methods, key=lambda method: _promise(method.signature), default=None)
    for method in methods:
        method.answers = method is best


def _methods_of(handlers: object) -> Iterable[tuple[str, Callable[..., Any]]]:
    kind = type(handlers)
    methods = [
        (wire_name(kind, attribute), getattr(handlers, attribute))
        for attribute in dir(kind)
        if not attribute.startswith("_") and isinstance(inspect.getattr_static(kind, attribute), _METHODS)
    ]
    if not methods or isinstance(handlers, type):
        raise TypeError(f"{handlers!r} has no methods to be handlers: give an object, or handlers by name")
    return methods
