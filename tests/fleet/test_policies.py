"""Policies for slow clients, told to other servers."""

from typing import Any

import msgspec
import pytest

from trio_hubs import Conflate, Disconnect, DropOldest, ProtocolError, SlowClientPolicy, Wait
from trio_hubs.fleet.policies import dump_policy, load_policy, without_waiting

POLICIES = [
    Disconnect(),
    Disconnect(2.5),
    DropOldest(),
    Conflate(),
    Conflate("x"),
    Conflate(("a", (1, None))),
    Conflate("x", every=2.5),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_another_server_does_the_same(policy: SlowClientPolicy) -> None:
    assert (
        load_policy(msgspec.msgpack.decode(msgspec.msgpack.encode(dump_policy(policy)), type=tuple)) == policy
    )


def test_another_server_cannot_wait() -> None:
    assert load_policy(dump_policy(Wait())) is None
    assert without_waiting(Wait()) == Disconnect()
    assert without_waiting(DropOldest()) == DropOldest()


@pytest.mark.parametrize(
    "told",
    [
        ("disconnect",),
        ("disconnect", -1),
        ("disconnect", "x"),
        ("conflate", {"a": 1}, None),
        ("conflate", ["a", [{}]], None),
        ("conflate", msgspec.msgpack.Ext(1, b"x"), None),
        ("conflate", "a", 0),
        ("?",),
        (1, 2, 3),
    ],
)
def test_anything_else(told: tuple[Any, ...]) -> None:
    with pytest.raises(ProtocolError):
        load_policy(told)
