"""The nine hub messages and one of our own, as data; each class is also the message's JSON schema.

A message holds its envelope decoded and its payload (arguments, item, result) undecoded, so that a bad
payload is one call's failure and never the connection's. ``""`` stands for "no id" and "no error".
"""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

ABSENT = Raw()
"""The result of a completion that has none."""

NonEmpty: TypeAlias = Annotated[str, Meta(min_length=1)]
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Headers: TypeAlias = dict[str, str] | UnsetType


class Invocation(
    Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, rename="camel", tag_field="type", tag=1
):
    """A call of ``target``; without an ``invocation_id`` nobody waits for an answer."""

    headers: Headers = UNSET
    invocation_id: str = ""
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] = ()


class StreamItem(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", tag_field="type", tag=2):
    """One item of a stream, in either direction."""

    invocation_id: NonEmpty
    item: Raw
    headers: Headers = UNSET


class Completion(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", tag_field="type", tag=3):
    """The end of a call or a stream: with an error, with a result, or with neither."""

    invocation_id: NonEmpty
    error: str = ""
    result: Raw = ABSENT
    headers: Headers = UNSET

    def __post_init__(self) -> None:
        if self.error and self.has_result:
            raise ValueError("The 'error' and 'result' properties are mutually exclusive.")

    @property
    def has_result(self) -> bool:
        """Whether there is a result; null is one too."""
        return self.result is not ABSENT


class StreamInvocation(
    Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", tag_field="type", tag=4
):
    """A call of a streaming ``target``."""

    invocation_id: NonEmpty
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] = ()
    headers: Headers = UNSET


class CancelInvocation(
    Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", tag_field="type", tag=5
):
    """The caller wants no more of this call."""

    invocation_id: NonEmpty
    headers: Headers = UNSET


class Ping(Struct, frozen=True, gc=False, tag_field="type", tag=6):
    """A sign of life."""


class Close(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", tag_field="type", tag=7):
    """The sender ends the connection, with an error or in order."""

    error: str = ""
    allow_reconnect: bool = False


class Ack(Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag=8):
    """Everything up to this message has arrived."""

    sequence_id: Int64


class Sequence(Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag=9):
    """The number of the message that comes next, after a reconnect."""

    sequence_id: Int64


class Credit(Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag=101):
    """So many more items of a stream have room at its receiver: this project's own, between peers that agreed."""

    invocation_id: NonEmpty
    items: Annotated[int, Meta(ge=1, le=2**63 - 1)]


Message: TypeAlias = (
    Invocation
    | StreamItem
    | Completion
    | StreamInvocation
    | CancelInvocation
    | Ping
    | Close
    | Ack
    | Sequence
    | Credit
)
