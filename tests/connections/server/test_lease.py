"""A lease lasts until its time is up or its connection is over, and nothing is kept of it then."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.duplex import Duplex
from trio_hubs.connections.memory import memory_connection_pair
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.carrier import Host
from trio_hubs.connections.server.lease import (
    EXPIRING,
    TRANSITIONS,
    Lease,
    LeaseEvent,
    Leases,
    LeaseState,
    new_id,
)
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.server.websocket_carrier import WebSocketCarrier
from trio_hubs.connections.users import User
from trio_hubs.errors import ConnectionClosed

from .endpoint_peer import never

ADA = User("ada")


def leases_for(admission: Admission | None = None, **options: Any) -> Leases:
    return Leases(EndpointOptions(**options), admission or Admission(10))


def open_lease(lease: Lease) -> None:
    """Give a lease a connection, as a carrier does."""
    carrier = WebSocketCarrier(lease, Host(never, EndpointOptions(), Admission(10)))
    carrier.connection, _ = memory_connection_pair()
    lease.open(carrier, lease.owner.user)


def opened(leases: Leases, user: User | None = None) -> Lease:
    lease = leases.make(user)
    leases.add(lease)
    open_lease(lease)
    return lease


def connection_of(lease: Lease) -> Duplex:
    assert lease.carrier is not None
    connection: Duplex = lease.carrier.connection
    return connection


def test_ids_cannot_be_guessed() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(id) for id in ids} == {22}


def test_only_a_public_id_is_its_own_token() -> None:
    leases = leases_for()
    secret, public = leases.make(None), leases.make(None, secret=False)
    assert secret.id != secret.token
    assert public.id == public.token
    assert len(leases) == 0  # until they are added


# ---- states

TABLE = """
            OPENED   CAME     WENT    DISPOSED  RETURNED  TIMED_OUT
