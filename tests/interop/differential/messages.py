"""The messages that the cases send, as short to write as they are to read."""

import json
from typing import Any

import attrs
import msgspec

from tests.messages import framed

RECORD = "\x1e"
ENDING = "end"


def record(**fields: Any) -> str:
    """Any JSON message."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + RECORD


def hello(protocol: str = "json", version: int = 1) -> str:
    """A handshake request."""
    return record(protocol=protocol, version=version)


def invoke(invocation_id: str | None, target: str, *arguments: Any, **more: Any) -> str:
    """An invocation; without an id it wants no answer."""
    own = {} if invocation_id is None else {"invocationId": invocation_id}
    return record(type=1, **own, target=target, arguments=list(arguments), **more)


def sized(size: int) -> str:
    """An invocation of a size."""
    return invoke("1", "Echo", "x" * (size - len(invoke("1", "Echo", ""))))


def stream(invocation_id: str, target: str, *arguments: Any, **more: Any) -> str:
    """An invocation of a streaming method."""
    return record(type=4, invocationId=invocation_id, target=target, arguments=list(arguments), **more)


def item(stream_id: str, value: Any) -> str:
    """An item of an upload."""
    return record(type=2, invocationId=stream_id, item=value)


def complete(invocation_id: str, **more: Any) -> str:
    """The end of an upload, or the answer to a call of the server's."""
    return record(type=3, invocationId=invocation_id, **more)


def cancel(invocation_id: str) -> str:
    """The end of an invocation by its caller."""
    return record(type=5, invocationId=invocation_id)


PING_MESSAGE = record(type=6)
CLOSE_MESSAGE = record(type=7)


# ---- MessagePack


@attrs.frozen
class Pack:
    """A MessagePack message from its values."""

    values: list[Any]


def pack(values: Any) -> bytes:
    """A MessagePack message with its length ahead."""
    return framed(msgspec.msgpack.encode(values))
