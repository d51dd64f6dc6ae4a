"""The connections to Redis, one at a time for each node that has channels, and each opened anew when it is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from random import uniform

import anyio
import coredis.exceptions
import trio
from coredis.connection import BaseConnection

from ..errors import BackplaneError
from ..fleet.bus import Gap, Hear
from ..logs import get_logger
from ..tasks import open_background
from .commands import PubSubCommands
from .nodes import LOST, PING_INTERVAL, REPLY_TIMEOUT, Node, Nodes, reason_of
from .publications import Publication, Publications
from .subscriptions import Subscriptions

logger = get_logger(__name__)

LONGEST_DELAY = 10.0
"""Seconds between two attempts to connect, at most; the first come after a tenth of a second, each with jitter."""
MOST_MOVES = 5
"""How often something is published anew because its channel is another node's."""
EXPIRY_INTERVAL = 1.0
"""Seconds between two looks for what has waited for a connection for too long."""


class Link:
    """What goes over the connections to one node.

    Attributes:
        node: The node.
        publications: What is published.
        subscriptions: What is heard.
        connection: The one that there is.
        failure: Why there was none.
    """

    def __init__(self, node: Node, publications: Publications, subscriptions: Subscriptions) -> None:
        self.node = node
        self.publications = publications
        self.subscriptions = subscriptions
        self.connection: BaseConnection | None = None
        self.failure: str | None = None

    async def serve(self, connection: BaseConnection, on_progress: Callable[[], object]) -> None:
        """Publish and hear over a connection, until that is lost."""
        self.connection = connection
        async with open_background() as nursery:
            nursery.start_soon(self.publications.run, connection)
            nursery.start_soon(self.subscriptions.run, connection)
            nursery.start_soon(self._ping, connection)
            on_progress()
            # All that has come is taken in each pass, so that no more lies in the library's queue than it reads at a
            # time.
            arrived = connection._push_message_buffer_out
            async for push in connection.push_messages:
                self.subscriptions.take(push)
                with suppress(anyio.WouldBlock):
                    while True:
                        self.subscriptions.take(arrived.receive_nowait())

    def lose(self) -> int:
        """The connection was lost; gives the number of publications that were lost with it."""
        self.connection = None
        self.subscriptions.lose()
        return self.publications.lose()

    async def _ping(self, connection: BaseConnection) -> None:
        while True:
            await trio.sleep(PING_INTERVAL)
            await connection.create_request(b"PING", timeout=REPLY_TIMEOUT)


