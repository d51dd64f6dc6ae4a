"""The interface of a hub protocol.

Code that holds a ``HubProtocol`` never asks which one it is; all that differs between JSON and MessagePack
is behind it.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar, final

from cattrs import Converter
from msgspec import Raw

from ..errors import ProtocolError
from .framing import Framing
from .messages import Completion, Message
from .naming import Naming, NamingWord
from .payloads import Payloads


class TransferFormat(StrEnum):
    """What a protocol's bytes are made of; some transports carry only text."""

    TEXT = "Text"
    BINARY = "Binary"


class HubProtocol(abc.ABC):
    """One way to write hub messages.

    Args:
        naming: How fields, enums and classes are called on the wire.
        converter: Has the user's hooks, which are copied.
    """

    name: str
    version = 2
    transfer_format: TransferFormat
    payloads: Payloads

    @abc.abstractmethod
    def __init__(
        self, naming: Naming | NamingWord = "python", converter: Converter | None = None
    ) -> None: ...

    @abc.abstractmethod
    def parser(self, maximum: int | None) -> "MessageParser":
        """A parser for one connection; framed messages above ``maximum`` bytes are refused."""

    @abc.abstractmethod
    def encode(self, message: Message) -> bytes:
        """One whole framed message."""

    def encode_result(self, invocation_id: str, result: bytes) -> bytes:
        """A whole framed completion with a result that is encoded already."""
        return self.encode(Completion(invocation_id, result=Raw(result)))

    @abc.abstractmethod
    def item_encoder(self, invocation_id: str, item_type: object) -> "ItemEncoder":
        """An encoder for the items of one stream."""


class ItemEncoder(abc.ABC):
    """Writes the items of one stream; what all of them share is computed once.

    A value that cannot be written raises ``BindingError``, before anything is produced.
    """

    @abc.abstractmethod
    def one(self, item: object) -> bytes:
        """The framed message of one item."""

    @abc.abstractmethod
    def many(self, items: Sequence[object]) -> bytes:
        """The framed messages of all these items, in order."""


class MessageParser(abc.ABC):
    """Reads the messages of one direction of one connection, from bytes in any pieces."""

    @abc.abstractmethod
    def feed(self, data: bytes) -> Iterator[Sequence[Message]]:
        """Take what has arrived and yield the messages that are whole by now, batch by batch, in order.

        Messages of unknown types are left out. The generator must be exhausted before the next call.

        Raises:
            ProtocolError: For malformed or oversize input, after every good message before it was yielded.
                The parser is dead from then on: it raises the same again.
        """

    @property
    @abc.abstractmethod
    def pending(self) -> bool:
        """Whether the beginning of a message waits for its end."""


Frames = TypeVar("Frames")


class FramedParser(MessageParser, Generic[Frames]):
    """A parser of two steps: cut frames, then decode them."""

    def __init__(self, framing: Framing[Frames]) -> None:
        self._framing = framing
        self._failure: ProtocolError | None = None

    @property
    def pending(self) -> bool:
        return self._framing.pending

    @final
    def feed(self, data: bytes) -> Iterator[Sequence[Message]]:
        if self._failure is not None:
            raise ProtocolError(*self._failure.args)
        frames, failure = self._framing.take(data)
        if frames:
            batch, malformed = self._decode(frames)
            if batch:
                yield batch
            failure = malformed or failure
        if failure is not None:
            self._failure = failure
            raise failure

    @abc.abstractmethod
    def _decode(self, frames: Frames) -> "Decoded":
        """The messages of whole frames up to the first that is malformed, and what is wrong with that."""


Decoded: TypeAlias = tuple[Sequence[Message], ProtocolError | None]


def decode_singly(bodies: Iterable[bytes], decode: Callable[[bytes], Message | None]) -> Decoded:
    """Decode bodies one by one up to the first that is malformed; leave out those that are None."""
    good: list[Message] = []
    for body in bodies:
        try:
            message = decode(body)
        except ProtocolError as malformed:
            return good, malformed
        if message is not None:
            good.append(message)
    return good, None
