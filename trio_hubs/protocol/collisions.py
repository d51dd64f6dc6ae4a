"""What a peer chose so that Python's dicts and sets grow slow: keys of one hash.

Law: whatever their types, so many keys of one hash are never put together that finding one takes long.
"""

from collections.abc import Collection, Hashable

from .faults import Unfit

MOST = 100
"""Different keys of one hash: two are an accident."""


def refuse_colliding(keys: Collection[Hashable]) -> None:
    """Raise for keys too many of which share a hash; equal ones count once."""
    if len(keys) <= MOST or len(keys) - len(set(map(hash, keys))) <= MOST:
        return
    groups: dict[int, list[Hashable]] = {}
    for key in keys:
        group = groups.setdefault(hash(key), [])
        if key not in group:
            if len(group) == MOST:
                raise Unfit("Too many keys of one hash")
            group.append(key)
