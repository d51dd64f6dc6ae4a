"""Calls of the peer's: each has its own cancel scope, filed when its message is read, and exactly one answer.

Calls start in the order of their arrival, which comes from one queue, and a bounded number runs at a time. A call that
needs no task runs at once, in the reader's. A call that was read begins, as a trio task does: it runs to its first
checkpoint, no matter what comes behind it. Only calls that wait behind others are dropped when they are cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from functools import partial
from itertools import islice
from typing import Any

import trio
from msgspec import Raw

from ..errors import BindingError, HubException
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Credit, Invocation, StreamInvocation
from .answers import Answers, Face
from .call_register import CallRegister, TheirCall
from .channels import GIVE_WAY
from .credits import add_credit
from .incoming import IncomingStream, IncomingStreams, payload_size
from .meanwhile import MEANWHILE
from .methods import Method
from .options import Role, SessionOptions
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .places import Places
from .refusals import (
    IdInUse,
    ItemUnfit,
    Refusal,
    TooManyCalls,
    TooManyStreams,
    UploadIdInUse,
    WrongKind,
    WrongUploads,
)
from .unread import ItemLoader
from .workers import Workers, load_arguments

logger = get_logger(__name__)

CALL_SIZE = 500
"""What a waiting call counts for, besides its arguments and ids; bytes, roughly."""

HEADER_SIZE = 200
"""What each of its message's headers counts for, by itself, where anybody listens."""

UPLOAD_SIZE = 2500
"""What each of its uploads counts for, by itself."""


