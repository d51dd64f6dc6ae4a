"""The handshake: one JSON record each way, before anything else, whatever the protocol.

What follows the handshake's 0x1E is left untouched; it already belongs to the hub protocol.
"""

import json
from typing import Annotated, TypeAlias

import msgspec

from ..errors import HandshakeError, ProtocolError
from .framing import RECORD_SEPARATOR
from .json_object import read_field, read_object

MAXIMUM_SIZE = 64 * 1024
"""Bytes of a handshake where nothing else limits it."""

_Credits: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_NO_TYPE = (0, "", None)  # what JavaScript, whose client takes such an answer, holds for no type; false is 0


class HandshakeRequest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a client asks for: a protocol, by name and version.

    Attributes:
        stream_credits: Items of each upload that the server may send before it is given more; 0 from those that do
            not know credits.
    """

    protocol: str
    version: int
    stream_credits: int = 0


class HandshakeResponse(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The server's answer; without an error the connection is open.

    Attributes:
        error: Why it is not.
        stream_credits: The same for the client's uploads; 0 without an agreement on credits.
    """

    error: str = ""
    stream_credits: int = 0


def encode_request(request: HandshakeRequest) -> bytes:
    """The request as it is sent, 0x1E included."""
    return msgspec.json.encode(request) + RECORD_SEPARATOR


def encode_response(response: HandshakeResponse) -> bytes:
    """The response as it is sent, 0x1E included."""
    return msgspec.json.encode(response) + RECORD_SEPARATOR


def take_request(buffered: bytes, maximum: int | None) -> tuple[HandshakeRequest, bytes] | None:
    """Split a request from what has arrived so far.

    Args:
        buffered: Everything that has arrived so far.
        maximum: How many bytes the request may have, 0x1E included.

    Returns:
        The request and the bytes after it, or None while it is incomplete.

    Raises:
        ProtocolError: If it is malformed.
        HandshakeError: If it is too large.
    """
    split = _split(buffered, maximum)
    if split is None:
        return None
    record, rest = split
    fields = read_object(record)
    protocol = read_field(fields, "protocol", str)
    version = read_field(fields, "version", int)
    if protocol is None:
        raise _missing("protocol", record)
    if version is None:
        raise _missing("version", record)
    return HandshakeRequest(protocol, version, _read_credits(fields)), rest


def take_response(buffered: bytes, maximum: int | None) -> tuple[HandshakeResponse, bytes] | None:
    """Split a response from what has arrived so far; arguments, result and errors as with ``take_request``."""
    split = _split(buffered, maximum)
    if split is None:
        return None
    record, rest = split
    fields = read_object(record)
    if "type" in fields and json.loads(bytes(fields["type"])) not in _NO_TYPE:
        raise ProtocolError("Expected a handshake response from the server.")
    return HandshakeResponse(read_field(fields, "error", str) or "", _read_credits(fields)), rest


def _read_credits(fields: dict[str, msgspec.Raw]) -> int:
    """The credits that a peer offers; a field that does not fit is another's, and means nothing."""
    try:
        return msgspec.json.decode(fields["streamCredits"], type=_Credits)
    except (KeyError, ValueError):
        return 0


def _missing(name: str, record: bytes) -> ProtocolError:
    return ProtocolError(f"Missing required property '{name}'. Message content: {record.decode()}")


def _split(buffered: bytes, maximum: int | None) -> tuple[bytes, bytes] | None:
    end = buffered.find(RECORD_SEPARATOR)
    if maximum is not None and (end + 1 or len(buffered)) > maximum:
        raise HandshakeError(f"The handshake has more than {maximum} bytes.")
    if end < 0:
        return None
    return buffered[:end], buffered[end + 1 :]
