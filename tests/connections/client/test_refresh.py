"""Credentials are renewed in time, at the user's own server, and nothing ends with a refusal."""

import logging
from typing import Any

import attrs
import httpx2
import pytest
import trio
from trio.testing import MockClock

from trio_hubs import ConnectionFailed, TokenReason
from trio_hubs.connections.client.refresh import TIMEOUT, refresh, refreshing
from trio_hubs.connections.client.requests import Grant

from .http_answers import TARGET, open_requests

TARGET_WITH_TOKEN = attrs.evolve(TARGET, connection_token="a b")


class Source:
    """Gives the tokens t1, t2 and so on, and keeps when and why."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, TokenReason]] = []

    def __call__(self, reason: TokenReason) -> str:
        self.asked.append((trio.current_time(), reason))
        return f"t{len(self.asked)}"


@pytest.mark.parametrize(
    ("lifetimes", "times"),
    [
        ([1000.0, 1000.0, None], [700, 1400]),
        ([100.0, 600.0, None], [50, 350]),
        ([601.0, None], [301]),
        ([10.0**9, None], [2**31 / 1000]),
        ([10**400, 10**400, None], [2**31 / 1000, 2 * (2**31 / 1000)]),
        ([1e-9, 1e-9, None], [0.5, 1.0]),
        ([None], []),
    ],
)
async def test_when_it_is_done(
    autojump_clock: MockClock, lifetimes: list[float | None], times: list[float]
) -> None:
    source, later = Source(), lifetimes[1:]

    def answer(_: httpx2.Request) -> httpx2.Response:
        lifetime = later.pop(0)
        return httpx2.Response(200, json={} if lifetime is None else {"tokenLifetimeSeconds": lifetime})

    async with open_requests(answer, access_token=source) as (requests, made):
        async with refreshing(requests, attrs.evolve(TARGET_WITH_TOKEN, token_lifetime=lifetimes[0])):
            await trio.sleep(10**8)
        assert source.asked == [(time, TokenReason.EXPIRING) for time in times]
        assert len(made) == len(times)


@pytest.mark.parametrize("choice", [{"access_token": "still"}, {"refresh_before_expiration": None}])
async def test_where_it_is_not_done(autojump_clock: MockClock, choice: dict[str, Any]) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise AssertionError

    target = attrs.evolve(TARGET_WITH_TOKEN, token_lifetime=10.0)
    chosen: dict[str, Any] = {"access_token": Source()}
    async with (
        open_requests(answer, **(chosen | choice)) as (requests, _),
        refreshing(requests, target),
    ):
        await trio.sleep(1000)


@pytest.mark.parametrize("given", [None, "given"])
@pytest.mark.parametrize("granted", [False, True])
async def test_a_fresh_token_goes_to_the_users_server_and_counts_when_it_is_accepted(
    given: str | None, granted: bool
) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"accessToken": given} if given else {})

    grant = Grant("granted", ("https", "other", 443)) if granted else None
    target = attrs.evolve(TARGET_WITH_TOKEN, grant=grant, url="https://other/hub?id=token")
    url = "http://server/hub?q=1"
    async with open_requests(answer, url, access_token=Source(), headers={"X-Who": "me"}) as (requests, made):
        assert await requests.tokens.get() == "t1"
        assert await refresh(requests, target) is None
        assert await requests.tokens.get() == ("t1" if granted else given or "t2")
    assert (made[0].method, str(made[0].url)) == ("POST", "http://server/hub/refresh?q=1&id=a+b")
    assert (made[0].headers["Authorization"], made[0].headers["X-Who"]) == ("Bearer t2", "me")
    if grant is not None:
        assert grant.token == (given or "granted")


@pytest.mark.parametrize(
    ("answer", "text", "attempts"),
    [
        (httpx2.Response(401), "it answered 401", 4),
        (httpx2.Response(403, text="user_changed"), "it answered 403", 1),
        (httpx2.Response(200, text="what?"), "Invalid refresh response", 4),
    ],
)
async def test_a_refusal_is_told_and_changes_nothing(
    autojump_clock: MockClock,
    answer: httpx2.Response,
    text: str,
    attempts: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_requests(lambda _: answer, access_token=Source()) as (requests, made):
        assert await requests.tokens.get() == "t1"
        async with refreshing(requests, attrs.evolve(TARGET_WITH_TOKEN, token_lifetime=10.0)):
            await trio.sleep(1000)
        assert await requests.tokens.get() == "t1"
        assert len(made) == attempts
    assert text in caplog.text
    assert [record.levelno for record in caplog.records if "renewed" in record.message] == [
        logging.WARNING
    ] * attempts


async def test_what_fails_is_tried_again_while_the_old_token_lives(autojump_clock: MockClock) -> None:
    source, statuses = Source(), [503, 401, 200, 503, 200]

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            statuses.pop(0), json={"tokenLifetimeSeconds": 1000} if len(statuses) > 1 else {}
        )

    async with open_requests(answer, access_token=source) as (requests, _):
        async with refreshing(requests, attrs.evolve(TARGET_WITH_TOKEN, token_lifetime=1000.0)):
            await trio.sleep(10**6)
        assert [time for time, _ in source.asked] == [700, 850, 925, 1625, 1775]
        assert not statuses


async def test_so_is_a_token_that_there_is_not_yet(autojump_clock: MockClock) -> None:
    async def token(reason: TokenReason) -> str:
        if trio.current_time() < 800:
            raise OSError("not now")
        return "fresh"

    async with open_requests(lambda _: httpx2.Response(200, json={}), access_token=token) as (requests, made):
        async with refreshing(requests, attrs.evolve(TARGET_WITH_TOKEN, token_lifetime=1000.0)):
            await trio.sleep(10**6)
        assert [request.headers["Authorization"] for request in made] == ["Bearer fresh"]


async def test_a_server_that_does_not_answer_is_given_up(autojump_clock: MockClock) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with open_requests(answer, access_token=Source()) as (requests, _):
        with pytest.raises(ConnectionFailed, match="within 100 s"):
            await refresh(requests, TARGET_WITH_TOKEN)
    assert trio.current_time() == TIMEOUT


async def test_there_may_be_no_token_any_more() -> None:
    async with open_requests(lambda _: httpx2.Response(200, json={}), access_token=lambda _: None) as (
        requests,
        made,
    ):
        await refresh(requests, TARGET_WITH_TOKEN)
    assert "Authorization" not in made[0].headers
