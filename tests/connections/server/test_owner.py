"""A connection is one user's: who that is may be renewed by themselves, and never goes back to an older token."""

import time

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hubs.connections.server.owner import Owner
from trio_hubs.connections.users import User

ADA, BOB = User("ada"), User("bob")


@pytest.mark.parametrize(
    ("negotiated", "asking", "before", "after"),
    [
        (None, None, True, True),
        (None, ADA, True, False),  # who negotiated as nobody may connect as somebody
        (ADA, None, False, False),
        (ADA, ADA, True, True),
        (ADA, User("ada", claims={"new": 1}), True, True),
        (ADA, BOB, False, False),
        (ADA, User("ADA"), False, False),
        (ADA, User(), False, False),
        (User(claims={"a": 1}), User(claims={"a": 1}), True, True),
        (User(claims={"a": 1}), User(claims={"a": 2}), False, False),
        (User(claims={"a": 1}), User(), False, False),
        (User(), None, False, False),
    ],
)
def test_who_may_use_it(negotiated: User | None, asking: User | None, before: bool, after: bool) -> None:
    opened, posted = Owner(negotiated), Owner(negotiated)
    assert opened.admits(asking) is before
    opened.renew(negotiated)
    assert opened.admits(asking) is after
    posted.claim(negotiated)
    assert posted.admits(asking) is after


def test_who_posts_first_where_nobody_negotiated_is_its_user() -> None:
    owner = Owner(None)
    owner.claim(ADA)
    owner.claim(attrs.evolve(ADA, claims={"new": 1}))
    assert owner.user is ADA
    assert owner.admits(ADA)
    assert not owner.admits(BOB)


def test_only_a_newer_look_at_a_user_is_news() -> None:
    early, late, always = (User("ada", expires_at=at) for at in (1e10, 2e10, None))
    owner = Owner(early)
    for shown, news, outdated in (
        (early, False, False),  # the same is no news
        (late, True, False),
        (attrs.evolve(early, claims={"new": 1}), True, False),
    ):
        assert (owner.is_news(shown), owner.outdates(shown)) == (news, outdated)
    owner.user = late
    assert (owner.is_news(early), owner.outdates(early)) == (False, True)
    owner.user = always
    assert (owner.is_news(early), owner.outdates(early)) == (
        True,
        False,
    )  # there is no telling which is older


async def test_a_user_expires_once(autojump_clock: MockClock) -> None:
    made = Owner(None)
    made.renew(User("ada", expires_at=time.time() + 100))
    assert not made.take_expiry(trio.current_time() + 99)
    assert made.take_expiry(trio.current_time() + 101)
    assert not made.take_expiry(trio.current_time() + 102)


async def test_a_user_that_is_seen_again_expires_later(autojump_clock: MockClock) -> None:
    made = Owner(None)
    made.renew(User("ada", expires_at=time.time() + 100))
    made.renew(User("ada", expires_at=time.time() + 500))
    assert not made.take_expiry(trio.current_time() + 400)
    made.renew(User("ada"))
    assert not made.take_expiry(1e9)
    made.renew(None)
    assert not made.take_expiry(1e9)
