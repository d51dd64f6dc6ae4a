"""The JSON hub protocol: each message an object followed by 0x1E.

Law: what the fast path accepts, .NET accepts with the same meaning; whatever it refuses is looked at again,
record by record, to find either the message or the official text of what is wrong with it.
"""

from collections.abc import Sequence

import msgspec

from ..errors import ProtocolError
from . import messages
from .framing import RECORD_SEPARATOR, RecordFraming
from .hub_protocol import (
    Decoded,
    FramedParser,
    HubProtocol,
    ItemEncoder,
    MessageParser,
    TransferFormat,
    decode_singly,
)
from .json_object import kind_of, read_field, read_object
from .messages import Invocation, Message, StreamInvocation
from .payloads import Naming, Payloads

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class JsonHubProtocol(HubProtocol):
    """Hub messages as JSON text."""

    name = "json"
    transfer_format = TransferFormat.TEXT

    def __init__(self, payloads: Naming = "python") -> None:
        self.payloads = Payloads("json", payloads)

    def parser(self, maximum: int | None) -> MessageParser:
        return _JsonParser(RecordFraming(maximum))

    def encode(self, message: Message) -> bytes:
        return _encoder.encode(message) + RECORD_SEPARATOR

    def item_encoder(self, invocation_id: str, item_type: object) -> ItemEncoder:
        return _JsonItemEncoder(invocation_id, self.payloads, item_type)


class _JsonItemEncoder(ItemEncoder):
    def __init__(self, invocation_id: str, payloads: Payloads, item_type: object) -> None:
        self._head = b'{"type":2,"invocationId":' + _encoder.encode(invocation_id) + b',"item":'
        self._tail = b"}" + RECORD_SEPARATOR
        self._joint = self._tail + self._head
        self._dump = payloads.dumper(item_type)
        self._dump_many = payloads.lines_dumper(item_type)

    def one(self, item: object) -> bytes:
        return self._head + self._dump(item) + self._tail

    def many(self, items: Sequence[object]) -> bytes:
        if not items:
            return b""
        # Encoded JSON never holds a raw newline, so every newline here ends an item.
        lines = self._dump_many(items).replace(b"\n", self._joint)
        return self._head + lines[: -len(self._head)]


class _JsonParser(FramedParser[bytes]):
    def _decode(self, frames: bytes) -> Decoded:
        # A separator between braces cannot stand inside a value, so turning exactly these into newlines never
        # joins what was apart; any other separator stays, and is a syntax error.
        lines = frames[:-1].replace(b"}\x1e{", b"}\n{")
        if b"\n" not in frames:
            try:
                batch = _decoder.decode_lines(lines)
            except (ValueError, RecursionError):
                pass
            else:
                # One line may hold two objects, where the second does not count.
                if len(batch) == lines.count(b"\n") + 1 and _calls_have_arrays(frames, batch):
                    return batch, None
        return decode_singly(frames[:-1].split(RECORD_SEPARATOR), _decode_one)


def _calls_have_arrays(frames: bytes, batch: Sequence[Message]) -> bool:
    """Whether all arguments are arrays: the one thing the schema cannot say of undecoded ones."""
    if b"arguments" not in frames:
        return True
    return all(
        memoryview(message.arguments)[0] == _ARRAY
        for message in batch
        if isinstance(message, Invocation | StreamInvocation)
    )


_ARRAY = ord("[")
_EXPECTED = {
    "invocationId": "String",
    "target": "String",
    "error": "String",
    "arguments": "Array",
    "streamIds": "Array",
    "headers": "StartObject",
    "sequenceId": "Number",
}
_SCHEMAS: dict[int, tuple[type[Message], tuple[str, ...]]] = {
    1: (messages.Invocation, ("target", "arguments")),
    2: (messages.StreamItem, ("invocationId", "item")),
    3: (messages.Completion, ("invocationId",)),
    4: (messages.StreamInvocation, ("invocationId", "target", "arguments")),
    5: (messages.CancelInvocation, ("invocationId",)),
    6: (messages.Ping, ()),
    7: (messages.Close, ()),
    8: (messages.Ack, ("sequenceId",)),
    9: (messages.Sequence, ("sequenceId",)),
}


def _decode_one(record: bytes) -> Message | None:
    """The message of one record, or None for one of a type we do not know; raises what is wrong with it."""
    fields = read_object(record)
    number = read_field(fields, "type", int)
    if number is None:
        raise ProtocolError("Missing required property 'type'.")
    if number not in _SCHEMAS:
        return None
    schema, required = _SCHEMAS[number]
    known = {name: fields[name] for name in fields if name in schema.__struct_encode_fields__}
    for name, value in known.items():
        _check(name, value)
    for name in required:
        if name not in known or (_EXPECTED.get(name) == "String" and bytes(known[name]) == b'""'):
            raise ProtocolError(f"Missing required property '{name}'.")
    try:
        return _decoder.decode(_encoder.encode(fields))
    except (ValueError, RecursionError) as problem:
        raise ProtocolError(str(problem)) from problem


def _check(name: str, value: msgspec.Raw) -> None:
    """Hold one known field to its type."""
    kind = kind_of(value)
    if name == "allowReconnect" and kind not in ("True", "False"):
        raise ProtocolError("Expected 'allowReconnect' to be true or false.")
    if name in _EXPECTED and _EXPECTED[name] != kind:
        expected = "StartObject" if name == "headers" else _EXPECTED[name]
        raise ProtocolError(f"Expected '{name}' to be of type {expected}.")
    if name == "sequenceId":
        read_field({name: value}, name, messages.Int64)
