"""A call that waits for its own peer lends its place, so that what the peer asks for its answer is no deadlock."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.messages import result

from .gates import Gates, plain, started
from .support import Desk, read_call


class Asking:
    """A method that waits for its peer until it is let go on."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.answered = trio.Event()
        desk.face.add("asks", self.asks)
        desk.face.add("asking_stream", self.asking_stream)
        desk.face.add("plain", plain)

    async def asks(self) -> str:
        with self.desk.their_calls.place_lent():
            await self.answered.wait()
        return "asked"

    async def asking_stream(self) -> AsyncIterator[str]:
        yield await self.asks()

    async def answer(self) -> None:
        self.answered.set()
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("waiting", [False, True])
async def test_others_run_while_a_call_waits_for_its_peer(desk: Desk, waiting: bool) -> None:
    asking, gates = Asking(desk), Gates(desk)
    calls = [read_call("asks", id="1"), read_call("plain", id="2"), read_call("wait", "a", id="3")]
    if waiting:
        await desk.answers(*calls)
    else:
        for each in calls:
            await desk.answers(each)
    assert desk.sent == [result("2", "plain")]
    await gates.open("a")
    await asking.answer()
    assert desk.sent == [result("2", "plain"), result("3", "a"), result("1", "asked")]
    assert desk.their_calls.idle


async def test_one_place_is_lent_and_no_more(desk: Desk) -> None:
    asking, gates = Asking(desk), Gates(desk)
    await desk.answers(
        read_call("asks", id="1"),
        read_call("wait", "a", id="2"),
        read_call("wait", "b", id="3"),
        read_call("plain", id="4"),
    )
    assert gates.notes == ["a started"]
    await asking.answer()
    assert desk.sent == [result("1", "asked")]
    assert gates.notes == ["a started"]  # the lent place is taken still
    await gates.open("a")
    assert gates.notes == ["a started", "b started"]
    await gates.open("b")
    assert desk.sent[1:] == [result("2", "a"), result("3", "b"), result("4", "plain")]


async def test_calls_that_wait_for_the_peer_may_do_so_in_any_number_up_to_that_of_streams(
    nursery: trio.Nursery,
) -> None:
    desk = started(nursery, maximum_streams=2)
    asking = Asking(desk)
    await desk.answers(
        *(read_call("asks", id=str(number)) for number in range(5)), read_call("plain", id="5")
    )
    assert desk.sent == []  # two have lent their places, the third has not, and the rest waits
    await asking.answer()
    assert sorted(message["invocationId"] for message in desk.sent) == [str(number) for number in range(6)]
    assert desk.their_calls.idle


async def test_places_are_as_before_when_all_is_done(desk: Desk) -> None:
    asking, gates = Asking(desk), Gates(desk)
    await desk.answers(*(read_call("asks", id=str(number)) for number in range(4)))
    await asking.answer()
    assert len(desk.sent) == 4
    await desk.answers(read_call("wait", "a", id="a"), read_call("wait", "b", id="b"))
    assert gates.notes == ["a started"]
    await gates.open("a")
    await gates.open("b")
    assert desk.their_calls.idle


async def test_a_call_that_is_cancelled_while_it_waits_for_its_peer_takes_its_place_back(desk: Desk) -> None:
    Asking(desk)
    gates = Gates(desk)
    await desk.answers(read_call("asks", id="1"))
    desk.their_calls.cancel("1")
    await desk.answers(read_call("wait", "a", id="2"), read_call("wait", "b", id="3"))
    assert gates.notes == ["a started"]
    await gates.open("a")
    await gates.open("b")


async def test_no_place_is_lent_while_another_is_free(nursery: trio.Nursery) -> None:
    desk = started(nursery, maximum_parallel_invocations=2)
    asking, gates = Asking(desk), Gates(desk)
    await desk.answers(
        read_call("asks", id="1"), read_call("wait", "a", id="2"), read_call("wait", "b", id="3")
    )
    assert gates.notes == ["a started"]
    await gates.open("a")
    await gates.open("b")
    await asking.answer()
    assert desk.their_calls.idle
