"""A user is who ``authenticate`` says, until that expires; policies stand where they were put, and all must be met."""

import functools
import time
from collections.abc import Awaitable

import attrs
import pytest

from trio_hubs.connections.http import Request
from trio_hubs.connections.users import (
    Policy,
    User,
    authorize,
    is_same,
    meets,
    policies_for,
    policies_of,
    policies_of_method,
    resolve,
)

ADA = User("ada", claims={"role": "admin"})


def test_a_user() -> None:
    assert (User().id, User().claims, User().expires_at, User().lifetime) == (None, {}, None, None)
    assert User("ada") == User("ada")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ADA.id = "bob"  # type: ignore[misc]


@pytest.mark.parametrize("id", [5, b"ann"])
def test_an_id_that_is_no_text_is_refused(id: object) -> None:
    with pytest.raises(TypeError, match=rf"^a user's id must be str, not {type(id).__name__}$"):
        User(id)  # type: ignore[arg-type]


def test_how_long_a_user_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert User(expires_at=1010).lifetime == 10
    assert User(expires_at=990.5).lifetime == -9.5
    assert User(expires_at=1010, leeway=30).lifetime == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (None, None, True),
        (None, User(), False),
        (ADA, None, False),
        (ADA, User("ada"), True),  # whatever else is known of them
        (ADA, User("Ada"), False),
        (ADA, User(claims={"role": "admin"}), False),
        (User(), User(), True),
        (User(), User(""), True),
        (User(expires_at=1), User(expires_at=2), True),
        (User(claims={"role": "guest"}), User(claims={"role": "guest"}), True),
        (User(claims={"role": "guest"}), User(claims={"role": "admin"}), False),
        (User("", claims={"role": "guest"}), User("", claims={"role": "admin"}), False),
        (User(), User(claims={"role": "admin"}), False),
    ],
)
def test_who_is_the_same_user(one: User | None, other: User | None, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


# ---- policies


def is_admin(user: User) -> bool:
    return user.claims.get("role") == "admin"


async def is_ada(user: User) -> bool:
    return user.id == "ada"


@pytest.mark.parametrize(
    ("user", "policies", "met"),
    [
        (ADA, [], True),
        (ADA, [is_admin], True),
        (ADA, [is_admin, is_ada], True),
        (User("ada"), [is_ada], True),
        (User("ada"), [is_admin, is_ada], False),
        (User("bob"), [is_ada], False),
        (User("bob", claims={"role": "admin"}), [is_admin, is_ada], False),
    ],
)
async def test_all_policies_must_be_met(user: User, policies: list[Policy], met: bool) -> None:
    assert await meets(user, policies) is met


async def test_what_a_policy_raises_is_no_answer() -> None:
    def fail(user: User) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await meets(ADA, [fail])
    assert not await meets(User(), [is_admin, fail])  # the first that says no decides


async def test_settling() -> None:
    async def answer() -> int:
        return 42

    waited: int | Awaitable[int] = answer()
    assert await resolve(waited) == 42
    assert await resolve("now") == "now"


async def test_a_mark_without_a_policy_wants_any_user() -> None:
    @authorize()
    async def handle(connection: object) -> None:
        pass

    (policy,) = policies_of(handle)
    assert await meets(User(), [policy])


def test_marks_gather() -> None:
    @authorize(is_ada)
    @authorize(is_admin)
    def function() -> None:
        pass

    assert policies_of(function) == (is_admin, is_ada)
    assert policies_of(lambda: None) == ()


def test_what_inherits_is_marked_too_and_marks_nothing_above_it() -> None:
    @authorize(is_admin)
    class Base:
        @authorize(is_ada)
        def method(self) -> None:
            pass

    @authorize(is_ada)
    class Derived(Base):
        pass

    class Plain(Base):
        pass

    assert policies_of(Base) == policies_of(Plain) == (is_admin,)
    assert set(policies_of(Derived)) == {is_admin, is_ada}
    assert len(policies_of(Derived)) == 2
    assert policies_of(Derived.method) == (is_ada,)


def test_every_base_counts() -> None:
    @authorize(is_ada)
    class One:
        pass

    @authorize(is_admin)
    class Other:
        pass

    class Both(One, Other):
        pass

    assert set(policies_of(Both)) == {is_ada, is_admin}


def test_an_override_loses_no_policy() -> None:
    class Base:
        @authorize(is_ada)
        def method(self) -> None:
            pass

    class Middle(Base):
        def method(self) -> None:
            pass

    class Derived(Middle):
        @authorize(is_admin)
        def method(self) -> None:
            pass

    assert policies_of_method(Base, "method") == policies_of_method(Middle, "method") == (is_ada,)
    assert set(policies_of_method(Derived, "method")) == {is_ada, is_admin}
    assert policies_of_method(Derived, "other") == ()


def test_an_object_that_handles_is_marked_by_its_class() -> None:
    @authorize(is_ada)
    class Handler:
        async def __call__(self, connection: object) -> None:
            pass

    assert policies_of(Handler()) == (is_ada,)


def test_a_handler_keeps_its_guard_when_it_is_given_arguments_beforehand() -> None:
    @authorize(is_ada)
    def handler(store: object, connection: object) -> None: ...

    given = functools.partial(functools.partial(handler, {}), connection=None)
    assert policies_of(given) == (is_ada,)


async def test_a_mark_may_stand_without_parentheses() -> None:
    @authorize
    class Marked:
        """A class."""

        @authorize
        def method(self, number: int) -> int:
            return number

    @authorize
    async def handle(connection: object) -> None:
        raise AssertionError

    @authorize
    def answer(request: object) -> None:
        raise AssertionError

    @authorize
    def answer_quickly(_: Request) -> None:
        raise AssertionError

    assert Marked().method(7) == 7
    for marked in (Marked, Marked.method, handle, answer, answer_quickly):
        (policy,) = policies_of(marked)
        assert policy(User()) is True


@pytest.mark.parametrize("policy", ["admin", 7, ["admin"]])
def test_what_is_no_policy_is_refused_where_it_stands(policy: object) -> None:
    with pytest.raises(TypeError, match="a policy is called with the user"):
        authorize(policy)  # type: ignore[call-overload]


def test_a_function_of_a_user_is_a_policy() -> None:
    def is_admin(user: User) -> bool:
        return user.id == "admin"

    @authorize(is_admin)
    class Marked:
        """A class."""

    assert policies_of(Marked) == (is_admin,)
    assert policies_of(is_admin) == ()


def test_a_policy_may_stand_as_an_argument() -> None:
    assert policies_for(False) == ()
    (anybody,) = policies_for(True)
    assert anybody(ADA) is True
    assert policies_for(is_admin) == (is_admin,)
    with pytest.raises(TypeError, match="authorize is True, or a policy"):
        policies_for("admin")  # type: ignore[arg-type]
