"""Who may come in at a path: known, allowed, and from no foreign page, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from ...logs import get_logger
from ..http import Request, Response
from ..users import Authenticate, Policy, User, meets, resolve
from .exchange import RouteAnswer, Upgrade
from .origins import REFUSAL, Origins

logger = get_logger(__name__)

UNAUTHORIZED = Response(status=401, headers={"WWW-Authenticate": "Bearer"})
"""What nobody gets where a user is needed."""


class Gate:
    """Lets requests in.

    Args:
        origins: From where pages may make them.
        authenticate: Finds out who makes a request, where what brought it does not know.
        policies: What users must meet; where there are any, nobody else comes in.
    """

    def __init__(
        self, origins: Origins, authenticate: Authenticate | None, policies: Sequence[Policy]
    ) -> None:
        self._origins = origins
        self._authenticate = authenticate
        self._policies = policies

    async def answer(
        self,
        request: Request,
        methods: str,
        answer: Callable[[Request, User | None], RouteAnswer | Awaitable[RouteAnswer]],
    ) -> RouteAnswer:
        """RouteAnswer a request, or have it answered when it may come in.

        Args:
            request: The request.
            methods: What may be asked here, for browsers that want to know beforehand.
            answer: Called with the request and its user, if it is somebody; may be async.
        """
        headers = self._origins.headers(request)
        if headers is None:
            logger.warning(
                "%s refused: it comes from %r, which is not among allowed_origins; add it there if it may come in, "
                "be it a page's or a program's",
                request.path,
                self._origins.page_of(request),
            )
            return REFUSAL
        given: RouteAnswer | None = self._origins.preflight(request, methods) if headers else None
        if given is None:
            given = await self._admit(request, answer)
        if isinstance(given, Upgrade):  # which is no matter of the Fetch standard's
            return given
        return attrs.evolve(given, headers={**given.headers, **headers})

    async def _admit(
        self, request: Request, answer: Callable[[Request, User | None], RouteAnswer | Awaitable[RouteAnswer]]
    ) -> RouteAnswer:
        user = request.user
        if user is None and self._authenticate is not None:
            user = await resolve(self._authenticate(request))
        if user is not None and user.lifetime is not None and user.lifetime <= 0:
            user = None
        if self._policies:
            if user is None:
                return UNAUTHORIZED
            if not await meets(user, self._policies):
                return Response(status=403)
        return await resolve(answer(request, user))
