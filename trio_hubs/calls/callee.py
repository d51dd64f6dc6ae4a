"""Calls of the peer's: each has its own cancel scope, filed when its message is read, and exactly one answer.

Calls start in the order of their arrival, which comes from one queue, and only so many run at a time. One that
streams holds its place only until it has its stream; one that takes uploads gives it up as it starts. A call
that needs no task runs at once, in the reader's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from types import CoroutineType
from typing import Any, Protocol

import trio
from msgspec import Raw

from ..errors import BindingError, ConnectionClosed, HubException, UploadBroken
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Completion, Invocation, StreamInvocation
from ..tasks import bare
from .channels import GIVE_WAY
from .children import Children
from .intake import IncomingStream, Intake, payload_size
from .methods import Method
from .outbox import Outbox
from .streaming import send_items

logger = get_logger(__name__)

CALL_SIZE = 500
"""What a waiting call counts for, besides its arguments and ids; bytes, roughly."""


class Face(Protocol):
    """What a side of the connection, server or client, tells its callee."""

    def find(self, target: str) -> Sequence[Method]:
        """The methods that answer to a wire name; none when it is unknown."""
        ...

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        """What to call for one invocation of a method."""
        ...

    def unknown_fault(self, target: str) -> str:
        """The text for a call of a name that nothing answers to."""
        ...

    def binding_fault(self, target: str, error: Exception) -> str:
        """The text for a call that fits no method."""
        ...

    def invocation_fault(self, target: str, error: Exception) -> str:
        """The text for a method that failed."""
        ...

    def stream_fault(self, error: Exception) -> str:
        """The text for a stream that failed after it had begun."""
        ...


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
        self, id: str, method: Method, arguments: list[Any], uploads: list[IncomingStream[Any]], size: int
    ) -> None:
        self.id = id
        self.method = method
        self.arguments = arguments
        self.uploads = uploads
        self.size = size
        self.scope = trio.CancelScope()
        self.children: Children | None = None  # once it runs
        self.cancelled = False  # by the peer
        self.has_place = True  # among those that may run at a time
        self.began = False  # to stream


class _Refused(Exception):
    """A call that is not made; carries the text of its answer."""


class Callee:
    """Runs what the peer calls on one connection.

    Args:
        face: The side of the connection that this is.
        protocol: Encodes the answers.
        outbox: Takes the answers.
        intake: Takes the uploads, and counts the calls that wait.
        maximum_parallel: How many calls may run at a time.
        maximum_streams: How many calls that stream, either way, there may be at a time.
        upload_capacity: How many unread items of an upload are never too many.
        connection_id: For the log.
        on_idle: Called when the last call that waited or ran has ended.

    Attributes:
        refused: How many calls have been refused for a limit's sake.
    """

    def __init__(
        self,
        face: Face,
        protocol: HubProtocol,
        outbox: Outbox,
        intake: Intake,
        *,
        maximum_parallel: int,
        maximum_streams: int,
        upload_capacity: int,
        connection_id: str | None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._face = face
        self._protocol = protocol
        self._outbox = outbox
        self._intake = intake
        self._maximum = self._free = maximum_parallel
        self._maximum_streams = maximum_streams
        self._streams = 0
        self._lent = 0  # places of calls that wait for the peer
        self._upload_capacity = upload_capacity
        self._connection_id = connection_id
        self._on_idle = on_idle
        self.refused = 0
        self._unfinished = 0  # calls that wait or run
        self._halted = False
        self._over = False
        self._calls: dict[str, Call] = {}
        self._queue: OrderedDict[Call, None] = OrderedDict()  # calls that wait, in their order
        self._workers = 0  # tasks that take calls from the queue
        self._idle = trio.lowlevel.ParkingLot()  # those of them that wait for one
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """From now on calls run, in this nursery; those that came before have waited."""
        self._nursery = nursery
        self._start_waiting()

    # ---- the reader's side: nothing here waits

    def invoke(self, message: Invocation | StreamInvocation) -> None:
        """File a call, and start it if its turn has come."""
        methods = self._face.find(message.target)
        if not methods:
            logger.warning("connection %s: nothing answers to %.100r", self._connection_id, message.target)
            self._answer_refused(message.invocation_id, self._face.unknown_fault(message.target))
        for index, method in enumerate(methods):
            self.take(method, "" if index else message.invocation_id, message)  # the first one answers

    def take(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        """File a call of a method: of the peer's, or of our own side's that has its turn among these."""
        try:
            self._file(method, id, message)
        except _Refused as refused:
            self._refuse(id, message.target, refused)

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return not self._unfinished

    def halt(self) -> None:
        """The connection is about to end: start no more calls."""
        self._halted = True

    def stop(self) -> None:
        """The connection is over: calls that fail for it are no news, and none is answered."""
        self._halted = self._over = True

    def cancel(self, id: str) -> None:
        """Cancel a call, waiting or running."""
        call = self._calls.get(id)
        if call is not None:
            call.cancelled = True
            call.scope.cancel()
            if call.children is not None:
                call.children.cancel()
            else:
                self._drop(call)
        else:
            logger.debug("connection %s: nothing to cancel under id %r", self._connection_id, id)

    @contextmanager
    def place_lent(self) -> Iterator[None]:
        """Hold this open while a call waits for its own peer: others may run, so that the peer can call us.

        There may be as many such calls as streams; of further ones the places stay taken.
        """
        lent = int(self._free <= 0 and self._lent < self._maximum_streams)
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
        self._intake.count(-call.size)
        self._forget(call)
        if not self._halted:
            self._answer_refused(call.id, self._cancelled_text(call))
        self._note_ended()

    def _forget(self, call: Call) -> None:
        for stream in call.uploads:
            self._intake.forget(stream)
        self._streams -= call.method.streams
        if self._calls.get(call.id) is call:
            del self._calls[call.id]

    def _note_ended(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._on_idle()

    def _file(self, method: Method, id: str, message: Invocation | StreamInvocation) -> None:
        name = method.name
        try:
            arguments = method.load(message.arguments)
        except BindingError as error:
            raise _Refused(self._face.binding_fault(name, error)) from error
        deadline = inf
        if method.deadline is not None and method.deadline < len(arguments):
            seconds = arguments[method.deadline]
            if seconds is not None:
                deadline = arguments[method.deadline] = trio.current_time() + seconds
        if method.signature.streaming != isinstance(message, StreamInvocation):
            if method.signature.streaming:
                raise _Refused(
                    f"The client attempted to invoke the streaming '{name}' method with a non-streaming invocation."
                )
            raise _Refused(
                f"The client attempted to invoke the non-streaming '{name}' method with a streaming invocation."
            )
        if len(message.stream_ids) != len(method.uploads):
            raise _Refused(
                f"An unexpected error occurred invoking '{name}' on the server. HubException: Client sent "
                f"{len(message.stream_ids)} stream(s), Hub method expects {len(method.uploads)}."
            )
        if method.signature.streaming and id in self._calls:
            raise _Refused(f"Invocation ID '{id}' is already in use.")
        if method.inline and self._free > 0 and not self._queue and self._nursery and not self._outbox.full:
            self._run_inline(method, id, arguments)
            return
        if method.streams and self._streams >= self._maximum_streams:
            self.refused += 1
            raise _Refused(f"Too many streams: '{name}' would be one more than {self._maximum_streams}.")
        if self._intake.overfull:
            self.refused += 1
            raise _Refused(f"Too many calls wait: '{name}' was not queued.")
        size = payload_size(message.arguments) + len(id) + sum(map(len, message.stream_ids)) + CALL_SIZE
        call = Call(id, method, arguments, self._open_uploads(method, message.stream_ids, arguments), size)
        if deadline != inf:
            call.scope.deadline = deadline
        if id:
            self._calls.setdefault(id, call)
        self._unfinished += 1
        self._streams += method.streams
        self._queue[call] = None
        self._intake.count(size)
        self._start_waiting()

    def _open_uploads(
        self, method: Method, ids: Sequence[str], arguments: list[Any]
    ) -> list[IncomingStream[Any]]:
        """Expect the uploads of a call, and put their readers in their places among the arguments."""
        streams: list[IncomingStream[Any]] = []
        for id, upload in zip(ids, method.uploads, strict=True):
            if id in self._intake:
                for stream in streams:
                    self._intake.forget(stream)
                raise _Refused(f"Stream ID '{id}' is already in use.")
            stream = self._intake.open(id, upload.load_many, upload.load, self._upload_capacity)
            arguments.insert(upload.position, stream.reader)
            streams.append(stream)
        return streams

    def _run_inline(self, method: Method, id: str, arguments: list[Any]) -> None:
        assert self._nursery is not None
        children = Children(self._nursery)
        try:
            result = self._face.enter(method, children)(*arguments)
        except Exception as error:  # noqa: BLE001 - the border to hub methods
            children.cancel()
            self._answer_fault(id, method, error)
            return
        if not children.any and type(result) is not CoroutineType:
            children.cancel()
            self._answer_result(id, method, result)
            return
        call = Call(id, method, [], [], 0)
        call.children = children  # as it does not wait: a cancellation may come before its task has begun
        if id:
            self._calls.setdefault(id, call)
        self._free -= 1
        self._unfinished += 1
        self._nursery.start_soon(self._finish_inline, call, children, result)

    # ---- the workers' side

    def _start_waiting(self) -> None:
        """Have a worker take the head of the queue, if there is one and a call may start."""
        if self._queue and self._free > 0 and self._nursery is not None:
            if self._idle:
                self._idle.unpark()
            elif self._workers < self._maximum + self._lent:
                self._workers += 1
                self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Run calls from the head of the queue; end with a call that has given up its place to others."""
        assert self._nursery is not None
        run = 0
        while True:
            run += 1
            if run % GIVE_WAY == 0:  # calls that wait for nothing let others run now and then
                await trio.lowlevel.checkpoint()
            while not (self._queue and self._free > 0):
                if self._workers > self._maximum + self._lent:
                    self._workers -= 1
                    return
                await self._idle.park()
            if self._halted:
                return
            if self._outbox.full:  # of answers that the peer does not take
                await self._outbox.wait_not_full()
                continue
            call, _ = self._queue.popitem(last=False)
            self._intake.count(-call.size)
            self._free -= 1
            self._start_waiting()
            children = Children(self._nursery, call.scope)
            await self._conduct(call, children, self._execute(call, children))
            if not call.has_place:
                return
            self._free += 1

    async def _finish_inline(self, call: Call, children: Children, result: Any) -> None:
        """Let a call end that ran in the reader's task and turned out to need one of its own."""
        children.scope = call.scope
        await self._conduct(call, children, _settle(result))
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
            if self._over and failure is not None:  # and there may be no answer, for it is cancelled, too
                self._log_failure(call.method, failure)
            self._forget(call)
        if not self._over:
            self._answer_call(call, result, failure)
        self._note_ended()

    async def _execute(self, call: Call, children: Children) -> Any:
        """Call the method; give its result, or send its stream."""
        await trio.lowlevel.checkpoint_if_cancelled()
        method = call.method
        function = self._face.enter(method, children)
        if call.uploads:
            self._give_up_place(call)
        result = await _settle(function(*call.arguments))
        if not method.signature.streaming:
            return result
        if call.has_place:
            self._give_up_place(call)
        if not isinstance(result, AsyncIterable):
            raise _Refused(
                f"The value returned by the streaming method '{method.name}' is not a "
                "ChannelReader<> or IAsyncEnumerable<>."
            )
        call.began = True
        await send_items(result, self._protocol.item_encoder(call.id, method.signature.result), self._outbox)
        return None

    def _give_up_place(self, call: Call) -> None:
        """A call goes on, and so does its worker, but others may run in its place."""
        call.has_place = False
        self._free += 1
        self._workers -= 1
        self._start_waiting()

    # ---- answers

    def _answer_call(self, call: Call, result: Any, failure: Exception | None) -> None:
        method = call.method
        if isinstance(failure, _Refused):
            self._refuse(call.id, method.name, failure)
        elif failure is not None and call.cancelled:
            self._log_failure(method, failure)
            self._answer_cancelled(call)
        elif failure is not None and call.began:
            self._log_failure(method, failure)
            self._answer(call.id, Completion(call.id, error=self._face.stream_fault(failure)))
        elif failure is not None:
            self._answer_fault(call.id, method, failure)
        elif call.scope.cancelled_caught:
            self._answer_cancelled(call)
        elif method.signature.streaming:
            self._answer(call.id, Completion(call.id))
        else:
            self._answer_result(call.id, method, result)

    def _cancelled_text(self, call: Call) -> str:
        if not call.cancelled:
            return f"The deadline of '{call.method.name}' has passed."
        return "" if call.method.signature.streaming else "The invocation was canceled by the client."

    def _answer_cancelled(self, call: Call) -> None:
        self._answer(call.id, Completion(call.id, error=self._cancelled_text(call)))

    def _answer_result(self, id: str, method: Method, result: Any) -> None:
        if not id:
            return
        try:
            answer = Completion(id, result=Raw(method.dump(result)))
        except BindingError as error:
            self._answer_fault(id, method, error)
        else:
            self._answer(id, answer)

    def _answer_fault(self, id: str, method: Method, error: Exception) -> None:
        self._log_failure(method, error)
        self._answer(id, Completion(id, error=self._face.invocation_fault(method.name, error)))

    def _refuse(self, id: str, target: str, refused: _Refused) -> None:
        cause = refused.__cause__
        details = " ".join(map(str, (cause, *getattr(cause, "__notes__", ())))) if cause else ""
        logger.warning(
            "connection %s: call of %.100r refused: %s %s", self._connection_id, target, str(refused), details
        )
        self._answer_refused(id, str(refused))

    def _answer_refused(self, id: str, text: str) -> None:
        if id:
            self._outbox.put_unasked(self._protocol.encode(Completion(id, error=text)))

    def _answer(self, id: str, completion: Completion) -> None:
        if not id or self._halted:
            return
        data = self._protocol.encode(completion)
        if self._queue:  # its answer may come soon enough to go out with this one
            self._outbox.put(data)
        else:
            self._outbox.put_now(data)

    def _log_failure(self, method: Method, error: Exception) -> None:
        gone = self._halted or self._outbox.over
        if gone and isinstance(error, (ConnectionClosed, UploadBroken)):
            logger.debug("connection %s: '%s' ended with the connection", self._connection_id, method.name)
        elif isinstance(error, (HubException, ConnectionClosed, trio.TooSlowError, RecursionError)):
            logger.warning("connection %s: '%s' answered: %.500r", self._connection_id, method.name, error)
        else:
            logger.error("connection %s: '%s' failed", self._connection_id, method.name, exc_info=error)


async def _settle(result: Any) -> Any:
    """The result itself, or what it comes to when it is a coroutine."""
    return await result if type(result) is CoroutineType else result
