"""What clients, and hubs that ask them, are told, in ASP.NET Core's words where it has some."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..calls.refusals import (
    ArgumentsUnfit,
    CallCancelled,
    CallFailed,
    DeadlinePassed,
    IdInUse,
    ItemUnfit,
    NoResult,
    NoStream,
    Refusal,
    StreamFailed,
    StreamForResult,
    TooManyCalls,
    TooManyStreams,
    UnknownMethod,
    UploadIdInUse,
    WrongKind,
    WrongUploads,
)
from ..errors import HubException

Fault: TypeAlias = Callable[[str, Exception], str]
"""Adds to a text what its client may see of an error."""

CANCELED_HANDSHAKE = "Handshake was canceled."
BAD_HANDSHAKE = "An unexpected error occurred during connection handshake."
BROKEN = "The underlying connection was closed."
CLOSED = "Connection closed with an error."
SILENT = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."


def unknown_protocol(name: str) -> str:
    """A client asks for a protocol that the hub does not support."""
    return f"The protocol '{name}' is not supported."


def unknown_version(name: str, version: int) -> str:
    """A client asks for a later version of a protocol than there is."""
    return f"The server does not support version {version} of the '{name}' protocol."


def unfit_transport(name: str, transfer_format: str) -> str:
    """A client asks for a protocol whose messages its transport cannot carry."""
    return (
        f"Cannot use the '{name}' protocol on the current transport. "
        f"The transport does not support '{transfer_format}' transfer format."
    )


def no_connection(id: str) -> str:
    """A hub asks a client that is not there."""
    return f"Connection '{id}' does not exist."


def disconnected(id: str) -> str:
    """A client has left without the answer that a hub waits for."""
    return f"Connection '{id}' disconnected."


def no_answer(id: str, method: str, seconds: float) -> str:
    """A client has not answered in time."""
    return f"Connection '{id}' did not answer '{method}' within {seconds:g} s."


def unauthorized(target: str) -> str:
    """The user may not call a method."""
    return f"Failed to invoke '{target}' because user is unauthorized"


def refused(refusal: Refusal, fault: Fault) -> str:
    """What a client is told of a refusal, and a hub method of what its client made of a call."""

    def failed(target: str, error: Exception) -> str:
        return fault(f"An unexpected error occurred invoking '{target}' on the server.", error)

    match refusal:
        case UnknownMethod(target):
            return refused(ArgumentsUnfit(target, HubException("Method does not exist.")), fault)
        case ArgumentsUnfit(target, error):
            return fault(f"Failed to invoke '{target}' due to an error on the server.", error)
        case WrongKind(target, streaming):
            kind, other = ("streaming", "non-streaming") if streaming else ("non-streaming", "streaming")
            return f"The client attempted to invoke the {kind} '{target}' method with a {other} invocation."
        case WrongUploads(target, brought, taken):
            text = f"Client sent {brought} stream(s), Hub method expects {taken}."
            return failed(target, HubException(text))
        case IdInUse(id):
            return f"Invocation ID '{id}' is already in use."
        case UploadIdInUse(target, id):
            return failed(target, HubException(f"Stream ID '{id}' is already in use."))
        case TooManyStreams(target, maximum):
            return f"Too many streams: '{target}' would be one more than {maximum}."
        case TooManyCalls(target):
            return f"Too many calls wait: '{target}' was not queued."
        case NoStream(target):
            return (
                f"The value returned by the streaming method '{target}' is not a ChannelReader<> or "
                "IAsyncEnumerable<>."
            )
        case CallCancelled():
            return "The invocation was canceled by the client."
        case DeadlinePassed(target):
            return f"The deadline of '{target}' has passed."
        case CallFailed(target, error):
            return failed(target, error)
        case StreamFailed(error):
            return fault("An error occurred on the server while streaming results.", error)
        case ItemUnfit():
            return "Failed to bind Stream message."
        case NoResult():
            return "The client gave no result."
        case StreamForResult():
            return "The client answers with a stream."
        case _:  # servers do not upload
            raise refusal
