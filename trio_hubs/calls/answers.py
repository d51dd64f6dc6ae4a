"""The answers to the peer's calls: exactly one for each that has an id, until the connection is about to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import trio
from msgspec import Raw

from ..errors import BindingError, ConnectionClosed, HubException, UploadBroken
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Completion, Headers
from .methods import Method
from .observer import NOBODY, ObservedCall, Observers
from .outbox import Outbox
from .refusals import (
    CallCancelled,
    CallFailed,
    DeadlinePassed,
    NoStream,
    Refusal,
    StreamFailed,
    UnknownMethod,
)

if TYPE_CHECKING:
    from .call_register import TheirCall
    from .children import Children

logger = get_logger(__name__)


class Face(Protocol):
    """What a side of the connection, server or client, tells the calls of its peer.

    Attributes:
        observers: Who hears of the calls.
    """

    observers: Observers = NOBODY

    def hear(self, target: str, arguments: Raw) -> bool:
        """Give a call's arguments to those who only listen, and answer nobody; whether there are any."""
        return False

    def find(self, target: str) -> Sequence[Method]:
        """The methods that answer to a wire name; none when it is unknown."""
        ...

    def enter(self, method: Method, children: Children) -> Callable[..., Any]:
        """What to call for one invocation of a method."""
        ...

    def text(self, refusal: Refusal) -> str:
        """What the peer is told, or we say, when a call is refused or fails."""
        ...


