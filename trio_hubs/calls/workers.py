"""What runs the peer's calls: the reader's own task those that need none, and workers all others.

Workers take the head of one queue, so that order never depends on the scheduler. Each worker has a call that holds a
place, or waits for one. None is hired while there are as many as places; those that are too many, when lent places
have gone back, end with the calls they have. A call that gives up its place early keeps its worker to its end.
Each call runs in a copy of the connection's context, in its own scope, and with its own children.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import copy_context
from math import inf
from types import CoroutineType
from typing import Any

import trio
from msgspec import Raw

from ..errors import BindingError
from ..protocol.messages import Headers
from ..tasks import bare
from .answers import Answers, Face
from .call_register import CallRegister, TheirCall
from .channels import GIVE_WAY
from .children import Children
from .context import InContext
from .methods import Method
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .places import Places
from .refusals import ArgumentsUnfit, NoStream

MAXIMUM_BESIDE = 100
"""How many calls may run beside others that wait for the peer."""

LONGEST_TURN = 0.005
"""Seconds after which calls of one connection that wait for nothing let other tasks run."""


class Beside:
    """How many calls run without a place, beside others that wait for the peer: never more than those, as they begin.

    Attributes:
        waiting: Calls that wait for the peer, and let others run beside them.
        running: Those others.
    """

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting = self.running = 0

    @property
    def free(self) -> bool:
        """Whether another one may run."""
        return self.running < min(self.waiting, MAXIMUM_BESIDE)


class Workers:
    """Runs the calls of one connection.

    Args:
        face: What the peer can call.
        answers: Answers what has ended.
        outbox: While it is full, no call begins.
        outgoing: Sends the streams that are results.
        register: The calls.
        places: How many may run at a time.

    Attributes:
        context: The connection's, of which each call gets a copy.
        stopped: The connection is over: what its calls come to is for the log.
    """

    def __init__(
        self,
        face: Face,
        answers: Answers,
        outbox: Outbox,
        outgoing: OutgoingStreams,
        register: CallRegister,
        places: Places,
    ) -> None:
        self.context = copy_context()
        self.stopped = False
        self._face = face
        self._answers = answers
        self._outbox = outbox
        self._outgoing = outgoing
        self._register = register
        self._places = places
        self._count = 0  # of the tasks that take calls from the queue
        self._idle = trio.lowlevel.ParkingLot()  # workers without a call
        self._nursery: trio.Nursery | None = None
        self._beside = Beside()

    def start(self, nursery: trio.Nursery) -> None:
        """From now on calls run, in this nursery and in copies of this task's context."""
        self._nursery = nursery
        self.context = copy_context()
        self.take_up()

    @property
    def ready(self) -> bool:
        """Whether a call may begin at all."""
        return self._places.free > 0 and self._nursery is not None and not self._outbox.full

    def beginning(self) -> Iterator[TheirCall]:
        """The calls that wait for nothing but their turn, which always comes."""
        places = self._places.free if self.ready else 0
        for call in self._register.waiting:
            if places <= 0:
                return
            yield call
            places -= not (call.method.streams or call.cancelled)  # those do not hold theirs for long

    def take_up(self) -> None:
        """Have a worker take the head of the queue, if there is one and a call may begin."""
        if self._register.waiting and self._places.free > 0 and self._nursery is not None:
            if self._idle:
                self._idle.unpark()
            elif self._count < self._places.count:
                self._count += 1
                self._nursery.start_soon(self._work)
        if self._beside.waiting:
            self._take_up_beside()

    @contextmanager
    def place_lent(self) -> Iterator[None]:
        """Hold this open while a call waits for its own peer: others may run, so that the peer can call us."""
        with self._places.lent():
            self.take_up()
            yield

    @contextmanager
    def asked_meanwhile(self) -> Iterator[None]:
        """Hold this open while a call waits for its own peer: one with an id, for which that may wait, may run."""
        self._beside.waiting += 1
        self._take_up_beside()
        try:
            yield
        finally:
            self._beside.waiting -= 1

    def _take_up_beside(self) -> None:
        assert self._nursery is not None
        while self._beside.free and (call := self._register.next_with_id()):
            self._beside.running += 1
            self._nursery.start_soon(self._run_beside, call)

    async def _run_beside(self, call: TheirCall) -> None:
        """Run a call without a place."""
        assert self._nursery is not None
        call.has_place = False
        children = Children(self._nursery, call.scope)
        try:
            await self._conduct(call, children, InContext(self._execute(call, children), self.context.copy()))
        finally:
            self._beside.running -= 1
        self._take_up_beside()

    # ---- calls that need no task

    def run_inline(self, method: Method, id: str, raw: Raw, headers: Headers) -> None:
        """Run a call at once; if it turns out to wait, it goes on in a task.

        Raises:
            ArgumentsUnfit: The arguments do not fit; then it does not begin.
        """
        assert self._nursery is not None
        arguments = load_arguments(method, raw)
        children = Children(self._nursery)
        context = self.context.copy()
        observed = None
        if self._answers.observed:
            observed = context.run(self._answers.note_began, id, method, raw, headers)
        try:
            result = context.run(self._enter, method, children, arguments)
        except Exception as error:  # noqa: BLE001 - the border to hub methods
            children.cancel()
            self._answers.answer_failed(id, method, error, alone=True)
            if observed is not None:
                self._answers.note_ended(observed, error)
            return
        if not children.any and type(result) is not CoroutineType:
            children.cancel()
            failure = self._answers.answer_result(id, method, result, alone=True)
            if observed is not None:
                self._answers.note_ended(observed, failure)
            return
        call = TheirCall(id, method, Raw(), [], 0)
        call.observed = observed
        call.children = children  # as it does not wait: a cancellation may come before its task has begun
        self._places.take()
        self._register.add(call)
        context.run(self._nursery.start_soon, self._finish_inline, call, children, result)

    async def _finish_inline(self, call: TheirCall, children: Children, result: Any) -> None:
        children.scope = call.scope
        await self._conduct(call, children, _awaited(result))
        self._places.give_back()
        self.take_up()

    # ---- workers

    async def _work(self) -> None:
        """Run calls from the head of the queue; end with a call that has given up its place to others."""
        assert self._nursery is not None
        clock = trio.lowlevel.current_clock().current_time
        run, until = 0, clock() + LONGEST_TURN
        places, waiting = self._places, self._register.waiting
        while True:
            run += 1
            if run % GIVE_WAY == 0 or clock() >= until:
                await trio.lowlevel.cancel_shielded_checkpoint()
                until = clock() + LONGEST_TURN
            while not (waiting and places.free > 0):
                if self._count > places.count:
                    self._count -= 1
                    return
                await self._idle.park()
            if self._outbox.full:  # of answers that the peer does not take
                await self._outbox.wait_not_full()
                if not (waiting and places.free > 0):
                    continue
            call = self._register.next()
            places.take()
            self.take_up()
            children = Children(self._nursery, call.scope)
            work = InContext(self._execute(call, children), self.context.copy())
            await self._conduct(call, children, work)
            if not call.has_place:
                return
            places.give_back()

    def _give_up_place(self, call: TheirCall) -> None:
        """A call goes on, and so does its worker, but others may run in its place."""
        call.has_place = False
        self._places.give_back()
        self._count -= 1
        self.take_up()

    # ---- a call

    async def _conduct(self, call: TheirCall, children: Children, work: Awaitable[Any]) -> None:
        """Have a call's work done in its scope and with its children, and answer it."""
        result: Any = None
        failure: Exception | None = None
        completed = False
        call.children = children
        try:
            try:
                with call.scope:
                    async with children:
                        result = await work
                        if call.began:
                            children.cancel()
                    completed = True
            except* Exception as group:  # noqa: BLE001 - the border to hub methods
                failure = bare(group)
            finally:
                failure = children.failure or failure
                if self.stopped and failure is not None:
                    self._answers.log(call.method, failure)  # as there may be no answer: it is cancelled, too
                self._register.forget(call)
            if not self.stopped:
                failure = self._answers.answer(call, result, failure, alone=not self._register.waiting)
        finally:
            if call.observed is not None:
                cancelled = call.cancelled if failure is not None else not completed
                self._answers.note_ended(call.observed, failure, cancelled=cancelled)
        self._register.note_ended(call)

    async def _execute(self, call: TheirCall, children: Children) -> Any:
        """Call the method; give its result, or send its stream."""
        method = call.method
        arguments = load_arguments(method, call.arguments)
        if method.deadline is not None and call.scope.deadline < inf:
            arguments[method.deadline] = call.scope.deadline
            if call.scope.deadline <= trio.current_time():
                await trio.lowlevel.checkpoint()
        if call.uploads:
            for upload, stream in zip(method.uploads, call.uploads, strict=True):
                arguments.insert(upload.position, stream.reader)
            if call.has_place:
                self._give_up_place(call)
        if self._answers.observed:
            call.observed = self._answers.note_began(call.id, method, call.arguments, call.headers)
        result = await _awaited(self._enter(method, children, arguments))
        if not method.signature.streaming:
            return result
        if call.has_place:
            self._give_up_place(call)
        await self._send_stream(call, result)
        return None

    def _enter(self, method: Method, children: Children, arguments: list[Any]) -> Any:
        """What calling a method gives: a result, a coroutine or a stream."""
        return self._face.enter(method, children)(*arguments)

    async def _send_stream(self, call: TheirCall, items: Any) -> None:
        if isinstance(items, AbstractAsyncContextManager) and not isinstance(items, AsyncIterable):
            async with items as entered:  # as of a method with trio.as_safe_channel
                await self._send_stream(call, entered)
            return
        if not isinstance(items, AsyncIterable):
            raise NoStream(call.method.name)
        call.began = True
        await self._outgoing.send(call.id, items, call.method.signature.result, call.credit, call.observed)


def load_arguments(method: Method, arguments: Raw) -> list[Any]:
    """Decode a call's arguments.

    Raises:
        ArgumentsUnfit: Their number or their types do not fit.
    """
    try:
        return method.load(arguments)
    except BindingError as error:
        raise ArgumentsUnfit(method.name, error) from error


async def _awaited(result: Any) -> Any:
    """The result itself, or what it comes to when it is a coroutine."""
    return await result if type(result) is CoroutineType else result
