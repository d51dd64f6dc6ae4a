"""Who makes a request, as the host that an app is mounted in has found out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..connections.users import User
from .messages import Scope

HostUser: TypeAlias = Callable[[Scope], "User | Awaitable[User | None] | None"]
"""Finds out from an ASGI scope who makes its request; ``None`` where it does not know."""


def host_user(scope: Scope) -> User | None:
    """The user in ``scope["user"]``, as Starlette's authentication has it; or one of ours, as it is.

    Their id is Starlette's ``identity``, or else ``display_name``; ``scope["auth"].scopes`` are the claim ``scope``.

    Raises:
        TypeError: It is of another kind.
    """
    given = scope.get("user")
    if given is None or isinstance(given, User):
        return given
    known = getattr(given, "is_authenticated", None)
    if known is False:
        return None
    if known is not True:
        raise TypeError(
            f"who is behind a {type(given).__qualname__} in scope['user'] is not known here: say it by "
            "app.asgi(user=...), which is called with the scope"
        )
    scopes = getattr(scope.get("auth"), "scopes", ())
    return User(_identity(given), claims={"scope": " ".join(scopes)} if scopes else {})


def _identity(given: object) -> str | None:
    try:
        return str(given.identity)  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError):  # as Starlette's SimpleUser
        name = getattr(given, "display_name", None)
        return None if name is None else str(name)
