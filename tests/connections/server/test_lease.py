"""A lease is one user's, lasts until its time is up or its connection is over, and nothing is kept of it then."""

import time

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.lease import Lease, Leases, new_id
from trio_hubs.connections.users import User
from trio_hubs.errors import ConnectionClosed
from trio_hubs.protocol.negotiate import Transport

ADA, BOB = User("ada"), User("bob")


def lease(token: str = "token", user: User | None = None) -> Lease:
    return Lease("id", token, user, stateful=False, buffer_size=10)


def test_ids_cannot_be_guessed() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(id) for id in ids} == {22}


# ---- users


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
    made = lease(user=negotiated)
    assert made.admits(asking) is before
    made.transport = Transport.LONG_POLLING
    assert made.admits(asking) is after
    made.transport, made.posted = None, True
    assert made.admits(asking) is after


async def test_only_a_newer_look_at_a_user_is_news() -> None:
    early, late, always = (User("ada", expires_at=at) for at in (1e10, 2e10, None))
    told: list[User | None] = []
    made = lease(user=early)
    made.connection, _ = memory_connection_pair()
    made.connection.on_user_refreshed = lambda: told.append(made.user)
    for shown, news, after in (
        (early, False, early),  # the same is no news, but a refresh
        (late, True, late),
        (early, False, None),
        (attrs.evolve(early, claims={"new": 1}), False, None),
        (attrs.evolve(late, claims={"new": 1}), True, attrs.evolve(late, claims={"new": 1})),
        (always, True, always),
        (early, True, early),  # there is no telling which is older
        (always, True, always),
    ):
        assert made.is_news(shown) is news
        told.clear()
        before = made.user
        made.refresh(shown)
        assert told == ([] if after is None else [after])
        assert made.user == made.connection.user == (after or before)


def test_a_new_look_at_the_user_reaches_the_connection() -> None:
    made = lease(user=ADA)
    made.connection, _ = memory_connection_pair()
    again = User("ada", claims={"new": 1})

    async def main() -> None:
        made.renew(again)

    trio.run(main)
    assert made.user is again
    assert made.connection.user is again


async def test_a_user_expires_once(autojump_clock: MockClock) -> None:
    made = lease()
    made.renew(User("ada", expires_at=time.time() + 100))
    assert not made.take_expiry(trio.current_time() + 99)
    assert made.take_expiry(trio.current_time() + 101)
    assert not made.take_expiry(trio.current_time() + 102)


async def test_a_user_that_is_seen_again_expires_later(autojump_clock: MockClock) -> None:
    made = lease()
    made.renew(User("ada", expires_at=time.time() + 100))
    made.renew(User("ada", expires_at=time.time() + 500))
    assert not made.take_expiry(trio.current_time() + 400)
    made.renew(User("ada"))
    assert not made.take_expiry(1e9)
    made.renew(None)
    assert not made.take_expiry(1e9)


# ---- time


async def test_an_unused_lease_is_dropped_in_time(autojump_clock: MockClock) -> None:
    leases = Leases(10)
    first, second = lease("first"), lease("second")
    leases.add(first)
    await trio.sleep(5)
    leases.add(second)
    assert list(leases) == [first, second]
    assert (len(leases), leases.unused) == (2, 2)
    await trio.sleep(4.9)
    leases.drop_unused()
    assert leases.get("first") is first
    await trio.sleep(0.2)
    leases.drop_unused()
    assert leases.get("first") is None
    assert leases.get("second") is second
    assert (len(leases), leases.unused) == (1, 1)


async def test_a_lease_in_use_is_not_dropped(autojump_clock: MockClock) -> None:
    leases = Leases(10)
    used = lease()
    leases.add(used)
    connection, _ = memory_connection_pair()
    leases.use(used, connection)
    assert leases.unused == 0
    await trio.sleep(100)
    leases.drop_unused()
    assert leases.get("token") is used
    leases.expire(used)
    assert used.expires == trio.current_time() + 10


async def test_a_lease_needs_no_negotiation() -> None:
    leases = Leases(10)
    used = lease()
    connection, _ = memory_connection_pair()
    leases.use(used, connection)
    assert leases.get("token") is used
    assert leases.unused == 0


async def test_a_lease_is_removed_once() -> None:
    leases = Leases(10)
    made = lease()
    leases.add(made)
    assert leases.remove(made)
    assert not leases.remove(made)
    assert (len(leases), leases.unused) == (0, 0)
    assert list(leases) == []


async def test_leases_may_be_removed_while_they_are_looked_at() -> None:
    leases = Leases(10)
    for i in range(5):
        leases.add(lease(f"{i}"))
    for each in leases:
        leases.remove(each)
    assert len(leases) == 0


@pytest.mark.parametrize("how", ["remove", "drop"])
async def test_posts_wait_for_a_lease_no_longer_than_it_lasts(how: str, autojump_clock: MockClock) -> None:
    leases = Leases(10)
    made = lease()
    leases.add(made)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed):
                await made.incoming.put(bytes(20))

        await wait_all_tasks_blocked()
        await trio.sleep(10)
        if how == "remove":
            leases.remove(made)
        else:
            leases.drop_unused()


# ---- posts before the transport


@pytest.mark.parametrize("end", ["use", "remove"])
async def test_so_much_may_be_posted_before_the_transports_and_no_more(
    end: str, autojump_clock: MockClock
) -> None:
    leases = Leases(100, early_limit=10)
    first, second, third = (lease(token) for token in ("first", "second", "third"))
    for each in (first, second, third):
        leases.add(each)
    await leases.reserve(first, 4)
    await leases.reserve(second, 6)
    assert leases.early == 10
    may_go: list[str] = []

    async def reserve(made: Lease, size: int) -> None:
        await leases.reserve(made, size)
        may_go.append(made.token)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reserve, second, 1)
        nursery.start_soon(reserve, third, 1)
        nursery.start_soon(reserve, third, 2)
        await wait_all_tasks_blocked()
        assert may_go == []
        if end == "use":
            leases.use(second, memory_connection_pair()[0])
        else:
            leases.remove(second)
        await wait_all_tasks_blocked()
        assert may_go == ["second"]
        assert leases.early == 4
        await leases.reserve(second, 100)  # which counts no more
        await leases.reserve(first, 6)
        assert leases.early == 10
        leases.remove(third)
    assert may_go == ["second", "third", "third"]
    leases.remove(first)
    assert leases.early == 0
