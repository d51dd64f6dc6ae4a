"""Posts have their turns in the order of their places; small bodies are read ahead, if the pipe has room for them."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hubs.connections.pipe import Pipe
from trio_hubs.connections.server.posts import EarlyPosts, Posts, Turn


async def test_turns_come_in_the_order_of_the_places(autojump_clock: MockClock) -> None:
    posts = Posts(Pipe(10), EarlyPosts(100))
    turns = [posts.begin() for _ in range(9)]
    order: list[int] = []

    async def post(i: int, turn: Turn) -> None:
        with turn:
            await trio.sleep((i * 7) % 9)
            await turn.wait()
            order.append(i)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for i, turn in enumerate(turns):
            nursery.start_soon(post, i, turn)
    assert order == list(range(9))


async def test_who_leaves_before_its_turn_holds_up_nobody(autojump_clock: MockClock) -> None:
    posts = Posts(Pipe(10), EarlyPosts(100))
    first, second, third = (posts.begin() for _ in range(3))
    second.leave()
    first.leave()
    await third.wait()
    third.leave()
    with posts.begin() as next:
        await next.wait()


async def test_who_is_cancelled_before_its_turn_holds_up_nobody(autojump_clock: MockClock) -> None:
    posts = Posts(Pipe(10), EarlyPosts(100))
    first, second, third = (posts.begin() for _ in range(3))
    with trio.move_on_after(1), second:
        await second.wait()
    assert trio.current_time() == 1
    first.leave()
    await third.wait()


async def test_so_much_may_be_read_ahead_as_there_is_room_for(autojump_clock: MockClock) -> None:
    pipe = Pipe(10)
    posts = Posts(pipe, EarlyPosts(100))
    first, second, third = (posts.begin() for _ in range(3))
    assert not first.reserve(11)
    assert not first.reserve(None)
    assert first.reserve(6)
    assert not second.reserve(5)
    assert second.reserve(4)
    assert third.reserve(0)
    await first.wait()
    await pipe.put(b"123456")  # of what was read ahead
    assert not third.reserve(1)
    first.leave()
    second.leave()
    assert not third.reserve(5)
    assert third.reserve(4)
    await pipe.take()
    assert not posts.begin().reserve(7)
    third.leave()
    assert posts.begin().reserve(10)


async def test_nothing_may_be_read_ahead_of_a_pipe_that_is_overfull(autojump_clock: MockClock) -> None:
    pipe = Pipe(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.put, b"12345")
        await wait_all_tasks_blocked()
        assert not Posts(pipe, EarlyPosts(100)).begin().reserve(1)
        await pipe.take()


# ---- posts before their connections are open


async def test_so_much_may_be_posted_early_and_no_more(autojump_clock: MockClock) -> None:
    early = EarlyPosts(10)
    first, second, third = (Posts(Pipe(100), early) for _ in range(3))
    await first.wait_admitted(4)
    await second.wait_admitted(6)
    assert early.size == 10
    admitted: list[str] = []

    async def post(name: str, posts: Posts, size: int) -> None:
        await posts.wait_admitted(size)
        admitted.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, "second", second, 1)
        nursery.start_soon(post, "third", third, 1)
        nursery.start_soon(post, "third", third, 2)
        await wait_all_tasks_blocked()
        assert admitted == []
        second.opened()
        await wait_all_tasks_blocked()
        assert admitted == ["second"]
        assert early.size == 4
        await second.wait_admitted(100)  # which counts no more
        await first.wait_admitted(6)
        assert early.size == 10
        third.close()
    assert admitted == ["second", "third", "third"]
    first.close()
    assert early.size == 0
    assert first.incoming.closed
