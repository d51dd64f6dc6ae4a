"""Streams from the counter, leaves a stream early, and uploads: `python -m examples.counter_client URL`."""

import sys
from collections.abc import AsyncIterator

import trio

from trio_hubs import HubException, open_hub_connection


async def odd_numbers(count: int) -> AsyncIterator[int]:
    """The first odd numbers."""
    for number in range(count):
        yield 2 * number + 1


async def main(url: str) -> None:
    """Call each of the server's methods."""
    async with open_hub_connection(url) as connection:
        async with connection.stream("CounterChannel", 5, 20, item_type=int) as numbers:
            async for number in numbers:
                print(number)
        async with connection.stream("Counter", 1_000_000, 1, item_type=int) as numbers:
            async for number in numbers:
                if number == 10:
                    break  # leaving the block cancels the server's method
        print(
            "the sum of five odd numbers:", await connection.invoke("Total", odd_numbers(5), result_type=int)
        )
        try:
            async with connection.stream("Counter", -1, 0) as numbers:
                await numbers.read()
        except HubException as error:
            print(error)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/counter")
