"""What an app offers: what answers at each of its paths, and the hubs and endpoints among that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..connections.server.endpoint import Endpoint
from ..connections.server.exchange import Route
from ..connections.server.resource import Handler, Resource
from ..connections.server.router import FixedPlace, Pattern, Router
from .hub import Hub
from .served_hub import ServedHub


class Site:
    """The paths of an app.

    Args:
        app: The app.

    Attributes:
        router: What answers requests, for whatever brings them.
        endpoints: Those of its routes that make connections.
        hubs: What handles the connections of some of these, each with its class.
        closed: Whether nothing can be added, as the app is being served.
    """

    def __init__(self, app: object) -> None:
        self.router = Router(app)
        self.endpoints: list[Endpoint] = []
        self.hubs: list[tuple[type[Hub[Any]], ServedHub]] = []
        self.closed = False

    def add(self, routes: Mapping[str, Route]) -> None:
        """Offer routes at their paths.

        Raises:
            RuntimeError: The app is being served.
            ValueError: Something is at a path already, or it is none.
        """
        self._check_open()
        self.router.add({path: FixedPlace(route) for path, route in routes.items()})

    def add_endpoint(self, path: str, endpoint: Endpoint) -> None:
        """Offer connections at a path, and what they need below it; raises as :meth:`add` does, or for a pattern."""
        if set(path) & set("{}?"):
            raise ValueError(
                f"the path of a hub is matched as it is: '{path}' has braces or a query, which mean nothing"
            )
        self.add(endpoint.routes(path))
        self.endpoints.append(endpoint)

    def add_handler(self, pattern: Pattern, methods: Collection[str], handler: Handler) -> None:
        """Offer a handler of some methods at a path, where others may be; raises as :meth:`add` and its resource do."""
        self._check_open()
        place = self.router.get(pattern)
        resource = place if isinstance(place, Resource) else Resource(pattern.path)
        resource.add(methods, handler)
        if place is not resource:
            self.router.add({pattern.path: resource})

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("add everything before the app is served")
