"""What the server can call on a client: handlers by name, several for one name, in the order they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..calls.children import Children
from ..calls.methods import Method, Signature
from ..calls.refusals import Refusal
from ..protocol.payloads import Payloads
from .texts import refused


class Handlers:
    """The handlers of one connection.

    Args:
        payloads: Decodes their arguments.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._methods: dict[str, list[Method]] = {}

    def add(self, name: str, handler: Callable[..., Any]) -> Callable[[], None]:
        """Add a handler; gives what removes it again."""
        signature = Signature.of(handler)
        if signature.streaming or signature.uploads:
            raise TypeError(f"the handler of '{name}' streams, which the server cannot call")
        methods = self._methods.setdefault(name, [])
        method = Method(name, handler, signature, self._payloads)
        methods.append(method)

        def remove() -> None:
            if method in methods:
                methods.remove(method)

        return remove

    # ---- what the server's calls see

    def find(self, target: str) -> Sequence[Method]:
        return tuple(self._methods.get(target, ()))

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        return method.function

    def text(self, refusal: Refusal) -> str:
        return refused(refusal)
