"""The gate asks its questions in order: a foreign page, nobody, and whoever may not are told so, and nothing else."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from trio_hubs import Request, Response, User
from trio_hubs.connections.http import Headers
from trio_hubs.connections.server.exchange import Deferred, RouteAnswer, Upgrade
from trio_hubs.connections.server.gate import Gate
from trio_hubs.connections.server.origins import REFUSAL, Origins
from trio_hubs.connections.users import Policy

OWN = {"host": "here.example"}
FOREIGN = {**OWN, "origin": "https://there.example"}
CROSS = {
    "Access-Control-Allow-Origin": "https://there.example",
    "Access-Control-Allow-Credentials": "true",
    "Vary": "Origin",
}
ANN = User("ann")


class Asked:
    """RouteAnswers, and notes for whom."""

    def __init__(self, answer: RouteAnswer) -> None:
        self.answer = answer
        self.users: list[User | None] = []

    def __call__(self, request: Request, user: User | None) -> RouteAnswer:
        assert request.user == user
        self.users.append(user)
        return self.answer


async def ask(
    asked: Asked,
    headers: Mapping[str, str] = OWN,
    *,
    method: str = "GET",
    allowed: tuple[str, ...] = (),
    user: User | None = None,
    policies: tuple[Policy, ...] = (),
) -> RouteAnswer:
    """Ask at a gate where somebody stands."""
    gate = Gate(Origins(frozenset(allowed)), lambda _: user, policies)
    return await gate.answer(Request(method=method, headers=headers), "GET, POST", asked)


def headers_of(answer: RouteAnswer) -> Headers:
    assert not isinstance(answer, Upgrade)
    return answer.headers


async def test_who_may_come_in_is_answered() -> None:
    asked = Asked(Response("hello", headers={"A": "b"}))
    assert await ask(asked, user=ANN, policies=(lambda user: user is ANN,)) == asked.answer
    assert asked.users == [ANN]


async def test_nobody_is_somebody_where_no_user_is_needed() -> None:
    asked = Asked(Response("hello"))
    await ask(asked)
    assert asked.users == [None]


@pytest.mark.parametrize(
    ("headers", "user", "policies", "status"),
    [
        (FOREIGN, ANN, (), 403),
        (OWN, None, (lambda _: True,), 401),
        (OWN, ANN, (lambda _: False,), 403),
        (OWN, User("ann", expires_at=1.0), (lambda _: True,), 401),
    ],
    ids=["a foreign page", "nobody", "not allowed", "expired"],
)
async def test_who_may_not_is_not_answered(
    headers: Mapping[str, str], user: User | None, policies: Any, status: int
) -> None:
    asked = Asked(Response("secret"))
    answer = await ask(asked, headers, user=user, policies=policies)
    assert isinstance(answer, Response)
    assert answer.status == status
    assert asked.users == []


async def test_an_expired_user_is_nobody() -> None:
    asked = Asked(Response("hello"))
    await ask(asked, user=User("ann", expires_at=1.0))
    assert asked.users == [None]


async def held(_: object) -> None:
    raise AssertionError("nobody serves it here")


@pytest.mark.parametrize("answer", [Response("hello"), Deferred(serve=held, left=lambda: None)])
async def test_an_allowed_page_can_read_its_answer(answer: RouteAnswer) -> None:
    given = await ask(Asked(answer), FOREIGN, allowed=("https://there.example",))
    assert headers_of(given) == CROSS


async def test_so_it_can_a_refusal() -> None:
    given = await ask(
        Asked(Response("secret")), FOREIGN, allowed=("https://there.example",), policies=(lambda _: True,)
    )
    assert headers_of(given) == {"WWW-Authenticate": "Bearer", **CROSS}


async def test_an_upgrade_stays_as_it_is() -> None:
    upgrade = Upgrade(id="1", serve=held, close_timeout=5)
    assert await ask(Asked(upgrade), FOREIGN, allowed=("https://there.example",)) is upgrade


async def test_a_browser_may_ask_beforehand_as_nobody() -> None:
    asked = Asked(Response("secret"))
    headers = {
        **FOREIGN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    answer = await ask(
        asked, headers, method="OPTIONS", allowed=("https://there.example",), policies=(lambda _: True,)
    )
    assert isinstance(answer, Response)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert asked.users == []


@pytest.mark.parametrize(("seconds", "known"), [(0.001, True), (0, False)])
async def test_a_user_is_known_up_to_the_moment_of_expiry(
    seconds: float, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    user = User("ann", expires_at=1000.0 + seconds)
    asked = Asked(Response("hello"))
    await ask(asked, user=user)
    assert asked.users == [user if known else None]


@pytest.mark.parametrize("known", [ANN, None])
async def test_authenticate_is_asked_where_the_door_knows_no_user(known: User | None) -> None:
    asked = Asked(Response())
    bob = User("bob")
    for authenticate, user in ((None, known), (lambda _: bob, known or bob)):
        gate = Gate(Origins(frozenset()), authenticate, ())
        await gate.answer(Request(headers=OWN, user=known), "GET", asked)
        assert asked.users.pop() == user


# ---- further headers


def sticky(request: Request) -> Headers:
    return {"Set-Cookie": ["node=1", "b=2"]} if request.path == "/negotiate" else {}


@pytest.mark.parametrize(
    "answer",
    [
        Response("hello", headers={"A": "b"}),
        Deferred(serve=held, left=lambda: None),
        Upgrade(id="1", serve=held, close_timeout=5),
    ],
)
@pytest.mark.parametrize("headers", [OWN, FOREIGN])
async def test_answers_have_further_headers(answer: RouteAnswer, headers: Mapping[str, str]) -> None:
    gate = Gate(Origins(frozenset((FOREIGN["origin"],))), answer_headers=sticky)
    given = await gate.answer(Request(path="/negotiate", headers=headers), "GET", Asked(answer))
    cross = CROSS if headers is FOREIGN and not isinstance(answer, Upgrade) else {}
    assert given.headers == {**answer.headers, **cross, "Set-Cookie": ["node=1", "b=2"]}
    given = await gate.answer(Request(path="/", headers=headers), "GET", Asked(answer))
    assert given.headers == {**answer.headers, **cross}


async def test_refusals_of_users_have_them_and_those_of_foreign_pages_have_not() -> None:
    gate = Gate(Origins(frozenset()), None, (lambda _: True,), answer_headers=sticky)
    asked = Asked(Response("secret"))
    given = await gate.answer(Request(path="/negotiate", headers=OWN), "GET", asked)
    assert given.headers == {"WWW-Authenticate": "Bearer", "Set-Cookie": ["node=1", "b=2"]}
    assert await gate.answer(Request(path="/negotiate", headers=FOREIGN), "GET", asked) is REFUSAL


async def test_whatever_the_types_say_a_user_is_one() -> None:
    wrong: Any = "ann"
    with pytest.raises(TypeError, match="who makes a request is a User or None, which a str is not"):
        await ask(Asked(Response("hello")), user=wrong)
