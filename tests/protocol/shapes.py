"""Types that the payload tests send around."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Level(IntEnum):
    LOW = 10
    HIGH = 20


@attrs.frozen
class Person:
    name: str
    born_at: datetime
    id: UUID
    favourite: Color
    level: Level
    avatar: bytes
    balance: Decimal
    nap: timedelta
    tags: list[str] = attrs.field(factory=list)
    scores: dict[str, float] = attrs.field(factory=dict)
    nickname: str | None = None
    parent: "Person | None" = None


@dataclass
class Point:
    x: int
    y: int = 0
    the_label: str = field(default="", kw_only=True)


@dataclass
class Node:
    value: float
    children: list["Node"]


class Options(TypedDict):
    dry_run: bool
    depth: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: "Point | None"


@attrs.define
class Box(Generic[T]):
    content: T
    anything: Any = None


@attrs.define
class Cat:
    kind: Literal["cat"]
    lives: int


@attrs.define
class Dog:
    kind: Literal["dog"]
    tricks: list[str]


PERSON_ID = UUID("12345678-1234-5678-1234-567812345678")
PERSON = Person(
    "Ada",
    datetime(2017, 4, 11, 10, 5, 20, tzinfo=UTC),
    PERSON_ID,
    Color.DARK_BLUE,
    Level.HIGH,
    b"\x07\x08",
    Decimal("0.10"),
    timedelta(hours=1, seconds=2),
    ["a"],
    {"some_key": 1.5},
    None,
    Person(
        "Zoë",
        datetime(1815, 12, 10),
        PERSON_ID,
        Color.RED,
        Level.LOW,
        b"",
        Decimal(79228162514264337593543950335),
        timedelta(),
    ),
)
