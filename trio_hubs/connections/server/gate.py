"""Who may come in at a path: known, allowed, and from no foreign page, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from ...logs import get_logger
from ..http import Headers, Request, Response
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
        answer_headers: Gives further headers of each answer, but to foreign pages.
    """

    def __init__(
        self,
        origins: Origins,
        authenticate: Authenticate | None = None,
        policies: Sequence[Policy] = (),
        *,
        answer_headers: Callable[[Request], Headers] | None = None,
    ) -> None:
        self._answer_headers = answer_headers
        self._origins = origins
        self._authenticate = authenticate
        self._policies = policies

    async def answer(
        self,
        request: Request,
        methods: str,
        answer: Callable[[Request, User | None], RouteAnswer | Awaitable[RouteAnswer]],
    ) -> RouteAnswer:
        """Answer a request, or have it answered when it may come in.

        Args:
            request: The request.
            methods: What may be asked here, for browsers that want to know beforehand.
            answer: Called with the request and its user, if it is somebody; may be async.
        """
        cross = self._origins.headers(request)
        if cross is None:
            logger.warning(
                "%s refused: it comes from %r, which is not among allowed_origins; add it there if it may come in, "
                "be it a page's or a program's",
                request.path,
                self._origins.page_of(request),
            )
            return REFUSAL
        given: RouteAnswer | None = self._origins.preflight(request, methods) if cross else None
        if given is None:
            given = await self._admit(request, answer)
        # An acceptance is no matter of the Fetch standard's.
        headers: Headers = {} if isinstance(given, Upgrade) else cross
        if self._answer_headers is not None:
            headers = {**headers, **self._answer_headers(request)}
        return attrs.evolve(given, headers={**given.headers, **headers}) if headers else given

    async def _admit(
        self, request: Request, answer: Callable[[Request, User | None], RouteAnswer | Awaitable[RouteAnswer]]
    ) -> RouteAnswer:
        user = request.user
        if user is None and self._authenticate is not None:
            user = await resolve(self._authenticate(request))
        kind: type = type(user)
        if user is not None and not issubclass(kind, User):  # whatever the types say
            raise TypeError(f"who makes a request is a User or None, which a {kind.__qualname__} is not")
        if user is not None and user.lifetime is not None and user.lifetime <= 0:
            user = None
        if self._policies:
            if user is None:
                return UNAUTHORIZED
            if not await meets(user, self._policies):
                return Response(status=403)
        if user is not request.user:
            request = attrs.evolve(request, user=user)
        return await resolve(answer(request, user))