class Answers:
    """Answers the peer's calls, and logs what has failed.

    Args:
        face: The side of the connection that this is.
        protocol: Encodes the answers.
        outbox: Takes the answers.
        connection_id: For the log.

    Attributes:
        mute: Nobody is answered any more: the peer has said, or will be told, that it is over.
        observed: Whether anybody listens for calls that begin or end.
    """

    def __init__(
        self, face: Face, protocol: HubProtocol, outbox: Outbox, *, connection_id: str | None
    ) -> None:
        self._face = face
        self._protocol = protocol
        self._outbox = outbox
        self._connection_id = connection_id
        self.mute = False
        self.observed = face.observers.hear_calls

    def answer(
        self, call: TheirCall, result: Any, failure: Exception | None, *, alone: bool
    ) -> Exception | None:
        """Answer a call that has ended.

        Args:
            call: The call.
            result: Its result, when it has not failed.
            failure: What it raised.
            alone: Whether no other answer can be expected soon, so that this one should go out at once.

        Returns:
            What it has failed with, the encoding of its result included.
        """
        method = call.method
        if isinstance(failure, Refusal):
            self.refuse(call.id, method.name, failure)
        elif failure is not None and call.cancelled:
            self.log(method, failure)
            self._put(Completion(call.id, error=self._cancelled_text(call)), alone=alone)
        elif failure is not None and call.began:
            self.log(method, failure)
            self._put(Completion(call.id, error=self._face.text(StreamFailed(failure))), alone=alone)
        elif failure is not None:
            self.answer_failed(call.id, method, failure, alone=alone)
        elif call.scope.cancelled_caught:
            self._put(Completion(call.id, error=self._cancelled_text(call)), alone=alone)
        elif method.signature.streaming:
            self._put(Completion(call.id), alone=alone)
        else:
            return self.answer_result(call.id, method, result, alone=alone)
        return failure

    def answer_result(self, id: str, method: Method, result: Any, *, alone: bool) -> BindingError | None:
        """Answer a call with its result, or with the error that this cannot be encoded, which it gives."""
        if not id:
            return None
        try:
            data = method.dump(result)
        except BindingError as error:
            self.answer_failed(id, method, error, alone=alone)
            return error
        self._put_encoded(self._protocol.encode_result(id, data), alone=alone)
        return None

    def answer_failed(self, id: str, method: Method, error: Exception, *, alone: bool) -> None:
        """Answer a call that failed."""
        self.log(method, error)
        self._put(Completion(id, error=self._face.text(CallFailed(method.name, error))), alone=alone)

    def refuse(self, id: str, target: str, refusal: Refusal) -> None:
        """Answer a call that is not made."""
        cause, said = refusal.__cause__, self._face.text(refusal)
        texts = map(str, (cause, *getattr(cause, "__notes__", ()))) if cause else ()
        details = " ".join(text for text in texts if text not in said)
        logger.warning(
            "connection %s: call of %.100r refused: %s %s",
            self._connection_id,
            target,
            said,
            details,
            extra={"method": target},
        )
        self._put_unasked(id, said)
        if not isinstance(refusal, NoStream):  # of a call that had begun
            self._note_refused(id, target, refusal)

    def answer_unknown(self, id: str, target: str) -> None:
        """Answer a call that nothing answers to."""
        refusal = UnknownMethod(target)
        self._put_unasked(id, self._face.text(refusal))
        self._note_refused(id, target, refusal)

    def answer_dropped(self, call: TheirCall) -> None:
        """Answer a call that was cancelled, or whose deadline has passed, while it waited."""
        self._put_unasked(call.id, self._cancelled_text(call))
        name = call.method.name
        cancelled = call.cancelled or self.mute
        self._note_refused(call.id, name, CallCancelled(name) if cancelled else DeadlinePassed(name))

    # ---- what observers hear

    def note_began(self, id: str, method: Method, arguments: Raw, headers: Headers) -> ObservedCall:
        """A call is about to begin; gives what :meth:`note_ended` takes."""
        return self._face.observers.call_began(self._connection_id, id, method.name, arguments, headers or {})

    def note_ended(self, call: ObservedCall, failure: Exception | None, *, cancelled: bool = False) -> None:
        """A call that had begun has ended.

        Args:
            call: The call.
            failure: What it has failed with.
            cancelled: Whether that was since it was cancelled.
        """
        self._face.observers.call_ended(call, failure, cancelled=cancelled)

    def _note_refused(self, id: str, target: str, refusal: Refusal) -> None:
        self._face.observers.call_refused(self._connection_id, id, target, refusal)

    # ---- the wire and the log

    def _cancelled_text(self, call: TheirCall) -> str:
        name = call.method.name
        if not call.cancelled:
            return self._face.text(DeadlinePassed(name))
        return "" if call.method.signature.streaming else self._face.text(CallCancelled(name))

    def _put_unasked(self, id: str, text: str) -> None:
        """Answer what its caller cannot be made to wait with."""
        if id and not self.mute:
            self._outbox.put_unasked(self._protocol.encode(Completion(id, error=text)))

    def _put(self, completion: Completion, *, alone: bool) -> None:
        if completion.invocation_id:
            self._put_encoded(self._protocol.encode(completion), alone=alone)

    def _put_encoded(self, data: bytes, *, alone: bool) -> None:
        if self.mute:
            return
        if alone:
            self._outbox.put_now(data)
        else:
            self._outbox.put(data)

    def log(self, method: Method, error: Exception) -> None:
        """Log a call that failed; at debug level where it refused, or the end of its connection is the reason."""
        gone = self.mute or not self._outbox.state.sends
        more = {"method": method.name}
        if gone and isinstance(error, (ConnectionClosed, UploadBroken)):
            logger.debug(
                "connection %s: '%s' ended with the connection", self._connection_id, method.name, extra=more
            )
        elif isinstance(error, HubException):
            logger.debug(
                "connection %s: '%s' answered: %.500r", self._connection_id, method.name, error, extra=more
            )
        elif isinstance(error, (ConnectionClosed, trio.TooSlowError, RecursionError)):
            logger.warning(
                "connection %s: '%s' answered: %.500r", self._connection_id, method.name, error, extra=more
            )
        else:
            logger.error(
                "connection %s: '%s' failed", self._connection_id, method.name, exc_info=error, extra=more
            )
