"""Who is there, in which groups, of which user; and nothing is kept of who has left."""

import random
from typing import Any

import pytest

from trio_hubs.server.address import Address
from trio_hubs.server.members import Member, Members


class FakeSession:
    """As much of a session as who is there is about."""

    protocol = outbox = None
    ended = False


def come(members: Members, id: str, user_id: str | None = None) -> None:
    session: Any = FakeSession()
    members.add(Member(id, session, user_id))


def ids_at(members: Members, address: Address) -> list[str]:
    return [member.id for member in members.at(address)]


def in_group(members: Members, name: str) -> list[str]:
    return ids_at(members, Address.groups(name))


def of_user(members: Members, id: str) -> list[str]:
    return ids_at(members, Address.users(id))


def is_empty(members: Members) -> bool:
    return not (members.by_id or members._groups or members._users)


def test_one_that_comes_and_goes_leaves_nothing() -> None:
    members = Members()
    come(members, "a", "ann")
    members.join("a", "g")
    members.join("a", "h")
    members.remove("a")
    assert is_empty(members)


def test_one_that_is_not_there_can_be_removed() -> None:
    members = Members()
    come(members, "a")
    assert members.remove("b") is None
    gone = members.remove("a")
    assert gone is not None
    assert gone.id == "a"
    assert members.remove("a") is None


def test_two_of_one_user_leave_one_by_one() -> None:
    members = Members()
    come(members, "a", "ann")
    come(members, "b", "ann")
    assert of_user(members, "ann") == ["a", "b"]
    members.remove("a")
    assert of_user(members, "ann") == ["b"]
    members.remove("b")
    assert of_user(members, "ann") == []
    assert is_empty(members)


def test_an_empty_user_id_is_one_and_none_is_nobodys() -> None:
    members = Members()
    come(members, "a", "")
    come(members, "b")
    assert of_user(members, "") == ["a"]
    members.remove("a")
    members.remove("b")
    assert is_empty(members)


def test_asking_for_a_group_makes_none() -> None:
    members = Members()
    assert in_group(members, "g") == []
    assert of_user(members, "u") == []
    members.join("nobody", "g")
    members.leave("nobody", "g")
    come(members, "a")
    members.leave("a", "g")
    members.remove("a")
    assert is_empty(members)


def test_how_many_are_in_each_group() -> None:
    members = Members()
    for id in "ab":
        come(members, id)
        members.join(id, "room")
    members.join("a", "club")
    assert members.group_sizes == {"room": 2, "club": 1}
    members.leave("a", "room")
    members.leave("a", "club")
    assert members.group_sizes == {"room": 1}


def test_leaving_a_group_of_others_changes_nothing() -> None:
    members = Members()
    come(members, "a")
    come(members, "b")
    members.join("b", "g")
    members.leave("a", "g")
    assert in_group(members, "g") == ["b"]


def test_ids_name_each_once_and_in_their_order() -> None:
    members = Members()
    come(members, "a")
    come(members, "b")
    assert ids_at(members, Address.connections("b", "x", "a", "b")) == ["b", "a"]


def test_a_group_left_in_between_is_joined_anew() -> None:
    members = Members()
    come(members, "a")
    come(members, "b")
    members.join("a", "g")
    members.join("b", "g")
    members.leave("a", "g")
    members.leave("a", "g")
    members.join("a", "g")
    assert in_group(members, "g") == ["b", "a"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (Address.all(), "abc"),
        (Address.all(excluded=("a", "x")), "bc"),
        (Address.groups("g", "h", "x"), "abbc"),
        (Address.groups("g", "h", excluded=("b",)), "ac"),
        (Address.users("u", "v"), "abc"),
        (Address.users("x"), ""),
        (Address.connections(), ""),
    ],
)
def test_an_address_stands_for(address: Address, expected: str) -> None:
    members = Members()
    come(members, "a", "u")
    come(members, "b", "u")
    come(members, "c", "v")
    for id, group in ("ag", "bg", "bh", "ch"):
        members.join(id, group)
    assert "".join(ids_at(members, address)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_groups_are_as_a_plain_set_has_them(seed: int) -> None:
    chance = random.Random(seed)
    members = Members()
    there: set[str] = set()
    groups: dict[str, set[str]] = {f"g{n}": set() for n in range(5)}
    for step in range(2000):
        id = f"c{chance.randrange(20)}"
        group = chance.choice(list(groups))
        match chance.choice(("come", "go", "join", "join", "leave")):
            case "come" if id not in there:
                there.add(id)
                come(members, id, f"u{int(id[1:]) % 3}")
            case "go" if id in there:
                there.remove(id)
                members.remove(id)
                for ids in groups.values():
                    ids.discard(id)
            case "join":
                members.join(id, group)
                if id in there:
                    groups[group].add(id)
            case "leave":
                members.leave(id, group)
                groups[group].discard(id)
            case _:
                continue
        if step % 50 == 0:
            for name, ids in groups.items():
                found = in_group(members, name)
                assert len(found) == len(set(found))
                assert set(found) == ids
    for known in there:
        members.remove(known)
    assert is_empty(members)


def test_what_ends_uses_no_name() -> None:
    members = Members()
    come(members, "a", "ann")
    come(members, "b", "ben")
    for id in "ab":
        members.join(id, f"of {id}")
        members.join(id, "both")
    assert members.groups == {"of a", "of b", "both"}
    assert members.users == {"ann", "ben"}
    members.by_id["a"].session.ended = True  # type: ignore[misc]
    assert members.groups == {"of b", "both"}
    assert members.users == {"ben"}
