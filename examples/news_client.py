"""A client that lives for days, and may be there before its server: `python -m examples.news_client ADDRESS`.

It connects again, as often as it takes, subscribes anew each time, goes on with its stream where that broke off, and
renews its token before it expires.
"""

import sys
from collections.abc import Callable

import httpx2
import trio

from trio_hubs import Backoff, HubConnection, HubLink, StreamGap, TokenReason, open_hub_connection

TOPIC = "weather"


async def tell_changes(connection: HubConnection, show: Callable[[str], object]) -> None:
    """Tell when the connection is lost, and when there is another one."""
    with connection.state_changes() as changes:
        async for change in changes:
            show(f"{change.state.value}: {change.reason}" if change.reason else change.state.value)


async def main(address: str, show: Callable[[str], object] = print) -> None:
    """Read the news until cancelled."""
    async with httpx2.AsyncClient() as http, trio.open_nursery() as nursery:

        async def token(reason: TokenReason) -> str:
            answer = await http.get(f"{address}/token", params={"user": "ann"})
            show(f"token: {reason}")
            return answer.raise_for_status().text

        async def subscribe(link: HubLink) -> None:
            await link.invoke("Subscribe", TOPIC)
            show("subscribed")

        def joined(user: str, topic: str) -> None:
            show(f"{user} reads about the {topic}, too")

        async with open_hub_connection(
            f"{address}/news",
            access_token=token,
            handlers={"Joined": joined},
            reconnect=Backoff((0.0, 1.0, 10.0, 60.0), forever=True),
            retry_first=True,
            setup=subscribe,
        ) as connection:
            nursery.start_soon(tell_changes, connection, show)
            async with connection.stream(
                "Stories",
                TOPIC,
                1,
                item_type=tuple[int, str],
                resume=lambda last: [TOPIC, last[0] + 1],
                gaps=True,
            ) as stories:
                async for story in stories:
                    if isinstance(story, StreamGap):
                        show(f"the stream goes on; it broke off because of this: {story.reason}")
                    else:
                        number, text = story
                        show(f"{number}: {text}")


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
