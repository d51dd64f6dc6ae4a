"""Our calls of the peer: each has an id, waits for its one answer, and tells the peer when it is given up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from copy import copy
from itertools import count
from types import MappingProxyType
from typing import Any

import trio
from msgspec import UNSET, Raw
from msgspec.structs import replace

from ..errors import ConnectionClosed, HubException
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import CancelInvocation, Completion, Credit, Headers, Invocation, StreamInvocation
from ..tasks import open_background
from .channels import ChannelReader
from .credits import UNLIMITED
from .incoming import IncomingStreams
from .observer import AroundCall, headers_here
from .options import Role
from .outbox import Outbox
from .outgoing import OutgoingStreams
from .policies import WAIT, ReaderPolicy, Wait
from .refusals import NoResult, Refusal, StreamForResult, UploadCancelled, UploadFailed
from .unread import ItemLoader, Unread

logger = get_logger(__name__)

MANY = 4
"""Calls that wait for their answers, from which on further ones do not leave one by one: those of one pass of the
scheduler are sent together in the next, which takes them a little longer, and all of them far less."""

_NO_UPLOADS: Mapping[str, AsyncIterable[Any]] = MappingProxyType({})


class _PendingCall:
    """The place where one call waits for its answer."""

    __slots__ = ("arrived", "completion", "error")

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.completion: Completion | None = None
        self.error: Exception | None = None


class OurCalls:
    """Makes calls over one connection.

    Args:
        protocol: Encodes them.
        outbox: Takes them.
        incoming: Takes the streams that they ask for.
        outgoing: Sends their uploads.
        role: Which side we are. A server's ids must differ from those of the client's uploads, and clients owe it
            a result, but cannot be told that it is no longer wanted.
        text: Says what has gone wrong with a call, in our side's words.

    Attributes:
        around: Held around each call, for who wants to know of them.
    """

    def __init__(
        self,
        protocol: HubProtocol,
        outbox: Outbox,
        incoming: IncomingStreams,
        outgoing: OutgoingStreams,
        role: Role,
        text: Callable[[Refusal], str],
    ) -> None:
        self._protocol = protocol
        self._outbox = outbox
        self._incoming = incoming
        self._outgoing = outgoing
        incoming.on_failed = self.stop_stream
        self._text = text
        self._role = role
        self.around: AroundCall | None = None
        prefix = "s" if role is Role.SERVER else ""
        self._ids = (f"{prefix}{number}" for number in count(1))
        self._pending: dict[str, _PendingCall] = {}
        self._streams: set[str] = set()
        self._closed: ConnectionClosed | None = None
        self._nursery: trio.Nursery | None = None
        self._drainers = trio.lowlevel.ParkingLot()

    def start(self, nursery: trio.Nursery) -> None:
        """From now on uploads of calls that nobody waits for run in this nursery."""
        self._nursery = nursery

    # ---- the reader's side: nothing here waits

    def complete(self, message: Completion) -> bool:
        """Hand a call its answer; whether one was waiting."""
        call = self._pending.pop(message.invocation_id, None)
        if call is None:
            return False
        call.completion = message
        call.arrived.set()
        return True

    def reject_item(self, id: str) -> bool:
        """A call for a plain result has been sent an item of a stream, and fails; whether one was waiting."""
        call = self._pending.pop(id, None)
        if call is None:
            return False
        call.error = HubException(self._text(StreamForResult()))
        call.arrived.set()
        return True

    def stop_stream(self, id: str) -> None:
        """A stream has failed on our side: have its peer stop it, if it is one that we called for."""
        if id in self._streams:
            self._outbox.put(self._protocol.encode(CancelInvocation(id)))

    def abandon(self, error: ConnectionClosed) -> None:
        """The connection is over: calls that wait fail with this error, and so does every later one."""
        self._closed = error
        self._outgoing.release()
        for call in self._pending.values():
            call.error = copy(error)
            call.arrived.set()
        self._pending.clear()

    async def wait_idle(self) -> None:
        """Wait until none of these calls and uploads goes on. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._pending or self._streams or self._outgoing.by_id:
            await self._drainers.park()

    # ---- calls

    async def send(self, target: str, arguments: Sequence[Any]) -> None:
        """Call without waiting for an answer; returns when the call is queued. A checkpoint.

        Uploads among the arguments go on in the background.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.
        """
        plain, uploads = self._split(arguments)
        message = Invocation(target=target, arguments=self._dump(plain), stream_ids=tuple(uploads))
        if self.around is None:
            await self._put(message)
        else:
            with self.around(target) as headers:
                await self._put(replace(message, headers={**headers}))
        if uploads:
            assert self._nursery is not None
            for id, items in uploads.items():
                self._nursery.start_soon(self._upload, id, items)
        await trio.lowlevel.cancel_shielded_checkpoint()  # it is sent, whatever comes

    async def send_in_place(self, target: str, arguments: Sequence[Any]) -> None:
        """Like :meth:`send`, without uploads; but it is queued before it waits for room. A checkpoint.

        So it comes before all that others send from now on. A call that is cancelled while it waits has been queued.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.
        """
        data = self._protocol.encode(Invocation(target=target, arguments=self._dump(arguments)))
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        await self._outbox.wait_place()
        self._check_open()
        self._outbox.put_now(data)
        if self._outbox.full:
            await self._outbox.wait_room()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def invoke(self, target: str, arguments: Sequence[Any], result_type: Any) -> Any:
        """Call and wait for the result. A checkpoint; when cancelled the peer is told to cancel the call, too.

        Raises:
            BindingError: An argument cannot be encoded, or the result is of another type.
            HubException: The peer answered with an error.
            ConnectionClosed: The connection is over.
        """
        load = self._protocol.payloads.loader(result_type)
        plain, uploads = self._split(arguments)
        dumped = self._dump(plain)
        if self.around is None:
            completion = await self.ask(target, dumped, uploads, headers_here())
        else:
            with self.around(target) as headers:
                completion = await self.ask(target, dumped, uploads, {**headers})
        return load(completion.result) if completion.has_result else None

    async def ask(
        self,
        target: str,
        arguments: Raw,
        uploads: Mapping[str, AsyncIterable[Any]] = _NO_UPLOADS,
        headers: Headers = UNSET,
    ) -> Completion:
        """Call with arguments that are encoded already, and wait for the answer, which is left undecoded.

        A checkpoint; when cancelled the peer is told to cancel the call, too.

        Raises:
            HubException: The peer answered with an error.
            ConnectionClosed: The connection is over.
        """
        id = next(self._ids)
        await self._put(
            Invocation(
                invocation_id=id,
                target=target,
                arguments=arguments,
                stream_ids=tuple(uploads),
                headers=headers,
            )
        )
        call = self._pending[id] = _PendingCall()
        try:
            with self._incoming.reading.waiting():
                if uploads:
                    async with self._uploading(uploads):
                        await call.arrived.wait()
                else:
                    await call.arrived.wait()
        finally:
            if self._pending.pop(id, None) is not None and self._role is Role.CLIENT:
                self._outbox.put(self._protocol.encode(CancelInvocation(id)))
            if self._drainers:
                self._drainers.unpark_all()
        if call.error is not None:
            raise call.error
        assert call.completion is not None
        if call.completion.error:
            raise HubException(call.completion.error)
        if self._role is Role.SERVER and not call.completion.has_result:
            raise HubException(self._text(NoResult()))
        return call.completion

    @asynccontextmanager
    async def stream(
        self,
        target: str,
        arguments: Sequence[Any],
        item_type: Any,
        capacity: int,
        policy: ReaderPolicy = WAIT,
        *,
        uploads_in_background: bool = False,
    ) -> AsyncGenerator[ChannelReader[Any]]:
        """Call for a stream, and hold it open for the body. Leaving the body cancels what has not ended.

        Args:
            target: The method's wire name.
            arguments: Its arguments, and uploads.
            item_type: What to convert items to.
            capacity: How many may lie unread.
            policy: What becomes of further ones.
            uploads_in_background: Whether the body may be part of a generator, in which a nursery must not be open.

        Raises:
            BindingError: An argument cannot be encoded; in the reader: an item is of another type.
            HubException: In the reader: the peer ended the stream with an error.
            ConnectionClosed: The connection is over.
            StreamOverflow: In the reader: the peer sent too much while the body waited for other things.
        """
        plain, uploads = self._split(arguments)
        with self.observed(target) as headers:
            stream = await self.begin_stream(
                target, plain, item_type, capacity, policy, uploads=tuple(uploads), headers=headers
            )
            try:
                async with (self._uploading_in_background if uploads_in_background else self._uploading)(
                    uploads
                ):
                    yield stream.reader
            finally:
                self.end_stream(stream)

    async def begin_stream(
        self,
        target: str,
        arguments: Sequence[Any],
        item_type: Any,
        capacity: int,
        policy: ReaderPolicy = WAIT,
        *,
        uploads: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Unread[Any]:
        """Call for a stream, which is to be ended by :meth:`end_stream`.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.
        """
        payloads = self._protocol.payloads
        load = ItemLoader(payloads.many_loader(item_type), payloads.loader(item_type))
        id = next(self._ids)
        call = StreamInvocation(
            invocation_id=id,
            target=target,
            arguments=self._dump(arguments),
            stream_ids=uploads,
            headers={**headers} if headers else UNSET,
        )
        if self._incoming.give_credit is None:
            await self._put(call)
        else:
            await self._put(call, Credit(id, capacity if isinstance(policy, Wait) else UNLIMITED))
        self._streams.add(id)
        return self._incoming.open(id, load, capacity, policy)

    def end_stream(self, stream: Unread[Any]) -> None:
        """Nobody wants a stream any more, which has the peer cancel it unless it has ended."""
        self._streams.remove(stream.id)
        if stream.id in self._incoming:
            self._outbox.put(self._protocol.encode(CancelInvocation(stream.id)))
        self._incoming.forget(stream)
        self._drainers.unpark_all()

    # ---- pieces of a call

    def observed(self, target: str) -> AbstractContextManager[Mapping[str, str] | None]:
        """Hold a call's observation open around it; gives the headers of its message."""
        return nullcontext() if self.around is None else self.around(target)

    def _split(self, arguments: Sequence[Any]) -> tuple[list[Any], dict[str, AsyncIterable[Any]]]:
        """Tell arguments from uploads, and give these their ids."""
        plain: list[Any] = []
        uploads: dict[str, AsyncIterable[Any]] = {}
        for argument in arguments:
            if isinstance(argument, AsyncIterable):
                uploads[next(self._ids)] = argument
            else:
                plain.append(argument)
        return plain, uploads

    def _dump(self, arguments: Sequence[Any]) -> Raw:
        return Raw(self._protocol.payloads.dump_arguments(arguments))

    async def _put(self, *messages: Invocation | StreamInvocation | Credit) -> None:
        data = b"".join(map(self._protocol.encode, messages))
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        await self._outbox.wait_room()
        self._check_open()
        put = self._outbox.put_now if len(self._pending) < MANY else self._outbox.put
        put(data, len(messages))

    def _check_open(self) -> None:
        if self._closed is not None:
            raise copy(self._closed)  # another one for each call: a traceback belongs to one

    @asynccontextmanager
    async def _uploading(self, uploads: Mapping[str, AsyncIterable[Any]]) -> AsyncGenerator[None]:
        """Send a call's uploads while the body waits for what comes of it."""
        if not uploads:
            yield
            return
        async with open_background() as nursery:
            for id, items in uploads.items():
                nursery.start_soon(self._upload, id, items)
            yield

    @asynccontextmanager
    async def _uploading_in_background(
        self, uploads: Mapping[str, AsyncIterable[Any]]
    ) -> AsyncGenerator[None]:
        """The same, but the end of the body does not wait for theirs."""
        assert self._nursery is not None
        scopes = [trio.CancelScope() for _ in uploads]
        for scope, (id, items) in zip(scopes, uploads.items(), strict=True):
            self._nursery.start_soon(self._upload_in, scope, id, items)
        try:
            yield
        finally:
            for scope in scopes:
                scope.cancel()

    async def _upload_in(self, scope: trio.CancelScope, id: str, items: AsyncIterable[Any]) -> None:
        with scope:
            await self._upload(id, items)

    async def _upload(self, id: str, items: AsyncIterable[Any]) -> None:
        """Send an upload to its end, which the peer always learns."""
        refusal: Refusal | None = UploadCancelled()
        try:
            await self._outgoing.send(id, items, Any)
            refusal = None
        except Exception as failure:
            # It may also be of another connection, from which the items come.
            if isinstance(failure, ConnectionClosed) and not self._outbox.state.sends:
                logger.debug("upload %s ended with the connection", id)
            else:
                logger.warning("upload %s failed", id, exc_info=failure)
                refusal = UploadFailed(failure)
        finally:
            error = "" if refusal is None else self._text(refusal)
            self._outbox.put(self._protocol.encode(Completion(id, error=error)))
            self._drainers.unpark_all()
