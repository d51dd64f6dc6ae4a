"""What answers at a path: exact paths by one look-up, and behind them patterns, from the closest to the widest.

A pattern has parameters, each a whole segment of the path: ``{name}`` stands for any one that is not empty,
``{name:path}``, which comes last, for all the rest. So a match never has to try twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import attrs

from ..http import Request
from .exchange import Route
from .proxies import TrustedProxies

_PARAMETER = re.compile(r"\{([^\W\d]\w*)(:path)?\}")
_MATCHES = ("", "([^/]+)", "(.*)")  # of a segment, by how wide it is


class Place(Protocol):
    """What is at a path: it finds what answers a request, given what the parameters of the path stand for in it."""

    def find(self, request: Request, values: tuple[str, ...], /) -> Route: ...


@attrs.frozen
class FixedPlace:
    """One route for all that is asked for at a path.

    Attributes:
        route: The route.
    """

    route: Route

    def find(self, request: Request, values: tuple[str, ...]) -> Route:
        return self.route


@attrs.frozen
class Pattern:
    """A path with parameters.

    Attributes:
        path: As it was written.
        names: The parameters.
        widths: How much each segment may stand for: itself, any other one, or all the rest.
        expression: Matches paths.
    """

    path: str
    names: tuple[str, ...]
    widths: tuple[int, ...]
    expression: re.Pattern[str]

    @classmethod
    def parse(cls, path: str) -> Pattern:
        """Read a path as users write it.

        Raises:
            ValueError: It is no path, or its parameters are not as they have to be.
        """
        if not path.startswith("/"):
            raise ValueError(f"a path starts with '/', which '{path}' does not")
        if "?" in path:
            raise ValueError(f"a path has no query, as '{path}' has")
        names: list[str] = []
        widths: list[int] = []
        expressions: list[str] = []
        for segment in path.split("/")[1:]:
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None and set(segment) & set("{}"):
                raise ValueError(
                    f"a parameter is a whole segment, '{{name}}' or '{{name:path}}', unlike '{segment}'"
                )
            if 2 in widths:
                raise ValueError(f"nothing can come behind '{{{names[-1]}:path}}' in '{path}'")
            widths.append(0 if parameter is None else 2 if parameter[2] else 1)
            expressions.append(_MATCHES[widths[-1]] or re.escape(segment))
            if parameter is not None:
                names.append(parameter[1])
        if len(set(names)) < len(names):
            raise ValueError(f"two parameters of '{path}' have one name")
        return cls(path, tuple(names), tuple(widths), re.compile("/" + "/".join(expressions), re.DOTALL))


class Router:
    """The places of an app.

    Attributes:
        app: What requests are told to be their app.
        fallback: What answers where there is no place.
        proxies: Through which proxies requests are seen, if any.
    """

    def __init__(self, app: object = None) -> None:
        self.fallback: Route | None = None
        self.proxies: TrustedProxies | None = None
        self.app = app
        self._exact: dict[str, Place] = {}
        self._patterns: list[tuple[Pattern, Place]] = []

    def add(self, places: Mapping[str, Place]) -> None:
        """Have places at paths, all of them or none.

        Raises:
            ValueError: One is no path, or something is there already.
        """
        patterns = [(Pattern.parse(path), place) for path, place in places.items()]
        for pattern, _ in patterns:
            if self.get(pattern) is not None:
                raise ValueError(f"there is something at '{pattern.path}' already")
        for pattern, place in patterns:
            if pattern.names:
                self._patterns.append((pattern, place))
            else:
                self._exact[pattern.path] = place
        self._patterns.sort(key=lambda each: each[0].widths)

    def get(self, pattern: Pattern) -> Place | None:
        """What is at a path, or at one that matches the same."""
        if not pattern.names:
            return self._exact.get(pattern.path)
        return next(
            (place for known, place in self._patterns if known.expression == pattern.expression), None
        )

    def find(self, request: Request) -> tuple[Request, Route | None]:
        """What answers a request, if anything does; and the request, as it is to be answered."""
        if request.app is not self.app:
            request = attrs.evolve(request, app=self.app)
        if self.proxies is not None:
            request = self.proxies.look_through(request)
        place = self._exact.get(request.path)
        if place is not None:
            return request, place.find(request, ())
        for pattern, place in self._patterns:
            if match := pattern.expression.fullmatch(request.path):
                return request, place.find(request, match.groups())
        return request, self.fallback
