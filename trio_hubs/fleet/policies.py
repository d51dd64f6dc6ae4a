"""What becomes of a call where a client is slow, as it is told to other servers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..calls.policies import Conflate, DropOldest, Wait
from ..errors import ProtocolError
from ..server.slow_clients import Disconnect, SlowClientPolicy


def dump_policy(policy: SlowClientPolicy) -> tuple[Any, ...]:
    """What another server is told of a policy."""
    match policy:
        case Conflate(key):
            return "conflate", key, policy.every
        case Disconnect(after):
            return "disconnect", after
        case DropOldest():
            return ("drop_oldest",)
        case Wait():
            return ()


def load_policy(told: tuple[Any, ...]) -> SlowClientPolicy | None:
    """The policy that another server has told of; ``None`` where it told of none.

    Raises:
        ProtocolError: It is something else.
    """
    match told:
        case ():
            return None
        case ("conflate", key, None):
            return Conflate(_key(key))
        case ("conflate", key, int() | float() as every) if every > 0:
            return Conflate(_key(key), every=every)
        case ("disconnect", None):
            return Disconnect()
        case ("disconnect", int() | float() as after) if after > 0:
            return Disconnect(after)
        case ("drop_oldest",):
            return DropOldest()
        case _:
            raise ProtocolError(f"no policy for slow clients: {told}")


def without_waiting(policy: SlowClientPolicy) -> SlowClientPolicy:
    """What takes a policy's place where the sender is another server's, and cannot wait for clients here."""
    return Disconnect() if isinstance(policy, Wait) else policy


def _key(told: Any) -> Hashable:
    try:
        key = _tuples(told)
        hash(key)
    except (TypeError, RecursionError) as error:
        raise ProtocolError("a key that cannot be one") from error
    return key


def _tuples(key: Any) -> Hashable:
    """A key as its sender had it, whose tuples have become lists on the way."""
    return tuple(_tuples(each) for each in key) if isinstance(key, list) else key
