"""When a lost connection is tried again: the policy's word, the server's, and the counting of attempts."""

import math

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import Backoff, ConnectionClosed
from trio_hubs.client.reconnect import Retries

LOST = ConnectionClosed("lost")
SENT_AWAY = ConnectionClosed("sent away", retriable=False)


# ---- the policy


def test_the_default_delays_are_the_official_ones_with_full_jitter() -> None:
    policy = Backoff()
    for attempt, most in enumerate((0, 2, 10, 30)):
        waits = [policy(attempt, 0.0, LOST) or 0.0 for _ in range(1000)]
        assert all(0 <= wait <= most for wait in waits)
        assert max(waits) >= 0.9 * most
        assert min(waits) <= 0.1 * most
    assert policy(4, 0.0, LOST) is None


def test_a_backoff_may_go_on_for_ever() -> None:
    policy = Backoff((1, 5), forever=True)
    for attempt in (2, 10, 10**9):
        waits = [policy(attempt, 0.0, LOST) for _ in range(1000)]
        assert all(wait is not None and 0 <= wait <= 5 for wait in waits)


@pytest.mark.parametrize("delays", [(), (1, -1), (math.nan,)])
def test_what_is_no_backoff_is_refused(delays: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="delays"):
        Backoff(delays)


# ---- the counting


async def test_without_a_policy_nothing_is_tried() -> None:
    assert Retries(None, 10, 300).next_delay(LOST) is None


async def test_the_policy_hears_of_attempts_the_time_since_the_loss_and_the_error(
    autojump_clock: MockClock,
) -> None:
    heard: list[tuple[int, float, str]] = []

    def policy(attempt: int, elapsed: float, error: Exception) -> float | None:
        heard.append((attempt, elapsed, str(error)))
        return 3.0 if attempt < 2 else None

    retries = Retries(policy, 10, 300)
    await trio.sleep(100)
    for number in range(2):
        assert retries.next_delay(ConnectionClosed(str(number))) == 3.0
        await trio.sleep(4)
    assert retries.next_delay(ConnectionClosed("2")) is None
    assert heard == [(0, 0.0, "0"), (1, 4.0, "1"), (2, 8.0, "2")]
    assert (retries.failed, retries.elapsed) == (2, 8.0)


async def test_attempts_count_on_until_a_connection_has_lasted(autojump_clock: MockClock) -> None:
    retries = Retries(lambda attempt, *_: float(attempt), 10, 300)
    delays: list[float | None] = []
    for lasted in (0, 9, 11, 1):
        retries.opened()
        await trio.sleep(lasted)
        delays.append(retries.next_delay(LOST))
        await trio.sleep(20)  # until the next one opens, which is not time that it lasted
    assert delays == [0, 1, 0, 1]


async def test_what_must_not_be_tried_again_is_not_asked_of_the_policy() -> None:
    retries = Retries(lambda *_: pytest.fail("asked"), 10, 300)
    assert retries.next_delay(SENT_AWAY) is None


@pytest.mark.parametrize(("asked", "wait"), [(30.0, 32.0), (300.0, 302.0), (1e9, 302.0), (math.inf, 302.0)])
async def test_the_wait_that_the_server_asks_for_comes_on_top_within_bounds(
    asked: float, wait: float
) -> None:
    retries = Retries(lambda *_: 2.0, 10, 300)
    assert retries.next_delay(ConnectionClosed("busy", retry_after=asked)) == wait


async def test_attempts_may_begin_with_the_first_connection_or_after_it() -> None:
    assert Retries(lambda *_: 2.0, 10, 300, first=True).next_delay(LOST) == 2.0
    retries = Retries(lambda *_: 2.0, 10, 300, first=False)
    assert retries.next_delay(LOST) is None
    retries.opened()
    assert retries.next_delay(LOST) == 2.0
    assert retries.next_delay(LOST) == 2.0
