"""Numbered news for those with a token, which is good for ten minutes: `trio-hubs serve examples.news_server:app`."""

import time
from collections.abc import AsyncIterator
from itertools import count
from secrets import token_urlsafe

import trio

from trio_hubs import Hub, HubApp, HubOptions, Request, Response, User, authorize


@authorize
class News(Hub):
    """Any number of topics, each with a story every half second, and all of them still there after a restart."""

    async def subscribe(self, topic: str) -> None:
        """Hear from now on who else reads about the topic."""
        await self.clients.group(topic).send("Joined", self.context.user_id, topic)
        await self.groups.add(self.context.connection_id, topic)

    async def stories(self, topic: str, first: int) -> AsyncIterator[tuple[int, str]]:
        """Stream the stories of a topic from this one on, each with its number."""
        for number in count(first):
            yield number, f"{topic} {number}"
            await trio.sleep(0.5)


def make_app(lifetime: float = 600.0) -> HubApp:
    """Make the app, whose tokens are good for so many seconds, or until it is made again."""
    users: dict[str, User] = {}

    def give_token(request: Request) -> Response:
        """Anybody gets a token here; mostly that is the business of an identity provider."""
        token = token_urlsafe()
        users[token] = User(request.query.get("user", "anybody"), expires_at=time.time() + lifetime)
        return Response(token.encode(), content_type="text/plain")

    def authenticate(request: Request) -> User | None:
        return users.get(request.bearer_token or "")

    app = HubApp(authenticate=authenticate, options=HubOptions(authentication_refresh=True))
    app.add_hub("/news", News)
    app.add_route("/token", give_token)
    return app


app = make_app()
