"""The processes that serve an app together: each tells what it is doing when one that is watched asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import partial
from itertools import count
from math import ceil, inf
from typing import Annotated, Any, TypeVar

import attrs
import msgspec
import trio

from ..errors import BackplaneError, ProtocolError
from ..fleet.backplane import FleetBackplane
from ..fleet.bus import Bus
from ..fleet.messages import decode
from ..logs import get_logger
from ..server.app import HubApp
from .look import Look

logger = get_logger(__name__)

T = TypeVar("T")

SHORTEST = 0.25
"""Seconds from one look at a process to the next; all who ask within them share one."""

ANSWER_TIMEOUT = 1.0
"""Seconds that the others may take to answer; those that take longer are left out."""

_QUESTIONS = "trio_hubs.monitor:questions"
_ANSWERS = "trio_hubs.monitor:answers"


@attrs.frozen
class _Question:
    id: int
    sender: str


@attrs.frozen
class _Answer:
    id: int
    server: str
    look: Look
    sharing: Annotated[int, msgspec.Meta(ge=1)]  # it is one of so many that the bus counts as one


class _Asked:
    """A question that waits for answers."""

    def __init__(self) -> None:
        self.looks: dict[str, Look] = {}
        self.answers = Fraction()
        self.changed = trio.lowlevel.ParkingLot()


class Processes:
    """Looks at all processes that an app's backplane joins, or at this one, where it has none.

    Args:
        app: The app.
    """

    def __init__(self, app: HubApp[Any]) -> None:
        self._app = app
        self._looked_at = -inf
        self._ids = count()
        self._asked: dict[int, _Asked] = {}
        self._bus: Bus | None = None
        if isinstance(app.backplane, FleetBackplane):
            self._bus = app.backplane.bus
            app.backplane.add(partial(self._open, self._bus))

    @asynccontextmanager
    async def _open(self, bus: Bus) -> AsyncGenerator[None]:
        """Answer the others, and hear their answers, for the body."""
        answers = f"{_ANSWERS}:{bus.server}"
        with bus.hearing({_QUESTIONS: self._hear_question, answers: self._hear_answer}):
            yield

    async def look(self) -> tuple[dict[str, Look], int | None]:
        """Look at all processes. A checkpoint.

        Returns:
            Those that have answered, by their names, and how many there are; this one alone, and ``None``, while the
            others cannot be reached.
        """
        if self._bus is None:
            await trio.lowlevel.checkpoint()
            return {"": self._here()}, 1
        id = next(self._ids)
        asked = self._asked[id] = _Asked()
        servers = None
        try:
            with trio.move_on_after(ANSWER_TIMEOUT):
                question = _encode(_Question(id, self._bus.server))
                servers = await self._bus.publish_counted(_QUESTIONS, question)
                while asked.answers < servers:
                    await asked.changed.park()
        except BackplaneError:
            pass  # there are no others, then
        finally:
            del self._asked[id]
        if servers is None:
            return {self._bus.server: self._here()}, None
        return asked.looks, len(asked.looks) + ceil(servers - asked.answers)

    def _here(self) -> Look:
        """What this process is doing."""
        now = trio.current_time()
        if not 0 <= now - self._looked_at < SHORTEST:  # below 0, the app is served again, by another clock
            self._look, self._looked_at = Look.at(self._app), now
        return self._look

    def _hear_question(self, data: bytes) -> None:
        """A process, which may be this one, asks."""
        question = _decode(_Question, data)
        if question is not None and self._bus is not None:
            answer = _Answer(question.id, self._bus.server, self._here(), self._bus.sharing)
            try:
                self._bus.publish(f"{_ANSWERS}:{question.sender}", _encode(answer))
            except BackplaneError as error:
                logger.error("another process is not told what this one does: %s", error)

    def _hear_answer(self, data: bytes) -> None:
        """A process has answered."""
        answer = _decode(_Answer, data)
        if answer is not None and (asked := self._asked.get(answer.id)) is not None:
            asked.looks[answer.server] = answer.look
            asked.answers += Fraction(1, answer.sharing)
            asked.changed.unpark_all()


_encode = msgspec.msgpack.encode


def _decode(kind: type[T], data: bytes) -> T | None:
    """What another process says; what cannot be read, as from another version, is logged."""
    try:
        return decode(kind, data)
    except ProtocolError as error:
        logger.warning("what another process says to this one's monitor cannot be read: %s", error)
        return None