NEGOTIATED  CARRIED  .        .       .         .         EXPIRED
EXPIRED     CARRIED  .        .       .         .         .
CARRIED     .        CARRIED  AWAY    ENDING    TELLING   .
AWAY        .        CARRIED  AWAY    ENDING    UNTOLD    ENDING
ENDING      .        .        ENDING  ENDING    GONE      ENDING
TELLING     .        TELLING  UNTOLD  GONE      .         .
UNTOLD      .        TELLING  UNTOLD  GONE      .         GONE
GONE        .        .        .       .         .         .
"""
WAYS = {
    "NEGOTIATED": "",
    "EXPIRED": "TIMED_OUT",
    "CARRIED": "OPENED",
    "AWAY": "OPENED WENT",
    "ENDING": "OPENED DISPOSED",
    "TELLING": "OPENED RETURNED",
    "UNTOLD": "OPENED WENT RETURNED",
    "GONE": "OPENED DISPOSED RETURNED",
}


def cells() -> list[tuple[str, str, str]]:
    """Each state, each event, and the state that follows."""
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return [
        (state, event, state if after == "." else after)
        for state, *row in rows
        for event, after in zip(head, row, strict=True)
    ]


def test_the_table_has_every_state_and_event() -> None:
    assert len(cells()) == len(LeaseState) * len(LeaseEvent)
    assert set(TRANSITIONS) == set(LeaseState)


def happen(lease: Lease, event: str) -> None:
    if event == "OPENED" and lease.carrier is None:
        open_lease(lease)
    else:
        lease.on(LeaseEvent[event])


@pytest.mark.parametrize(("state", "event", "after"), cells())
async def test_every_event_in_every_state(
    state: str, event: str, after: str, autojump_clock: MockClock
) -> None:
    admission = Admission(10)
    leases = leases_for(admission, disconnect_timeout=10)
    lease = leases.make(None)
    leases.add(lease)
    for step in WAYS[state].split():
        happen(lease, step)
    assert lease.state is LeaseState[state]
    since = trio.current_time()
    await trio.sleep(1)
    happen(lease, event)
    assert lease.state is LeaseState[after]
    changed = LeaseEvent[event] in TRANSITIONS[LeaseState[state]]
    expires = (since + 11 if changed else since + 10) if lease.state in EXPIRING else float("inf")
    assert lease.expires == expires
    kept = lease.state not in (LeaseState.EXPIRED, LeaseState.GONE)
    assert list(leases) == [lease] * kept
    assert admission.active == (kept and lease.state is not LeaseState.NEGOTIATED)


# ---- users


async def test_only_a_newer_look_at_a_user_is_news() -> None:
    early, late, always = (User("ada", expires_at=at) for at in (1e10, 2e10, None))
    told: list[User | None] = []
    made = opened(leases_for(), early)
    connection = connection_of(made)
    connection.on_user_refreshed = lambda: told.append(made.owner.user)
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
        assert made.owner.is_news(shown) is news
        told.clear()
        before = made.owner.user
        made.refresh(shown)
        assert told == ([] if after is None else [after])
        assert made.owner.user == connection.user == (after or before)


async def test_a_new_look_at_the_user_reaches_the_connection() -> None:
    made = opened(leases_for(), ADA)
    again = User("ada", claims={"new": 1})
    made.renew(again)
    assert made.owner.user is again
    assert connection_of(made).user is again


# ---- time


async def test_an_unused_lease_is_dropped_in_time(autojump_clock: MockClock) -> None:
    leases = leases_for(disconnect_timeout=10)
    first, second = leases.make(None), leases.make(None)
    leases.add(first)
    await trio.sleep(5)
    leases.add(second)
    assert list(leases) == [first, second]
    assert (len(leases), leases.unused) == (2, 2)
    await trio.sleep(4.9)
    leases.drop_unused()
    assert leases.get(first.token) is first
    await trio.sleep(0.2)
    leases.drop_unused()
    assert leases.get(first.token) is None
    assert leases.get(second.token) is second
    assert (len(leases), leases.unused) == (1, 1)


async def test_a_lease_in_use_is_not_dropped(autojump_clock: MockClock) -> None:
    leases = leases_for(disconnect_timeout=10)
    used = opened(leases)
    assert leases.unused == 0
    await trio.sleep(100)
    leases.drop_unused()
    assert leases.get(used.token) is used


async def test_a_lease_needs_no_negotiation() -> None:
    leases = leases_for()
    used = leases.make(None)
    open_lease(used)
    assert leases.get(used.token) is used
    assert leases.unused == 0


async def test_leases_may_be_removed_while_they_are_looked_at() -> None:
    leases = leases_for()
    for _ in range(5):
        leases.add(leases.make(None))
    for each in leases:
        each.on(LeaseEvent.TIMED_OUT)
    assert len(leases) == 0


# ---- posts


@pytest.mark.parametrize("how", ["remove", "drop"])
async def test_posts_wait_for_a_lease_no_longer_than_it_lasts(how: str, autojump_clock: MockClock) -> None:
    leases = leases_for(disconnect_timeout=10, application_buffer_size=10)
    made = leases.make(None)
    leases.add(made)
    assert not made.has_posts
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ConnectionClosed):
                await made.posts.incoming.put(bytes(20))

        await wait_all_tasks_blocked()
        assert made.has_posts
        await trio.sleep(10)
        if how == "remove":
            made.on(LeaseEvent.TIMED_OUT)
        else:
            leases.drop_unused()


async def test_what_is_posted_is_early_until_the_lease_is_open(autojump_clock: MockClock) -> None:
    leases = leases_for(early_posts_buffer_size=10)
    before, after = leases.make(None), leases.make(None)
    await before.posts.wait_admitted(10)
    assert leases.early.size == 10
    open_lease(before)
    assert leases.early.size == 0
    open_lease(after)
    await after.posts.wait_admitted(100)
    assert leases.early.size == 0
