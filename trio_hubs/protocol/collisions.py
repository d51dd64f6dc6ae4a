"""Keys of one hash, which a peer can choose to make Python's dicts and sets slow.

No dict or set gets more than a few different keys of one hash, whatever their types.
"""

from collections.abc import Collection, Hashable, Mapping
from types import GenericAlias
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from msgspec import Meta

from .faults import Unfit

Small: TypeAlias = Annotated[int, Meta(gt=1 - 2**61, lt=2**61 - 1)]
"""Numbers of which no more than two share a hash."""

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


def with_small_keys(type_: Any) -> Any:
    """The same type, but without those numbers in its sets, or as its keys, whose hashes could collide."""
    origin, arguments = get_origin(type_), list(map(with_small_keys, get_args(type_)))
    if not arguments or origin is Annotated:
        return type_
    if origin in (set, frozenset, dict, Mapping) and arguments[0] is int:
        arguments[0] = Small
    return GenericAlias(origin, tuple(arguments)) if isinstance(origin, type) else type_
