"""Calls of the peer's: each has its own cancel scope, filed when its message is read, and exactly one answer.

Calls start in the order of their arrival, which comes from one queue, and only so many run at a time. One that
streams holds its place only until it has its stream; one that takes uploads gives it up as it starts. A call
that needs no task runs at once, in the reader's. What was read begins, as a trio task does: whatever comes behind
it, it runs to its first checkpoint. Only calls that wait behind others are dropped when they are cancelled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from itertools import islice
from math import inf
from types import CoroutineType
from typing import Any

import trio
from msgspec import Raw

from ..errors import BindingError, HubException
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Invocation, StreamInvocation
from ..tasks import bare
from .answers import Answers, Face
from .channels import GIVE_WAY
from .children import Children
from .context import InContext
from .incoming import IncomingStream, IncomingStreams, ItemLoader, payload_size
from .methods import Method
from .options import SessionOptions
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .refusals import (
    ArgumentsUnfit,
    IdInUse,
    ItemUnfit,
    NoStream,
    Refusal,
    TooManyCalls,
    TooManyStreams,
    UploadIdInUse,
    WrongKind,
    WrongUploads,
)

logger = get_logger(__name__)

CALL_SIZE = 500
"""What a waiting call counts for, besides its arguments and ids; bytes, roughly."""

UPLOAD_SIZE = 2500
"""What each of its uploads counts for, by itself."""

LONGEST_TURN = 0.005
"""Seconds after which calls of one connection that wait for nothing let other tasks run."""


class Call:
    """One invocation of the peer's."""

    __slots__ = (
        "arguments",
        "began",
        "cancelled",
        "children",
        "has_place",
        "id",
        "method",
        "scope",
        "size",
        "uploads",
    )

    def __init__(
        self, id: str, method: Method, arguments: Raw, uploads: list[IncomingStream[Any]], size: int
    ) -> None:
        self.id = id
        self.method = method
        self.arguments = arguments  # decoded when it begins: objects are many times larger
        self.uploads = uploads
        self.size = size
        self.scope = trio.CancelScope()
        self.children: Children | None = None  # once it runs
        self.cancelled = False  # by the peer
        self.has_place = True  # among those that may run at a time
        self.began = False  # to stream

    def cancel(self) -> None:
        """Cancel it, and its children."""
        self.scope.cancel()
        if self.children is not None:
            self.children.cancel()


