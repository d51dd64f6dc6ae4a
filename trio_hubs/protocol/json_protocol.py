"""The JSON hub protocol: each message an object followed by 0x1E.

What the fast path accepts, .NET accepts with the same meaning, and alone as it does among others; whatever it
refuses is looked at again, record by record, to find either the message or the official text of what is wrong with
it. Text that is not Unicode fails only the payload that it is part of.
"""

import re
from collections.abc import Sequence

import msgspec
from cattrs import Converter

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
from .naming import Naming, NamingWord
from .payloads import Payloads

_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class JsonHubProtocol(HubProtocol):
    """Hub messages as JSON text."""

    name = "json"
    transfer_format = TransferFormat.TEXT

    def __init__(self, naming: Naming | NamingWord = "python", converter: Converter | None = None) -> None:
        self.payloads = Payloads("json", naming, converter)

    def parser(self, maximum: int | None) -> MessageParser:
        return _JsonParser(RecordFraming(maximum))

    def encode(self, message: Message) -> bytes:
        return _encoder.encode(message) + RECORD_SEPARATOR

    def encode_result(self, invocation_id: str, result: bytes) -> bytes:
        return b'{"type":3,"invocationId":%b,"result":%b}\x1e' % (_encode(invocation_id), result)

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
        if type(item) is int:  # most streams are of numbers, and no number can fail
            return self._head + _encode(item) + self._tail
        return self._head + self._dump(item) + self._tail

    def many(self, items: Sequence[object]) -> bytes:
        if not items:
            return b""
        # Encoded JSON never holds a raw newline, so every newline here ends an item.
        lines = self._dump_many(items).replace(b"\n", self._joint)
        return self._head + lines[: -len(self._head)]


class _JsonParser(FramedParser[bytes]):
    def _decode(self, frames: bytes) -> Decoded:
        records = frames[:-1]
        try:
            batch = _decode_together(records)
        except (ValueError, RecursionError):
            batch = None
        if batch is not None and _calls_have_arrays(records, batch):
            return batch, None
        return decode_singly(records.split(RECORD_SEPARATOR), _decode_one)


def _decode_together(records: bytes) -> list[Message] | None:
    """Decode all records in one go, or return None where that could mean something else."""
    if RECORD_SEPARATOR not in records:
        return [_decoder.decode(records)]  # as _decode_one would
    if b"\n" in records:
        return None
    # A separator between braces cannot stand inside a value, so turning exactly these into newlines never
    # joins what was apart; any other separator stays, and is a syntax error.
    lines = records.replace(b"}\x1e{", b"}\n{")
    batch = _decoder.decode_lines(lines)
    # A line may hold two objects, of which the second does not count.
    return batch if len(batch) == lines.count(b"\n") + 1 else None


def _calls_have_arrays(records: bytes, batch: Sequence[Message]) -> bool:
    """Whether all arguments are arrays: the one thing the schema cannot say of undecoded ones."""
    # Compact JSON shows it without a look at each message.
    named = records.count(b"arguments")
    if not named or records.count(b'"arguments":[') == named:
        return True
    calls = [message for message in batch if isinstance(message, _CALLS)]
    return all(bytes(call.arguments)[:1] == b"[" for call in calls)


_CALLS = (Invocation, StreamInvocation)
_EXPECTED = {
    "invocationId": "String",
    "target": "String",
    "error": "String",
    "arguments": "Array",
    "streamIds": "Array",
    "headers": "Object",
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
    message = _decode_alone(record)
    if message is None:
        record = _without_halves(record)
        message = _decode_alone(record)
    return _diagnose(record) if message is None else message


def _decode_alone(record: bytes) -> Message | None:
    """The message of one record as the fast path would have it; None where it would not."""
    try:
        message = _decoder.decode(record)
    except (ValueError, RecursionError):
        return None
    return message if _calls_have_arrays(record, [message]) else None


_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)
"""Escapes in texts; in the group, half of what should be a pair."""


def _without_halves(record: bytes) -> bytes:
    """A byte that no text has in the place of each half: what reads it fails, and what does not skips it."""
    return _ESCAPES.sub(lambda found: b"\xff" if found[1] else found[0], record)


def _diagnose(record: bytes) -> Message | None:
    """The message of a record that the fast path has refused, or what is wrong with it."""
    fields = read_object(record, errors="surrogateescape")
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
        if name not in known or (name == "invocationId" and bytes(known[name]) == b'""'):
            raise ProtocolError(f"Missing required property '{name}'.")
    if schema is messages.Completion and "error" in fields:
        # It concerns that call alone, also where it is not Unicode.
        fields["error"] = msgspec.Raw(bytes(fields["error"]).decode(errors="replace").encode())
    try:
        return _decoder.decode(_encoder.encode(fields))
    except UnicodeError:
        raise ProtocolError("Error reading JSON.") from None
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
        try:
            msgspec.json.decode(value, type=messages.Int64)
        except ValueError:
            raise ProtocolError("Expected 'sequenceId' to be of type Number.") from None
    elif name == "headers":
        for header, text in read_object(bytes(value)).items():
            if kind_of(text) != "String":
                raise ProtocolError(f"Expected header '{header}' to be of type String.")
    elif name == "streamIds":
        kinds = [kind_of(item) for item in msgspec.json.decode(value, type=list[msgspec.Raw])]
        if "Null" in kinds:
            raise ProtocolError("Null value for 'streamIds' is not valid.")
        if any(kind != "String" for kind in kinds):
            raise ProtocolError("Expected 'streamIds' to hold values of type String.")
