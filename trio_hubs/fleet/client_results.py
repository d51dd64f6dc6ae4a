"""Results of clients that are connected elsewhere: the question goes to the client's server, which sends the answer.

Whoever asks learns it when the client, or its server, is no more. The client is asked with an id of its own server's,
so that no other can disturb its calls.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from math import inf
from typing import Any

import trio

from ..errors import BackplaneError, ConnectionClosed, HubException, ProtocolError
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Completion, Invocation
from ..server import texts
from ..server.members import Member, Members
from ..server.roster import ClientCall
from .bus import Bus
from .call_from_elsewhere import invocation_in, message_in
from .channels import Channels
from .messages import FleetCompletion, FleetInvocation, decode, encode

logger = get_logger(__name__)

MOST_QUESTIONS = 10_000
"""Questions of other servers that clients here may have at a time; further ones are logged, and not answered."""

DISCONNECTED = "Connection disconnected."
"""What a server is told when the client that it asks has left; ASP.NET Core's words."""


class _Question:
    """What is asked of a client elsewhere, until it has answered."""

    __slots__ = ("answer", "answered", "protocol")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Completion
        self.protocol: HubProtocol


class ClientResults:
    """Asks clients of other servers, and has those of this one answer.

    Args:
        bus: The way to the others.
        channels: The hub's channels.
        members: The clients of this server.
        protocols: What the clients of any server may speak, by name.
        timeout: Seconds that clients here have to answer; ``None`` for any time.
    """

    def __init__(
        self,
        bus: Bus,
        channels: Channels,
        members: Members,
        protocols: Mapping[str, HubProtocol],
        timeout: float | None,
    ) -> None:
        self._bus = bus
        self._channels = channels
        self._members = members
        self._protocols = protocols
        self._timeout = inf if timeout is None else timeout
        self._questions: dict[str, _Question] = {}
        self._running = 0
        self._nursery: trio.Nursery

    def start(self, nursery: trio.Nursery) -> None:
        """From now on questions of others are put to clients, in this nursery."""
        self._nursery = nursery

    # ---- our questions

    async def ask(self, connection_id: str, target: str, arguments: tuple[Any, ...], result_type: Any) -> Any:
        """Call a client elsewhere and wait for its result. A checkpoint; cancelling tells the client nothing.

        Raises:
            BindingError: An argument cannot be encoded, or the result is of another type.
            HubException: The client answered with an error.
            ConnectionClosed: There is no such client, or it left, with its server or alone.
            BackplaneError: The others cannot be reached.
        """
        id = base64.b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        call = ClientCall(target, arguments, id)
        message = FleetInvocation(
            (),
            {name: call.encoded(protocol) for name, protocol in self._protocols.items()},
            id,
            self._channels.completions(self._bus.server),
            self._bus.server,
        )
        channel = self._channels.connection(connection_id)
        question = self._questions[id] = _Question()
        try:
            if not await self._bus.publish_counted(channel, encode(message)):
                raise ConnectionClosed(texts.no_connection(connection_id))
            if not await self._bus.wait_answer(question.answered, channel):
                raise ConnectionClosed(texts.disconnected(connection_id))
        finally:
            del self._questions[id]
        answer = question.answer
        if answer.error == DISCONNECTED:
            raise ConnectionClosed(texts.disconnected(connection_id))
        if answer.error:
            raise HubException(answer.error)
        return question.protocol.payloads.loader(result_type)(answer.result)

    def hear_completion(self, data: bytes) -> None:
        """A client elsewhere has answered."""
        try:
            told = decode(FleetCompletion, data)
            protocol = self._protocols.get(told.protocol)
            if protocol is None:
                raise ProtocolError(f"it is of the protocol {told.protocol}")
            answer = message_in(told.completion, protocol)
            if not isinstance(answer, Completion):
                raise ProtocolError(f"it is a {type(answer).__name__}")
        except ProtocolError as error:
            logger.warning("the answer of a client of another server cannot be read: %s", error)
            return
        question = self._questions.get(answer.invocation_id)
        if question is not None and not question.answered.is_set():
            question.answer = answer
            question.protocol = protocol
            question.answered.set()

    # ---- questions of others

    def hear_question(self, connection_id: str, message: FleetInvocation) -> None:
        """Another server asks a client of this one.

        Raises:
            ProtocolError: The question is malformed.
        """
        member = self._members.by_id.get(connection_id)
        if member is None:
            return
        blob = message.blobs.get(member.protocol.name)
        if blob is None:
            raise ProtocolError(f"nothing for the protocol {member.protocol.name}")
        invocation = invocation_in(blob, member.protocol)
        if self._running >= MOST_QUESTIONS:
            logger.error(
                "a question of another server is not put to its client: %d others are", self._running
            )
            return
        self._running += 1
        self._nursery.start_soon(self._put, member, invocation, message)

    async def _put(self, member: Member, invocation: Invocation, message: FleetInvocation) -> None:
        id = message.invocation_id
        try:
            try:
                with trio.fail_after(self._timeout):
                    answer = await member.session.our_calls.ask(
                        invocation.target, invocation.arguments, headers=invocation.headers
                    )
                answer = Completion(id, result=answer.result)
            except trio.TooSlowError:
                answer = Completion(id, error=texts.no_answer(member.id, invocation.target, self._timeout))
            except HubException as error:
                answer = Completion(id, error=str(error))
            except ConnectionClosed:
                answer = Completion(id, error=DISCONNECTED)
            told = FleetCompletion(member.protocol.name, member.protocol.encode(answer))
            await self._bus.wait_room(message.return_channel)
            self._bus.publish(message.return_channel, encode(told))
        except BackplaneError as error:
            logger.warning("the answer of a client is not sent to the server that asked: %s", error)
        finally:
            self._running -= 1