class TheirCalls:
    """Runs what the peer calls on one connection.

    Args:
        face: The side of the connection that this is.
        protocol: Encodes the answers.
        outbox: Takes the answers.
        incoming: Takes the uploads, and counts the calls that wait.
        outgoing: Sends the streams that are results.
        options: How many calls may run, and stream, at a time.
        connection_id: For the log.
        on_idle: Called when the last call that waited or ran has ended.

    Attributes:
        refused: How many calls have been refused for a limit's sake.
        context: The connection's, of which each call gets a copy.
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
        self._outbox = outbox
        self._incoming = incoming
        self._outgoing = outgoing
        self._answers = Answers(face, protocol, outbox, connection_id=connection_id)
        self._options = options
        self._free = options.maximum_parallel_invocations
        self._streams = 0
        self._lent = 0  # places of calls that wait for the peer
        self._connection_id = connection_id
        self._on_idle = on_idle
        self.refused = 0
        self._unfinished: set[Call] = set()  # calls that wait or run
        self._stopped = False
        self._calls: dict[str, Call] = {}
        self._queue: OrderedDict[Call, None] = OrderedDict()  # calls that wait, in their order
        self._workers = 0  # tasks that take calls from the queue
        self._idle = trio.lowlevel.ParkingLot()  # those of them that wait for one
        self._nursery: trio.Nursery | None = None
        self.context = copy_context()

    def start(self, nursery: trio.Nursery) -> None:
        """From now on calls run, in this nursery and in copies of this task's context; those before have waited."""
        self._nursery = nursery
        self.context = copy_context()
        self._start_waiting()

    # ---- the reader's side: nothing here waits

    def invoke(self, message: Invocation | StreamInvocation) -> None:
        """File a call, and start it if its turn has come."""
        methods = self._face.find(message.target)
        if not methods:
            logger.warning("connection %s: nothing answers to %.100r", self._connection_id, message.target)
            self._answers.answer_unknown(message.invocation_id, message.target)
        for index, method in enumerate(methods):
            self.take(method, "" if index else message.invocation_id, message)  # the first one answers

    def take(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        """File a call of a method: of the peer's, or of our own side's that has its turn among these."""
        try:
            self._file(method, id, message)
        except Refusal as refusal:
            self._answers.refuse(id, message.target, refusal)

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return not self._unfinished

    def hush(self) -> None:
        """The peer has said that it is over: none of its calls is answered any more."""
        self._answers.mute = True

    def part(self, *, lost: bool = False) -> None:
        """The peer has left: cancel all of its calls, or those that it could have waited for; what waits still begins.

        Args:
            lost: Whether it has left without a goodbye.
        """
        for call in self._unfinished:
            if lost or call.id:
                call.cancel()

    def halt(self) -> None:
        """The connection is about to end: no call that waits for its place gets one, and none is answered."""
        self.hush()
        beginning = set(self._beginning())
        dropped = [call for call in self._queue if call not in beginning]
        for call in dropped:
            self._drop(call)
        if dropped:
            logger.debug(
                "connection %s ends: %d calls that waited are dropped", self._connection_id, len(dropped)
            )

    def stop(self) -> None:
        """The connection is over: what its calls come to is for the log."""
        self._stopped = True
        self.halt()

    def cancel(self, id: str) -> None:
        """Cancel a call, waiting or running."""
        call = self._calls.get(id)
        if call is None:
            logger.debug("connection %s: nothing to cancel under id %r", self._connection_id, id)
            return
        call.cancelled = True
        call.cancel()
        if call in self._queue and call not in islice(self._beginning(), GIVE_WAY):
            self._drop(call)  # it waits behind others, of which there may be thousands

    @contextmanager
    def place_lent(self) -> Iterator[None]:
        """Hold this open while a call waits for its own peer: others may run, so that the peer can call us.

        There may be as many such calls as streams; of further ones the places stay taken.
        """
        lent = int(self._free <= 0 and self._lent < self._options.maximum_streams)
        self._lent += lent
        self._free += lent
        self._start_waiting()
        try:
            yield
        finally:
            self._lent -= lent
            self._free -= lent

    def drop_overdue(self, now: float) -> None:
        """End the calls whose deadlines have passed while they waited."""
        for call in tuple(self._queue):
            if call.scope.deadline <= now:
                self._drop(call)

    def _drop(self, call: Call) -> None:
        """End a call that waits."""
        del self._queue[call]
        self._incoming.reading.count(-call.size)
        self._forget(call)
        self._answers.answer_dropped(call)
        self._note_ended(call)

    def _forget(self, call: Call) -> None:
        for stream in call.uploads:
            self._incoming.forget(stream)
        self._streams -= call.method.streams
        if self._calls.get(call.id) is call:
            del self._calls[call.id]

    def _note_ended(self, call: Call) -> None:
        self._unfinished.remove(call)
        if not self._unfinished:
            self._on_idle()

    def _file(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        plain = method.inline and type(message) is Invocation and not message.stream_ids
        if plain and not self._queue and self._may_start:
            self._run_inline(method, id, self._load(method, message.arguments))
            return
        if not plain and (refusal := self._misfit(method, id, message)):
            self._load(method, message.arguments)  # what is wrong with these is told first
            raise refusal
        name = method.name
        if method.streams and self._streams >= self._options.maximum_streams:
            self.refused += 1
            raise TooManyStreams(name, self._options.maximum_streams)
        if self._incoming.reading.overfull:
            self.refused += 1
            raise TooManyCalls(name)
        arguments = message.arguments.copy()  # it may be a part of all that was read with it
        size = CALL_SIZE + payload_size(arguments) + len(id)
        size += sum(UPLOAD_SIZE + len(upload) for upload in message.stream_ids)
        call = Call(id, method, arguments, self._open_uploads(method, message.stream_ids), size)
        if method.deadline is not None:
            call.scope.deadline = trio.current_time() + method.seconds(arguments)
        if id:
            self._calls.setdefault(id, call)
        self._unfinished.add(call)
        self._streams += method.streams
        self._queue[call] = None
        self._incoming.reading.count(size)
        self._start_waiting()

    def _misfit(self, method: Method, id: str, message: Invocation | StreamInvocation) -> Refusal | None:
        """What keeps a message from being a call of a method, besides its arguments."""
        name = method.name
        streaming = method.signature.streaming
        if streaming != isinstance(message, StreamInvocation):
            return WrongKind(name, streaming)
        ids = message.stream_ids
        if len(ids) != len(method.uploads):
            return WrongUploads(name, len(ids), len(method.uploads))
        if streaming and id in self._calls:
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

    def _load(self, method: Method, arguments: Raw) -> list[Any]:
        try:
            return method.load(arguments)
        except BindingError as error:
            raise ArgumentsUnfit(method.name, error) from error

    def _run_inline(self, method: Method, id: str, arguments: list[Any]) -> None:
        assert self._nursery is not None
        children = Children(self._nursery)
        context = self.context.copy()
        try:
            result = context.run(self._enter, method, children, arguments)
        except Exception as error:  # noqa: BLE001 - the border to hub methods
            children.cancel()
            self._answers.answer_failed(id, method, error, alone=True)
            return
        if not children.any and type(result) is not CoroutineType:
            children.cancel()
            self._answers.answer_result(id, method, result, alone=True)
            return
        call = Call(id, method, Raw(), [], 0)
        call.children = children  # as it does not wait: a cancellation may come before its task has begun
        if id:
            self._calls.setdefault(id, call)
        self._free -= 1
        self._unfinished.add(call)
        context.run(self._nursery.start_soon, self._finish_inline, call, children, result)

    def _enter(self, method: Method, children: Children, arguments: list[Any]) -> Any:
        """What calling a method gives: a result, a coroutine or a stream."""
        return self._face.enter(method, children)(*arguments)

    # ---- the workers' side

    @property
    def _may_start(self) -> bool:
        """Whether calls may start at all."""
        return self._free > 0 and self._nursery is not None and not self._outbox.full

    def _beginning(self) -> Iterator[Call]:
        """The calls that wait for nothing but their turn, which comes whatever else does."""
        places = self._free if self._may_start else 0
        for call in self._queue:
            if places <= 0:
                return
            yield call
            places -= not (call.method.streams or call.cancelled)  # those do not hold theirs for long

    def _start_waiting(self) -> None:
        """Have a worker take the head of the queue, if there is one and a call may start."""
        if self._queue and self._free > 0 and self._nursery is not None:
            if self._idle:
                self._idle.unpark()
            elif self._workers < self._options.maximum_parallel_invocations + self._lent:
                self._workers += 1
                self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Run calls from the head of the queue; end with a call that has given up its place to others."""
        assert self._nursery is not None
        clock = trio.lowlevel.current_clock().current_time
        run, until = 0, clock() + LONGEST_TURN
        while True:
            run += 1
            if run % GIVE_WAY == 0 or clock() >= until:
                await trio.lowlevel.cancel_shielded_checkpoint()
                until = clock() + LONGEST_TURN
            while not (self._queue and self._free > 0):
                if self._workers > self._options.maximum_parallel_invocations + self._lent:
                    self._workers -= 1
                    return
                await self._idle.park()
            if self._outbox.full:  # of answers that the peer does not take
                await self._outbox.wait_not_full()
                if not (self._queue and self._free > 0):
                    continue
            call, _ = self._queue.popitem(last=False)
            self._incoming.reading.count(-call.size)
            self._free -= 1
            self._start_waiting()
            children = Children(self._nursery, call.scope)
            work = InContext(self._execute(call, children), self.context.copy())
            await self._conduct(call, children, work)
            if not call.has_place:
                return
            self._free += 1

    async def _finish_inline(self, call: Call, children: Children, result: Any) -> None:
        """Let a call end that ran in the reader's task and turned out to need one of its own."""
        children.scope = call.scope
        await self._conduct(call, children, _awaited(result))
        self._free += 1
        self._start_waiting()

    async def _conduct(self, call: Call, children: Children, work: Awaitable[Any]) -> None:
        """Have a call's work done in its scope and with its children, and answer it."""
        result: Any = None
        failure: Exception | None = None
        call.children = children
        try:
            with call.scope:
                async with children:
                    result = await work
                    if call.began:
                        children.cancel()
        except* Exception as group:  # noqa: BLE001 - the border to hub methods
            failure = bare(group)
        finally:
            failure = children.failure or failure
            if self._stopped and failure is not None:  # and there may be no answer, for it is cancelled, too
                self._answers.log(call.method, failure)
            self._forget(call)
        if not self._stopped:
            self._answers.answer(call, result, failure, alone=not self._queue)
        self._note_ended(call)

    async def _execute(self, call: Call, children: Children) -> Any:
        """Call the method; give its result, or send its stream."""
        method = call.method
        arguments = self._load(method, call.arguments)
        if method.deadline is not None and call.scope.deadline < inf:
            arguments[method.deadline] = call.scope.deadline
            if call.scope.deadline <= trio.current_time():
                await trio.lowlevel.checkpoint()
        if call.uploads:
            for upload, stream in zip(method.uploads, call.uploads, strict=True):
                arguments.insert(upload.position, stream.reader)
            self._give_up_place(call)
        result = await _awaited(self._enter(method, children, arguments))
        if not method.signature.streaming:
            return result
        if call.has_place:
            self._give_up_place(call)
        await self._send_stream(call, result)
        return None

    async def _send_stream(self, call: Call, items: Any) -> None:
        if isinstance(items, AbstractAsyncContextManager) and not isinstance(items, AsyncIterable):
            async with items as entered:  # as of a method with trio.as_safe_channel
                await self._send_stream(call, entered)
            return
        if not isinstance(items, AsyncIterable):
            raise NoStream(call.method.name)
        call.began = True
        await self._outgoing.send(call.id, items, call.method.signature.result)

    def _give_up_place(self, call: Call) -> None:
        """A call goes on, and so does its worker, but others may run in its place."""
        call.has_place = False
        self._free += 1
        self._workers -= 1
        self._start_waiting()


async def _awaited(result: Any) -> Any:
    """The result itself, or what it comes to when it is a coroutine."""
    return await result if type(result) is CoroutineType else result
