"""Who is behind a request, and who may come in."""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

import attrs

from .http import Request
from .validators import check_kind

T = TypeVar("T")
M = TypeVar("M", bound="type | Callable[..., Any]")

_POLICIES = "_trio_hubs_policies"


def _check_id(_user: object, _attribute: object, id: str | None) -> None:
    if id is not None:
        check_kind(id, str, "a user's id")


@attrs.frozen
class User:
    """Who makes a connection, as ``authenticate`` found out.

    Attributes:
        id: What ``clients.user(id)`` calls them by; all connections of one user have the same.
        claims: What else is known of them; a user without an id is known by these alone.
        expires_at: When this ceases to hold, in Unix seconds; ``None`` for never.
        leeway: How many seconds of that are for clocks that differ; clients are told to renew it before those.
    """

    id: str | None = attrs.field(default=None, validator=_check_id)
    claims: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    expires_at: float | None = attrs.field(default=None, kw_only=True)
    leeway: float = attrs.field(default=0, kw_only=True, eq=False)

    @property
    def lifetime(self) -> float | None:
        """Seconds from now until it expires; ``None`` for ever."""
        return None if self.expires_at is None else self.expires_at - time.time()


def is_same(one: User | None, other: User | None) -> bool:
    """Whether two requests come from the same user, or both from nobody."""
    if one is None or other is None:
        return one is other
    return one.id == other.id if one.id or other.id else one.claims == other.claims


Authenticate: TypeAlias = Callable[[Request], "User | Awaitable[User | None] | None"]
"""Finds out who makes a request; ``None`` where it does not know."""

Policy: TypeAlias = Callable[[User], "bool | Awaitable[bool]"]
"""Whether a user may do what the policy stands at."""


@overload
def authorize(policy: Policy | None = None) -> Callable[[T], T]: ...
@overload
def authorize(policy: M) -> M: ...
def authorize(policy: Any = None) -> Any:
    """Let only users in: on a hub's class, a hub method, or the handler of raw connections or of a route.

    On a hub or a handler, a request of nobody gets 401 and one of another user 403, before a connection is made. On
    a method, the call fails with an error, and the connection goes on. Several marks must all be met.

    Args:
        policy: Tells which users; all by default, for which the parentheses may be left out. May be async.

    Raises:
        TypeError: The policy cannot be called.

    Source:
        ASP.NET Core's ``Authorize`` attribute.
    """
    if _is_to_be_marked(policy):
        return _marked(policy, _any_user)
    if policy is not None and not callable(policy):
        raise TypeError(
            f"a policy is called with the user and tells whether it may, which {policy!r} cannot be"
        )
    chosen: Any = policy or _any_user
    return _Mark(chosen)


class _Mark:
    """A mark with its policy, which is to be put on something."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __call__(self, marked: T) -> T:
        return _marked(marked, self._policy)


def _marked(marked: T, policy: Policy) -> T:
    setattr(marked, _POLICIES, (*vars(marked).get(_POLICIES, ()), policy))
    return marked


def _is_to_be_marked(given: object) -> bool:
    """Whether what stands for a policy is a hub, a method or a handler, under a mark without parentheses."""
    if not inspect.isfunction(given):
        return isinstance(given, type)
    first = next(iter(inspect.signature(given).parameters.values()), None)
    return first is not None and (
        first.name in ("self", "connection", "request")
        or re.search(r"\b(Connection|Request)\b", str(first.annotation)) is not None
    )


def policies_for(given: bool | Policy) -> tuple[Policy, ...]:
    """The policies that ``authorize=`` stands for.

    Raises:
        TypeError: It is neither a bool nor to be called.
    """
    if isinstance(given, bool):
        return (_any_user,) if given else ()
    if not callable(given):
        raise TypeError(f"authorize is True, or a policy that is called with the user, not {given!r}")
    return (given,)


def policies_of(marked: object) -> tuple[Policy, ...]:
    """The policies that :func:`authorize` has put on something; on a class, also on all that it inherits from.

    Raises:
        TypeError: It was taken for a policy itself.
    """
    if isinstance(marked, _Mark):
        raise TypeError(
            "@authorize has taken what stands below it for a policy, as its first parameter is no request and no "
            "connection by name or type: write @authorize() above it"
        )
    while isinstance(marked, functools.partial):
        marked = marked.func
    if not isinstance(marked, type):
        return getattr(marked, _POLICIES, ())
    return tuple(policy for base in marked.__mro__ for policy in vars(base).get(_POLICIES, ()))


def policies_of_method(owner: type, attribute: str) -> tuple[Policy, ...]:
    """The policies that :func:`authorize` has put on a method, and on all that it overrides."""
    versions = (vars(base).get(attribute) for base in owner.__mro__)
    return tuple(policy for version in versions for policy in policies_of(version))


def _any_user(_: User) -> bool:
    return True


async def resolve(value: T | Awaitable[T]) -> T:
    """A value, or what an awaitable comes to."""
    if inspect.isawaitable(value):
        resolved: T = await value
        return resolved
    return value


async def meets(user: User, policies: Iterable[Policy]) -> bool:
    """Whether a user meets all of the policies."""
    for policy in policies:
        if not await resolve(policy(user)):
            return False
    return True
