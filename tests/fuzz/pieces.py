"""Bytes in pieces, bytes that were good once, and how many of them to try."""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

PLACES = st.lists(st.integers(0, 5000), max_size=8)
"""Where to cut; see :func:`cut`."""


def examples(factor: float) -> settings:
    """So many times what the profile says."""
    return settings(max_examples=round(factor * settings().max_examples))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, none of them empty."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def singly(data: bytes) -> list[bytes]:
    """The data byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


def mutations(good: SearchStrategy[bytes], parts: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Good bytes of which some were changed, left out, or came in between."""
    change = st.tuples(st.integers(0, 5000), st.integers(0, 3), parts)

    def changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for place, less, more in changes:
            at = place % (len(data) + 1)
            data = data[:at] + more + data[at + less :]
        return data

    return st.builds(changed, good, st.lists(change, min_size=1, max_size=4))
