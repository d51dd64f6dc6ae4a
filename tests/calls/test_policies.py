"""The policies are data: alike when they say the same."""

from trio_hubs.calls.policies import WAIT, Conflate, DropOldest, Wait


def test_policies_that_say_the_same_are_the_same() -> None:
    assert Wait() == WAIT
    assert DropOldest() == DropOldest()
    assert Conflate("a") == Conflate("a") != Conflate("b")
    assert Conflate() == Conflate(None)
