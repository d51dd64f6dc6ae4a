"""Why a call is refused, or what has gone wrong with it: typed, since each side tells its peer in words of its own."""

from __future__ import annotations

import attrs


class Refusal(Exception):
    """The root of them; never raised itself."""


# ---- calls of the peer's


@attrs.define
class UnknownMethod(Refusal):
    """Nothing answers to the name."""

    target: str


@attrs.define
class ArgumentsUnfit(Refusal):
    """The number or the types of the arguments do not fit."""

    target: str
    error: Exception


@attrs.define
class WrongKind(Refusal):
    """A method that streams was called for one result, or the other way round.

    Attributes:
        streaming: Whether the method streams.
    """

    target: str
    streaming: bool


@attrs.define
class WrongUploads(Refusal):
    """The call brings another number of uploads than the method takes."""

    target: str
    brought: int
    taken: int


@attrs.define
class IdInUse(Refusal):
    """Another call has the id of this one, which streams."""

    id: str


@attrs.define
class UploadIdInUse(Refusal):
    """Another upload has the id of one of this call's."""

    target: str
    id: str


@attrs.define
class TooManyStreams(Refusal):
    """As many calls stream as may."""

    target: str
    maximum: int


@attrs.define
class TooManyCalls(Refusal):
    """As much as may waits already."""

    target: str


@attrs.define
class NoStream(Refusal):
    """A method that should stream gave something else."""

    target: str


@attrs.define
class CallCancelled(Refusal):
    """The peer has cancelled its call."""

    target: str


@attrs.define
class DeadlinePassed(Refusal):
    """The time that the peer gave its call has passed."""

    target: str


@attrs.define
class CallFailed(Refusal):
    """The method raised, or its result cannot be encoded."""

    target: str
    error: Exception


@attrs.define
class StreamFailed(Refusal):
    """The stream failed after it had begun."""

    error: Exception


@attrs.define
class ItemUnfit(Refusal):
    """An item of an upload is of another type."""


# ---- our calls


@attrs.define
class StreamForResult(Refusal):
    """The peer answers a call for one result with a stream."""


@attrs.define
class NoResult(Refusal):
    """The peer owes a result, and gave none."""


@attrs.define
class UploadCancelled(Refusal):
    """Our upload was given up."""


@attrs.define
class UploadFailed(Refusal):
    """Our upload raised."""

    error: Exception
