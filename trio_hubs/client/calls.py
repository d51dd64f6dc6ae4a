"""What can be called on a hub: over one link, or over the link of the moment."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Literal, TypeVar, overload

from typing_extensions import TypeForm

from ..calls.channels import ChannelReader
from ..calls.incoming import check_capacity
from ..calls.our_calls import OurCalls
from ..calls.policies import WAIT, ReaderPolicy
from ..calls.typed_proxies import hub_proxy
from ..calls.unread import Unread
from .resumed_stream import ResumedStream, StreamGap

T = TypeVar("T")


class HubCalls(abc.ABC):
    """Calls of a hub; they may be made by any number of tasks at the same time."""

    @abc.abstractmethod
    async def _ready(self, args: Sequence[Any] = (), *, wait: bool) -> OurCalls:
        """What makes calls now.

        Args:
            args: The arguments of the call.
            wait: Whether to wait for it where there is no connection.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: There is nothing to wait for, or too much waits for it already.
        """

    @overload
    async def invoke(
        self, name: str, /, *args: Any, result_type: TypeForm[T], wait_for_ready: bool = False
    ) -> T: ...
    @overload
    async def invoke(
        self, name: str, /, *args: Any, result_type: Any = Any, wait_for_ready: bool = False
    ) -> Any: ...
    async def invoke(
        self, name: str, /, *args: Any, result_type: Any = Any, wait_for_ready: bool = False
    ) -> Any:
        """Call a hub method and wait for its result.

        A checkpoint. When it is cancelled, the server is told to cancel the method, too.

        Args:
            name: The method's wire name; any letter case will do.
            *args: Its arguments. A :class:`ChannelReader`, or any other async iterable, is an upload stream; one
                that raises makes the upload fail at the server, and the end of the call ends it.
            result_type: What to convert the result to; plain values by default.
            wait_for_ready: Where the connection is lost and shall be regained, wait for that; else raise at once. What
                was sent before the loss is not sent again.

        Returns:
            The result; ``None`` when the method has none.

        Raises:
            HubException: The server answered with an error.
            BindingError: An argument cannot be encoded, or the result is of another type.
            ConnectionClosed: The connection is over, or ended before the answer came.

        Source:
            Hub protocol, "Invocations"; cancellation as of .NET 11.
        """
        return await (await self._ready(args, wait=wait_for_ready)).invoke(name, args, result_type)

    async def send(self, name: str, /, *args: Any, wait_for_ready: bool = False) -> None:
        """Call a hub method without waiting for it: nothing tells whether it went well.

        A checkpoint; returns when the call is queued. Uploads among the arguments go on in the background.

        Args:
            name: The method's wire name.
            *args: Its arguments, as in :meth:`invoke`.
            wait_for_ready: As in :meth:`invoke`.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.

        Source:
            Hub protocol, "Invocations", non-blocking.
        """
        await (await self._ready(args, wait=wait_for_ready)).send(name, args)

    @overload
    def stream(
        self,
        name: str,
        /,
        *args: Any,
        item_type: TypeForm[T],
        capacity: int = 10,
        when_full: ReaderPolicy = ...,
        wait_for_ready: bool = False,
        resume: Callable[[T], Sequence[Any]] | None = None,
        gaps: Literal[False] = False,
    ) -> AbstractAsyncContextManager[ChannelReader[T]]: ...
    @overload
    def stream(
        self,
        name: str,
        /,
        *args: Any,
        item_type: TypeForm[T],
        capacity: int = 10,
        when_full: ReaderPolicy = ...,
        wait_for_ready: bool = False,
        resume: Callable[[T], Sequence[Any]],
        gaps: Literal[True],
    ) -> AbstractAsyncContextManager[ChannelReader[T | StreamGap]]: ...
    @overload
    def stream(
        self,
        name: str,
        /,
        *args: Any,
        item_type: Any = Any,
        capacity: int = 10,
        when_full: ReaderPolicy = ...,
        wait_for_ready: bool = False,
        resume: Callable[[Any], Sequence[Any]] | None = None,
        gaps: bool = False,
    ) -> AbstractAsyncContextManager[ChannelReader[Any]]: ...
    def stream(
        self,
        name: str,
        /,
        *args: Any,
        item_type: Any = Any,
        capacity: int = 10,
        when_full: ReaderPolicy = WAIT,
        wait_for_ready: bool = False,
        resume: Callable[[Any], Sequence[Any]] | None = None,
        gaps: bool = False,
    ) -> AbstractAsyncContextManager[ChannelReader[Any]]:
        """Call a streaming hub method, and hold its stream open for the body of ``async with``.

        Leaving the body cancels the server's method unless it has ended; what it still sends is thrown away.
        Behind a slow body the connection is not read, so that the server waits. While a task waits for other things of
        the server, and slowly when the body has taken nothing for 4 seconds, items queue up to
        ``HubConnectionOptions.connection_buffer_limit``. Or choose that the newest items stay.

        Args:
            name: The method's wire name.
            *args: Its arguments, as in :meth:`invoke`.
            item_type: What to convert items to; plain values by default.
            capacity: How many items may lie unread, however large, before their sender has to wait; and more, while
                they are within ``HubConnectionOptions.stream_buffer_size``.
            when_full: What becomes of items beyond that: ``Wait()`` makes the server wait; with ``DropOldest()`` the
                oldest give way, and with ``Conflate(key)``, where ``key`` is a function of an item, first the one with
                the same key. The reader's ``dropped`` counts them.
            wait_for_ready: As in :meth:`invoke`.
            resume: For a stream that goes on when the connection was lost and is regained: makes the arguments with
                which it is called again from the last item that was read. Until one was, they are the first call's.
            gaps: Whether the reader gets a :class:`StreamGap` where that happened.

        Returns:
            A context manager that gives the stream's reader. Reading raises :exc:`HubException` when the server ends
            the stream with an error, :exc:`BindingError` for an item of another type, :exc:`StreamOverflow` when too
            much came while the body waited for other things, and :exc:`ConnectionClosed` when the connection ends; each
            after the items that came before.

        Raises:
            BindingError: An argument cannot be encoded.
            ConnectionClosed: The connection is over.
            TypeError: A stream with uploads shall go on: these cannot be sent again.
            ValueError: The capacity is below 1.

        Source:
            Hub protocol, "Streaming"; cancellation by ``CancelInvocation``.
        """
        check_capacity(capacity)
        if resume is None:
            return self._stream(name, args, item_type, capacity, when_full, wait_for_ready)
        if any(isinstance(arg, AsyncIterable) for arg in args):
            raise TypeError(f"the stream of '{name}' cannot go on: its uploads cannot be sent again")

        def begin(
            calls: OurCalls, arguments: Sequence[Any], headers: Mapping[str, str] | None
        ) -> Awaitable[Unread[Any]]:
            return calls.begin_stream(name, arguments, item_type, capacity, when_full, headers=headers)

        return self._resumed(name, begin, args, resume, gaps=gaps, wait_for_ready=wait_for_ready)

    @asynccontextmanager
    async def _stream(
        self,
        name: str,
        args: tuple[Any, ...],
        item_type: Any,
        capacity: int,
        when_full: ReaderPolicy,
        wait_for_ready: bool,
    ) -> AsyncGenerator[ChannelReader[Any]]:
        calls = await self._ready(args, wait=wait_for_ready)
        async with calls.stream(name, args, item_type, capacity, when_full) as reader:
            yield reader

    @asynccontextmanager
    async def _resumed(
        self,
        name: str,
        begin: Callable[..., Awaitable[Unread[Any]]],
        args: tuple[Any, ...],
        resume: Callable[[Any], Sequence[Any]],
        *,
        gaps: bool,
        wait_for_ready: bool,
    ) -> AsyncGenerator[ChannelReader[Any]]:
        calls = await self._ready(args, wait=wait_for_ready)
        with calls.observed(name) as headers:  # of all calls for it together
            ready, called = partial(self._ready, wait=True), partial(begin, headers=headers)
            stream = ResumedStream(ready, called, args, resume, gaps=gaps)
            await stream.begin(calls)
            try:
                yield stream.reader
            finally:
                stream.reader.close()

    def proxy(self, interface: TypeForm[T], /) -> T:
        """Make what calls the hub as a class describes it, typed; best once, and kept.

        Each public method of the class is one of the hub's: ``send_message`` calls ``SendMessage``, or what
        ``@hub_method`` names, waits for its end, and gives a result of the annotated type. One that gives an
        ``AsyncIterator`` streams when it is iterated over; left early, it is to be closed, as any generator is:
        ``async with aclosing(...)``. A parameter that is an ``AsyncIterable`` is an upload. One that is a
        :data:`Deadline`, left ``None``, tells the hub what time the caller's scopes have left.

        Args:
            interface: The class, best a :class:`typing.Protocol`, from which the hub may inherit, too.

        Raises:
            TypeError: It has something that cannot be called of a hub.
        """
        typed: T = hub_proxy(interface)(self)
        return typed

    async def iterate(self, name: str, args: Sequence[Any], item_type: Any) -> AsyncGenerator[Any]:
        """Call a streaming hub method when the first item is wanted, and give its items.

        Args:
            name: The method's wire name.
            args: Its arguments, as in :meth:`invoke`.
            item_type: What to convert items to.

        Yields:
            The items.

        Raises:
            Exception: As :meth:`stream` and its reader do.
        """
        calls = await self._ready(wait=False)
        async with calls.stream(name, args, item_type, 10, uploads_in_background=True) as reader:
            async for item in reader:
                yield item
