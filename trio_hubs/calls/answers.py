"""The answers to the peer's calls: exactly one for each that has an id, until the connection is about to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import trio
from msgspec import Raw

from ..errors import BindingError, ConnectionClosed, HubException, UploadBroken
from ..logs import get_logger
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Completion
from .methods import Method
from .outbox import Outbox

if TYPE_CHECKING:
    from .children import Children
    from .their_calls import Call

logger = get_logger(__name__)


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


class Refused(Exception):
    """A call that is not made; carries the text of its answer."""


class Answers:
    """Answers the peer's calls, and logs what has failed.

    Args:
        face: The side of the connection that this is.
        protocol: Encodes the answers.
        outbox: Takes the answers.
        connection_id: For the log.

    Attributes:
        mute: Nobody is answered any more: the peer has said, or will be told, that it is over.
    """

    def __init__(
        self, face: Face, protocol: HubProtocol, outbox: Outbox, *, connection_id: str | None
    ) -> None:
        self._face = face
        self._protocol = protocol
        self._outbox = outbox
        self._connection_id = connection_id
        self.mute = False

    def answer(self, call: Call, result: Any, failure: Exception | None, *, alone: bool) -> None:
        """Answer a call that has ended.

        Args:
            call: The call.
            result: Its result, when it has not failed.
            failure: What it raised.
            alone: Whether no other answer can be expected soon, so that this one should go out at once.
        """
        method = call.method
        if isinstance(failure, Refused):
            self.refuse(call.id, method.name, failure)
        elif failure is not None and call.cancelled:
            self.log(method, failure)
            self._put(Completion(call.id, error=cancelled_text(call)), alone=alone)
        elif failure is not None and call.began:
            self.log(method, failure)
            self._put(Completion(call.id, error=self._face.stream_fault(failure)), alone=alone)
        elif failure is not None:
            self.answer_fault(call.id, method, failure, alone=alone)
        elif call.scope.cancelled_caught:
            self._put(Completion(call.id, error=cancelled_text(call)), alone=alone)
        elif method.signature.streaming:
            self._put(Completion(call.id), alone=alone)
        else:
            self.answer_result(call.id, method, result, alone=alone)

    def answer_result(self, id: str, method: Method, result: Any, *, alone: bool) -> None:
        """Answer a call with its result, or say that this cannot be encoded."""
        if not id:
            return
        try:
            answer = Completion(id, result=Raw(method.dump(result)))
        except BindingError as error:
            self.answer_fault(id, method, error, alone=alone)
        else:
            self._put(answer, alone=alone)

    def answer_fault(self, id: str, method: Method, error: Exception, *, alone: bool) -> None:
        """Answer a call that failed."""
        self.log(method, error)
        self._put(Completion(id, error=self._face.invocation_fault(method.name, error)), alone=alone)

    def refuse(self, id: str, target: str, refused: Refused) -> None:
        """Answer a call that is not made."""
        cause, said = refused.__cause__, str(refused)
        texts = map(str, (cause, *getattr(cause, "__notes__", ()))) if cause else ()
        details = " ".join(text for text in texts if text not in said)
        logger.warning(
            "connection %s: call of %.100r refused: %s %s", self._connection_id, target, said, details
        )
        self.put_refused(id, said)

    def put_refused(self, id: str, text: str) -> None:
        """Answer what was not made with an error, which its caller cannot be made to wait with."""
        if id and not self.mute:
            self._outbox.put_unasked(self._protocol.encode(Completion(id, error=text)))

    def _put(self, completion: Completion, *, alone: bool) -> None:
        if not completion.invocation_id or self.mute:
            return
        data = self._protocol.encode(completion)
        if alone:
            self._outbox.put_now(data)
        else:
            self._outbox.put(data)

    def log(self, method: Method, error: Exception) -> None:
        """Tell of a call that failed; with its connection it fails for a reason that is no news."""
        gone = self.mute or not self._outbox.state.sends
        if gone and isinstance(error, (ConnectionClosed, UploadBroken)):
            logger.debug("connection %s: '%s' ended with the connection", self._connection_id, method.name)
        elif isinstance(error, (HubException, ConnectionClosed, trio.TooSlowError, RecursionError)):
            logger.warning("connection %s: '%s' answered: %.500r", self._connection_id, method.name, error)
        else:
            logger.error("connection %s: '%s' failed", self._connection_id, method.name, exc_info=error)


def cancelled_text(call: Call) -> str:
    """What the caller of a call that was cancelled is told."""
    if not call.cancelled:
        return f"The deadline of '{call.method.name}' has passed."
    return "" if call.method.signature.streaming else "The invocation was canceled by the client."
