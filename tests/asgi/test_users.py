"""Who a host says makes a request: Starlette's users, our own, nobody, and what cannot be known."""

import pytest
from starlette.authentication import AuthCredentials, BaseUser, SimpleUser, UnauthenticatedUser

from trio_hubs import User
from trio_hubs.asgi.users import host_user


class Account(BaseUser):
    """A user with an identity of its own."""

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return "Ann"

    @property
    def identity(self) -> str:
        return "ann@example.org"


class Named:
    """A user that has no name to be known by."""

    is_authenticated = True


def test_starlettes_users() -> None:
    assert host_user({}) is None
    assert host_user({"user": UnauthenticatedUser()}) is None
    assert host_user({"user": SimpleUser("ann")}) == User("ann")
    assert host_user({"user": Account(), "auth": AuthCredentials()}) == User("ann@example.org")
    known = host_user({"user": Account(), "auth": AuthCredentials(["read", "write"])})
    assert known == User("ann@example.org", claims={"scope": "read write"})
    assert host_user({"user": Named()}) == User()


def test_a_user_of_ours_is_taken_as_it_is() -> None:
    user = User("ann", claims={"role": "admin"})
    assert host_user({"user": user}) is user


def test_whom_only_the_host_knows_must_be_said() -> None:
    with pytest.raises(TypeError, match=r"a str in scope\['user'\] is not known .*app.asgi\(user=...\)"):
        host_user({"user": "ann"})
