"""The app: hubs and plain routes at their paths, and the server that offers them on one port."""

from __future__ import annotations

import inspect
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping

import trio

from ..calls.heartbeat import beat, period_for
from ..connections.direct_socket import DirectSocketStream
from ..connections.endpoint import Endpoint
from ..connections.http import Request, Response
from ..connections.http_server import HttpServer, Route
from .hub import Hub
from .hub_endpoint import HubEndpoint
from .options import HubOptions

logger = logging.getLogger(__name__)


class HubApp:
    """Hubs and routes, to be served on one port.

    Example:
        ::

            app = HubApp()
            app.add_hub("/chat", Chat)
            trio.run(app.serve, "127.0.0.1", 8000)
    """

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._hubs: list[HubEndpoint] = []

    def add_hub(
        self,
        path: str,
        hub: type[Hub],
        *,
        factory: Callable[[], Hub] | None = None,
        options: HubOptions | None = None,
    ) -> None:
        """Offer a hub at a path, and its negotiation at ``{path}/negotiate``.

        Args:
            path: Where clients connect, such as ``/chat``.
            hub: The hub's class.
            factory: Makes the instance for each invocation, where the class needs arguments.
            options: The hub's options; the defaults by default.

        Raises:
            ValueError: Something is at the path already, or it does not start with a slash.
            TypeError: The hub's methods cannot be called by clients as they are; says which and why.
        """
        if factory is None:
            try:
                inspect.signature(hub).bind()
            except TypeError as error:
                raise TypeError(f"{hub.__qualname__} cannot be made: {error}; give a factory") from error
        endpoint = HubEndpoint(hub, factory or hub, options or HubOptions())
        transports = Endpoint(
            endpoint.handle,
            maximum_unused=endpoint.options.maximum_negotiated,
            unused_timeout=endpoint.options.negotiation_timeout,
        )
        self._add({path: transports.connect, path.rstrip("/") + "/negotiate": transports.negotiate})
        self._hubs.append(endpoint)

    def add_route(self, path: str, handler: Callable[[Request], Response | Awaitable[Response]]) -> None:
        """Answer plain HTTP requests at a path, of any method.

        Args:
            path: The exact path, such as ``/health``.
            handler: Called with each request; may be async. When it raises, the answer has status 500.

        Raises:
            ValueError: Something is at the path already, or it does not start with a slash.
        """

        async def answer(request: Request) -> Response:
            response = handler(request)
            return await response if inspect.isawaitable(response) else response

        self._add({path: answer})

    def _add(self, routes: Mapping[str, Route]) -> None:
        for path in routes:
            if not path.startswith("/"):
                raise ValueError(f"a path starts with '/', which '{path}' does not")
            if path in self._routes:
                raise ValueError(f"there is something at '{path}' already")
        self._routes.update(routes)

    async def serve(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled.

        Cancelling shuts down in order: connections are told, their invocations are cancelled and awaited, hubs hear
        of each disconnection, and every task ends.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.
            ssl_context: Serve ``https`` and ``wss`` with it.
            task_status: Its started value is the address really bound, such as ``http://127.0.0.1:8000``.

        Raises:
            OSError: The address cannot be bound.
        """
        server = HttpServer(self._routes)
        listeners = await trio.open_tcp_listeners(port, host=host)
        bound = listeners[0].socket.getsockname()
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        address = f"{'https' if ssl_context else 'http'}://{name}:{bound[1]}"

        async def handle(stream: trio.SocketStream) -> None:
            if ssl_context is None:
                await server.serve_stream(DirectSocketStream(stream))
            else:
                await server.serve_stream(
                    trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
                )

        async with trio.open_nursery() as nursery:
            for hub in self._hubs:
                options = hub.options
                period = period_for(options.keep_alive_interval, options.client_timeout, options.send_timeout)
                nursery.start_soon(beat, hub.roster.sessions.values, period)
            await nursery.start(trio.serve_listeners, handle, listeners)
            logger.info("listening on %s", address)
            task_status.started(address)
