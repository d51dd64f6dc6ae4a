"""Pings are due in time, and only a silence that the peer owes us counts."""

import pytest

from trio_hubs.calls.keep_alive import KeepAlive
from trio_hubs.calls.options import Role

from .support import session_options


def keep_alive(role: Role) -> KeepAlive:
    options = session_options(role=role, keep_alive_interval=10, client_timeout=20, server_timeout=30)
    return KeepAlive(options, 0)


@pytest.mark.parametrize(("role", "due"), [(Role.SERVER, True), (Role.CLIENT, False)])
def test_what_else_was_sent_puts_off_the_pings_of_a_client_only(role: Role, due: bool) -> None:
    assert keep_alive(role).ping_due(10, last_sent=9) == due


@pytest.mark.parametrize("role", Role)
def test_a_ping_is_due_once_in_an_interval(role: Role) -> None:
    pings = keep_alive(role)
    assert [time for time in range(35) if pings.ping_due(time, last_sent=0)] == [10, 20, 30]


@pytest.mark.parametrize(("role", "timeout"), [(Role.SERVER, 20), (Role.CLIENT, 30)])
def test_each_side_bears_silence_for_its_own_timeout(role: Role, timeout: int) -> None:
    peer = keep_alive(role)
    peer.note_ping()
    assert not peer.silent(1000)  # nothing is waited for
    peer.waiting_since = 100
    assert not peer.silent(100 + timeout - 1)
    assert peer.silent(100 + timeout)


def test_a_client_that_has_never_pinged_may_be_silent() -> None:
    peer = keep_alive(Role.SERVER)
    peer.waiting_since = 0
    assert not peer.silent(1000)


def test_on_a_transport_that_keeps_itself_alive_a_server_that_never_pinged_may_be_silent() -> None:
    peer = KeepAlive(session_options(role=Role.CLIENT, server_timeout=30), 0, inherent=True)
    peer.waiting_since = 0
    assert not peer.silent(1000)
    peer.note_ping()
    assert peer.silent(30)


def test_our_lateness_is_not_the_peers_silence() -> None:
    peer = keep_alive(Role.CLIENT)
    peer.forgive(10, 100)
    assert peer.waiting_since is None
    peer.waiting_since = 0
    peer.forgive(10, 100)
    assert not peer.silent(39)
    assert peer.silent(40)
