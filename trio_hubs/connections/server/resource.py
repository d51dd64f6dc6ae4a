"""Plain requests at a path: a handler for each method, behind the same gate as hubs.

A GET's handler answers HEAD, too; OPTIONS, and methods that nobody handles, are answered here with what there is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, TypeAlias, cast

import attrs
import msgspec

from ...errors import BadRequest
from ...logs import get_logger
from ..http import Request, Response
from ..users import User, resolve
from .exchange import MAXIMUM_BODY_SIZE, Route, RouteAnswer, nothing_at
from .files import FileResponse
from .gate import Gate
from .router import Pattern
from .streamed import StreamedResponse

logger = get_logger(__name__)

AnyResponse: TypeAlias = Response | StreamedResponse | FileResponse
"""What a handler of a route gives."""
RouteHandler: TypeAlias = Callable[..., AnyResponse | Awaitable[AnyResponse]]
"""Answers requests; called with each, and with the parameters of its path by their names. May be async."""

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]*")
_OURS = ("OPTIONS", "CONNECT")


@attrs.frozen
class _Parameter:
    """A parameter of a path.

    Attributes:
        name: The handler's name for it.
        kind: What the handler takes.
        whole: Whether it is all the rest of the path, in which an encoded slash stays as it is.
    """

    name: str
    kind: Any
    whole: bool

    def value(self, text: str) -> Any:
        """What the handler gets.

        Raises:
            msgspec.ValidationError: The text stands for no such thing.
        """
        text = text if self.whole else text.replace("%2F", "/")
        return text if self.kind is str else msgspec.convert(text, self.kind, strict=False)


class Handler:
    """One handler of a path.

    Args:
        call: The handler.
        pattern: The path.
        gate: Who may come in.
        hall: The same for those who only ask what there is.
        maximum_body_size: Bytes of a request's body; above it the answer is 413.

    Raises:
        TypeError: It cannot be called with the path's parameters, or they cannot be of the types that it says.
        ValueError: ``maximum_body_size`` is below 0.
    """

    def __init__(
        self,
        call: RouteHandler,
        pattern: Pattern,
        *,
        gate: Gate,
        hall: Gate,
        maximum_body_size: int = MAXIMUM_BODY_SIZE,
    ) -> None:
        if not callable(call):
            raise TypeError(f"a route's handler is called with each request, which {call!r} cannot be")
        if maximum_body_size < 0:
            raise ValueError(f"maximum_body_size must not be below 0: {maximum_body_size}")
        self.hall = hall
        self._gate = gate
        self._call = call
        self._parameters = _parameters(call, pattern)
        self._maximum_body_size = maximum_body_size

    def route(self, values: tuple[str, ...]) -> Route:
        """What answers, given what the parameters stand for."""
        return Route(partial(self._answer, values), maximum_body_size=self._maximum_body_size)

    async def _answer(self, values: tuple[str, ...], request: Request) -> RouteAnswer:
        return await self._gate.answer(request, request.method, partial(self._respond, values))

    async def _respond(self, values: tuple[str, ...], request: Request, _: User | None) -> RouteAnswer:
        try:
            arguments = {
                parameter.name: parameter.value(text)
                for parameter, text in zip(self._parameters, values, strict=True)
            }
        except msgspec.ValidationError:
            return nothing_at(request)
        try:
            given: AnyResponse = await resolve(self._call(request, **arguments))
        except BadRequest as error:
            logger.info("%s %s was refused: %s", request.method, request.path, error)
            return Response(str(error), status=400)
        if isinstance(given, Response):
            return given
        if not isinstance(cast("object", given), StreamedResponse | FileResponse):
            raise TypeError(
                f"the handler of '{request.path}' gave a {type(given).__qualname__}: give a Response, such as "
                "Response.json(...)"
            )
        return given.deferred(request)


def _parameters(call: RouteHandler, pattern: Pattern) -> list[_Parameter]:
    try:
        signature = inspect.signature(call, eval_str=bool(pattern.names))
        signature.bind(None, **dict.fromkeys(pattern.names))
    except (NameError, TypeError, ValueError) as error:
        names = f", and with {', '.join(pattern.names)} by name" if pattern.names else ""
        raise TypeError(
            f"the handler of '{pattern.path}' cannot be called with the request{names}: {error}"
        ) from error
    widths = [width for width in pattern.widths if width]
    parameters = []
    for name, width in zip(pattern.names, widths, strict=True):
        known = signature.parameters.get(name)
        kind = str if known is None or known.annotation is known.empty else known.annotation
        parameters.append(_Parameter(name, kind, width == 2))
        try:
            parameters[-1].value("")  # whose class says whether anything can be read so
        except msgspec.ValidationError:
            pass
        except TypeError as error:
            raise TypeError(f"'{name}' of '{pattern.path}' cannot be read as {kind}: {error}") from error
    return parameters


class Resource:
    """A path, with its handlers.

    Args:
        path: The path.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._handlers: dict[str, Handler] = {}

    def add(self, methods: Collection[str], handler: Handler) -> None:
        """Have a handler answer some methods.

        Raises:
            TypeError: The methods are one text.
            ValueError: There is none, one is handled already, or is answered without a handler.
        """
        if isinstance(methods, str):
            raise TypeError(f"methods is a collection of methods, such as ['{methods}'], not one")
        chosen = [method.upper() for method in methods]
        if not chosen:
            raise ValueError(f"the handler of '{self._path}' has no methods")
        for method in chosen:
            if not _METHOD.fullmatch(method) or method in _OURS:
                raise ValueError(f"'{method}' is no method that a handler can have")
            if method in self._handlers:
                raise ValueError(f"there is something at '{self._path}' already, for {method}")
        self._handlers |= dict.fromkeys(chosen, handler)

    def find(self, request: Request, values: tuple[str, ...]) -> Route:
        """What answers a request."""
        handler = self._handlers.get(request.method)
        if handler is None and request.method == "HEAD":
            handler = self._handlers.get("GET")
        return Route(self._tell) if handler is None else handler.route(values)

    @property
    def _methods(self) -> str:
        head = ["HEAD"] if "GET" in self._handlers and "HEAD" not in self._handlers else []
        return ", ".join([*self._handlers, *head, "OPTIONS"])

    async def _tell(self, request: Request) -> RouteAnswer:
        """Answer a request that no handler is there for with what there is."""
        wanted = request.headers.get("access-control-request-method", "").upper()
        handler = self._handlers.get(wanted) or next(iter(self._handlers.values()))
        return await handler.hall.answer(request, self._methods, self._allow)

    def _allow(self, request: Request, _: User | None) -> Response:
        return Response(status=204 if request.method == "OPTIONS" else 405, headers={"Allow": self._methods})
