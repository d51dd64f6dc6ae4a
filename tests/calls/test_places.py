"""Places that are free and taken are always as many as there are, with those that are lent."""

import random
from contextlib import ExitStack

import pytest

from trio_hubs.calls.places import Places


def test_a_call_takes_a_place_and_gives_it_back() -> None:
    places = Places(2, 0)
    places.take()
    assert places.free == 1
    places.give_back()
    assert places.free == places.count == 2


def test_a_place_is_lent_only_while_none_is_free() -> None:
    places = Places(1, 5)
    with places.lent():
        assert (places.free, places.count) == (1, 1)
    places.take()
    with places.lent():
        assert (places.free, places.count) == (1, 2)
    assert (places.free, places.count) == (0, 1)


def test_only_so_many_are_lent() -> None:
    places = Places(1, 2)
    places.take()
    with ExitStack() as stack:
        for free in (1, 1, 0):
            stack.enter_context(places.lent())
            assert places.free == free
            if free:
                places.take()
        assert places.count == 3


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_sum_is_right(seed: int) -> None:
    choose = random.Random(seed)
    maximum, maximum_lent = choose.randint(1, 4), choose.randint(0, 4)
    places = Places(maximum, maximum_lent)
    taken = 0
    lenders: list[ExitStack] = []
    for _ in range(200):
        step = choose.random()
        if step < 0.4 and places.free > 0:
            places.take()
            taken += 1
        elif step < 0.6 and taken:
            places.give_back()
            taken -= 1
        elif step < 0.8 and taken:
            lenders.append(ExitStack())
            lenders[-1].enter_context(places.lent())
        elif lenders:
            lenders.pop(choose.randrange(len(lenders))).close()
        assert places.free + taken == places.count
        assert maximum <= places.count <= maximum + min(maximum_lent, len(lenders))
