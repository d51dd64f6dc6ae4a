"""A client's credentials are renewed before they expire, while the connection goes on (ASP.NET Core 11).

The renewal asks the server that the user named, with a token of the user's that is fresh; whatever comes of it,
the connection stays, and a refusal changes nothing. One that fails is tried again while the old credentials hold,
each time after half of what is left of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ...errors import ConnectionFailed
from ...logs import get_logger
from ...protocol.negotiate import parse_refresh
from ...tasks import open_background
from .negotiation import ConnectTarget
from .requests import Grant, Requests
from .urls import is_header_text, origin_of, with_query

logger = get_logger(__name__)

SHORTEST_WAIT = 0.5
"""Seconds: half of the shortest lifetime that servers tell, which is a second."""
LONGEST_WAIT = 2**31 / 1000
"""Seconds, which are some 24 days."""
TIMEOUT = 100.0
"""Seconds that the server has for its answer."""


@asynccontextmanager
async def refreshing(requests: Requests, target: ConnectTarget) -> AsyncGenerator[None]:
    """Renew the credentials for the body, where the server says when they expire and there can be others."""
    before = requests.options.refresh_before_expiration
    if before is None or target.token_lifetime is None or not requests.tokens.renewable:
        yield
        return
    async with open_background() as nursery:
        nursery.start_soon(_keep_fresh, requests, target, target.token_lifetime, before)
        yield


async def _keep_fresh(requests: Requests, target: ConnectTarget, lifetime: float, before: float) -> None:
    known: float | None = lifetime
    while known is not None:
        known = min(known, before + LONGEST_WAIT)  # it may be too large for a float
        expire = trio.current_time() + known
        wait = known / 2 if known <= 2 * before else known - before
        await trio.sleep(min(LONGEST_WAIT, max(SHORTEST_WAIT, wait)))
        known = await _refresh_until(expire, requests, target)


async def _refresh_until(expire: float, requests: Requests, target: ConnectTarget) -> float | None:
    """Refresh, if need be more than once until the old credentials expire; gives what :func:`refresh` does."""
    while True:
        try:
            return await refresh(requests, target)
        except ConnectionFailed as error:
            logger.warning("connection %s: its credentials were not renewed: %s", target.connection_id, error)
            left = expire - trio.current_time()
            if not error.retriable or left < 2 * SHORTEST_WAIT:
                return None
        await trio.sleep(left / 2)


async def refresh(requests: Requests, target: ConnectTarget) -> float | None:
    """Send the server a fresh token. A checkpoint.

    Returns:
        Seconds until it expires, if the server said so.

    Raises:
        ConnectionFailed: The server did not accept it, or there is none.
    """
    token = await requests.tokens.next()
    url = with_query(requests.url, "/refresh", id=target.connection_token)
    body = None
    with trio.move_on_after(TIMEOUT):
        answer = await requests.send("POST", url, grant=Grant(token or "", origin_of(url)))
        if not answer.response.is_success:
            raise await answer.failure()
        body = await answer.read()
    if body is None:
        raise ConnectionFailed(f"it did not answer within {TIMEOUT:g} s")
    document = parse_refresh(body)
    given = document.access_token if is_header_text(document.access_token) else ""
    if target.grant is None:
        requests.tokens.use(given or token)
    elif given:
        target.grant.token = given
    return document.token_lifetime
