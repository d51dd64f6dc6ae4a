"""The MessagePack hub protocol: each message an array that follows its length.

Arrays are read in one C call each; a message that it refuses is looked at again, element by element, to find
the official text of what is wrong with it. Elements beyond those known are ignored.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, TypeAlias

import msgspec
from cattrs import Converter
from msgspec import Meta, Raw, Struct

from ..errors import ProtocolError
from . import messages, untyped_maps
from .framing import LengthFraming, length_prefix
from .hub_protocol import (
    Decoded,
    FramedParser,
    HubProtocol,
    ItemEncoder,
    MessageParser,
    TransferFormat,
    decode_singly,
)
from .messages import ABSENT, Int64, Message, NonEmpty
from .naming import Naming, NamingWord
from .payloads import Payloads

_Headers: TypeAlias = dict[NonEmpty, NonEmpty]


class _Invocation(Struct, array_like=True, gc=False, tag=1):
    headers: _Headers
    invocation_id: str | None
    target: NonEmpty
    arguments: Raw
    stream_ids: tuple[NonEmpty, ...] = ()

    def message(self) -> Message:
        return messages.Invocation(
            invocation_id=self.invocation_id or "",
            target=self.target,
            arguments=self.arguments,
            stream_ids=self.stream_ids,
            headers=self.headers or msgspec.UNSET,
        )


class _StreamItem(Struct, array_like=True, gc=False, tag=2):
    headers: _Headers
    invocation_id: NonEmpty
    item: Raw

    def message(self) -> Message:
        return messages.StreamItem(self.invocation_id, self.item, self.headers or msgspec.UNSET)


class _Completion(Struct, array_like=True, gc=False, tag=3):
    headers: _Headers
    invocation_id: NonEmpty
    kind: Annotated[int, Meta(ge=1, le=3)]
    value: Raw = ABSENT

    def message(self) -> Message:
        headers = self.headers or msgspec.UNSET
        if self.kind == 3:
            if self.value is ABSENT:
                raise ProtocolError("Reading 'result' failed.")
            return messages.Completion(self.invocation_id, result=self.value, headers=headers)
        error = ""
        if self.kind == 1:
            error = _read_error(self.value)
        return messages.Completion(self.invocation_id, error, headers=headers)


class _StreamInvocation(Struct, array_like=True, gc=False, tag=4):
    headers: _Headers
    invocation_id: NonEmpty
    target: NonEmpty
    arguments: Raw
    stream_ids: tuple[NonEmpty, ...] = ()

    def message(self) -> Message:
        return messages.StreamInvocation(
            self.invocation_id, self.target, self.arguments, self.stream_ids, self.headers or msgspec.UNSET
        )


class _CancelInvocation(Struct, array_like=True, gc=False, tag=5):
    headers: _Headers
    invocation_id: NonEmpty

    def message(self) -> Message:
        return messages.CancelInvocation(self.invocation_id, self.headers or msgspec.UNSET)


class _Ping(Struct, array_like=True, gc=False, tag=6):
    def message(self) -> Message:
        return messages.Ping()


class _Close(Struct, array_like=True, gc=False, tag=7):
    error: str | None
    allow_reconnect: bool = False

    def message(self) -> Message:
        return messages.Close(self.error or "", self.allow_reconnect)


class _Ack(Struct, array_like=True, gc=False, tag=8):
    sequence_id: Int64

    def message(self) -> Message:
        return messages.Ack(self.sequence_id)


class _Sequence(Struct, array_like=True, gc=False, tag=9):
    sequence_id: Int64

    def message(self) -> Message:
        return messages.Sequence(self.sequence_id)


class _Credit(Struct, array_like=True, gc=False, tag=101):
    invocation_id: NonEmpty
    items: Annotated[int, Meta(ge=1, le=2**63 - 1)]

    def message(self) -> Message:
        return messages.Credit(self.invocation_id, self.items)


_Wire: TypeAlias = (
    _Invocation
    | _StreamItem
    | _Completion
    | _StreamInvocation
    | _CancelInvocation
    | _Ping
    | _Close
    | _Ack
    | _Sequence
    | _Credit
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Wire] = msgspec.msgpack.Decoder(_Wire)
_elements_decoder = msgspec.msgpack.Decoder(list[Raw])
_decode_headers = untyped_maps.decoder(dict[Any, Any])


class MessagePackHubProtocol(HubProtocol):
    """Hub messages as MessagePack."""

    name = "messagepack"
    transfer_format = TransferFormat.BINARY

    def __init__(self, naming: Naming | NamingWord = "python", converter: Converter | None = None) -> None:
        self.payloads = Payloads("messagepack", naming, converter)

    def parser(self, maximum: int | None) -> MessageParser:
        return _MessagePackParser(LengthFraming(maximum))

    def encode(self, message: Message) -> bytes:
        body = _encoder.encode(_elements(message))
        return length_prefix(len(body)) + body

    def item_encoder(self, invocation_id: str, item_type: object) -> ItemEncoder:
        return _MessagePackItemEncoder(invocation_id, self.payloads, item_type)


def _elements(message: Message) -> Sequence[object]:
    """The array a message is written as."""
    match message:
        case messages.Completion():
            if message.error:
                return 3, message.headers or {}, message.invocation_id, 1, message.error
            if message.has_result:
                return 3, message.headers or {}, message.invocation_id, 3, message.result
            return 3, message.headers or {}, message.invocation_id, 2
        case messages.Invocation():
            id_ = message.invocation_id or None
            return 1, message.headers or {}, id_, message.target, message.arguments, message.stream_ids
        case messages.StreamInvocation():
            return (
                4,
                message.headers or {},
                message.invocation_id,
                message.target,
                message.arguments,
                message.stream_ids,
            )
        case messages.StreamItem():
            return 2, message.headers or {}, message.invocation_id, message.item
        case messages.CancelInvocation():
            return 5, message.headers or {}, message.invocation_id
        case messages.Ping():
            return (6,)
        case messages.Close():
            return 7, message.error or None, message.allow_reconnect
        case messages.Ack():
            return 8, message.sequence_id
        case messages.Sequence():
            return 9, message.sequence_id
        case _:
            return 101, message.invocation_id, message.items


class _MessagePackItemEncoder(ItemEncoder):
    def __init__(self, invocation_id: str, payloads: Payloads, item_type: object) -> None:
        self._head = b"\x94\x02\x80" + _encoder.encode(invocation_id)
        self._dump = payloads.dumper(item_type)
        # Most items are small; the beginnings of their frames are ready, by the item's length.
        room = max(0, 0x80 - len(self._head))
        self._heads = [length_prefix(len(self._head) + length) + self._head for length in range(room)]

    def one(self, item: object) -> bytes:
        return self._frame(self._dump(item))

    def many(self, items: Sequence[object]) -> bytes:
        return b"".join(map(self._frame, list(map(self._dump, items))))

    def _frame(self, item: bytes) -> bytes:
        length = len(item)
        if length < len(self._heads):
            return self._heads[length] + item
        return length_prefix(len(self._head) + length) + self._head + item


class _MessagePackParser(FramedParser[list[bytes]]):
    def _decode(self, frames: list[bytes]) -> Decoded:
        try:
            return [wire.message() for wire in map(_decoder.decode, frames)], None
        except (ValueError, RecursionError, ProtocolError):
            return decode_singly(frames, _decode_one)


def _decode_one(body: bytes) -> Message | None:
    """The message of one body, or None for one of a type we do not know; raises what is wrong with it."""
    try:
        return _decoder.decode(body).message()
    except (ValueError, RecursionError) as problem:
        _diagnose(body, problem)
        return None


def _diagnose(body: bytes, problem: Exception) -> None:
    """Raise the official text of what is wrong with a message; return for one of an unknown type."""
    try:
        elements = iter(_elements_decoder.decode(body))
    except (ValueError, RecursionError):
        raise ProtocolError(f"Reading a message as an array failed: {problem}.") from problem
    number = _read(next(elements, ABSENT), int, "messageType")
    if number not in _NAMES:
        return
    name = _NAMES[number]
    if number <= 5:
        _check_headers(next(elements, ABSENT))
        if not _read(next(elements, ABSENT), str | None, "invocationId") and number != 1:
            raise ProtocolError(f"Null or empty invocation ID for {name} message.")
    if number in (1, 4):
        if not _read(next(elements, ABSENT), str | None, "target"):
            raise ProtocolError(f"Null or empty target for {name} message.")
        if next(elements, None) is None:
            raise ProtocolError("Reading array length for 'arguments' failed.")
        _refuse_stream_ids(next(elements, ABSENT))
    elif number == 3:
        _read(next(elements, ABSENT), int, "resultKind")
        raise ProtocolError("Invalid invocation result kind.")
    elif number == 7:
        _read(next(elements, ABSENT), str | None, "error")
        _read(next(elements, ABSENT), bool, "allowReconnect")
    elif number in (8, 9):
        _read(next(elements, ABSENT), Int64, "sequenceId")
    raise ProtocolError(f"Reading a {name} message failed: {problem}.") from problem


_NAMES = {
    1: "Invocation",
    2: "StreamItem",
    3: "Completion",
    4: "StreamInvocation",
    5: "CancelInvocation",
    6: "Ping",
    7: "Close",
    8: "Ack",
    9: "Sequence",
}
_KINDS: dict[object, str] = {int: "Int32", Int64: "Int64", bool: "Boolean"}


def _read(element: Raw, type_: Any, name: str) -> Any:
    """Read one element, or raise the official text; ``ABSENT`` is an element that is missing."""
    try:
        return msgspec.msgpack.decode(element, type=type_)
    except (ValueError, RecursionError) as problem:
        kind = _KINDS.get(type_, "String")
        raise ProtocolError(f"Reading '{name}' as {kind} failed.") from problem


def _read_error(element: Raw) -> str:
    """The text of a call's error, which concerns that call alone, also where it is not Unicode."""
    try:
        error: str = _read(element, str, "error")
    except ProtocolError as problem:
        if not isinstance(problem.__cause__, UnicodeDecodeError):
            raise
        error = problem.__cause__.object.decode(errors="replace")
    return error


def _check_headers(element: Raw) -> None:
    try:
        headers = _decode_headers(element)
    except (ValueError, RecursionError) as problem:
        raise ProtocolError("Reading map length for 'headers' failed.") from problem
    for index, header in enumerate(headers.items()):
        for part, text in zip(("Key", "Value"), header, strict=True):
            if text is not None and not isinstance(text, str):
                raise ProtocolError(f"Reading 'headers[{index}].{part}' as String failed.")
            if not text:
                raise ProtocolError(f"Null or empty {part.lower()} in header.")


def _refuse_stream_ids(element: Raw) -> NoReturn:
    """Raise what is wrong with these, as all that comes before them is right."""
    try:
        stream_ids = msgspec.msgpack.decode(element, type=list[Raw])
    except (ValueError, RecursionError) as problem:
        raise ProtocolError("Reading array length for 'streamIds' failed.") from problem
    for stream_id in stream_ids:
        _read(stream_id, str | None, "streamIds")
    raise ProtocolError("Null or empty value in streamIds received.")
