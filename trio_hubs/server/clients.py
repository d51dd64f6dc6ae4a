"""Whom a hub can call: the clients of the moment, and the proxies that send to them.

A message to many is encoded once for each protocol and appended to each client's outbox; no client is waited
for, and one that lets too much wait is disconnected instead of delaying the others.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from typing import Any

import trio
from msgspec import Raw

from ..calls.session import Session
from ..errors import BindingError
from ..protocol.messages import Invocation

logger = logging.getLogger(__name__)


class Roster:
    """The open connections of one hub.

    Args:
        maximum_waiting: Bytes that may wait for a client when it is sent a broadcast.
    """

    def __init__(self, maximum_waiting: int) -> None:
        self._maximum_waiting = maximum_waiting
        self.sessions: dict[str, Session] = {}

    def broadcast(self, target: str, arguments: tuple[Any, ...]) -> None:
        """Queue a call for each client; never waits.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        encoded: dict[str, bytes] = {}
        for session in self.sessions.values():
            protocol = session.protocol
            data = encoded.get(protocol.name)
            if data is None:
                payload = Raw(protocol.payloads.dump_arguments(arguments))
                data = encoded[protocol.name] = protocol.encode(Invocation(target=target, arguments=payload))
            if session.outbox.size > self._maximum_waiting:
                logger.warning(
                    "connection %s is too slow for its messages: disconnected", session.connection.id
                )
                session.end(TimeoutError("The client does not take its messages fast enough."))
            else:
                session.outbox.put_now(data)


class CallerProxy:
    """The client that made an invocation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def send(self, method: str, *args: Any) -> None:
        """Call a method of the client, without waiting for it. A checkpoint; waits while the client is too slow.

        Args:
            method: The client's name for it.
            *args: What to call it with.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The client has left.
        """
        if any(isinstance(argument, AsyncIterable) for argument in args):
            raise BindingError(f"A stream cannot be sent to a client, as the call of its '{method}' would.")
        await self._session.caller.send(method, args)


class AllProxy:
    """All clients of a hub."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def send(self, method: str, *args: Any) -> None:
        """Call a method of each client, without waiting for any. A checkpoint.

        Args:
            method: The clients' name for it.
            *args: What to call it with.

        Raises:
            BindingError: An argument cannot be encoded.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._roster.broadcast(method, args)
        await trio.lowlevel.cancel_shielded_checkpoint()


class HubCallerClients:
    """The clients that a hub method can call.

    Attributes:
        caller: The client that made this invocation.
        all: All clients of this hub.
    """

    def __init__(self, session: Session, roster: Roster) -> None:
        self.caller = CallerProxy(session)
        self.all = AllProxy(roster)