class Links:
    """All links, by their nodes, and which of them has a channel.

    Args:
        nodes: Where they lead.
        commands: How to publish and subscribe.
        timeout: Seconds for which something may wait for a connection.
        buffer_size: Bytes that may wait for one before no more are taken.
        maximum: Bytes that a message may have.
        on_gap: Hears that a connection was lost and is there again.

    Attributes:
        changed: Where to wait for something of them to change.
    """

    def __init__(
        self,
        nodes: Nodes,
        commands: PubSubCommands,
        timeout: float,
        buffer_size: int,
        maximum: int,
        on_gap: Callable[[Gap], None],
    ) -> None:
        self.changed = trio.lowlevel.ParkingLot()
        self._nodes = nodes
        self._commands = commands
        self._timeout = timeout
        self._buffer_size = buffer_size
        self._maximum = maximum
        self._on_gap = on_gap
        self._links: dict[Node, Link] = {}
        self._homes: dict[bytes, Link] = {}
        self._nursery: trio.Nursery | None = None

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def of(self, name: bytes) -> Link:
        """The link of a channel's node."""
        node = self._nodes.of(name)
        return self._links.get(node) or self._make(node)

    def publish(self, publication: Publication) -> None:
        """Publish something over the link of its channel's node.

        Raises:
            BackplaneError: That is away, and as much waits for it as may.
        """
        link = self.of(publication.channel)
        if link.connection is None:
            if link.publications.bytes >= self._buffer_size:
                raise BackplaneError("Redis cannot be reached, and too much waits for it.")
            publication.deadline = min(publication.deadline, trio.current_time() + self._timeout)
        link.publications.put(publication)

    def subscribe(self, name: bytes, hear: Hear) -> None:
        """Hear a channel; nothing changes when it is heard already."""
        if name not in self._homes:
            link = self._homes[name] = self.of(name)
            link.subscriptions.add(name, hear)

    def unsubscribe(self, name: bytes) -> None:
        """Hear a channel no more."""
        if (link := self._homes.pop(name, None)) is not None:
            link.subscriptions.remove(name)

    def subscriptions(self, name: bytes) -> Subscriptions:
        """Those that a channel is one of."""
        return (self._homes.get(name) or self.of(name)).subscriptions

    async def run(self) -> None:
        """Keep all connections going, until cancelled."""
        async with AsyncExitStack() as stack:
            first = self.of(b"")
            waits = _delays()
            while True:
                with self._telling_of_failure(first):
                    await stack.enter_async_context(self._nodes.open())
                    break
                await trio.sleep(next(waits))
            async with open_background() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._expire)
                try:
                    for link in self:
                        nursery.start_soon(self._keep, link)
                    await trio.sleep_forever()
                finally:
                    self._nursery = None

    def _make(self, node: Node) -> Link:
        subscriptions = Subscriptions(
            self._commands,
            self._maximum,
            self.changed.unpark_all,
            lambda name, error: self._move(link, name, error),
        )
        publications = Publications(
            self.changed.unpark_all,
            lambda each, error: self._move_on(link, each, error),
        )
        link = self._links[node] = Link(node, publications, subscriptions)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, link)
        return link

    async def _keep(self, link: Link) -> None:
        """Keep a connection going, until its node is none any more."""
        lost: float | None = None
        unsent = 0
        waits = _delays()
        while True:
            with self._telling_of_failure(link):
                await self._nodes.look()
                self._settle()
                if not self._nodes.has(link.node) and not link.subscriptions.heard:
                    del self._links[link.node]
                    self.changed.unpark_all()  # others have its channels now
                    self._tell_gap(lost, unsent)
                    return
                async with self._nodes.connect(link.node) as connection:
                    self._tell_gap(lost, unsent)
                    waits = _delays()
                    try:
                        await link.serve(connection, self.changed.unpark_all)
                    finally:
                        lost = trio.current_time()
                        unsent = link.lose()
            await trio.sleep(next(waits))

    async def _expire(self) -> None:
        while True:
            await trio.sleep(EXPIRY_INTERVAL)
            for link in self:
                if link.connection is None and (lost := link.publications.expire()):
                    logger.error("Redis was away for too long: %d messages are lost", lost)
                    self.changed.unpark_all()

    def _settle(self) -> None:
        """Have everything go over the link of the node that has its channel now."""
        for name, home in list(self._homes.items()):
            self._rehome(name, home)
        for link in list(self):
            if not self._nodes.has(link.node):
                for publication in link.publications.take_waiting():
                    self._publish_anew(publication)

    def _rehome(self, name: bytes, home: Link) -> bool:
        link = self.of(name)
        if link is home:
            return False
        self._homes[name] = link
        link.subscriptions.add(name, home.subscriptions.remove(name))
        return True

    def _move(self, home: Link, name: bytes, error: coredis.exceptions.MovedError) -> bool:
        """A node says that a channel is another's; gives whether that is news."""
        self._nodes.note_moved(home.node, error)
        return self._rehome(name, home)

    def _move_on(self, home: Link, publication: Publication, error: coredis.exceptions.MovedError) -> None:
        self._nodes.note_moved(home.node, error)
        publication.moves += 1
        if publication.moves > MOST_MOVES:
            publication.settle(BackplaneError("The nodes of Redis do not agree who has a channel."))
        else:
            self._publish_anew(publication)

    def _publish_anew(self, publication: Publication) -> None:
        try:
            self.publish(publication)
        except BackplaneError as error:
            publication.settle(error)

    def _tell_gap(self, lost: float | None, unsent: int) -> None:
        if lost is not None:
            self._on_gap(Gap(trio.current_time() - lost, unsent))

    @contextmanager
    def _telling_of_failure(self, link: Link) -> Iterator[None]:
        try:
            yield
        except* LOST as lost:  # of several tasks at a time
            error: BaseException = lost
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            link.failure = reason_of(error) + (f": {reason_of(error.__cause__)}" if error.__cause__ else "")
            logger.warning("the connection to Redis failed, and is tried again: %s", link.failure)


def _delays() -> Iterator[float]:
    delay = 0.1
    while True:
        yield uniform(delay / 2, delay)
        delay = min(2 * delay, LONGEST_DELAY)