class TheirCalls:
    """Takes in what the peer calls on one connection; nothing here waits.

    Args:
        face: The side of the connection that this is.
        protocol: Encodes the answers.
        outbox: Takes the answers.
        incoming: Takes the uploads, and counts the calls that wait.
        outgoing: Sends the streams that are results.
        options: How many calls may run, and stream, at a time.
        connection_id: For the log.
        on_idle: Called when the last call that waited or ran has ended.
    """

    def __init__(
        self,
        face: Face,
        protocol: HubProtocol,
        outbox: Outbox,
        incoming: IncomingStreams,
        outgoing: OutgoingStreams,
        options: SessionOptions,
        *,
        connection_id: str | None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._face = face
        self._incoming = incoming
        self._options = options
        self._connection_id = connection_id
        self._outgoing = outgoing
        self._answers = Answers(face, protocol, outbox, connection_id=connection_id)
        self._register = CallRegister(incoming, on_idle)
        places = Places(options.maximum_parallel_invocations, options.maximum_streams)
        self._hearing: set[TheirCall] = set()  # that their uploads are cut off
        self._workers = Workers(face, self._answers, outbox, outgoing, self._register, places)

    def start(self, nursery: trio.Nursery) -> None:
        """From now on calls run, in this nursery and in copies of this task's context; those before have waited."""
        self._workers.start(nursery)
        if self._options.role is Role.CLIENT:
            self.context.run(MEANWHILE.set, self._workers.asked_meanwhile)

    @property
    def context(self) -> Context:
        """The connection's, of which each call gets a copy."""
        return self._workers.context

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return not self._register.unfinished

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._register.waiting)

    def place_lent(self) -> AbstractContextManager[None]:
        """Hold this open while a call waits for its own peer: others may run, so that the peer can call us."""
        return self._workers.place_lent()

    # ---- what the peer calls

    def invoke(self, message: Invocation | StreamInvocation) -> None:
        """File a call, and start it if its turn has come."""
        heard = self._face.hear(message.target, message.arguments)
        methods = self._face.find(message.target)
        if not methods and (message.invocation_id or not heard):
            if self._options.role is Role.CLIENT and not message.invocation_id:
                logger.debug("connection %s: nothing answers to %.100r", self._connection_id, message.target)
            else:
                logger.warning(
                    "connection %s: nothing answers to %.100r", self._connection_id, message.target
                )
            self._answers.answer_unknown(message.invocation_id, message.target)
        for method in methods:
            self.take(method, message.invocation_id if method.answers else "", message)

    def take(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        """File a call of a method: of the peer's, or of our own side's that has its turn among these."""
        try:
            self._file(method, id, message)
        except Refusal as refusal:
            self._answers.refuse(id, message.target, refusal)

    def _file(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        plain = method.inline and type(message) is Invocation and not message.stream_ids
        if plain and not self._register.waiting and self._workers.ready:
            self._workers.run_inline(method, id, message.arguments, message.headers)
            return
        if not plain and (refusal := self._misfit(method, id, message)):
            load_arguments(method, message.arguments)  # what is wrong with these is told first
            raise refusal
        if method.streams and self._register.streams >= self._options.maximum_streams:
            raise TooManyStreams(method.name, self._options.maximum_streams)
        if self._incoming.reading.overfull:
            raise TooManyCalls(method.name)
        arguments = message.arguments.copy()  # it may be a part of all that was read with it
        size = CALL_SIZE + payload_size(arguments) + len(id)
        size += sum(UPLOAD_SIZE + len(upload) for upload in message.stream_ids)
        call = TheirCall(id, method, arguments, self._open_uploads(method, message.stream_ids), size)
        if self._answers.observed and message.headers:
            call.headers = message.headers
            call.size += sum(HEADER_SIZE + len(name) + len(text) for name, text in message.headers.items())
        if self._outgoing.credited:
            call.credit = 0.0
        if method.deadline is not None:
            call.scope.deadline = trio.current_time() + method.seconds(arguments)
        self._register.add_waiting(call)
        self._workers.take_up()

    def _misfit(self, method: Method, id: str, message: Invocation | StreamInvocation) -> Refusal | None:
        """What keeps a message from being a call of a method, besides its arguments."""
        name = method.name
        streaming = method.signature.streaming
        if streaming != isinstance(message, StreamInvocation):
            return WrongKind(name, streaming)
        ids = message.stream_ids
        if len(ids) != len(method.uploads):
            return WrongUploads(name, len(ids), len(method.uploads))
        if streaming and id in self._register.by_id:
            return IdInUse(id)
        for number, upload in enumerate(ids):
            if upload in self._incoming or upload in ids[:number]:
                return UploadIdInUse(name, upload)
        return None

    def _open_uploads(self, method: Method, ids: Sequence[str]) -> list[IncomingStream[Any]]:
        """Expect the uploads of a call."""
        return [
            self._incoming.open(
                id,
                ItemLoader(upload.load.many, partial(self._load_item, upload.load.one)),
                self._options.stream_buffer_capacity,
            )
            for id, upload in zip(ids, method.uploads, strict=True)
        ]

    def _load_item(self, load: Callable[[Raw], Any], item: Raw) -> Any:
        try:
            return load(item)
        except BindingError as error:
            raise HubException(self._face.text(ItemUnfit())) from error

    # ---- what becomes of it

    def cancel(self, id: str) -> None:
        """Cancel a call, waiting or running."""
        call = self._register.by_id.get(id)
        if call is None:
            logger.debug("connection %s: nothing to cancel under id %r", self._connection_id, id)
            return
        call.cancelled = True
        call.cancel()
        if call in self._register.waiting and call not in islice(self._workers.beginning(), GIVE_WAY):
            self._drop(call)  # it waits behind others, of which there may be thousands

    def credit(self, message: Credit) -> None:
        """More of a stream of ours has room at the peer, which may be told before it begins."""
        stream = self._outgoing.by_id.get(message.invocation_id)
        if stream is not None:
            stream.give(message.items)
        elif (call := self._register.by_id.get(message.invocation_id)) is not None:
            call.credit = add_credit(call.credit, message.items)

    def drop_overdue(self, now: float) -> None:
        """End the calls whose deadlines have passed while they waited."""
        for call in tuple(self._register.waiting):
            if call.scope.deadline <= now:
                self._drop(call)

    def _drop(self, call: TheirCall) -> None:
        """End a call that waits."""
        self._register.drop(call)
        self._answers.answer_dropped(call)
        self._register.note_ended(call)

    # ---- the end

    def hush(self) -> None:
        """The peer has said that it is over: none of its calls is answered any more."""
        self._answers.mute = True

    def note_cut_off(self) -> None:
        """The uploads are about to fail: calls that wait for them hear of it, and are not cancelled at once."""
        self._hearing = {
            call for call in self._register.unfinished if any(stream.awaited for stream in call.uploads)
        }

    def part(self, *, lost: bool = False) -> None:
        """The peer has left: cancel all of its calls, or those that it could have waited for; what waits still begins.

        Those that hear of their uploads go on.

        Args:
            lost: Whether it has left without a goodbye.
        """
        for call in self._register.unfinished:
            if (lost or call.id) and call not in self._hearing:
                call.cancel()

    def halt(self) -> None:
        """The connection is about to end: no call that waits for its place gets one, and none is answered."""
        self.hush()
        beginning = set(self._workers.beginning())
        dropped = [call for call in self._register.waiting if call not in beginning]
        for call in dropped:
            self._drop(call)
        if dropped:
            logger.debug(
                "connection %s ends: %d calls that waited are dropped", self._connection_id, len(dropped)
            )

    def forget_cut_off(self) -> None:
        """Calls that hear of their uploads have had the time for it."""
        self._hearing.clear()

    def stop(self) -> None:
        """The connection is over: what its calls come to is for the log."""
        self._workers.stopped = True
        self._register.on_idle = None
        self.halt()

    def cancel_all(self, scope: trio.CancelScope, patience: float) -> None:
        """Cancel all calls that there are, once the connection is over.

        Args:
            scope: What they run in.
            patience: Seconds for those that hear of their uploads.
        """
        if not self._hearing & self._register.unfinished:
            scope.cancel()
            return
        for call in self._register.unfinished - self._hearing:
            call.cancel()
        self._register.on_idle = scope.cancel
        scope.deadline = trio.current_time() + patience
