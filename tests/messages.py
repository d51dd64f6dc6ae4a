"""Hub messages as tests write and read them: dicts in the shape of JSON's, whatever the protocol.

The codecs here are the tests' own, so that both sides cannot be wrong alike.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

Message: TypeAlias = dict[str, Any]

PING: Message = {"type": 6}


def call(target: str, *arguments: Any, id: str = "", uploads: Sequence[str] = ()) -> Message:
    """An Invocation; without an id it wants no answer."""
    return {"type": 1, **_call(target, arguments, id, uploads)}


def stream(target: str, *arguments: Any, id: str = "1", uploads: Sequence[str] = ()) -> Message:
    """A StreamInvocation."""
    return {"type": 4, **_call(target, arguments, id, uploads)}


def _call(target: str, arguments: tuple[Any, ...], id: str, uploads: Sequence[str]) -> Message:
    message: Message = {"invocationId": id} if id else {}
    message |= {"target": target, "arguments": list(arguments)}
    return message | {"streamIds": list(uploads)} if uploads else message


def item(id: str, value: Any) -> Message:
    """A StreamItem."""
    return {"type": 2, "invocationId": id, "item": value}


def ended(id: str, error: str = "") -> Message:
    """A Completion without a result."""
    return {"type": 3, "invocationId": id, **({"error": error} if error else {})}


def result(id: str, value: Any) -> Message:
    """A Completion with a result."""
    return {"type": 3, "invocationId": id, "result": value}


def cancel(id: str) -> Message:
    """A CancelInvocation."""
    return {"type": 5, "invocationId": id}


def close(error: str = "", *, allow_reconnect: bool = False) -> Message:
    """A Close."""
    return {
        "type": 7,
        **({"error": error} if error else {}),
        **({"allowReconnect": True} if allow_reconnect else {}),
    }


def ack(number: int) -> Message:
    """An Ack."""
    return {"type": 8, "sequenceId": number}


def sequence(number: int) -> Message:
    """A Sequence."""
    return {"type": 9, "sequenceId": number}


def credit(id: str, items: int) -> Message:
    """A Credit, which is this project's own."""
    return {"type": 101, "invocationId": id, "items": items}


# ---- codecs


def encode(protocol: str, message: Message) -> bytes:
    """A message as it is sent."""
    if protocol == "json":
        return json.dumps(message).encode() + b"\x1e"
    return framed(msgspec.msgpack.encode(_elements(message)))


def framed(body: bytes) -> bytes:
    """A MessagePack body behind its length."""
    length, prefix = len(body), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + body


def _elements(message: Message) -> list[Any]:
    kind, id = message["type"], message.get("invocationId")
    if kind in (1, 4):
        return [kind, {}, id, message["target"], message["arguments"], message.get("streamIds", [])]
    if kind == 2:
        return [kind, {}, id, message["item"]]
    if kind == 3:
        if "error" in message:
            return [kind, {}, id, 1, message["error"]]
        return [kind, {}, id, 3, message["result"]] if "result" in message else [kind, {}, id, 2]
    if kind == 5:
        return [kind, {}, id]
    if kind == 101:
        return [kind, id, message["items"]]
    return [6] if kind == 6 else [7, message.get("error"), message.get("allowReconnect", False)]


def _message(elements: list[Any]) -> Message:
    kind = elements[0]
    if kind == 6:
        return {"type": 6}
    if kind == 7:
        return close(elements[1] or "", allow_reconnect=elements[2])
    if kind == 101:
        return credit(elements[1], elements[2])
    message: Message = {"type": kind}
    if elements[2] is not None:
        message["invocationId"] = elements[2]
    if kind in (1, 4):
        message |= {"target": elements[3], "arguments": elements[4]}
        if elements[5]:
            message["streamIds"] = elements[5]
    elif kind == 2:
        message["item"] = elements[3]
    elif kind == 3 and elements[3] != 2:
        message["error" if elements[3] == 1 else "result"] = elements[4]
    return message


def take(protocol: str, buffer: bytearray) -> Iterator[Message]:
    """Take the whole messages off a buffer."""
    while protocol == "json" and (end := buffer.find(b"\x1e")) >= 0:
        yield json.loads(buffer[:end])
        del buffer[: end + 1]
    while protocol == "messagepack" and buffer:
        length = shift = at = 0
        while True:
            if at == len(buffer):
                return
            length |= (buffer[at] & 0x7F) << shift
            shift += 7
            at += 1
            if buffer[at - 1] < 0x80:
                break
        if len(buffer) < at + length:
            return
        yield _message(msgspec.msgpack.decode(buffer[at : at + length]))
        del buffer[: at + length]
